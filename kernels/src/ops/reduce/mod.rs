//! Sums over axes: `out[b] = scale * sum_{a,c} x[a,b,c]`, and back.
//!
//! With `a = 1` a sum over each row, with `b = 1` over everything, with `c = 1` over columns; over images and pixels it is the
//! gradient of a bias. A mean is a sum with `scale = 1 / count`.
//!
//! ```
//! use convscope_kernels::reduce::{FWD, ReduceSpec};
//! use convscope_kernels::{Accum, Buffer, Context, DType};
//!
//! let spec = ReduceSpec { a: 1, b: 2, c: 3, scale: 1.0 / 3.0 }; // The mean of each row of a [2,3] matrix.
//! let mut out = Buffer::new(DType::F32, 2);
//! FWD.run(&Context::default(), &spec, &[&Buffer::from_slice(&[1.0f32, 2.0, 3.0, 5.0, 5.0, 5.0])], &mut [&mut out], Accum::Write)?;
//! assert!((out.as_slice::<f32>()[0] - 2.0).abs() < 1e-6 && (out.as_slice::<f32>()[1] - 5.0).abs() < 1e-6);
//! # Ok::<_, convscope_kernels::Error>(())
//! ```

pub(crate) mod cuda;
mod squares;

pub use squares::{SUM_SQUARES, SquaresSpec};

use crate::core::buffer::Buffer;
use crate::core::device::Real;
use crate::core::sizes::elements;
use crate::core::table::{Accum, Operand, ROUNDING, Row, Signature, Table};
use crate::core::threads::par_work;
use crate::simd::elementwise::{Constant, Rows, par_map_planes, sum};
use crate::simd::rows::{each_isa, naive, names};
use crate::simd::{self, Kernel, Vector};
use std::fmt;

/// A sum over axes `a` and `c` of `x [a, b, c]`.
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
    /// Checks the sizes; a message about the first fault.
    fn valid(&self) -> Result<(), String> {
        if self.b > 0 && (self.a == 0 || self.c == 0) {
            return Err("a sum of nothing".to_string());
        }
        elements("x", &[self.a, self.b, self.c]).map(|_| ())
    }
    fn len(&self) -> usize {
        self.a * self.b * self.c
    }
}

impl fmt::Display for ReduceSpec {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}x[{}]x{} scale{:e}", self.a, self.b, self.c, self.scale)
    }
}

fn fwd<T: Real>(s: &ReduceSpec, inputs: &[&Buffer], outputs: &mut [&mut Buffer], accum: Accum) {
    let x = inputs[0].as_slice::<T>(); // x [a,b,c]
    for (b, out) in outputs[0].as_mut_slice::<T>().iter_mut().enumerate() {
        // Wide accumulation: a bias gradient sums over every pixel of a batch.
        let row = |a: usize| x[(a * s.b + b) * s.c..][..s.c].iter().map(|v| v.wide()).sum::<f64>();
        let sum: f64 = (0..s.a).map(row).sum();
        accum.put(out, T::of(sum * s.scale));
    }
}

fn fwd_vector<V: Vector>(s: &ReduceSpec, inputs: &[&Buffer], outputs: &mut [&mut Buffer], accum: Accum) {
    simd::require::<V>();
    let x = inputs[0].as_slice::<f32>(); // x [a,b,c]
    par_work(outputs[0].as_mut_slice::<f32>(), 1, s.a * s.c, |first, out| {
        // SAFETY: the instructions are here (required).
        unsafe { V::run(Sums { s, x, first, out, accum }) }
    });
}

/// The sums from `first` on, as many as `out` has.
struct Sums<'a> {
    s: &'a ReduceSpec,
    x: &'a [f32],
    first: usize,
    out: &'a mut [f32],
    accum: Accum,
}

impl Kernel for Sums<'_> {
    type Out = ();
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let Self { s, x, first, out, accum } = self;
        // SAFETY: the caller's.
        unsafe {
            if s.c == 1 {
                for (i, out) in out.chunks_mut(V::LANES).enumerate() {
                    columns::<V>(s, &x[first + i * V::LANES..], out, accum);
                }
                return;
            }
            for (b, out) in (first..).zip(out) {
                let all = Rows { start: b * s.c, rows: s.a, stride: s.b * s.c, len: s.c };
                accum.put(out, (sum::<V>(x, all) * s.scale) as f32);
            }
        }
    }
}

/// Sums down at most a vector of columns of the matrix `x [a, b]`.
///
/// # Safety
/// As [`Vector`].
#[inline(always)]
unsafe fn columns<V: Vector>(s: &ReduceSpec, x: &[f32], out: &mut [f32], accum: Accum) {
    /// Rows whose sum is rounded before it is added to the others.
    const BLOCK: usize = 256;
    let n = out.len();
    assert!(s.a == 0 || (s.a - 1) * s.b + n <= x.len());
    // SAFETY: the caller's; n numbers of each row lie inside.
    unsafe {
        let mut total = V::splat(0.0);
        for start in (0..s.a).step_by(BLOCK) {
            let mut sum = V::splat(0.0);
            for a in start..s.a.min(start + BLOCK) {
                let p = x.as_ptr().add(a * s.b);
                sum = sum.add(if n == V::LANES { V::load(p) } else { V::load_first(p, n) });
            }
            total = total.add(sum);
        }
        total = total.mul(V::splat(s.scale as f32));
        if accum == Accum::Add {
            total = total.add(V::load_first(out.as_ptr(), n));
        }
        total.store_first(out.as_mut_ptr(), n);
    }
}

fn bwd<T: Real>(s: &ReduceSpec, inputs: &[&Buffer], outputs: &mut [&mut Buffer], accum: Accum) {
    let dout = inputs[0].as_slice::<T>(); // dout [b]
    let dx = outputs[0].as_mut_slice::<T>(); // dx [a,b,c]
    for (i, dx) in dx.chunks_exact_mut(s.c.max(1)).enumerate() {
        let d = dout[i % s.b] * T::of(s.scale);
        dx.iter_mut().for_each(|v| accum.put(v, d));
    }
}

fn bwd_vector<V: Vector>(s: &ReduceSpec, inputs: &[&Buffer], outputs: &mut [&mut Buffer], accum: Accum) {
    simd::require::<V>();
    let dout = inputs[0].as_slice::<f32>(); // dout [b]
    let of = |i: usize| Constant { value: dout[i % s.b] * s.scale as f32 };
    // SAFETY: the instructions are here (required).
    unsafe { par_map_planes::<V, _, 0>(of, s.c, [], outputs[0].as_mut_slice(), accum) }
}

fn cases() -> Vec<ReduceSpec> {
    [
        (1, 1, 1),
        (1, 1, 70_000),
        (3, 5, 49),
        (65, 10, 1),
        (600, 37, 1),
        (1, 4, 130),
        (2, 33, 900),
        (90, 2, 30),
        (3, 15, 1),
        (2, 17, 1),
        (2, 3, 17),
    ]
    .map(|(a, b, c)| ReduceSpec { a, b, c, scale: 0.25 })
    .to_vec()
}

const fn fwd_rows<V: Vector>() -> [Row<ReduceSpec>; 1] {
    [Row::on::<V>(names!("vector"), ROUNDING, fwd_vector::<V>)]
}

/// `reduce.fwd`: input `x`; output `out`.
pub static FWD: Table<ReduceSpec> = Table {
    op: "reduce.fwd",
    valid: ReduceSpec::valid,
    signature: |s| Signature { inputs: vec![Operand::any("x", s.len())], outputs: vec![Operand::any("out", s.b)] },
    flops: |s| s.len() as u64,
    terms: |s| s.a * s.c,
    accumulates: true,
    cases,
    indices: None,
    joined: Vec::new(),
    cuda: crate::ops::reduce::cuda::FWD,
    rows: each_isa!(fwd_rows, naive(ROUNDING, fwd::<f32>, fwd::<f64>)),
};

const fn bwd_rows<V: Vector>() -> [Row<ReduceSpec>; 1] {
    [Row::on::<V>(names!("vector"), ROUNDING, bwd_vector::<V>)]
}

/// `reduce.bwd`: input `dout`; output `dx`.
pub static BWD: Table<ReduceSpec> = Table {
    op: "reduce.bwd",
    valid: ReduceSpec::valid,
    signature: |s| Signature { inputs: vec![Operand::any("dout", s.b)], outputs: vec![Operand::any("dx", s.len())] },
    flops: |s| s.len() as u64,
    terms: |_| 1,
    accumulates: true,
    cases,
    indices: None,
    joined: Vec::new(),
    cuda: crate::ops::reduce::cuda::BWD,
    rows: each_isa!(bwd_rows, naive(ROUNDING, bwd::<f32>, bwd::<f64>)),
};
