//! Sums over parts: `out[b] = scale * sum_{a,c} x[a,b,c]`, and back.
//!
//! With `a = 1` a sum over each row, with `b = 1` over everything, with `c = 1` over columns; over images and pixels it is the
//! gradient of a bias. A mean is a sum with `scale = 1 / count`.

use crate::buffer::Buffer;
use crate::device::Real;
use crate::table::{Accum, Operand, ROUNDING, Signature, Table, threaded_rows};
use crate::threads::par_items;
use std::fmt;

/// A sum over parts of `x [a, b, c]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ReduceSpec {
    /// Summed.
    pub a: usize,
    /// Kept.
    pub b: usize,
    /// Summed.
    pub c: usize,
    /// Factor on the sum.
    pub scale: f64,
}

impl ReduceSpec {
    fn len(&self) -> usize {
        self.a * self.b * self.c
    }
}

impl fmt::Display for ReduceSpec {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}x[{}]x{} scale{:e}", self.a, self.b, self.c, self.scale)
    }
}

fn fwd<T: Real, const THREADS: bool>(s: &ReduceSpec, inputs: &[&Buffer], outputs: &mut [&mut Buffer], accum: Accum) {
    let x = inputs[0].as_slice::<T>(); // x [a,b,c]
    let part = |first: usize, part: &mut [T]| {
        for (b, out) in (first..).zip(part) {
            // Wide accumulation: a bias gradient sums over every pixel of a batch.
            let row = |a: usize| x[(a * s.b + b) * s.c..][..s.c].iter().map(|v| v.wide()).sum::<f64>();
            let sum: f64 = (0..s.a).map(row).sum();
            accum.put(out, T::of(sum * s.scale));
        }
    };
    let out = outputs[0].as_mut_slice::<T>(); // out [b]
    if THREADS && s.len() > 1 << 14 {
        use rayon::prelude::*;
        out.par_chunks_mut(1).enumerate().for_each(|(b, out)| part(b, out));
    } else {
        part(0, out);
    }
}

fn bwd<T: Real, const THREADS: bool>(s: &ReduceSpec, inputs: &[&Buffer], outputs: &mut [&mut Buffer], accum: Accum) {
    let dout = inputs[0].as_slice::<T>(); // dout [b]
    let scale = T::of(s.scale);
    let item = s.c.max(1);
    let part = |first: usize, part: &mut [T]| {
        for (i, dx) in (first..).zip(part.chunks_exact_mut(item)) {
            let d = dout[i % s.b] * scale;
            dx.iter_mut().for_each(|v| accum.put(v, d));
        }
    };
    let dx = outputs[0].as_mut_slice::<T>(); // dx [a,b,c]
    if THREADS { par_items(dx, item, part) } else { part(0, dx) }
}

fn cases() -> Vec<ReduceSpec> {
    [(1, 1, 1), (1, 1, 70_000), (3, 5, 49), (65, 10, 1), (1, 4, 130), (2, 33, 900)]
        .map(|(a, b, c)| ReduceSpec { a, b, c, scale: 0.25 })
        .to_vec()
}

/// `reduce.fwd`: input `x`; output `out`.
pub static FWD: Table<ReduceSpec> = Table {
    op: "reduce.fwd",
    signature: |s| Signature { inputs: vec![Operand::any("x", s.len())], outputs: vec![Operand::any("out", s.b)] },
    flops: |s| s.len() as u64,
    terms: |s| s.a * s.c,
    accumulates: true,
    cases,
    rows: threaded_rows!(fwd, ROUNDING),
};

/// `reduce.bwd`: input `dout`; output `dx`.
pub static BWD: Table<ReduceSpec> = Table {
    op: "reduce.bwd",
    signature: |s| Signature { inputs: vec![Operand::any("dout", s.b)], outputs: vec![Operand::any("dx", s.len())] },
    flops: |s| s.len() as u64,
    terms: |_| 1,
    accumulates: true,
    cases,
    rows: threaded_rows!(bwd, ROUNDING),
};
