//! gemm variant for a few rows: a dense layer on a few images, forward and its input gradient.
//!
//! Computes  c[i,j] (+)= dot(a[i,:], b[j,:]) (+ bias[j])   where `b` is transposed,   c[i,:] (+)= sum_k a[i,k] b[k,:]   where it is not
//! packed wastes: it copies all of `b` (VGG's first dense layer: 411 MB) to use each number a few times.
//! This variant:  streams `b` once as it lies, columns shared out over the threads; it is bound by memory, not arithmetic. All rows
//!                of `a` meet a block of `b` while it is in the cache.
//! Loses when:    `a` has more rows than a register tile.

use super::{Bias, GemmSpec};
use crate::core::buffer::Buffer;
use crate::core::table::Accum;
use crate::simd::{self, Kernel, Vector};
use rayon::prelude::*;
use std::ops::Range;

/// Rows of `a` at most.
const ROWS: usize = 8;
/// Steps of dot products at a time: so many numbers of each row of `a` stay in L1.
const STEPS: usize = 1024;
/// Columns that a task takes at least.
const COLUMNS: usize = 16;
/// Numbers of `c` that a task sums up in L2 while it reads all of its columns of `b`.
const SUMS: usize = 16 << 10;
/// Multiply-adds below which starting threads costs more than it saves.
const SMALL: usize = 1 << 16;

pub(super) fn supported(s: &GemmSpec) -> Result<(), &'static str> {
    match s {
        _ if s.m > ROWS => Err("wants at most 8 rows"),
        _ if s.ta && s.m > 1 => Err("wants rows of a that are not transposed"),
        _ => Ok(()),
    }
}

pub(super) fn run<V: Vector>(s: &GemmSpec, inputs: &[&Buffer], outputs: &mut [&mut Buffer], accum: Accum) {
    let bias = (s.bias == Bias::Columns).then(|| inputs[2].as_slice::<f32>());
    let (a, b) = (inputs[0].as_slice::<f32>(), inputs[1].as_slice::<f32>()); // a [m,k], b [k,n] or [n,k]
    let c = outputs[0].as_mut_slice::<f32>(); // c [m,n]
    simd::require::<V>();
    assert!(a.len() >= s.m * s.k && b.len() >= s.n * s.k);
    if s.m == 0 || s.n == 0 {
        return;
    }
    let columns = match s.tb {
        true => COLUMNS.max(s.n.div_ceil(256)),
        // An even number of nearly equal ranges.
        false => s.n.div_ceil(2 * s.n.div_ceil(2 * (SUMS / s.m))).max(COLUMNS),
    };
    let columns = if s.m * s.n * s.k < SMALL { s.n } else { columns };
    let tasks: Vec<Range<usize>> = (0..s.n).step_by(columns).map(|j| j..s.n.min(j + columns)).collect();
    let sums: Vec<Vec<f32>> = tasks
        .par_iter()
        .with_max_len(1)
        .map(|columns| {
            let mut sums = vec![0.0f32; s.m * columns.len()]; // [m, columns]
            let range = ColumnRange { s, a, b, columns: columns.clone(), sums: &mut sums };
            // SAFETY: the instructions are here, and the matrices are as large as the spec says (asserted).
            unsafe { if s.tb { V::run(Dots(range)) } else { V::run(Updates(range)) } }
            sums
        })
        .collect();
    for (columns, sums) in tasks.into_iter().zip(&sums) {
        for (i, sums) in sums.chunks_exact(columns.len()).enumerate() {
            for ((j, c), sum) in columns.clone().zip(&mut c[i * s.n + columns.start..]).zip(sums) {
                accum.put(c, sum + bias.map_or(0.0, |b| b[j]));
            }
        }
    }
}

/// Some columns of a product.
struct ColumnRange<'a> {
    s: &'a GemmSpec,
    a: &'a [f32],
    b: &'a [f32],
    columns: Range<usize>,
    /// `[m, columns]`, zero at first.
    sums: &'a mut [f32],
}

/// `b` transposed: both operands run along the sums.
struct Dots<'a>(ColumnRange<'a>);

impl Kernel for Dots<'_> {
    type Out = ();
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let ColumnRange { s, a, b, columns, sums } = self.0;
        let width = columns.len();
        // The same blocks for any number of rows: an image's sums do not depend on the others of its batch.
        for k0 in (0..s.k).step_by(STEPS) {
            let k = STEPS.min(s.k - k0);
            for j in (0..width).step_by(4) {
                let b = b[(columns.start + j) * s.k + k0..].as_ptr();
                // SAFETY: rows i .. and columns j .. exist, with k numbers each from k0 on.
                unsafe {
                    for i in (0..s.m).step_by(4) {
                        let a = a[i * s.k + k0..].as_ptr();
                        let sums = &mut sums[i * width + j..];
                        match ((s.m - i).min(4), (width - j).min(4)) {
                            (4, 4) => dots::<V, 4, 4>(a, b, s.k, k, sums, width),
                            (1, 4) => dots::<V, 1, 4>(a, b, s.k, k, sums, width),
                            (rows, few) => {
                                for (r, f) in (0..rows).flat_map(|r| (0..few).map(move |f| (r, f))) {
                                    dots::<V, 1, 1>(a.add(r * s.k), b.add(f * s.k), s.k, k, &mut sums[r * width + f..], width);
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Adds the dot products of `R` rows of `a` and `C` of `b`, with row stride `stride`, to `sums[R, C]`.
///
/// # Safety
/// As [`Vector`]; `k` numbers of each of the `R` rows from `a` on and the `C` rows from `b` on must be valid.
#[inline(always)]
unsafe fn dots<V: Vector, const R: usize, const C: usize>(
    a: *const f32,
    b: *const f32,
    stride: usize,
    k: usize,
    sums: &mut [f32],
    width: usize,
) {
    // SAFETY: the caller vouches for k numbers in each row.
    unsafe {
        let mut acc = [[V::splat(0.0); C]; R];
        let whole = k / V::LANES * V::LANES;
        for at in (0..whole).step_by(V::LANES) {
            let mut columns = [V::splat(0.0); C];
            for (j, v) in columns.iter_mut().enumerate() {
                *v = V::load(b.add(j * stride + at));
            }
            for (i, row) in acc.iter_mut().enumerate() {
                let x = V::load(a.add(i * stride + at));
                for (sum, y) in row.iter_mut().zip(columns) {
                    *sum = x.mul_add(y, *sum);
                }
            }
        }
        for (i, row) in acc.iter().enumerate() {
            for (j, sum) in row.iter().enumerate() {
                let mut sum = *sum;
                if whole < k {
                    let rest = |p: *const f32| V::load_first(p.add(whole), k - whole);
                    sum = rest(a.add(i * stride)).mul_add(rest(b.add(j * stride)), sum);
                }
                sums[i * width + j] += sum.sum();
            }
        }
    }
}

/// `b` as it is: sums are updated by one row of `b` after the other, four at a time.
struct Updates<'a>(ColumnRange<'a>);

impl Kernel for Updates<'_> {
    type Out = ();
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let ColumnRange { s, a, b, columns, sums } = self.0;
        let width = columns.len();
        let whole = width / V::LANES * V::LANES;
        // Stands for the rows beyond the last: a repetition of that one may hold infinities, whose product with zero is NaN.
        let zeros = vec![0.0f32; if s.k.is_multiple_of(4) { 0 } else { width }];
        for k in (0..s.k).step_by(4) {
            let some = 4.min(s.k - k);
            let rows: [&[f32]; 4] = std::array::from_fn(|q| match q < some {
                true => &b[(k + q) * s.n + columns.start..][..width],
                false => &zeros,
            });
            for (i, sums) in sums.chunks_exact_mut(width).enumerate() {
                let factor: [f32; 4] = std::array::from_fn(|q| if q < some { a[i * s.k + k + q] } else { 0.0 });
                // SAFETY: j + LANES <= width, the length of all five slices.
                unsafe {
                    let [f0, f1, f2, f3] = factor.map(|f| V::splat(f));
                    let [r0, r1, r2, r3] = rows.map(|r| r.as_ptr());
                    let c = sums.as_mut_ptr();
                    for j in (0..whole).step_by(V::LANES) {
                        let mut sum = f0.mul_add(V::load(r0.add(j)), V::load(c.add(j)));
                        sum = f1.mul_add(V::load(r1.add(j)), sum);
                        sum = f2.mul_add(V::load(r2.add(j)), sum);
                        f3.mul_add(V::load(r3.add(j)), sum).store(c.add(j));
                    }
                }
                for j in whole..width {
                    sums[j] += (0..4).map(|q| factor[q] * rows[q][j]).sum::<f32>();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::Buffer;
    use crate::core::context::Context;
    use crate::core::device::{DType, Device};
    use crate::core::table::Accum;
    use crate::ops::gemm::{Bias, GEMM, GemmSpec};

    /// An infinity in the last row of `b` stays one, however many rows there are.
    #[test]
    fn an_infinity_is_not_multiplied_by_zero() {
        let plain = Context::default();
        let rows: Vec<_> = GEMM.all_rows().filter(|r| r.name.starts_with("rows") && r.is_here(&plain, Device::Cpu)).collect();
        assert!(!rows.is_empty());
        for (row, k) in rows.iter().flat_map(|row| (1..=9).map(move |k| (row, k))) {
            let s = GemmSpec { m: 2, n: 37, k, ta: false, tb: false, bias: Bias::None };
            let a = Buffer::from_slice(&vec![0.5f32; s.m * s.k]);
            let mut b = vec![1.0f32; s.k * s.n];
            b[(k - 1) * s.n..].fill(f32::INFINITY);
            let b = Buffer::from_slice(&b);
            let mut c = Buffer::zeros(DType::F32, s.m * s.n);
            let named = plain.clone().with_rows(&format!("gemm={}", row.name)).unwrap();
            GEMM.run(&named, &s, &[&a, &b], &mut [&mut c], Accum::Write).unwrap();
            assert!(c.as_slice::<f32>().iter().all(|v| *v == f32::INFINITY), "{} with {k} rows", row.name);
        }
    }
}
