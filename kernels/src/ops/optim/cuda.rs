//! Optimiser steps on CUDA devices.

use crate::core::buffer::Buffer;
use crate::core::table::{Accum, ROUNDING, Row, TRANSCENDENTAL};
use crate::cuda::{args, launch_each};
use crate::ops::optim::{EmaSpec, Rule, StepSpec};

pub(crate) const STEP: &[Row<StepSpec>] = &[Row::cuda("elements_cuda", TRANSCENDENTAL, step)];

pub(crate) const EMA: &[Row<EmaSpec>] = &[Row::cuda("elements_cuda", ROUNDING, ema)];

fn ema(s: &EmaSpec, inputs: &[&Buffer], outputs: &mut [&mut Buffer], _: Accum) {
    launch_each(inputs[0], "step_ema", s.len, args![inputs[0], inputs[1], &mut *outputs[0], s.len, s.rate]);
}

fn step(s: &StepSpec, inputs: &[&Buffer], outputs: &mut [&mut Buffer], _: Accum) {
    let (w, g, a, len) = (inputs[0], inputs[1], inputs[2], s.len);
    let [w2, a2, rest @ ..] = outputs else { unreachable!("a rule has at least one state") };
    let (w2, a2) = (&mut **w2, &mut **a2);
    let (squares, most) = (s.clip.map(|_| inputs[inputs.len() - 1]), s.clip.unwrap_or(0.0));
    match s.rule {
        Rule::Sgd { lr, momentum, weight_decay, nesterov } => {
            launch_each(w, "step_sgd", len, args![w, g, a, w2, a2, squares, most, len, lr, momentum, weight_decay, nesterov]);
        }
        Rule::Adam { lr, beta1, beta2, eps, weight_decay, decoupled, step } => {
            let (c1, c2) = (1.0 - beta1.powi(step as i32), 1.0 - beta2.powi(step as i32));
            let (decay, keep) = if decoupled { (0.0, 1.0 - lr * weight_decay) } else { (weight_decay, 1.0) };
            let (rest1, rest2) = (1.0 - beta1, 1.0 - beta2);
            let (b, b2) = (inputs[3], &mut *rest[0]);
            let args = args![
                w,
                g,
                a,
                b,
                w2,
                a2,
                b2,
                squares,
                most,
                len,
                beta1,
                rest1,
                beta2,
                rest2,
                eps,
                decay,
                keep,
                lr / c1,
                c2.sqrt()
            ];
            launch_each(w, "step_adam", len, args);
        }
        Rule::RmsProp { lr, alpha, eps, weight_decay } => {
            launch_each(
                w,
                "step_rmsprop",
                len,
                args![w, g, a, w2, a2, squares, most, len, lr, alpha, 1.0 - alpha, eps, weight_decay],
            );
        }
    }
}
