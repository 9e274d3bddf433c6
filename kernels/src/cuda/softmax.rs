//! Softmax on CUDA devices.

use super::{args, launch};
use crate::buffer::Buffer;
use crate::softmax::SoftmaxSpec;
use crate::table::{Accum, Row, TRANSCENDENTAL};

pub(crate) const FWD: &[Row<SoftmaxSpec>] = &[Row::cuda("blocks_cuda", TRANSCENDENTAL, fwd)];
pub(crate) const BWD: &[Row<SoftmaxSpec>] = &[Row::cuda("blocks_cuda", TRANSCENDENTAL, bwd)];

fn fwd(s: &SoftmaxSpec, inputs: &[&Buffer], outputs: &mut [&mut Buffer], accum: Accum) {
    let args = args![inputs[0], &mut *outputs[0], s.cols, s.log, accum];
    launch(inputs[0], "softmax_fwd", [s.rows, 1, 1], [256, 1, 1], args);
}

fn bwd(s: &SoftmaxSpec, inputs: &[&Buffer], outputs: &mut [&mut Buffer], accum: Accum) {
    let args = args![inputs[0], inputs[1], &mut *outputs[0], s.cols, s.log, accum];
    launch(inputs[0], "softmax_bwd", [s.rows, 1, 1], [256, 1, 1], args);
}
