//! Batch normalisation on CUDA devices.

use crate::core::buffer::Buffer;
use crate::core::table::{Accum, ROUNDING, Row, TRANSCENDENTAL};
use crate::cuda::driver::Arg;
use crate::cuda::{args, launch, launch_each};
use crate::ops::norm::{NormSpec, RunningSpec, TrainSpec};

pub(crate) const INFER_FWD: &[Row<NormSpec>] = &[Row::cuda("elements_cuda", TRANSCENDENTAL, infer_fwd)];
pub(crate) const PARAM_GRADS: &[Row<NormSpec>] = &[Row::cuda("blocks_cuda", TRANSCENDENTAL, param_grads)];
pub(crate) const INFER_DGRAD: &[Row<NormSpec>] = &[Row::cuda("elements_cuda", TRANSCENDENTAL, infer_dgrad)];
pub(crate) const TRAIN_FWD: &[Row<TrainSpec>] = &[Row::cuda("blocks_cuda", TRANSCENDENTAL, train_fwd)];
pub(crate) const TRAIN_BWD: &[Row<TrainSpec>] = &[Row::cuda("blocks_cuda", TRANSCENDENTAL, train_bwd)];
pub(crate) const RUNNING: &[Row<RunningSpec>] = &[Row::cuda("elements_cuda", ROUNDING, running)];

/// `struct Norm`
fn problem(s: &NormSpec) -> Arg {
    Arg::Ints([s.n, s.c, s.plane].map(|v| v as i32).to_vec())
}

fn infer_fwd(s: &NormSpec, inputs: &[&Buffer], outputs: &mut [&mut Buffer], accum: Accum) {
    let [x, gamma, beta, mean, var] = [0, 1, 2, 3, 4].map(|i| inputs[i]);
    let args = args![problem(s), x, gamma, beta, mean, var, &mut *outputs[0], s.eps, accum];
    launch_each(x, "norm_infer", x.len(), args);
}

fn infer_dgrad(s: &NormSpec, inputs: &[&Buffer], outputs: &mut [&mut Buffer], accum: Accum) {
    let [dout, gamma, var] = [0, 1, 2].map(|i| inputs[i]);
    launch_each(dout, "norm_infer_dgrad", dout.len(), args![problem(s), dout, gamma, var, &mut *outputs[0], s.eps, accum]);
}

fn param_grads(s: &NormSpec, inputs: &[&Buffer], outputs: &mut [&mut Buffer], accum: Accum) {
    let [dout, x, mean, var] = [0, 1, 2, 3].map(|i| inputs[i]);
    let [dgamma, dbeta] = outputs else { unreachable!("the table checked the number of outputs") };
    let args = args![problem(s), dout, x, mean, var, &mut **dgamma, &mut **dbeta, s.eps, accum];
    launch(x, "norm_params", [s.c, 1, 1], [256, 1, 1], args);
}

fn train_fwd(s: &TrainSpec, inputs: &[&Buffer], outputs: &mut [&mut Buffer], _: Accum) {
    let [x, gamma, beta] = [0, 1, 2].map(|i| inputs[i]);
    let residual = inputs.get(3).copied();
    let [out, mean, var] = outputs else { unreachable!("the table checked the number of outputs") };
    let args = args![problem(&s.norm), x, gamma, beta, residual, &mut **out, &mut **mean, &mut **var, s.norm.eps, s.relu];
    launch(x, "norm_train", [s.norm.c, 1, 1], [256, 1, 1], args);
}

fn train_bwd(s: &TrainSpec, inputs: &[&Buffer], outputs: &mut [&mut Buffer], _: Accum) {
    let [dout, x, gamma, beta, mean, var] = [0, 1, 2, 3, 4, 5].map(|i| inputs[i]);
    let out = inputs.get(6).copied();
    let [dx, dgamma, dbeta, dresidual @ ..] = outputs else { unreachable!("the table checked the number of outputs") };
    let dresidual = dresidual.first_mut().map(|d| &mut **d);
    let (dx, dgamma, dbeta) = (&mut **dx, &mut **dgamma, &mut **dbeta);
    let problem = problem(&s.norm);
    let args = args![problem, dout, x, gamma, beta, mean, var, out, dx, dgamma, dbeta, dresidual, s.norm.eps, s.relu];
    launch(x, "norm_train_bwd", [s.norm.c, 1, 1], [256, 1, 1], args);
}

fn running(s: &RunningSpec, inputs: &[&Buffer], outputs: &mut [&mut Buffer], _: Accum) {
    let (keep, rate) = (1.0 - s.momentum, s.momentum * s.correction);
    launch_each(inputs[0], "norm_running", s.len, args![inputs[0], inputs[1], &mut *outputs[0], s.len, keep, rate]);
}
