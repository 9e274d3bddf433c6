//! Element by element: activations, sums and products, dropout.
//!
//! ```
//! use convscope_kernels::pointwise::{ReluRule, UNARY_BWD, Unary, UnarySpec};
//! use convscope_kernels::{Accum, Buffer, Context, DType};
//!
//! // The gradient of a ReLU from its value and the gradient that comes in; guided backpropagation keeps positive gradients only.
//! let spec = UnarySpec { op: Unary::Relu, rule: ReluRule::Guided, len: 3 };
//! let (out, dout) = (Buffer::from_slice(&[0.0f32, 2.0, 2.0]), Buffer::from_slice(&[1.0f32, 1.0, -1.0]));
//! let mut dx = Buffer::new(DType::F32, 3);
//! UNARY_BWD.run(&Context::default(), &spec, &[&out, &dout], &mut [&mut dx], Accum::Write)?;
//! assert_eq!(dx.as_slice::<f32>(), [0.0, 1.0, 0.0]);
//! # Ok::<_, convscope_kernels::Error>(())
//! ```

pub(crate) mod cuda;
mod functions;

pub use functions::{EVERY, Reads, ReluRule, Unary};

use crate::core::buffer::Buffer;
use crate::core::device::Real;
use crate::core::random;
use crate::core::sizes::elements;
use crate::core::table::{Accum, Operand, ROUNDING, Row, Signature, TRANSCENDENTAL, Table};
use crate::core::threads::par_items;
use crate::simd::elementwise::{elementwise_fn, par_map};
use crate::simd::rows::{each_isa, naive, names, threaded};
use crate::simd::{self, Vector};
use std::fmt;

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
    /// Checks the sizes; a message about the first fault.
    fn valid(&self) -> Result<(), String> {
        elements("x", &[self.len]).map(|_| ())
    }
}

impl fmt::Display for UnarySpec {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{:?} {:?} len{}", self.op, self.rule, self.len)
    }
}

/// Runs `f(i)` for every element of `out`, on threads or not.
fn each<T: Real, const THREADS: bool>(out: &mut [T], accum: Accum, f: impl Fn(usize) -> T + Sync) {
    let run = |first: usize, chunk: &mut [T]| chunk.iter_mut().enumerate().for_each(|(i, o)| accum.put(o, f(first + i)));
    if THREADS { par_items(out, 1, run) } else { run(0, out) }
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

elementwise_fn!(Relu {} V [x] => V::splat(0.0).max(x));
elementwise_fn!(Clip { low, high } V [x] => {
    let y = low.max(x);
    V::select(y.gt(high), high, y)
});
elementwise_fn!(LeakyRelu { slope } V [x] => V::select(V::splat(0.0).gt(x), slope.mul(x), x));
elementwise_fn!(Affine { factor, shift } V [x] => factor.mul(x).add(shift));
elementwise_fn!(Scale { factor } V [x] => factor.mul(x));

// Gradients at value `y`.
elementwise_fn!(ReluGrad {} V [y, dout] => V::select(y.gt(V::splat(0.0)), dout, V::splat(0.0)));
elementwise_fn!(Relu6Grad {} V [y, dout] => V::select(V::splat(6.0).gt(y), ReluGrad {}.of([y, dout]), V::splat(0.0)));
elementwise_fn!(ClipGrad { low, high } V [y, dout] => {
    let open = V::select(y.gt(low), dout, V::splat(0.0));
    V::select(high.gt(y), open, V::splat(0.0))
});
elementwise_fn!(LeakyReluGrad { slope } V [y, dout] => V::select(y.gt(V::splat(0.0)), dout, slope.mul(dout)));
// Gradients of which only the positive pass.
elementwise_fn!(Positive {} V [dout] => V::select(dout.gt(V::splat(0.0)), dout, V::splat(0.0)));
elementwise_fn!(GuidedRelu {} V [y, dout] => ReluGrad {}.of([y, Positive {}.of([dout])]));
elementwise_fn!(GuidedRelu6 {} V [y, dout] => Relu6Grad {}.of([y, Positive {}.of([dout])]));

elementwise_fn!(Sum {} V [x, y] => x.add(y));
elementwise_fn!(Product {} V [x, y] => x.mul(y));

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
            (Unary::Relu, ReluRule::Plain) => par_map::<V, 2>(ReluGrad {}, [y, dout], dx, accum),
            (Unary::Relu6, ReluRule::Plain) => par_map::<V, 2>(Relu6Grad {}, [y, dout], dx, accum),
            (Unary::Relu, ReluRule::Guided) => par_map::<V, 2>(GuidedRelu {}, [y, dout], dx, accum),
            (Unary::Relu6, ReluRule::Guided) => par_map::<V, 2>(GuidedRelu6 {}, [y, dout], dx, accum),
            (Unary::Relu | Unary::Relu6, ReluRule::Deconv) => par_map::<V, 1>(Positive {}, [dout], dx, accum),
            (Unary::LeakyRelu(slope), _) => par_map::<V, 2>(LeakyReluGrad { slope: slope as f32 }, [y, dout], dx, accum),
            (Unary::Clip(low, high), _) => {
                par_map::<V, 2>(ClipGrad { low: low as f32, high: high as f32 }, [y, dout], dx, accum);
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
    indices: None,
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
    indices: None,
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
    /// Checks the sizes; a message about the first fault.
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
    indices: None,
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
    /// Checks the sizes; a message about the first fault.
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
    indices: None,
    joined: Vec::new(),
    cuda: crate::ops::pointwise::cuda::DROPOUT,
    rows: &[&threaded(ROUNDING, dropout::<f32, true>), &naive(ROUNDING, dropout::<f32, false>, dropout::<f64, false>)],
};
