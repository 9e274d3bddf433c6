//! The exponential moving average of a parameter over the steps of training (Polyak & Juditsky 1992).

use crate::core::buffer::Buffer;
use crate::core::device::Real;
use crate::core::sizes::elements;
use crate::core::table::{Accum, Operand, ROUNDING, Row, Signature, Table};
use crate::simd::elementwise::{elementwise_fn, par_map};
use crate::simd::rows::{self, each_isa, names};
use crate::simd::{self, Vector};
use std::fmt;

/// `out = average + rate * (w - average)` of `len` numbers: what does not change stays to the bit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EmaSpec {
    /// Elements.
    pub len: usize,
    /// Share of the new value: one less the decay.
    pub rate: f64,
}

impl EmaSpec {
    /// Checks the sizes; a message about the first fault.
    fn valid(&self) -> Result<(), String> {
        elements("w", &[self.len]).map(|_| ())
    }
}

impl fmt::Display for EmaSpec {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "len{} rate{:e}", self.len, self.rate)
    }
}

elementwise_fn!(
    /// `average + rate * (w - average)`
    Blend { rate } V [average, w] => average.add(rate.mul(w.sub(average)))
);

fn naive<T: Real>(s: &EmaSpec, inputs: &[&Buffer], outputs: &mut [&mut Buffer], _: Accum) {
    let (average, w) = (inputs[0].as_slice::<T>(), inputs[1].as_slice::<T>());
    let new = |(a, w): (&T, &T)| *a + T::of(s.rate) * (*w - *a);
    outputs[0].as_mut_slice::<T>().iter_mut().zip(average.iter().zip(w)).for_each(|(out, old)| *out = new(old));
}

fn vector<V: Vector>(s: &EmaSpec, inputs: &[&Buffer], outputs: &mut [&mut Buffer], accum: Accum) {
    simd::require::<V>();
    let inputs = [inputs[0].as_slice::<f32>(), inputs[1].as_slice::<f32>()];
    // SAFETY: the instructions are here (required).
    unsafe { par_map::<V, 2>(Blend { rate: s.rate as f32 }, inputs, outputs[0].as_mut_slice(), accum) }
}

fn cases() -> Vec<EmaSpec> {
    [(1, 0.9), (77, 0.001), (70_001, 0.1)].map(|(len, rate)| EmaSpec { len, rate }).to_vec()
}

const fn vector_rows<V: Vector>() -> [Row<EmaSpec>; 1] {
    [Row::on::<V>(names!("vector"), ROUNDING, vector::<V>)]
}

/// `optim.ema`: inputs `average` and the parameter `w`; output the new average.
pub static EMA: Table<EmaSpec> = Table {
    op: "optim.ema",
    valid: EmaSpec::valid,
    signature: |s| Signature {
        inputs: vec![Operand::any("average", s.len), Operand::any("w", s.len)],
        outputs: vec![Operand::any("new average", s.len)],
    },
    flops: |s| 3 * s.len as u64,
    terms: |_| 1,
    accumulates: false,
    cases,
    indices: None,
    joined: Vec::new(),
    cuda: crate::ops::optim::cuda::EMA,
    rows: each_isa!(vector_rows, rows::naive(ROUNDING, naive::<f32>, naive::<f64>)),
};
