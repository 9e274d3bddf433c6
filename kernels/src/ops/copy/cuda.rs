//! Copies of blocks on CUDA devices.

use crate::core::buffer::Buffer;
use crate::core::table::{Accum, ROUNDING, Row};
use crate::cuda::driver::Arg;
use crate::cuda::{args, launch_each};
use crate::ops::copy::{CopySpec, supported};

pub(crate) const FWD: &[Row<CopySpec>] = &[Row { supports: supported, ..Row::cuda("elements_cuda", ROUNDING, fwd) }];
pub(crate) const BWD: &[Row<CopySpec>] = &[Row { supports: supported, ..Row::cuda("elements_cuda", ROUNDING, bwd) }];

/// `struct Copy`
fn problem(s: &CopySpec) -> Arg {
    let ([c, h, w], [oc, oh, ow], [y0, x0], [sh, sw]) = (s.from_shape, s.to_shape, s.origin, s.stride);
    Arg::Ints([s.n, c, h, w, oc, oh, ow, s.from, s.to, s.count, y0, x0, sh, sw].map(|v| v as i32).to_vec())
}

fn fwd(s: &CopySpec, inputs: &[&Buffer], outputs: &mut [&mut Buffer], accum: Accum) {
    launch_each(inputs[0], "place_fwd", outputs[0].len(), args![problem(s), inputs[0], &mut *outputs[0], accum]);
}

fn bwd(s: &CopySpec, inputs: &[&Buffer], outputs: &mut [&mut Buffer], accum: Accum) {
    launch_each(inputs[0], "place_bwd", outputs[0].len(), args![problem(s), inputs[0], &mut *outputs[0], accum]);
}
