//! The sum of squares of all numbers: of the gradients of a step, the square of their norm.
//!
//! The sum is a number and its rounding error (Dekker, Numerische Mathematik 1971): with both, sums over many tensors keep about 48 bits
//! in `f32` buffers.

use crate::core::buffer::Buffer;
use crate::core::device::Real;
use crate::core::sizes::elements;
use crate::core::table::{Accum, Operand, ROUNDING, Row, Signature, Table};
use crate::core::threads::par_work;
use crate::simd::rows::{self, each_isa, names};
use crate::simd::{self, Kernel, Vector};
use std::fmt;

/// A sum of squares of `len` numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SquaresSpec {
    /// Elements.
    pub len: usize,
}

impl SquaresSpec {
    /// Checks the sizes; a message about the first fault.
    fn valid(&self) -> Result<(), String> {
        elements("x", &[self.len]).map(|_| ())
    }
}

impl fmt::Display for SquaresSpec {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "len{}", self.len)
    }
}

/// Writes `sum`, or adds it, as a number and its rounding error.
fn put<T: Real>(out: &mut [T], sum: f64, accum: Accum) {
    let old = if accum == Accum::Add { out[0].wide() + out[1].wide() } else { 0.0 };
    let sum = old + sum;
    out[0] = T::of(sum);
    // An infinite sum has no error.
    out[1] = if sum.is_finite() { T::of(sum - out[0].wide()) } else { T::ZERO };
}

fn naive<T: Real>(_: &SquaresSpec, inputs: &[&Buffer], outputs: &mut [&mut Buffer], accum: Accum) {
    let sum = inputs[0].as_slice::<T>().iter().map(|v| v.wide() * v.wide()).sum();
    put(outputs[0].as_mut_slice::<T>(), sum, accum);
}

/// Numbers whose squares are added by one thread.
const CHUNK: usize = 1 << 15;

fn vector<V: Vector>(s: &SquaresSpec, inputs: &[&Buffer], outputs: &mut [&mut Buffer], accum: Accum) {
    simd::require::<V>();
    let x = inputs[0].as_slice::<f32>();
    let mut sums = vec![0.0f64; s.len.div_ceil(CHUNK)];
    par_work(&mut sums, 1, CHUNK, |first, sums| {
        for (sum, chunk) in sums.iter_mut().zip(x.chunks(CHUNK).skip(first)) {
            // SAFETY: the instructions are here (required).
            *sum = unsafe { V::run(Squares(chunk)) };
        }
    });
    put(outputs[0].as_mut_slice::<f32>(), sums.iter().sum(), accum);
}

struct Squares<'a>(&'a [f32]);

impl Kernel for Squares<'_> {
    type Out = f64;
    /// In `f64`, in which a square is exact: the same sum with any instructions.
    #[inline(always)]
    unsafe fn run<V: Vector>(self) -> f64 {
        let mut sums = [0.0f64; 32];
        for block in self.0.chunks(32) {
            for (sum, v) in sums.iter_mut().zip(block) {
                *sum += f64::from(*v) * f64::from(*v);
            }
        }
        sums.iter().sum()
    }
}

fn cases() -> Vec<SquaresSpec> {
    [1, 31, 77, 1000, CHUNK + 3, 5 * CHUNK + 17].map(|len| SquaresSpec { len }).to_vec()
}

const fn vector_rows<V: Vector>() -> [Row<SquaresSpec>; 1] {
    [Row::on::<V>(names!("vector"), ROUNDING, vector::<V>)]
}

/// `reduce.sum_squares`: input `x`; output the sum of its squares and that sum's rounding error.
pub static SUM_SQUARES: Table<SquaresSpec> = Table {
    op: "reduce.sum_squares",
    valid: SquaresSpec::valid,
    signature: |s| Signature { inputs: vec![Operand::any("x", s.len)], outputs: vec![Operand::any("sum", 2)] },
    flops: |s| 2 * s.len as u64,
    terms: |s| s.len.max(1),
    accumulates: true,
    cases,
    indices: None,
    joined: Vec::new(),
    cuda: crate::ops::reduce::cuda::SUM_SQUARES,
    rows: each_isa!(vector_rows, rows::naive(ROUNDING, naive::<f32>, naive::<f64>)),
};
