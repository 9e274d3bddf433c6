//! Element by element: activations, sums and products, dropout.

pub(crate) mod cuda;

use crate::core::buffer::Buffer;
use crate::core::device::Real;
use crate::core::random;
use crate::core::sizes::elements;
use crate::core::table::{Accum, Operand, ROUNDING, Row, Signature, TRANSCENDENTAL, Table};
use crate::core::threads::par_items;
use crate::simd::elementwise::{lanes, par_map};
use crate::simd::rows::{each_isa, naive, names, threaded};
use crate::simd::{self, Vector};
use serde::{Deserialize, Serialize};
use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI};
use std::fmt;

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

/// What a gradient is computed from, beside the gradient that comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reads {
    /// The function's argument.
    Argument,
    /// The function's value.
    Value,
}

/// What a ReLU does with an incoming gradient `r` at value `y`.
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

/// A unary problem.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct UnarySpec {
    /// The function.
    pub op: Unary,
    /// Used by the backward pass of `Relu` and `Relu6`.
    pub rule: ReluRule,
    /// Elements.
    pub len: usize,
}

impl UnarySpec {
    /// What is wrong with the sizes.
    fn valid(&self) -> Result<(), String> {
        elements("x", &[self.len]).map(|_| ())
    }
}

impl fmt::Display for UnarySpec {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{:?} {:?} len{}", self.op, self.rule, self.len)
    }
}

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

    /// What `unary.bwd` takes as its first input. Functions that take a value twice, and have another slope there, need the argument.
    pub fn gradient_reads(self) -> Reads {
        match self {
            Unary::Silu | Unary::Gelu | Unary::GeluTanh | Unary::Mish | Unary::HardSwish | Unary::Threshold(_) => Reads::Argument,
            _ => Reads::Value,
        }
    }

    #[inline(always)]
    fn value<T: Real>(self, x: T) -> T {
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
    fn gradient<T: Real>(self, rule: ReluRule, read: T, dout: T) -> T {
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

/// Runs `f(i)` for every element of `out`, on threads or not.
fn each<T: Real, const THREADS: bool>(out: &mut [T], accum: Accum, f: impl Fn(usize) -> T + Sync) {
    let part = |first: usize, part: &mut [T]| part.iter_mut().enumerate().for_each(|(i, o)| accum.put(o, f(first + i)));
    if THREADS { par_items(out, 1, part) } else { part(0, out) }
}

fn unary_fwd<T: Real, const THREADS: bool>(s: &UnarySpec, inputs: &[&Buffer], outputs: &mut [&mut Buffer], accum: Accum) {
    let (x, out) = (inputs[0].as_slice::<T>(), outputs[0].as_mut_slice::<T>());
    // One loop per function: the choice stays outside, and the compiler vectorises each.
    macro_rules! all { ($($p:pat => $op:expr),*) => { match s.op { $($p => each::<T, THREADS>(out, accum, |i| $op.value(x[i]))),* } } }
    all!(Unary::Relu => Unary::Relu, Unary::Relu6 => Unary::Relu6, Unary::LeakyRelu(a) => Unary::LeakyRelu(a),
         Unary::Sigmoid => Unary::Sigmoid, Unary::Softplus => Unary::Softplus, Unary::Tanh => Unary::Tanh,
         Unary::Elu(a, b) => Unary::Elu(a, b), Unary::Silu => Unary::Silu, Unary::Gelu => Unary::Gelu,
         Unary::GeluTanh => Unary::GeluTanh, Unary::Mish => Unary::Mish, Unary::HardSigmoid(a, b) => Unary::HardSigmoid(a, b),
         Unary::HardSwish => Unary::HardSwish, Unary::Softsign => Unary::Softsign, Unary::Clip(a, b) => Unary::Clip(a, b),
         Unary::Threshold(a) => Unary::Threshold(a), Unary::Exp => Unary::Exp, Unary::Affine(a, b) => Unary::Affine(a, b));
}

fn unary_bwd<T: Real, const THREADS: bool>(s: &UnarySpec, inputs: &[&Buffer], outputs: &mut [&mut Buffer], accum: Accum) {
    let (read, dout) = (inputs[0].as_slice::<T>(), inputs[1].as_slice::<T>());
    each::<T, THREADS>(outputs[0].as_mut_slice(), accum, |i| s.op.gradient(s.rule, read[i], dout[i]));
}

lanes!(Relu {} V [x] => V::splat(0.0).max(x));
lanes!(Clip { low, high } V [x] => {
    let y = low.max(x);
    V::select(y.above(high), high, y)
});
lanes!(LeakyRelu { slope } V [x] => V::select(V::splat(0.0).above(x), slope.mul(x), x));
lanes!(Affine { factor, shift } V [x] => factor.mul(x).add(shift));
lanes!(Scale { factor } V [x] => factor.mul(x));

// Gradients at value `y`.
lanes!(ReluGate {} V [y, dout] => V::select(y.above(V::splat(0.0)), dout, V::splat(0.0)));
lanes!(Relu6Gate {} V [y, dout] => V::select(V::splat(6.0).above(y), ReluGate {}.of([y, dout]), V::splat(0.0)));
lanes!(ClipGate { low, high } V [y, dout] => {
    let open = V::select(y.above(low), dout, V::splat(0.0));
    V::select(high.above(y), open, V::splat(0.0))
});
lanes!(LeakyReluGate { slope } V [y, dout] => V::select(y.above(V::splat(0.0)), dout, slope.mul(dout)));
// Gradients of which only the positive pass.
lanes!(Positive {} V [dout] => V::select(dout.above(V::splat(0.0)), dout, V::splat(0.0)));
lanes!(GuidedRelu {} V [y, dout] => ReluGate {}.of([y, Positive {}.of([dout])]));
lanes!(GuidedRelu6 {} V [y, dout] => Relu6Gate {}.of([y, Positive {}.of([dout])]));

lanes!(Sum {} V [x, y] => x.add(y));
lanes!(Product {} V [x, y] => x.mul(y));

fn vector_fits(s: &UnarySpec) -> Result<(), &'static str> {
    match s.op {
        Unary::Relu | Unary::Relu6 | Unary::LeakyRelu(_) | Unary::Clip(..) | Unary::Affine(..) => Ok(()),
        _ => Err("there is no exponential for vectors, and the rest is rare"),
    }
}

fn unary_fwd_vector<V: Vector>(s: &UnarySpec, inputs: &[&Buffer], outputs: &mut [&mut Buffer], accum: Accum) {
    simd::require::<V>();
    let (x, out) = (inputs[0].as_slice::<f32>(), outputs[0].as_mut_slice::<f32>());
    // SAFETY: the instructions are here (required).
    unsafe {
        match s.op {
            Unary::Relu => par_map::<V, 1>(Relu {}, [x], out, accum),
            Unary::Relu6 => par_map::<V, 1>(Clip { low: 0.0, high: 6.0 }, [x], out, accum),
            Unary::Clip(low, high) => par_map::<V, 1>(Clip { low: low as f32, high: high as f32 }, [x], out, accum),
            Unary::LeakyRelu(slope) => par_map::<V, 1>(LeakyRelu { slope: slope as f32 }, [x], out, accum),
            Unary::Affine(factor, shift) => {
                par_map::<V, 1>(Affine { factor: factor as f32, shift: shift as f32 }, [x], out, accum);
            }
            _ => unreachable!("the row takes no others"),
        }
    }
}

fn unary_bwd_vector<V: Vector>(s: &UnarySpec, inputs: &[&Buffer], outputs: &mut [&mut Buffer], accum: Accum) {
    simd::require::<V>();
    let (y, dout) = (inputs[0].as_slice::<f32>(), inputs[1].as_slice::<f32>());
    let dx = outputs[0].as_mut_slice::<f32>();
    // SAFETY: the instructions are here (required).
    unsafe {
        match (s.op, s.rule) {
            (Unary::Relu, ReluRule::Plain) => par_map::<V, 2>(ReluGate {}, [y, dout], dx, accum),
            (Unary::Relu6, ReluRule::Plain) => par_map::<V, 2>(Relu6Gate {}, [y, dout], dx, accum),
            (Unary::Relu, ReluRule::Guided) => par_map::<V, 2>(GuidedRelu {}, [y, dout], dx, accum),
            (Unary::Relu6, ReluRule::Guided) => par_map::<V, 2>(GuidedRelu6 {}, [y, dout], dx, accum),
            (Unary::Relu | Unary::Relu6, ReluRule::Deconv) => par_map::<V, 1>(Positive {}, [dout], dx, accum),
            (Unary::LeakyRelu(slope), _) => par_map::<V, 2>(LeakyReluGate { slope: slope as f32 }, [y, dout], dx, accum),
            (Unary::Clip(low, high), _) => {
                par_map::<V, 2>(ClipGate { low: low as f32, high: high as f32 }, [y, dout], dx, accum);
            }
            (Unary::Affine(factor, _), _) => par_map::<V, 1>(Scale { factor: factor as f32 }, [dout], dx, accum),
            _ => unreachable!("the row takes no others"),
        }
    }
}

fn unary_cases() -> Vec<UnarySpec> {
    let mut v = Vec::new();
    for op in EVERY {
        let rules = match op {
            Unary::Relu | Unary::Relu6 => &[ReluRule::Plain, ReluRule::Guided, ReluRule::Deconv][..],
            _ => &[ReluRule::Plain],
        };
        for &rule in rules {
            v.extend([1, 17, 63, 40_000].map(|len| UnarySpec { op, rule, len }));
        }
    }
    v
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

const fn unary_fwd_rows<V: Vector>() -> [Row<UnarySpec>; 1] {
    [Row::on::<V>(names!("vector"), TRANSCENDENTAL, unary_fwd_vector::<V>).supports(vector_fits)]
}

/// `unary.fwd`: input `x`; output `out`.
pub static UNARY_FWD: Table<UnarySpec> = Table {
    op: "unary.fwd",
    valid: UnarySpec::valid,
    signature: |s| Signature { inputs: vec![Operand::wide("x", s.len)], outputs: vec![Operand::any("out", s.len)] },
    flops: |s| s.len as u64,
    terms: |_| 1,
    accumulates: true,
    cases: unary_cases,
    joined: Vec::new(),
    cuda: crate::ops::pointwise::cuda::UNARY_FWD,
    rows: each_isa!(
        unary_fwd_rows,
        threaded(TRANSCENDENTAL, unary_fwd::<f32, true>),
        naive(TRANSCENDENTAL, unary_fwd::<f32, false>, unary_fwd::<f64, false>)
    ),
};

const fn unary_bwd_rows<V: Vector>() -> [Row<UnarySpec>; 1] {
    [Row::on::<V>(names!("vector"), TRANSCENDENTAL, unary_bwd_vector::<V>).supports(vector_fits)]
}

/// `unary.bwd`: inputs `out`, or `x` where [`Unary::gradient_reads`] says so, and `dout`; output `dx`.
pub static UNARY_BWD: Table<UnarySpec> = Table {
    op: "unary.bwd",
    valid: UnarySpec::valid,
    signature: |s| Signature {
        inputs: vec![
            match s.op.gradient_reads() {
                Reads::Argument => Operand::wide("x", s.len),
                Reads::Value => Operand::any("out", s.len),
            },
            Operand::any("dout", s.len),
        ],
        outputs: vec![Operand::any("dx", s.len)],
    },
    flops: |s| s.len as u64,
    terms: |_| 1,
    accumulates: true,
    cases: unary_cases,
    joined: Vec::new(),
    cuda: crate::ops::pointwise::cuda::UNARY_BWD,
    rows: each_isa!(
        unary_bwd_rows,
        threaded(TRANSCENDENTAL, unary_bwd::<f32, true>),
        naive(TRANSCENDENTAL, unary_bwd::<f32, false>, unary_bwd::<f64, false>)
    ),
};

/// A function of two numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binary {
    /// `x + y`
    Add,
    /// `x * y`
    Mul,
}

/// A binary problem on operands of one shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BinarySpec {
    /// The function.
    pub op: Binary,
    /// Elements.
    pub len: usize,
}

impl BinarySpec {
    /// What is wrong with the sizes.
    fn valid(&self) -> Result<(), String> {
        elements("x", &[self.len]).map(|_| ())
    }
}

impl fmt::Display for BinarySpec {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{:?} len{}", self.op, self.len)
    }
}

fn binary<T: Real>(s: &BinarySpec, inputs: &[&Buffer], outputs: &mut [&mut Buffer], accum: Accum) {
    let (x, y) = (inputs[0].as_slice::<T>(), inputs[1].as_slice::<T>());
    for ((out, x), y) in outputs[0].as_mut_slice::<T>().iter_mut().zip(x).zip(y) {
        let value = match s.op {
            Binary::Add => *x + *y,
            Binary::Mul => *x * *y,
        };
        accum.put(out, value);
    }
}

fn binary_vector<V: Vector>(s: &BinarySpec, inputs: &[&Buffer], outputs: &mut [&mut Buffer], accum: Accum) {
    simd::require::<V>();
    let xs = [inputs[0].as_slice::<f32>(), inputs[1].as_slice::<f32>()];
    let out = outputs[0].as_mut_slice::<f32>();
    // SAFETY: the instructions are here (required).
    unsafe {
        match s.op {
            Binary::Add => par_map::<V, 2>(Sum {}, xs, out, accum),
            Binary::Mul => par_map::<V, 2>(Product {}, xs, out, accum),
        }
    }
}

const fn binary_rows<V: Vector>() -> [Row<BinarySpec>; 1] {
    [Row::on::<V>(names!("vector"), ROUNDING, binary_vector::<V>)]
}

/// `binary`: inputs `x`, `y`; output `out`. A product's gradient is a product, so there is no table for it.
pub static BINARY: Table<BinarySpec> = Table {
    op: "binary",
    valid: BinarySpec::valid,
    signature: |s| Signature {
        inputs: vec![Operand::any("x", s.len), Operand::any("y", s.len)],
        outputs: vec![Operand::any("out", s.len)],
    },
    flops: |s| s.len as u64,
    terms: |_| 1,
    accumulates: true,
    cases: || {
        [Binary::Add, Binary::Mul].into_iter().flat_map(|op| [1, 15, 65, 40_000].map(|len| BinarySpec { op, len })).collect()
    },
    joined: Vec::new(),
    cuda: crate::ops::pointwise::cuda::BINARY,
    rows: each_isa!(binary_rows, naive(ROUNDING, binary::<f32>, binary::<f64>)),
};

/// Dropout: zero with probability `p`, else divided by `1 - p`. The mask is a function of the seed, so forward and
/// backward are the same problem and nothing is saved.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DropoutSpec {
    /// Probability of zero, below 1.
    pub p: f64,
    /// Which mask.
    pub seed: u64,
    /// Elements.
    pub len: usize,
}

impl DropoutSpec {
    /// What is wrong with the sizes.
    fn valid(&self) -> Result<(), String> {
        elements("x", &[self.len]).map(|_| ())
    }
}

impl fmt::Display for DropoutSpec {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "p{} seed{} len{}", self.p, self.seed, self.len)
    }
}

fn dropout<T: Real, const THREADS: bool>(s: &DropoutSpec, inputs: &[&Buffer], outputs: &mut [&mut Buffer], accum: Accum) {
    let x = inputs[0].as_slice::<T>();
    let keep = T::of(1.0 / (1.0 - s.p));
    each::<T, THREADS>(outputs[0].as_mut_slice(), accum, |i| {
        if f64::from(random::uniform(s.seed, i as u64)) < s.p { T::ZERO } else { x[i] * keep }
    });
}

/// `dropout`: input `x` (or `dout`); output `out` (or `dx`).
pub static DROPOUT: Table<DropoutSpec> = Table {
    op: "dropout",
    valid: DropoutSpec::valid,
    signature: |s| Signature { inputs: vec![Operand::any("x", s.len)], outputs: vec![Operand::any("out", s.len)] },
    flops: |s| s.len as u64,
    terms: |_| 1,
    accumulates: true,
    cases: || [(0.0, 7), (0.5, 100), (0.3, 40_000)].map(|(p, len)| DropoutSpec { p, seed: 11, len }).to_vec(),
    joined: Vec::new(),
    cuda: crate::ops::pointwise::cuda::DROPOUT,
    rows: &[&threaded(ROUNDING, dropout::<f32, true>), &naive(ROUNDING, dropout::<f32, false>, dropout::<f64, false>)],
};
