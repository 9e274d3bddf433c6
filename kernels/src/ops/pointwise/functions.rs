//! Functions of one number: their values and gradients.

use crate::core::device::Real;
use serde::{Deserialize, Serialize};
use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI};

/// A function of one number. Gradients are computed from its value where that says enough (see [`Unary::gradient_reads`]).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unary {
    /// `max(x, 0)`
    Relu,
    /// `min(max(x, 0), 6)`
    Relu6,
    /// `x` where positive, else `slope * x`; the slope is not negative.
    LeakyRelu(f64),
    /// `1 / (1 + exp(-x))`
    Sigmoid,
    /// `ln(1 + exp(x))`, without overflow.
    Softplus,
    /// `tanh(x)`
    Tanh,
    /// `gain * x` where positive, else `gain * alpha * (exp(x) - 1)`: ELU where the gain is 1 (Clevert et al. 2016), else SELU
    /// (Klambauer et al. 2017). Alpha, then the gain; neither is negative.
    Elu(f64, f64),
    /// `x * sigmoid(x)`, also called swish (Ramachandran et al. 2017).
    Silu,
    /// `x * Phi(x)` by the error function (Hendrycks & Gimpel 2016).
    Gelu,
    /// The same by the `tanh` formula of that paper.
    GeluTanh,
    /// `x * tanh(softplus(x))` (Misra 2019).
    Mish,
    /// `min(max(slope * x + shift, 0), 1)`; the slope is not negative.
    HardSigmoid(f64, f64),
    /// `x * min(max(x + 3, 0), 6) / 6` (Howard et al. 2019).
    HardSwish,
    /// `x / (1 + |x|)`
    Softsign,
    /// `min(max(x, low), high)`
    Clip(f64, f64),
    /// `x` above this, else 0.
    Threshold(f64),
    /// `exp(x)`
    Exp,
    /// `factor * x + shift`
    Affine(f64, f64),
}

/// Values that a gradient needs, beside the incoming gradient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reads {
    /// The function's argument.
    Argument,
    /// The function's value.
    Value,
}

/// Rule of a ReLU for an incoming gradient `r` at value `y`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReluRule {
    /// `r` where `y > 0`: the derivative.
    #[default]
    Plain,
    /// `r` where `y > 0` and `r > 0` (Springenberg et al., "Striving for simplicity", ICLR workshop 2015).
    Guided,
    /// `r` where `r > 0` (Zeiler & Fergus, "Visualizing and understanding convolutional networks", ECCV 2014).
    Deconv,
}

/// Each function once, with numbers that tests of all of them may use.
pub const EVERY: [Unary; 19] = [
    Unary::Relu,
    Unary::Relu6,
    Unary::LeakyRelu(0.1),
    Unary::Sigmoid,
    Unary::Softplus,
    Unary::Tanh,
    Unary::Elu(0.7, 1.0),
    Unary::Elu(1.6732632423543772, 1.0507009873554805),
    Unary::Silu,
    Unary::Gelu,
    Unary::GeluTanh,
    Unary::Mish,
    Unary::HardSigmoid(0.2, 0.5),
    Unary::HardSwish,
    Unary::Softsign,
    Unary::Clip(-0.4, 0.7),
    Unary::Threshold(0.3),
    Unary::Exp,
    Unary::Affine(-2.5, 0.75),
];

impl Unary {
    /// Name, as PyTorch spells it where it has one.
    pub fn name(self) -> &'static str {
        match self {
            Unary::Relu => "ReLU",
            Unary::Relu6 => "ReLU6",
            Unary::LeakyRelu(_) => "LeakyReLU",
            Unary::Sigmoid => "Sigmoid",
            Unary::Softplus => "Softplus",
            Unary::Tanh => "Tanh",
            Unary::Elu(_, 1.0) => "ELU",
            Unary::Elu(..) => "SELU",
            Unary::Silu => "SiLU",
            Unary::Gelu | Unary::GeluTanh => "GELU",
            Unary::Mish => "Mish",
            Unary::HardSigmoid(..) => "Hardsigmoid",
            Unary::HardSwish => "Hardswish",
            Unary::Softsign => "Softsign",
            Unary::Clip(..) => "Clip",
            Unary::Threshold(_) => "Threshold",
            Unary::Exp => "Exp",
            Unary::Affine(..) => "Affine",
        }
    }

    /// Its numbers in a few characters.
    pub fn settings(self) -> String {
        match self {
            Unary::LeakyRelu(a) | Unary::Threshold(a) | Unary::Elu(a, 1.0) | Unary::Affine(a, 0.0) => a.to_string(),
            Unary::Elu(a, b) | Unary::HardSigmoid(a, b) | Unary::Clip(a, b) | Unary::Affine(a, b) => format!("{a}, {b}"),
            Unary::GeluTanh => "tanh".to_string(),
            _ => String::new(),
        }
    }

    /// First input of `unary.bwd`. Functions that take a value twice, and have another slope there, need the argument.
    pub fn gradient_reads(self) -> Reads {
        match self {
            Unary::Silu | Unary::Gelu | Unary::GeluTanh | Unary::Mish | Unary::HardSwish | Unary::Threshold(_) => Reads::Argument,
            _ => Reads::Value,
        }
    }

    #[inline(always)]
    pub(super) fn value<T: Real>(self, x: T) -> T {
        // Comparisons are written so that NaN stays NaN.
        match self {
            Unary::Relu => {
                if x < T::ZERO {
                    T::ZERO
                } else {
                    x
                }
            }
            Unary::Relu6 => clip(x, T::ZERO, T::of(6.0)),
            Unary::LeakyRelu(slope) => {
                if x < T::ZERO {
                    T::of(slope) * x
                } else {
                    x
                }
            }
            Unary::Sigmoid => sigmoid(x),
            Unary::Softplus => softplus(x),
            Unary::Tanh => x.tanh(),
            Unary::Elu(alpha, gain) => T::of(gain) * if x < T::ZERO { T::of(alpha) * x.exp_m1() } else { x },
            Unary::Silu => x * sigmoid(x),
            Unary::Gelu => x * normal(x),
            Unary::GeluTanh => x * normal_by_tanh(x)[0],
            Unary::Mish => x * softplus(x).tanh(),
            Unary::HardSigmoid(slope, shift) => clip(T::of(slope) * x + T::of(shift), T::ZERO, T::ONE),
            Unary::HardSwish => x * clip(x + T::of(3.0), T::ZERO, T::of(6.0)) / T::of(6.0),
            Unary::Softsign => x / (T::ONE + if x < T::ZERO { -x } else { x }),
            Unary::Clip(low, high) => clip(x, T::of(low), T::of(high)),
            Unary::Threshold(least) => {
                if x <= T::of(least) {
                    T::ZERO
                } else {
                    x
                }
            }
            Unary::Exp => x.exp(),
            Unary::Affine(factor, shift) => T::of(factor) * x + T::of(shift),
        }
    }

    #[inline(always)]
    pub(super) fn gradient<T: Real>(self, rule: ReluRule, read: T, dout: T) -> T {
        // One of the two, as `gradient_reads` says.
        let (x, y) = (read, read);
        let gate = |active: bool| {
            let open = match rule {
                ReluRule::Plain => active,
                ReluRule::Guided => active && dout > T::ZERO,
                ReluRule::Deconv => dout > T::ZERO,
            };
            if open { dout } else { T::ZERO }
        };
        match self {
            Unary::Relu => gate(y > T::ZERO),
            Unary::Relu6 => gate(y > T::ZERO && y < T::of(6.0)),
            Unary::LeakyRelu(slope) => {
                if y > T::ZERO {
                    dout
                } else {
                    T::of(slope) * dout
                }
            }
            Unary::Sigmoid => dout * y * (T::ONE - y),
            // The sigmoid of the argument.
            Unary::Softplus => dout * -(-y).exp_m1(),
            Unary::Tanh => dout * (T::ONE - y * y),
            Unary::Elu(alpha, gain) => dout * if y > T::ZERO { T::of(gain) } else { y + T::of(gain * alpha) },
            Unary::Silu => {
                let s = sigmoid(x);
                dout * s * (T::ONE + x * (T::ONE - s))
            }
            Unary::Gelu => {
                let density = (x * x * T::of(-0.5)).exp() * T::of(0.5 * FRAC_2_SQRT_PI * FRAC_1_SQRT_2);
                dout * (normal(x) + x * density)
            }
            Unary::GeluTanh => {
                let [value, slope] = normal_by_tanh(x);
                dout * (value + x * slope)
            }
            Unary::Mish => {
                let t = softplus(x).tanh();
                dout * (t + x * (T::ONE - t * t) * sigmoid(x))
            }
            Unary::HardSigmoid(slope, _) => {
                if y > T::ZERO && y < T::ONE {
                    T::of(slope) * dout
                } else {
                    T::ZERO
                }
            }
            Unary::HardSwish => {
                if x <= T::of(-3.0) {
                    T::ZERO
                } else if x >= T::of(3.0) {
                    dout
                } else {
                    dout * (x + x + T::of(3.0)) / T::of(6.0)
                }
            }
            Unary::Softsign => {
                let rest = T::ONE - if y < T::ZERO { -y } else { y };
                dout * rest * rest
            }
            Unary::Clip(low, high) => {
                if y > T::of(low) && y < T::of(high) {
                    dout
                } else {
                    T::ZERO
                }
            }
            Unary::Threshold(least) => {
                if x > T::of(least) {
                    dout
                } else {
                    T::ZERO
                }
            }
            Unary::Exp => dout * y,
            Unary::Affine(factor, _) => T::of(factor) * dout,
        }
    }
}

// Comparisons are written so that NaN stays NaN.
#[inline(always)]
fn clip<T: Real>(x: T, low: T, high: T) -> T {
    if x < low {
        low
    } else if x > high {
        high
    } else {
        x
    }
}

#[inline(always)]
fn sigmoid<T: Real>(x: T) -> T {
    T::ONE / (T::ONE + (-x).exp())
}

#[inline(always)]
fn softplus<T: Real>(x: T) -> T {
    let (above, below) = if x < T::ZERO { (T::ZERO, x) } else { (x, -x) };
    above + below.exp().ln_1p()
}

/// The share of a standard normal distribution below `x`.
#[inline(always)]
fn normal<T: Real>(x: T) -> T {
    T::of(0.5) * (T::ONE + (x * T::of(FRAC_1_SQRT_2)).erf())
}

/// The same by the formula of `GeluTanh`, and its slope.
#[inline(always)]
fn normal_by_tanh<T: Real>(x: T) -> [T; 2] {
    let (outer, inner) = (T::of(FRAC_2_SQRT_PI * FRAC_1_SQRT_2), T::of(0.044715));
    let t = (outer * x * (T::ONE + inner * x * x)).tanh();
    let half = T::of(0.5);
    [half * (T::ONE + t), half * (T::ONE - t * t) * outer * (T::ONE + T::of(3.0) * inner * x * x)]
}
