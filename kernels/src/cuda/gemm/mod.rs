//! `gemm` on CUDA devices.

use super::driver::Arg;
use super::precision::Precision;
use super::{BF16_ROUNDING, F16_ROUNDING, TF32_ROUNDING, args, launch, rounds_to};
use crate::buffer::Buffer;
use crate::gemm::{Bias, GemmSpec};
use crate::table::{Accum, ROUNDING, Row};

/// A row on tensor cores: taken where that rounding is asked for.
macro_rules! tensor {
    ($name:literal, $precision:ident, $tolerance:ident, $kernel:literal) => {
        Row {
            wins: |_| rounds_to(Precision::$precision),
            ..Row::cuda($name, $tolerance, |s, i, o, a| product(s, i, o, a, $kernel, [128, 64]))
        }
    };
}

/// Rows of `gemm`, best first.
pub(crate) const GEMM: &[Row<GemmSpec>] = &[
    Row { fits: rows_fit, ..Row::cuda("rows_cuda", ROUNDING, rows) },
    tensor!("tf32_cuda", Tf32, TF32_ROUNDING, "gemm_tf32"),
    tensor!("f16_cuda", F16, F16_ROUNDING, "gemm_f16"),
    tensor!("bf16_cuda", Bf16, BF16_ROUNDING, "gemm_bf16"),
    Row {
        wins: |s| if s.m.div_ceil(128) * s.n.div_ceil(128) >= 128 { Ok(()) } else { Err("too few outputs for large tiles") },
        ..Row::cuda("register_128_cuda", ROUNDING, |s, i, o, a| product(s, i, o, a, "gemm_register_128", [128, 128]))
    },
    Row::cuda("register_64_cuda", ROUNDING, |s, i, o, a| product(s, i, o, a, "gemm_register_64", [64, 64])),
    Row::cuda("tile_cuda", ROUNDING, tile),
    Row::cuda("naive_cuda", ROUNDING, naive),
];

/// Rows of `a` that a block of the `rows` rung takes.
const FEW: usize = 8;

fn rows_fit(s: &GemmSpec) -> Result<(), &'static str> {
    match s {
        _ if s.m > FEW => Err("wants at most 8 rows"),
        _ if s.ta && s.m > 1 => Err("wants rows of a that are not transposed"),
        _ => Ok(()),
    }
}

fn bias<'a>(s: &GemmSpec, inputs: &[&'a Buffer]) -> Option<&'a Buffer> {
    (s.bias == Bias::Columns).then(|| inputs[2])
}

/// The arguments that all rungs take.
fn arguments(s: &GemmSpec, inputs: &[&Buffer], outputs: &mut [&mut Buffer], accum: Accum) -> Vec<Arg> {
    args![inputs[0], inputs[1], bias(s, inputs), &mut *outputs[0], s.m, s.n, s.k, s.ta, s.tb, accum]
}

fn naive(s: &GemmSpec, inputs: &[&Buffer], outputs: &mut [&mut Buffer], accum: Accum) {
    let grid = [s.n.div_ceil(32), s.m.div_ceil(8), 1];
    launch(inputs[0], "gemm_naive", grid, [32, 8, 1], arguments(s, inputs, outputs, accum));
}

fn tile(s: &GemmSpec, inputs: &[&Buffer], outputs: &mut [&mut Buffer], accum: Accum) {
    let grid = [s.n.div_ceil(16), s.m.div_ceil(16), 1];
    launch(inputs[0], "gemm_tile", grid, [256, 1, 1], arguments(s, inputs, outputs, accum));
}

fn product(
    s: &GemmSpec,
    inputs: &[&Buffer],
    outputs: &mut [&mut Buffer],
    accum: Accum,
    kernel: &'static str,
    [m, n]: [usize; 2],
) {
    let grid = [s.n.div_ceil(n), s.m.div_ceil(m), 1];
    launch(inputs[0], kernel, grid, [256, 1, 1], arguments(s, inputs, outputs, accum));
}

fn rows(s: &GemmSpec, inputs: &[&Buffer], outputs: &mut [&mut Buffer], accum: Accum) {
    let args = args![inputs[0], inputs[1], bias(s, inputs), &mut *outputs[0], s.m, s.n, s.k, accum];
    match s.tb {
        true => launch(inputs[0], "gemm_rows_dot", [s.n, 1, 1], [128, 1, 1], args),
        false => launch(inputs[0], "gemm_rows_update", [s.n.div_ceil(32), 1, 1], [256, 1, 1], args),
    }
}
