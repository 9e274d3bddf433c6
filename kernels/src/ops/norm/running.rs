//! The running statistics of batch normalisation: a moving average of those of the batches.

use crate::core::buffer::Buffer;
use crate::core::device::Real;
use crate::core::sizes::elements;
use crate::core::table::{Accum, Operand, ROUNDING, Row, Signature, Table};
use crate::core::threads::par_items;
use crate::simd::rows::{self, each_isa, names};
use crate::simd::{self, Kernel, Vector};
use std::fmt;

/// `out = (1 - momentum) * old + momentum * correction * batch` of `len` numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RunningSpec {
    /// Channels.
    pub len: usize,
    /// Share of the batch.
    pub momentum: f64,
    /// Factor on the batch's statistic: `n / (n - 1)` makes a biased variance of `n` numbers unbiased.
    pub correction: f64,
}

impl RunningSpec {
    /// Checks the sizes; a message about the first fault.
    fn valid(&self) -> Result<(), String> {
        elements("old", &[self.len]).map(|_| ())
    }
    /// In `f64`, rounded once.
    #[inline(always)]
    fn of<T: Real>(&self, old: T, batch: T) -> T {
        T::of((1.0 - self.momentum) * old.wide() + self.momentum * self.correction * batch.wide())
    }
}

impl fmt::Display for RunningSpec {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "len{} momentum{:e} correction{:e}", self.len, self.momentum, self.correction)
    }
}

fn naive<T: Real>(s: &RunningSpec, inputs: &[&Buffer], outputs: &mut [&mut Buffer], _: Accum) {
    let (old, batch) = (inputs[0].as_slice::<T>(), inputs[1].as_slice::<T>());
    outputs[0]
        .as_mut_slice::<T>()
        .iter_mut()
        .zip(old.iter().zip(batch))
        .for_each(|(out, (old, batch))| *out = s.of(*old, *batch));
}

fn vector<V: Vector>(s: &RunningSpec, inputs: &[&Buffer], outputs: &mut [&mut Buffer], _: Accum) {
    simd::require::<V>();
    let (old, batch) = (inputs[0].as_slice::<f32>(), inputs[1].as_slice::<f32>());
    par_items(outputs[0].as_mut_slice::<f32>(), 1, |first, out| {
        // SAFETY: the instructions are here (required).
        unsafe { V::run(Running { s, old: &old[first..], batch: &batch[first..], out }) }
    });
}

struct Running<'a> {
    s: &'a RunningSpec,
    old: &'a [f32],
    batch: &'a [f32],
    out: &'a mut [f32],
}

impl Kernel for Running<'_> {
    type Out = ();
    /// The naive loop, compiled with the instructions of `V`.
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        for (out, (old, batch)) in self.out.iter_mut().zip(self.old.iter().zip(self.batch)) {
            *out = self.s.of(*old, *batch);
        }
    }
}

fn cases() -> Vec<RunningSpec> {
    [(1, 0.1, 1.0), (77, 0.1, 33.0 / 32.0), (70_001, 0.9, 2.0)]
        .map(|(len, momentum, correction)| RunningSpec { len, momentum, correction })
        .to_vec()
}

const fn vector_rows<V: Vector>() -> [Row<RunningSpec>; 1] {
    [Row::on::<V>(names!("vector"), ROUNDING, vector::<V>)]
}

/// `norm.running`: inputs the running statistic `old` and the `batch`'s; output the new running statistic.
pub static RUNNING: Table<RunningSpec> = Table {
    op: "norm.running",
    valid: RunningSpec::valid,
    signature: |s| Signature {
        inputs: vec![Operand::any("old", s.len), Operand::any("batch", s.len)],
        outputs: vec![Operand::any("new", s.len)],
    },
    flops: |s| 3 * s.len as u64,
    terms: |_| 1,
    accumulates: false,
    cases,
    indices: None,
    joined: Vec::new(),
    cuda: crate::ops::norm::cuda::RUNNING,
    rows: each_isa!(vector_rows, rows::naive(ROUNDING, naive::<f32>, naive::<f64>)),
};
