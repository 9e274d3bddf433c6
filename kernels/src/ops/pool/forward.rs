//! Forward pooling.

use super::{PoolSpec, Windows, each_plane};
use crate::core::buffer::Buffer;
use crate::core::device::Real;
use crate::core::table::Accum;
use crate::core::threads::{par_work, par_work2};
use crate::simd::elementwise::{Rows, sum};
use crate::simd::{self, Kernel, Vector};
use std::ops::Range;

/// Maximum of a window and its index in the plane; NaN wins, as in PyTorch.
#[inline(always)]
fn max_of<T: Real>(w: usize, x: &[T], ys: Range<usize>, xs: Range<usize>) -> (T, u32) {
    let (mut best, mut at) = (T::NEG_INF, ys.start * w + xs.start);
    for y in ys {
        let start = y * w + xs.start;
        for (i, &v) in (start..).zip(&x[start..y * w + xs.end]) {
            // The second test is true for NaN only.
            if v > best || v.partial_cmp(&v).is_none() {
                (best, at) = (v, i);
            }
        }
    }
    (best, at as u32)
}

fn max_planes<T: Real>(s: &PoolSpec, first: usize, x: &[T], out: &mut [T], arg: &mut [u32]) {
    let ([oh, ow], ip) = (s.out_hw(), s.in_plane());
    let planes = out.chunks_exact_mut(oh * ow).zip(arg.chunks_exact_mut(oh * ow));
    for (x, (out, arg)) in x[first * ip..].chunks_exact(ip).zip(planes) {
        for oy in 0..oh {
            for ox in 0..ow {
                let i = oy * ow + ox;
                (out[i], arg[i]) = max_of(s.w, x, s.window(0, oy).0, s.window(1, ox).0);
            }
        }
    }
}

pub(super) fn max_fwd<T: Real, const THREADS: bool>(s: &PoolSpec, inputs: &[&Buffer], outputs: &mut [&mut Buffer], _: Accum) {
    let x = inputs[0].as_slice::<T>(); // x [planes,h,w]
    let [out, arg] = outputs else { unreachable!("the table checked the number of outputs") };
    let (out, arg) = (out.as_mut_slice::<T>(), arg.as_mut_slice::<u32>()); // [planes,oh,ow]
    if THREADS {
        par_work2(out, arg, s.out_plane().max(1), s.in_plane(), |first, out, arg| max_planes(s, first, x, out, arg));
    } else {
        max_planes(s, 0, x, out, arg);
    }
}

pub(super) fn max_vector_fits(s: &PoolSpec) -> Result<(), &'static str> {
    match s.windows {
        Windows::Sliding { stride: [_, 1 | 2], .. } if s.in_plane() <= 1 << 24 => Ok(()),
        Windows::Sliding { stride: [_, 1 | 2], .. } => Err("indices must be exact in f32"),
        _ => Err("wants windows that move by one or two columns"),
    }
}

/// Max pooling, a vector of outputs at a time: the windows' first columns, then their second ones and so on, row after row.
///
/// With stride 2 the columns lie at every second index, so one deinterleave of a row serves two of them. Indices are `f32` numbers
/// until they are stored: they go where the maxima go. What hangs over the left or right edge is left to [`max_of`].
pub(super) fn max_fwd_vector<V: Vector>(s: &PoolSpec, inputs: &[&Buffer], outputs: &mut [&mut Buffer], _: Accum) {
    simd::require::<V>();
    let x = inputs[0].as_slice::<f32>(); // x [planes,h,w]
    let [out, arg] = outputs else { unreachable!("the table checked the number of outputs") };
    let (out, arg) = (out.as_mut_slice::<f32>(), arg.as_mut_slice::<u32>()); // [planes,oh,ow]
    par_work2(out, arg, s.out_plane().max(1), s.in_plane(), |first, out, arg| {
        let x = &x[first * s.in_plane()..];
        // SAFETY: the instructions are here (required).
        unsafe { V::run(MaxPlanes { s, x, out, arg }) }
    });
}

struct MaxPlanes<'a> {
    s: &'a PoolSpec,
    x: &'a [f32],
    out: &'a mut [f32],
    arg: &'a mut [u32],
}

impl Kernel for MaxPlanes<'_> {
    type Out = ();
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let Windows::Sliding { kernel: [_, kw], stride: [_, step], padding: [_, _, left, _], .. } = self.s.windows else {
            unreachable!("the row takes sliding windows only")
        };
        // SAFETY: the caller's.
        unsafe {
            match (step, kw) {
                (2, 2) => self.planes::<V, 2>(left, 2),
                (2, 3) => self.planes::<V, 2>(left, 3),
                (2, _) => self.planes::<V, 2>(left, kw),
                (_, 3) => self.planes::<V, 1>(left, 3),
                (_, _) => self.planes::<V, 1>(left, kw),
            }
        }
    }
}

impl MaxPlanes<'_> {
    /// # Safety
    /// As [`Vector`]; `STEP` is the horizontal stride and `kw` the width of the windows, whose left padding is `left`.
    #[inline(always)]
    unsafe fn planes<V: Vector, const STEP: usize>(self, left: usize, kw: usize) {
        let Self { s, x, out, arg } = self;
        let ([oh, ow], (h, w)) = (s.out_hw(), (s.h, s.w));
        // Outputs of a row whose windows lie between its ends.
        let end = ((w + left + STEP).saturating_sub(kw) / STEP).min(ow);
        let inner = left.div_ceil(STEP).min(end)..end;
        let planes = out.chunks_exact_mut(oh * ow).zip(arg.chunks_exact_mut(oh * ow));
        for (x, (out, arg)) in x.chunks_exact(h * w).zip(planes) {
            for oy in 0..oh {
                let (ys, row) = (s.window(0, oy).0, oy * ow);
                for ox in (0..inner.start).chain(inner.end..ow) {
                    (out[row + ox], arg[row + ox]) = max_of(w, x, ys.clone(), s.window(1, ox).0);
                }
                for ox in inner.clone().step_by(V::LANES) {
                    let n = (inner.end - ox).min(V::LANES);
                    let column = ox * STEP - left;
                    // SAFETY: the windows of n outputs from ox lie inside the plane.
                    unsafe {
                        let Best { value, at } = max_block::<V, STEP>(x, w, ys.clone(), column, kw, n);
                        let (out, arg) = (&mut out[row + ox..][..n], &mut arg[row + ox..][..n]);
                        if n == V::LANES {
                            value.store(out.as_mut_ptr());
                        } else {
                            value.store_first(out.as_mut_ptr(), n);
                        }
                        at.store_first_whole(arg.as_mut_ptr(), n);
                    }
                }
            }
        }
    }
}

/// The largest number so far of each window, and where the vector's first window would have it.
#[derive(Clone, Copy)]
struct Best<V> {
    value: V,
    at: V,
}

impl<V: Vector> Best<V> {
    /// Of these and of later ones.
    ///
    /// # Safety
    /// As [`Vector`].
    #[inline(always)]
    unsafe fn or(self, later: Self) -> Self {
        // SAFETY: the caller's, as [`Vector`] says.
        unsafe {
            let better = later.value.gt_or_nan(self.value);
            Best { value: V::select(better, later.value, self.value), at: V::select(better, later.at, self.at) }
        }
    }
}

/// Maxima and indices of `n` windows of `ys` (at least one) x `kw` from `column` on.
///
/// # Safety
/// As [`Vector`]; the windows lie inside `x`, whose rows have `w` numbers.
#[inline(always)]
unsafe fn max_block<V: Vector, const STEP: usize>(
    x: &[f32],
    w: usize,
    ys: Range<usize>,
    column: usize,
    kw: usize,
    n: usize,
) -> Best<V> {
    const LANE_INDICES: [f32; 16] = [0., 1., 2., 3., 4., 5., 6., 7., 8., 9., 10., 11., 12., 13., 14., 15.];
    // SAFETY: the caller's.
    unsafe {
        let first = ys.start * w + column;
        let mut best = max_row::<V, STEP>(x.as_ptr().add(first), w - column, kw, n);
        best.at = V::load(LANE_INDICES.as_ptr()).mul_add(V::splat(STEP as f32), best.at.add(V::splat(first as f32)));
        for y in ys.skip(1) {
            let first = y * w + column;
            let row = max_row::<V, STEP>(x.as_ptr().add(first), w - column, kw, n);
            let indices = V::load(LANE_INDICES.as_ptr()).mul_add(V::splat(STEP as f32), V::splat(first as f32));
            best = best.or(Best { at: row.at.add(indices), ..row });
        }
        best
    }
}

/// Maxima of one row of `n` windows from `p` on, and their columns.
///
/// # Safety
/// As [`Vector`]; there are `remaining` numbers at `p`, and the windows lie inside.
#[inline(always)]
unsafe fn max_row<V: Vector, const STEP: usize>(p: *const f32, remaining: usize, kw: usize, n: usize) -> Best<V> {
    // SAFETY: the caller's; masked loads stay within `remaining`.
    unsafe {
        let mut best = Best { value: V::splat(f32::NEG_INFINITY), at: V::splat(0.0) };
        for kx in (0..kw).step_by(STEP) {
            let (p, remaining) = (p.add(kx), remaining - kx);
            let [v, next] = if STEP == 1 {
                [if n == V::LANES { V::load(p) } else { V::load_first(p, n) }; 2]
            } else {
                V::deinterleave_first(p, remaining)
            };
            let v = Best { value: v, at: V::splat(kx as f32) };
            best = if kx == 0 { v } else { best.or(v) };
            if STEP == 2 && kx + 1 < kw {
                best = best.or(Best { value: next, at: V::splat((kx + 1) as f32) });
            }
        }
        best
    }
}

pub(super) fn avg_fwd<T: Real, const THREADS: bool>(s: &PoolSpec, inputs: &[&Buffer], outputs: &mut [&mut Buffer], accum: Accum) {
    let x = inputs[0].as_slice::<T>(); // x [planes,h,w]
    let ([oh, ow], ip) = (s.out_hw(), s.in_plane());
    each_plane::<T, THREADS>(outputs[0].as_mut_slice(), oh * ow, |i, out| {
        let x = &x[i * ip..][..ip];
        for oy in 0..oh {
            let (ys, ny) = s.window(0, oy);
            for ox in 0..ow {
                let (xs, nx) = s.window(1, ox);
                let sum: T = ys.clone().map(|y| x[y * s.w..][xs.clone()].iter().copied().sum::<T>()).sum();
                accum.put(&mut out[oy * ow + ox], sum / T::of((ny * nx) as f64));
            }
        }
    });
}

pub(super) fn is_global(s: &PoolSpec) -> Result<(), &'static str> {
    if s.windows == (Windows::Adaptive { out: [1, 1] }) { Ok(()) } else { Err("wants one window over the whole plane") }
}

pub(super) fn avg_fwd_vector<V: Vector>(s: &PoolSpec, inputs: &[&Buffer], outputs: &mut [&mut Buffer], accum: Accum) {
    simd::require::<V>();
    let (x, plane) = (inputs[0].as_slice::<f32>(), s.in_plane()); // x [planes,h,w]
    par_work(outputs[0].as_mut_slice::<f32>(), 1, plane, |first, out| {
        // SAFETY: the instructions are here (required).
        unsafe { V::run(Means { x: &x[first * plane..], plane, out, accum }) }
    });
}

struct Means<'a> {
    x: &'a [f32],
    plane: usize,
    out: &'a mut [f32],
    accum: Accum,
}

impl Kernel for Means<'_> {
    type Out = ();
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        for (i, out) in self.out.iter_mut().enumerate() {
            let all = Rows { start: i * self.plane, rows: 1, stride: 0, len: self.plane };
            // SAFETY: the caller's.
            self.accum.put(out, (unsafe { sum::<V>(self.x, all) } / self.plane as f64) as f32);
        }
    }
}
