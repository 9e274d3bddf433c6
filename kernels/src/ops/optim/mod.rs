//! One step of an optimiser on one parameter: new values from old ones, nothing in place.
//!
//! Formulas are those of `torch.optim` (SGD, Adam, AdamW, RMSprop), so that runs can be compared number by number.

pub(crate) mod cuda;

use crate::core::buffer::Buffer;
use crate::core::device::Real;
use crate::core::sizes::elements;
use crate::core::table::{Accum, Operand, Signature, TRANSCENDENTAL, Table};
use crate::simd::rows::naive;
use std::fmt;

/// Which step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rule {
    /// `v = momentum v + g; w -= lr v` (or `lr (g + momentum v)` with Nesterov), `g` including `weight_decay w`. State: `v`.
    Sgd {
        /// Learning rate.
        lr: f64,
        /// Share of the old velocity that is kept.
        momentum: f64,
        /// L2 penalty.
        weight_decay: f64,
        /// Look ahead.
        nesterov: bool,
    },
    /// Kingma & Ba 2015; `decoupled` is AdamW (Loshchilov & Hutter 2019). State: first and second moment.
    Adam {
        /// Learning rate.
        lr: f64,
        /// Decay of the first moment.
        beta1: f64,
        /// Decay of the second moment.
        beta2: f64,
        /// Added to the root.
        eps: f64,
        /// L2 penalty, or decay of the weight itself when decoupled.
        weight_decay: f64,
        /// AdamW.
        decoupled: bool,
        /// Number of this step, from 1.
        step: u32,
    },
    /// `s = alpha s + (1 - alpha) g²; w -= lr g / (sqrt(s) + eps)`. State: `s`.
    RmsProp {
        /// Learning rate.
        lr: f64,
        /// Decay of the mean square.
        alpha: f64,
        /// Added to the root.
        eps: f64,
        /// L2 penalty.
        weight_decay: f64,
    },
}

impl Rule {
    /// State buffers per parameter.
    pub fn states(&self) -> usize {
        if matches!(self, Rule::Adam { .. }) { 2 } else { 1 }
    }
}

/// An optimiser step on `len` numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepSpec {
    /// Which step.
    pub rule: Rule,
    /// Elements.
    pub len: usize,
}

impl StepSpec {
    /// What is wrong with the sizes.
    fn valid(&self) -> Result<(), String> {
        elements("w", &[self.len]).map(|_| ())
    }
}

impl fmt::Display for StepSpec {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{:?} len{}", self.rule, self.len)
    }
}

fn step<T: Real>(s: &StepSpec, inputs: &[&Buffer], outputs: &mut [&mut Buffer], _: Accum) {
    let (w, g, a) = (inputs[0].as_slice::<T>(), inputs[1].as_slice::<T>(), inputs[2].as_slice::<T>());
    let [w2, states @ ..] = outputs else { unreachable!("the table checked the number of outputs") };
    let (w2, [a2, rest @ ..]) = (w2.as_mut_slice::<T>(), states) else { unreachable!("a rule has at least one state") };
    let a2 = a2.as_mut_slice::<T>();
    let of = T::of;
    match s.rule {
        Rule::Sgd { lr, momentum, weight_decay, nesterov } => {
            for i in 0..s.len {
                let g = g[i] + of(weight_decay) * w[i];
                let v = of(momentum) * a[i] + g;
                a2[i] = v;
                w2[i] = w[i] - of(lr) * if nesterov { g + of(momentum) * v } else { v };
            }
        }
        Rule::Adam { lr, beta1, beta2, eps, weight_decay, decoupled, step } => {
            let b = inputs[3].as_slice::<T>();
            let b2 = rest[0].as_mut_slice::<T>();
            let (c1, c2) = (1.0 - beta1.powi(step as i32), 1.0 - beta2.powi(step as i32));
            for i in 0..s.len {
                let (mut w, mut g) = (w[i], g[i]);
                if decoupled {
                    w *= of(1.0 - lr * weight_decay)
                } else {
                    g += of(weight_decay) * w
                }
                let m = of(beta1) * a[i] + of(1.0 - beta1) * g;
                let v = of(beta2) * b[i] + of(1.0 - beta2) * g * g;
                (a2[i], b2[i]) = (m, v);
                w2[i] = w - of(lr / c1) * m / (v.sqrt() / of(c2.sqrt()) + of(eps));
            }
        }
        Rule::RmsProp { lr, alpha, eps, weight_decay } => {
            for i in 0..s.len {
                let g = g[i] + of(weight_decay) * w[i];
                let v = of(alpha) * a[i] + of(1.0 - alpha) * g * g;
                a2[i] = v;
                w2[i] = w[i] - of(lr) * g / (v.sqrt() + of(eps));
            }
        }
    }
}

fn signature(s: &StepSpec) -> Signature {
    let states = || ["state1", "state2"].into_iter().take(s.rule.states()).map(|n| Operand::positive(n, s.len));
    Signature {
        inputs: [Operand::any("w", s.len), Operand::any("g", s.len)].into_iter().chain(states()).collect(),
        outputs: [Operand::any("new w", s.len)].into_iter().chain(states()).collect(),
    }
}

fn cases() -> Vec<StepSpec> {
    let adam =
        |decoupled, step| Rule::Adam { lr: 0.01, beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.05, decoupled, step };
    [
        Rule::Sgd { lr: 0.1, momentum: 0.9, weight_decay: 1e-4, nesterov: false },
        Rule::Sgd { lr: 0.1, momentum: 0.9, weight_decay: 0.0, nesterov: true },
        adam(false, 1),
        adam(true, 7),
        Rule::RmsProp { lr: 0.01, alpha: 0.99, eps: 1e-8, weight_decay: 0.1 },
    ]
    .map(|rule| StepSpec { rule, len: 77 })
    .to_vec()
}

/// `optim.step`: inputs `w`, `g` and the rule's states; outputs the new `w` and states.
pub static STEP: Table<StepSpec> = Table {
    op: "optim.step",
    valid: StepSpec::valid,
    signature,
    flops: |s| 10 * s.len as u64,
    terms: |_| 1,
    accumulates: false,
    cases,
    joined: Vec::new(),
    cuda: crate::ops::optim::cuda::STEP,
    rows: &[&naive(TRANSCENDENTAL, step::<f32>, step::<f64>)],
};
