//! Softmax and log-softmax over the rows of a matrix.

use crate::buffer::Buffer;
use crate::cuda;
use crate::device::{DType, Real};
use crate::table::{Accum, Operand, Row, Signature, TRANSCENDENTAL, Table};
use std::fmt;

/// A softmax problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SoftmaxSpec {
    /// Independent rows.
    pub rows: usize,
    /// Elements of a row.
    pub cols: usize,
    /// Whether the logarithm is wanted.
    pub log: bool,
}

impl fmt::Display for SoftmaxSpec {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}x{}{}", self.rows, self.cols, if self.log { " log" } else { "" })
    }
}

fn fwd<T: Real>(s: &SoftmaxSpec, inputs: &[&Buffer], outputs: &mut [&mut Buffer], accum: Accum) {
    let (x, out) = (inputs[0].as_slice::<T>(), outputs[0].as_mut_slice::<T>()); // [rows,cols]
    for (x, out) in x.chunks_exact(s.cols.max(1)).zip(out.chunks_exact_mut(s.cols.max(1))) {
        // The largest is subtracted so that no exponential overflows.
        let max = x.iter().fold(T::NEG_INF, |m, v| if *v > m { *v } else { m });
        let sum: T = x.iter().map(|v| (*v - max).exp()).sum();
        let log_sum = sum.ln();
        for (x, o) in x.iter().zip(out) {
            accum.put(o, if s.log { *x - max - log_sum } else { (*x - max).exp() / sum });
        }
    }
}

fn bwd<T: Real>(s: &SoftmaxSpec, inputs: &[&Buffer], outputs: &mut [&mut Buffer], accum: Accum) {
    let (y, dout) = (inputs[0].as_slice::<T>(), inputs[1].as_slice::<T>());
    let cols = s.cols.max(1);
    let rows = y.chunks_exact(cols).zip(dout.chunks_exact(cols));
    for ((y, dout), dx) in rows.zip(outputs[0].as_mut_slice::<T>().chunks_exact_mut(cols)) {
        // softmax: dx = y (dout - sum(y dout));  log-softmax: dx = dout - exp(y) sum(dout)
        let sum: T = if s.log { dout.iter().copied().sum() } else { y.iter().zip(dout).map(|(y, d)| *y * *d).sum() };
        for ((y, d), dx) in y.iter().zip(dout).zip(dx) {
            accum.put(dx, if s.log { *d - y.exp() * sum } else { *y * (*d - sum) });
        }
    }
}

fn cases() -> Vec<SoftmaxSpec> {
    let sizes = [(1, 1), (3, 10), (2, 1000)];
    sizes.into_iter().flat_map(|(rows, cols)| [false, true].map(|log| SoftmaxSpec { rows, cols, log })).collect()
}

/// `softmax.fwd`: input `x`; output `out`.
pub static FWD: Table<SoftmaxSpec> = Table {
    op: "softmax.fwd",
    signature: |s| Signature {
        inputs: vec![Operand::any("x", s.rows * s.cols)],
        outputs: vec![Operand::any("out", s.rows * s.cols)],
    },
    flops: |s| 5 * (s.rows * s.cols) as u64,
    terms: |s| s.cols,
    accumulates: true,
    cases,
    cuda: cuda::softmax::FWD,
    rows: &[Row::cpu("naive", DType::F32, TRANSCENDENTAL, fwd::<f32>), Row::cpu("naive", DType::F64, TRANSCENDENTAL, fwd::<f64>)],
};

/// `softmax.bwd`: inputs `out`, `dout`; output `dx`.
pub static BWD: Table<SoftmaxSpec> = Table {
    op: "softmax.bwd",
    signature: |s| Signature {
        inputs: vec![Operand::any("out", s.rows * s.cols), Operand::any("dout", s.rows * s.cols)],
        outputs: vec![Operand::any("dx", s.rows * s.cols)],
    },
    flops: |s| 4 * (s.rows * s.cols) as u64,
    terms: |s| s.cols,
    accumulates: true,
    cases,
    cuda: cuda::softmax::BWD,
    rows: &[Row::cpu("naive", DType::F32, TRANSCENDENTAL, bwd::<f32>), Row::cpu("naive", DType::F64, TRANSCENDENTAL, bwd::<f64>)],
};
