//! Softmax on CUDA devices.

use crate::core::buffer::Buffer;
use crate::core::table::{Accum, Row, TRANSCENDENTAL};
use crate::cuda::{args, launch};
use crate::ops::softmax::SoftmaxSpec;

pub(crate) const FWD: &[Row<SoftmaxSpec>] = &[
    Row { supports: matrix, ..Row::cuda("blocks_cuda", TRANSCENDENTAL, fwd) },
    Row::cuda("threads_cuda", TRANSCENDENTAL, pixels_fwd),
];
pub(crate) const BWD: &[Row<SoftmaxSpec>] = &[
    Row { supports: matrix, ..Row::cuda("blocks_cuda", TRANSCENDENTAL, bwd) },
    Row::cuda("threads_cuda", TRANSCENDENTAL, pixels_bwd),
];

fn matrix(s: &SoftmaxSpec) -> Result<(), &'static str> {
    if s.inner == 1 { Ok(()) } else { Err("the numbers that sum to one lie apart") }
}

fn fwd(s: &SoftmaxSpec, inputs: &[&Buffer], outputs: &mut [&mut Buffer], accum: Accum) {
    let args = args![inputs[0], &mut *outputs[0], s.cols, s.log, accum];
    launch(inputs[0], "softmax_fwd", [s.rows, 1, 1], [256, 1, 1], args);
}

fn bwd(s: &SoftmaxSpec, inputs: &[&Buffer], outputs: &mut [&mut Buffer], accum: Accum) {
    let args = args![inputs[0], inputs[1], &mut *outputs[0], s.cols, s.log, accum];
    launch(inputs[0], "softmax_bwd", [s.rows, 1, 1], [256, 1, 1], args);
}

fn pixels_fwd(s: &SoftmaxSpec, inputs: &[&Buffer], outputs: &mut [&mut Buffer], accum: Accum) {
    let pixels = s.rows * s.inner;
    let args = args![inputs[0], &mut *outputs[0], pixels, s.cols, s.inner, s.log, accum];
    launch(inputs[0], "softmax_pixels_fwd", [pixels.div_ceil(256), 1, 1], [256, 1, 1], args);
}

fn pixels_bwd(s: &SoftmaxSpec, inputs: &[&Buffer], outputs: &mut [&mut Buffer], accum: Accum) {
    let pixels = s.rows * s.inner;
    let args = args![inputs[0], inputs[1], &mut *outputs[0], pixels, s.cols, s.inner, s.log, accum];
    launch(inputs[0], "softmax_pixels_bwd", [pixels.div_ceil(256), 1, 1], [256, 1, 1], args);
}
