//! One step of an optimiser on one parameter: new values from old ones, nothing in place.
//!
//! Formulas are those of `torch.optim` (SGD, Adam, AdamW, RMSprop), so that runs can be compared number by number.
//!
//! ```
//! use convscope_kernels::optim::{Rule, STEP, StepSpec};
//! use convscope_kernels::{Accum, Buffer, Context, DType};
//!
//! let rule = Rule::Sgd { lr: 0.5, momentum: 0.5, weight_decay: 0.0, nesterov: false };
//! let [w, g, v] = [1.0f32, 0.25, 0.5].map(|v| Buffer::from_slice(&[v])); // weight, gradient, velocity
//! let (mut new_w, mut new_v) = (Buffer::new(DType::F32, 1), Buffer::new(DType::F32, 1));
//! STEP.run(&Context::default(), &StepSpec { rule, len: 1, clip: None }, &[&w, &g, &v], &mut [&mut new_w, &mut new_v], Accum::Write)?;
//! assert_eq!((new_w.as_slice::<f32>(), new_v.as_slice::<f32>()), (&[0.75f32][..], &[0.5f32][..]));
//! # Ok::<_, convscope_kernels::Error>(())
//! ```

pub(crate) mod cuda;
mod ema;

pub use ema::{EMA, EmaSpec};

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
    /// The largest norm of all gradients of the step together: each is scaled by what is too much. The gradients' sum of squares, of
    /// [`SUM_SQUARES`](crate::reduce::SUM_SQUARES), is the last input then.
    pub clip: Option<f64>,
}

impl StepSpec {
    /// Checks the sizes; a message about the first fault.
    fn valid(&self) -> Result<(), String> {
        elements("w", &[self.len]).map(|_| ())
    }
}

impl fmt::Display for StepSpec {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{:?} len{}", self.rule, self.len)?;
        self.clip.map_or(Ok(()), |most| write!(f, " clip{most:e}"))
    }
}

/// Factor on the gradients. A norm that is no number leaves them as they are.
fn factor<T: Real>(s: &StepSpec, inputs: &[&Buffer]) -> T {
    let (Some(most), Some(squares)) = (s.clip, inputs.last()) else { return T::ONE };
    let norm = squares.as_slice::<T>().iter().map(|v| v.wide()).sum::<f64>().sqrt();
    if norm > most { T::of(most / norm) } else { T::ONE }
}

fn step<T: Real>(s: &StepSpec, inputs: &[&Buffer], outputs: &mut [&mut Buffer], _: Accum) {
    let (w, g, a) = (inputs[0].as_slice::<T>(), inputs[1].as_slice::<T>(), inputs[2].as_slice::<T>());
    let [w2, states @ ..] = outputs else { unreachable!("the table checked the number of outputs") };
    let (w2, [a2, rest @ ..]) = (w2.as_mut_slice::<T>(), states) else { unreachable!("a rule has at least one state") };
    let a2 = a2.as_mut_slice::<T>();
    let (of, factor) = (T::of, factor::<T>(s, inputs));
    match s.rule {
        Rule::Sgd { lr, momentum, weight_decay, nesterov } => {
            for i in 0..s.len {
                let g = factor * g[i] + of(weight_decay) * w[i];
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
                let (mut w, mut g) = (w[i], factor * g[i]);
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
                let g = factor * g[i] + of(weight_decay) * w[i];
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
        inputs: [Operand::any("w", s.len), Operand::any("g", s.len)]
            .into_iter()
            .chain(states())
            .chain(s.clip.map(|_| Operand::positive("squares", 2)))
            .collect(),
        outputs: [Operand::any("new w", s.len)].into_iter().chain(states()).collect(),
    }
}

fn cases() -> Vec<StepSpec> {
    let adam =
        |decoupled, step| Rule::Adam { lr: 0.01, beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.05, decoupled, step };
    let rules = [
        Rule::Sgd { lr: 0.1, momentum: 0.9, weight_decay: 1e-4, nesterov: false },
        Rule::Sgd { lr: 0.1, momentum: 0.9, weight_decay: 0.0, nesterov: true },
        adam(false, 1),
        adam(true, 7),
        Rule::RmsProp { lr: 0.01, alpha: 0.99, eps: 1e-8, weight_decay: 0.1 },
    ];
    // The norm is between 1 and 1.8.
    let clips = [None, Some(0.3), Some(5.0)];
    rules.into_iter().flat_map(|rule| clips.map(|clip| StepSpec { rule, len: 77, clip })).collect()
}

/// `optim.step`: inputs `w`, `g`, the rule's states, and where gradients are clipped their `squares`; outputs the new `w` and states.
pub static STEP: Table<StepSpec> = Table {
    op: "optim.step",
    valid: StepSpec::valid,
    signature,
    flops: |s| 10 * s.len as u64,
    terms: |_| 1,
    accumulates: false,
    cases,
    indices: None,
    joined: Vec::new(),
    cuda: crate::ops::optim::cuda::STEP,
    rows: &[&naive(TRANSCENDENTAL, step::<f32>, step::<f64>)],
};
