//! Element by element: activations, sums and products, dropout.

use crate::buffer::Buffer;
use crate::cuda;
use crate::device::Real;
use crate::random;
use crate::simd::Vector;
use crate::stream::{lanes, par_map};
use crate::table::{Accum, Operand, ROUNDING, Signature, TRANSCENDENTAL, Table, threaded_rows, vector_rows};
use crate::threads::par_items;
use std::fmt;

/// A function of one number. Gradients are computed from its value, so its argument need not be kept.
#[derive(Clone, Copy, Debug, PartialEq)]
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
    /// `factor * x`
    Scale(f64),
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

impl fmt::Display for UnarySpec {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{:?} {:?} len{}", self.op, self.rule, self.len)
    }
}

impl Unary {
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
            Unary::Relu6 => {
                if x < T::ZERO {
                    T::ZERO
                } else if x > T::of(6.0) {
                    T::of(6.0)
                } else {
                    x
                }
            }
            Unary::LeakyRelu(slope) => {
                if x < T::ZERO {
                    T::of(slope) * x
                } else {
                    x
                }
            }
            Unary::Sigmoid => T::ONE / (T::ONE + (-x).exp()),
            Unary::Softplus => {
                let (above, below) = if x < T::ZERO { (T::ZERO, x) } else { (x, -x) };
                above + below.exp().ln_1p()
            }
            Unary::Scale(factor) => T::of(factor) * x,
        }
    }

    #[inline(always)]
    fn gradient<T: Real>(self, rule: ReluRule, y: T, dout: T) -> T {
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
            Unary::Scale(factor) => T::of(factor) * dout,
        }
    }
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
         Unary::Sigmoid => Unary::Sigmoid, Unary::Softplus => Unary::Softplus, Unary::Scale(a) => Unary::Scale(a));
}

fn unary_bwd<T: Real, const THREADS: bool>(s: &UnarySpec, inputs: &[&Buffer], outputs: &mut [&mut Buffer], accum: Accum) {
    let (y, dout) = (inputs[0].as_slice::<T>(), inputs[1].as_slice::<T>());
    each::<T, THREADS>(outputs[0].as_mut_slice(), accum, |i| s.op.gradient(s.rule, y[i], dout[i]));
}

lanes!(Relu {} V [x] => V::splat(0.0).max(x));
lanes!(Relu6 {} V [x] => {
    let y = V::splat(0.0).max(x);
    V::select(y.above(V::splat(6.0)), V::splat(6.0), y)
});
lanes!(LeakyRelu { slope } V [x] => V::select(V::splat(0.0).above(x), slope.mul(x), x));
lanes!(Scale { factor } V [x] => factor.mul(x));

// Gradients at value `y`.
lanes!(ReluGate {} V [y, dout] => V::select(y.above(V::splat(0.0)), dout, V::splat(0.0)));
lanes!(Relu6Gate {} V [y, dout] => V::select(V::splat(6.0).above(y), ReluGate {}.of([y, dout]), V::splat(0.0)));
lanes!(LeakyReluGate { slope } V [y, dout] => V::select(y.above(V::splat(0.0)), dout, slope.mul(dout)));
// Gradients of which only the positive pass.
lanes!(Positive {} V [dout] => V::select(dout.above(V::splat(0.0)), dout, V::splat(0.0)));
lanes!(GuidedRelu {} V [y, dout] => ReluGate {}.of([y, Positive {}.of([dout])]));
lanes!(GuidedRelu6 {} V [y, dout] => Relu6Gate {}.of([y, Positive {}.of([dout])]));

lanes!(Sum {} V [x, y] => x.add(y));
lanes!(Product {} V [x, y] => x.mul(y));

fn vector_fits(s: &UnarySpec) -> Result<(), &'static str> {
    if matches!(s.op, Unary::Sigmoid | Unary::Softplus) { Err("there is no exponential for vectors") } else { Ok(()) }
}

fn unary_fwd_vector<V: Vector>(s: &UnarySpec, inputs: &[&Buffer], outputs: &mut [&mut Buffer], accum: Accum) {
    let (x, out) = (inputs[0].as_slice::<f32>(), outputs[0].as_mut_slice::<f32>());
    // SAFETY: the row is here only where the instructions of V are.
    unsafe {
        match s.op {
            Unary::Relu => par_map::<V, 1>(Relu {}, [x], out, accum),
            Unary::Relu6 => par_map::<V, 1>(Relu6 {}, [x], out, accum),
            Unary::LeakyRelu(slope) => par_map::<V, 1>(LeakyRelu { slope: slope as f32 }, [x], out, accum),
            Unary::Scale(factor) => par_map::<V, 1>(Scale { factor: factor as f32 }, [x], out, accum),
            Unary::Sigmoid | Unary::Softplus => unreachable!("the row takes all others"),
        }
    }
}

fn unary_bwd_vector<V: Vector>(s: &UnarySpec, inputs: &[&Buffer], outputs: &mut [&mut Buffer], accum: Accum) {
    let (y, dout) = (inputs[0].as_slice::<f32>(), inputs[1].as_slice::<f32>());
    let dx = outputs[0].as_mut_slice::<f32>();
    // SAFETY: the row is here only where the instructions of V are.
    unsafe {
        match (s.op, s.rule) {
            (Unary::Relu, ReluRule::Plain) => par_map::<V, 2>(ReluGate {}, [y, dout], dx, accum),
            (Unary::Relu6, ReluRule::Plain) => par_map::<V, 2>(Relu6Gate {}, [y, dout], dx, accum),
            (Unary::Relu, ReluRule::Guided) => par_map::<V, 2>(GuidedRelu {}, [y, dout], dx, accum),
            (Unary::Relu6, ReluRule::Guided) => par_map::<V, 2>(GuidedRelu6 {}, [y, dout], dx, accum),
            (Unary::Relu | Unary::Relu6, ReluRule::Deconv) => par_map::<V, 1>(Positive {}, [dout], dx, accum),
            (Unary::LeakyRelu(slope), _) => par_map::<V, 2>(LeakyReluGate { slope: slope as f32 }, [y, dout], dx, accum),
            (Unary::Scale(factor), _) => par_map::<V, 1>(Scale { factor: factor as f32 }, [dout], dx, accum),
            (Unary::Sigmoid | Unary::Softplus, _) => unreachable!("the row takes all others"),
        }
    }
}

fn unary_cases() -> Vec<UnarySpec> {
    let mut v = Vec::new();
    for op in [Unary::Relu, Unary::Relu6, Unary::LeakyRelu(0.1), Unary::Sigmoid, Unary::Softplus, Unary::Scale(-2.5)] {
        for rule in [ReluRule::Plain, ReluRule::Guided, ReluRule::Deconv] {
            v.extend([1, 63, 40_000].map(|len| UnarySpec { op, rule, len }));
        }
    }
    v
}

/// `unary.fwd`: input `x`; output `out`.
pub static UNARY_FWD: Table<UnarySpec> = Table {
    op: "unary.fwd",
    signature: |s| Signature { inputs: vec![Operand::any("x", s.len)], outputs: vec![Operand::any("out", s.len)] },
    flops: |s| s.len as u64,
    terms: |_| 1,
    accumulates: true,
    cases: unary_cases,
    cuda: cuda::pointwise::UNARY_FWD,
    rows: vector_rows!(unary_fwd_vector if vector_fits, unary_fwd, TRANSCENDENTAL),
};

/// `unary.bwd`: inputs `out`, `dout`; output `dx`.
pub static UNARY_BWD: Table<UnarySpec> = Table {
    op: "unary.bwd",
    signature: |s| Signature {
        inputs: vec![Operand::any("out", s.len), Operand::any("dout", s.len)],
        outputs: vec![Operand::any("dx", s.len)],
    },
    flops: |s| s.len as u64,
    terms: |_| 1,
    accumulates: true,
    cases: unary_cases,
    cuda: cuda::pointwise::UNARY_BWD,
    rows: vector_rows!(unary_bwd_vector if vector_fits, unary_bwd, ROUNDING),
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
    let xs = [inputs[0].as_slice::<f32>(), inputs[1].as_slice::<f32>()];
    let out = outputs[0].as_mut_slice::<f32>();
    // SAFETY: the row is here only where the instructions of V are.
    unsafe {
        match s.op {
            Binary::Add => par_map::<V, 2>(Sum {}, xs, out, accum),
            Binary::Mul => par_map::<V, 2>(Product {}, xs, out, accum),
        }
    }
}

/// `binary`: inputs `x`, `y`; output `out`. A product's gradient is a product, so there is no table for it.
pub static BINARY: Table<BinarySpec> = Table {
    op: "binary",
    signature: |s| Signature {
        inputs: vec![Operand::any("x", s.len), Operand::any("y", s.len)],
        outputs: vec![Operand::any("out", s.len)],
    },
    flops: |s| s.len as u64,
    terms: |_| 1,
    accumulates: true,
    cases: || [Binary::Add, Binary::Mul].into_iter().flat_map(|op| [1, 65, 40_000].map(|len| BinarySpec { op, len })).collect(),
    cuda: cuda::pointwise::BINARY,
    rows: vector_rows!(binary_vector, binary, ROUNDING),
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
    signature: |s| Signature { inputs: vec![Operand::any("x", s.len)], outputs: vec![Operand::any("out", s.len)] },
    flops: |s| s.len as u64,
    terms: |_| 1,
    accumulates: true,
    cases: || [(0.0, 7), (0.5, 100), (0.3, 40_000)].map(|(p, len)| DropoutSpec { p, seed: 11, len }).to_vec(),
    cuda: cuda::pointwise::DROPOUT,
    rows: threaded_rows!(dropout, ROUNDING),
};
