//! Sums over axes on CUDA devices.

use crate::core::buffer::Buffer;
use crate::core::device::DType;
use crate::core::table::{Accum, ROUNDING, Row};
use crate::cuda::{args, launch, launch_each};
use crate::ops::reduce::{ReduceSpec, SquaresSpec};

pub(crate) const FWD: &[Row<ReduceSpec>] = &[Row::cuda("blocks_cuda", ROUNDING, fwd)];
pub(crate) const BWD: &[Row<ReduceSpec>] = &[Row::cuda("elements_cuda", ROUNDING, bwd)];
pub(crate) const SUM_SQUARES: &[Row<SquaresSpec>] = &[Row::cuda("blocks_cuda", ROUNDING, sum_squares)];

/// Blocks of a sum over all numbers at most: they fill any device.
const PARTS: usize = 1024;

/// `out[b] (+)= scale * sum_a x[a, b]`
pub(crate) fn columns(x: &Buffer, out: &mut Buffer, [a, b]: [usize; 2], scale: f64, accum: Accum) {
    launch(x, "reduce_columns", [b.div_ceil(32), 1, 1], [256, 1, 1], args![x, out, a, b, scale, accum]);
}

fn fwd(s: &ReduceSpec, inputs: &[&Buffer], outputs: &mut [&mut Buffer], accum: Accum) {
    if s.c == 1 && s.b > 1 {
        return columns(inputs[0], outputs[0], [s.a, s.b], s.scale, accum);
    }
    let args = args![inputs[0], &mut *outputs[0], s.a, s.b, s.c, s.scale, accum];
    launch(inputs[0], "reduce_rows", [s.b, 1, 1], [256, 1, 1], args);
}

fn bwd(s: &ReduceSpec, inputs: &[&Buffer], outputs: &mut [&mut Buffer], accum: Accum) {
    let len = s.a * s.b * s.c;
    launch_each(inputs[0], "reduce_bwd", len, args![inputs[0], &mut *outputs[0], len, s.b, s.c, s.scale, accum]);
}

fn sum_squares(s: &SquaresSpec, inputs: &[&Buffer], outputs: &mut [&mut Buffer], accum: Accum) {
    let x = inputs[0];
    let count = s.len.div_ceil(256).min(PARTS);
    let mut partials = x.like(DType::F32, count);
    launch(x, "sum_squares_parts", [count, 1, 1], [256, 1, 1], args![x, &mut partials, s.len]);
    launch(x, "sum_squares", [1, 1, 1], [256, 1, 1], args![&partials, &mut *outputs[0], count, accum]);
}
