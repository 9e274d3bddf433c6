//! Pooling on CUDA devices.

use crate::core::buffer::Buffer;
use crate::core::table::{Accum, ROUNDING, Row};
use crate::cuda::driver::Arg;
use crate::cuda::{args, launch_each};
use crate::ops::pool::{PoolSpec, Windows};

pub(crate) const MAX_FWD: &[Row<PoolSpec>] = &[Row::cuda("elements_cuda", ROUNDING, max_fwd)];
pub(crate) const MAX_BWD: &[Row<PoolSpec>] = &[Row::cuda("elements_cuda", ROUNDING, max_bwd)];
pub(crate) const AVG_FWD: &[Row<PoolSpec>] = &[Row::cuda("elements_cuda", ROUNDING, avg_fwd)];
pub(crate) const AVG_BWD: &[Row<PoolSpec>] = &[Row::cuda("elements_cuda", ROUNDING, avg_bwd)];

/// `struct Pool`
fn problem(s: &PoolSpec) -> Arg {
    let [oh, ow] = s.out_size().unwrap_or([0, 0]);
    let windows = match s.windows {
        Windows::Adaptive { .. } => [1, 1, 1, 1, 1, 0, 0, 0, 0, 0],
        Windows::Sliding { kernel: [kh, kw], stride: [sh, sw], padding: [t, b, l, r], count_padding, .. } => {
            [0, kh, kw, sh, sw, t, b, l, r, usize::from(count_padding)]
        }
    };
    Arg::Ints([s.planes, s.h, s.w, oh, ow].into_iter().chain(windows).map(|v| v as i32).collect())
}

fn max_fwd(s: &PoolSpec, inputs: &[&Buffer], outputs: &mut [&mut Buffer], _: Accum) {
    let [out, arg] = outputs else { unreachable!("the table checked the number of outputs") };
    let len = out.len();
    launch_each(inputs[0], "max_pool_fwd", len, args![problem(s), inputs[0], &mut **out, &mut **arg]);
}

fn max_bwd(s: &PoolSpec, inputs: &[&Buffer], outputs: &mut [&mut Buffer], accum: Accum) {
    let args = args![problem(s), inputs[0], inputs[1], &mut *outputs[0], accum];
    launch_each(inputs[0], "max_pool_bwd", outputs[0].len(), args);
}

fn avg_fwd(s: &PoolSpec, inputs: &[&Buffer], outputs: &mut [&mut Buffer], accum: Accum) {
    launch_each(inputs[0], "avg_pool_fwd", outputs[0].len(), args![problem(s), inputs[0], &mut *outputs[0], accum]);
}

fn avg_bwd(s: &PoolSpec, inputs: &[&Buffer], outputs: &mut [&mut Buffer], accum: Accum) {
    launch_each(inputs[0], "avg_pool_bwd", outputs[0].len(), args![problem(s), inputs[0], &mut *outputs[0], accum]);
}
