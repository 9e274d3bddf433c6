//! `gemm` on CUDA devices.

use crate::core::buffer::Buffer;
use crate::core::device::DType;
use crate::core::precision::Precision;
use crate::core::table::{Accum, ROUNDING, Row, Tolerance};
use crate::cuda::driver::Arg;
use crate::cuda::{BF16_ROUNDING, F16_ROUNDING, TF32_ROUNDING, args, hopper, launch, launch_each, launch_with};
use crate::ops::gemm::{Bias, GemmSpec};

/// A kernel on tensor cores: taken where its rounding is asked for.
struct Variant {
    row: &'static str,
    precision: Precision,
    tolerance: Tolerance,
    kernel: &'static str,
    /// With Hopper's instructions: the kernel that packs an operand, and how many numbers are 16 bytes.
    packed: Option<(&'static str, usize)>,
}

impl Variant {
    const fn new(row: &'static str, precision: Precision, tolerance: Tolerance, kernel: &'static str) -> Self {
        Variant { row, precision, tolerance, kernel, packed: None }
    }

    const fn packed(mut self, kernel: &'static str, each: usize) -> Self {
        self.packed = Some((kernel, each));
        self
    }
}

/// The kernels on tensor cores.
const TENSOR: [Variant; 6] = [
    Variant::new("hopper_tf32_cuda", Precision::Tf32, TF32_ROUNDING, "gemm_hopper_tf32").packed("gemm_pack_tf32", 4),
    Variant::new("hopper_f16_cuda", Precision::F16, F16_ROUNDING, "gemm_hopper_f16").packed("gemm_pack_f16", 8),
    Variant::new("hopper_bf16_cuda", Precision::Bf16, BF16_ROUNDING, "gemm_hopper_bf16").packed("gemm_pack_bf16", 8),
    Variant::new("tf32_cuda", Precision::Tf32, TF32_ROUNDING, "gemm_tf32"),
    Variant::new("f16_cuda", Precision::F16, F16_ROUNDING, "gemm_f16"),
    Variant::new("bf16_cuda", Precision::Bf16, BF16_ROUNDING, "gemm_bf16"),
];

/// The row of kernel `K` of [`TENSOR`].
const fn tensor_row<const K: usize>() -> Row<GemmSpec> {
    let row = Row::cuda(TENSOR[K].row, TENSOR[K].tolerance, tensor::<K>).precision(TENSOR[K].precision);
    if TENSOR[K].packed.is_some() { row.here(hopper).preferred(many_tiles).scratch(tensor_scratch::<K>) } else { row }
}

fn tensor_scratch<const K: usize>(s: &GemmSpec) -> usize {
    TENSOR[K].packed.map_or(0, |(_, each)| 4 * Tiled::both(s, each).map(|t| t.words()).iter().sum::<usize>())
}

fn tensor<const K: usize>(s: &GemmSpec, inputs: &[&Buffer], outputs: &mut [&mut Buffer], accum: Accum) {
    match TENSOR[K].packed {
        Some((pack, each)) => tiled(s, inputs, outputs, accum, [pack, TENSOR[K].kernel], each),
        None => product(s, inputs, outputs, accum, TENSOR[K].kernel, [128, 64]),
    }
}

/// Rows of `gemm`, best first.
pub(crate) const GEMM: &[Row<GemmSpec>] = &[
    Row::cuda("rows_cuda", ROUNDING, rows).supports(rows_fit),
    tensor_row::<0>(),
    tensor_row::<1>(),
    tensor_row::<2>(),
    tensor_row::<3>(),
    tensor_row::<4>(),
    tensor_row::<5>(),
    Row::cuda("register_128_cuda", ROUNDING, |s, i, o, a| product(s, i, o, a, "gemm_register_128", [128, 128])).preferred(large),
    Row::cuda("register_64_cuda", ROUNDING, |s, i, o, a| product(s, i, o, a, "gemm_register_64", [64, 64])),
    Row::cuda("tile_cuda", ROUNDING, tile),
    Row::cuda("naive_cuda", ROUNDING, naive),
];

/// Whether tiles of 128 by 128 fill a device.
fn large(s: &GemmSpec) -> Result<(), &'static str> {
    if s.m.div_ceil(128) * s.n.div_ceil(128) >= 128 { Ok(()) } else { Err("too few outputs for large tiles") }
}

/// Rows of `a` that a block of the `rows` variant takes.
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

/// The arguments that all variants take.
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

/// Rows of a tile of each operand in the `hopper` variant, and of 16 bytes those along k.
const TILES: [usize; 2] = [128, 256];
const UNITS: usize = 8;
/// `HOPPER_SHARED` of `hopper.cu`: four stages of a tile of each operand, with two barriers each.
const SHARED: usize = 4 * ((TILES[0] + TILES[1]) * UNITS * 16 + 16);

/// Whether tiles fill a device, and sums are long enough for what is written down first to pay.
fn many_tiles(s: &GemmSpec) -> Result<(), &'static str> {
    match s {
        _ if s.m.div_ceil(TILES[0]) * s.n.div_ceil(TILES[1]) < 96 => Err("too few outputs for large tiles"),
        _ if s.k < 512 => Err("short sums"),
        _ => Ok(()),
    }
}

/// An operand written down in tiles.
struct Tiled {
    rows: usize,
    k: usize,
    /// Elements between neighbours along rows and along k.
    pitch: [usize; 2],
    tile: usize,
    /// Tiles along k.
    blocks: usize,
}

impl Tiled {
    /// Rows of op(a), and columns of op(b); 16 bytes hold `each` numbers.
    fn both(s: &GemmSpec, each: usize) -> [Tiled; 2] {
        let blocks = s.k.div_ceil(UNITS * each);
        let [a, b] = [if s.ta { [1, s.m] } else { [s.k, 1] }, if s.tb { [s.k, 1] } else { [1, s.n] }];
        [(s.m, a, TILES[0]), (s.n, b, TILES[1])].map(|(rows, pitch, tile)| Tiled { rows, k: s.k, pitch, tile, blocks })
    }

    /// Of four bytes.
    fn words(&self) -> usize {
        self.rows.next_multiple_of(self.tile) * self.blocks * UNITS * 4
    }

    fn pack(&self, from: &Buffer, kernel: &'static str) -> Buffer {
        let mut to = from.like(DType::F32, self.words());
        let args = args![from, &mut to, self.rows, self.k, self.pitch[0], self.pitch[1], self.tile, self.blocks];
        launch_each(from, kernel, self.words() / 4, args);
        to
    }
}

fn tiled(
    s: &GemmSpec,
    inputs: &[&Buffer],
    outputs: &mut [&mut Buffer],
    accum: Accum,
    [pack, kernel]: [&'static str; 2],
    each: usize,
) {
    let [a, b] = Tiled::both(s, each);
    let blocks = a.blocks;
    let [a, b] = [a.pack(inputs[0], pack), b.pack(inputs[1], pack)];
    let grid = [s.n.div_ceil(TILES[1]), s.m.div_ceil(TILES[0]), 1];
    let args = args![&a, &b, bias(s, inputs), &mut *outputs[0], s.m, s.n, blocks, accum];
    launch_with(inputs[0], kernel, grid, [256, 1, 1], SHARED, args);
}
