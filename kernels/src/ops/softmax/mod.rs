//! Softmax and log-softmax over the middle one of three dimensions: the classes of an image, or of each of its pixels.
//!
//! ```
//! use convscope_kernels::softmax::{FWD, SoftmaxSpec};
//! use convscope_kernels::{Accum, Buffer, Context, DType};
//!
//! let spec = SoftmaxSpec { rows: 1, cols: 2, inner: 1, log: false }; // logits [1,2]
//! let mut out = Buffer::new(DType::F32, 2);
//! FWD.run(&Context::default(), &spec, &[&Buffer::from_slice(&[0.0f32, 0.0])], &mut [&mut out], Accum::Write)?;
//! assert_eq!(out.as_slice::<f32>(), [0.5, 0.5]);
//! # Ok::<_, convscope_kernels::Error>(())
//! ```

pub(crate) mod cuda;

use crate::core::buffer::Buffer;
use crate::core::device::Real;
use crate::core::sizes::elements;
use crate::core::table::{Accum, Operand, Signature, TRANSCENDENTAL, Table};
use crate::simd::rows::naive;
use std::fmt;

/// A softmax problem: `rows * inner` independent ones of `cols` numbers each, with stride `inner`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SoftmaxSpec {
    /// Images.
    pub rows: usize,
    /// Numbers that sum to one.
    pub cols: usize,
    /// Pixels; 1 of a matrix.
    pub inner: usize,
    /// Whether the logarithm is wanted.
    pub log: bool,
}

impl SoftmaxSpec {
    /// Checks the sizes; a message about the first fault.
    fn valid(&self) -> Result<(), String> {
        elements("x", &[self.rows, self.cols, self.inner]).map(|_| ())
    }
    fn len(&self) -> usize {
        self.rows * self.cols * self.inner
    }
}

impl fmt::Display for SoftmaxSpec {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let SoftmaxSpec { rows, cols, inner, log } = self;
        write!(f, "{rows}x{cols}")?;
        if *inner != 1 {
            write!(f, "x{inner}")?;
        }
        f.write_str(if *log { " log" } else { "" })
    }
}

fn fwd<T: Real>(s: &SoftmaxSpec, inputs: &[&Buffer], outputs: &mut [&mut Buffer], accum: Accum) {
    let (x, out) = (inputs[0].as_slice::<T>(), outputs[0].as_mut_slice::<T>()); // [rows,cols,inner]
    let SoftmaxSpec { cols, inner, log, .. } = *s;
    let row = (cols * inner).max(1);
    for (x, out) in x.chunks_exact(row).zip(out.chunks_exact_mut(row)) {
        for i in 0..inner {
            let x = || x[i..].iter().step_by(inner);
            // The largest is subtracted so that no exponential overflows.
            let max = x().fold(T::NEG_INF, |m, v| if *v > m { *v } else { m });
            let sum: T = x().map(|v| (*v - max).exp()).sum();
            let log_sum = sum.ln();
            for (x, o) in x().zip(out[i..].iter_mut().step_by(inner)) {
                accum.put(o, if log { *x - max - log_sum } else { (*x - max).exp() / sum });
            }
        }
    }
}

fn bwd<T: Real>(s: &SoftmaxSpec, inputs: &[&Buffer], outputs: &mut [&mut Buffer], accum: Accum) {
    let (y, dout) = (inputs[0].as_slice::<T>(), inputs[1].as_slice::<T>());
    let SoftmaxSpec { cols, inner, log, .. } = *s;
    let row = (cols * inner).max(1);
    let rows = y.chunks_exact(row).zip(dout.chunks_exact(row));
    for ((y, dout), dx) in rows.zip(outputs[0].as_mut_slice::<T>().chunks_exact_mut(row)) {
        for i in 0..inner {
            let pairs = || y[i..].iter().step_by(inner).zip(dout[i..].iter().step_by(inner));
            // softmax: dx = y (dout - sum(y dout));  log-softmax: dx = dout - exp(y) sum(dout)
            let sum: T = pairs().map(|(y, d)| if log { *d } else { *y * *d }).sum();
            for ((y, d), dx) in pairs().zip(dx[i..].iter_mut().step_by(inner)) {
                accum.put(dx, if log { *d - y.exp() * sum } else { *y * (*d - sum) });
            }
        }
    }
}

fn cases() -> Vec<SoftmaxSpec> {
    let sizes = [(1, 1, 1), (3, 10, 1), (2, 1000, 1), (2, 21, 35), (1, 3, 300)];
    sizes.into_iter().flat_map(|(rows, cols, inner)| [false, true].map(|log| SoftmaxSpec { rows, cols, inner, log })).collect()
}

/// `softmax.fwd`: input `x`; output `out`.
pub static FWD: Table<SoftmaxSpec> = Table {
    op: "softmax.fwd",
    valid: SoftmaxSpec::valid,
    signature: |s| Signature { inputs: vec![Operand::any("x", s.len())], outputs: vec![Operand::any("out", s.len())] },
    flops: |s| 5 * s.len() as u64,
    terms: |s| s.cols,
    accumulates: true,
    cases,
    indices: None,
    joined: Vec::new(),
    cuda: crate::ops::softmax::cuda::FWD,
    rows: &[&naive(TRANSCENDENTAL, fwd::<f32>, fwd::<f64>)],
};

/// `softmax.bwd`: inputs `out`, `dout`; output `dx`.
pub static BWD: Table<SoftmaxSpec> = Table {
    op: "softmax.bwd",
    valid: SoftmaxSpec::valid,
    signature: |s| Signature {
        inputs: vec![Operand::any("out", s.len()), Operand::any("dout", s.len())],
        outputs: vec![Operand::any("dx", s.len())],
    },
    flops: |s| 4 * s.len() as u64,
    terms: |s| s.cols,
    accumulates: true,
    cases,
    indices: None,
    joined: Vec::new(),
    cuda: crate::ops::softmax::cuda::BWD,
    rows: &[&naive(TRANSCENDENTAL, bwd::<f32>, bwd::<f64>)],
};
