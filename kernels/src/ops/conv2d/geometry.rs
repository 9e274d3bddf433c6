//! Where the kernel elements of a convolution read and write images: taps, the stride phases, rows with their borders.

use super::Conv2dSpec;
use crate::core::table::Accum;
use crate::simd::{Kernel, Vector};

/// Fills `to[..len]` with `from[first + i * step]`, zero where that is outside `from`.
///
/// # Safety
/// As [`Vector`]; `to` must be valid for `len` numbers.
#[inline(always)]
pub(super) unsafe fn gather<V: Vector>(to: *mut f32, len: usize, from: &[f32], first: isize, step: usize) {
    // The run of i whose source is inside: first + i*step in 0..from.len().
    let divide_up = |v: isize| if step == 1 { v } else { (v + step as isize - 1).div_euclid(step as isize) };
    let lo = divide_up(-first).clamp(0, len as isize) as usize;
    let hi = divide_up(from.len() as isize - first).clamp(lo as isize, len as isize) as usize;
    // SAFETY: `lo <= hi <= len`, and sources of lo..hi are inside `from`.
    unsafe {
        zero::<V>(to, lo);
        zero::<V>(to.add(hi), len - hi);
        let (to, n) = (to.add(lo), hi - lo);
        if n == 0 {
            return;
        }
        let from = &from[(first + (lo * step) as isize) as usize..];
        let mut i = 0;
        if step == 1 {
            while i + V::LANES <= n {
                V::load(from.as_ptr().add(i)).store(to.add(i));
                i += V::LANES;
            }
            V::load_first(from.as_ptr().add(i), n - i).store_first(to.add(i), n - i);
            return;
        }
        if step == 2 {
            while i + V::LANES <= n && 2 * (i + V::LANES) <= from.len() {
                V::deinterleave(from.as_ptr().add(2 * i))[0].store(to.add(i));
                i += V::LANES;
            }
        }
        for i in i..n {
            *to.add(i) = from[i * step];
        }
    }
}

/// # Safety
/// As [`Vector`]; `to` must be valid for `len` numbers.
#[inline(always)]
pub(super) unsafe fn zero<V: Vector>(to: *mut f32, len: usize) {
    // SAFETY: the caller's.
    unsafe {
        let mut i = 0;
        while i + V::LANES <= len {
            V::splat(0.0).store(to.add(i));
            i += V::LANES;
        }
        V::splat(0.0).store_first(to.add(i), len - i);
    }
}

/// Where each kernel element sees the input, `[dy, dx]` from `(y * stride, x * stride)` of an output pixel.
pub(super) fn forward_taps(s: &Conv2dSpec) -> Vec<[isize; 2]> {
    let [kh, kw] = s.kernel;
    let at = |k: usize, d: usize, pad: usize| (k * d) as isize - pad as isize;
    let along = |ky: usize| (0..kw).map(move |kx| [at(ky, s.dilation[0], s.padding[0]), at(kx, s.dilation[1], s.padding[2])]);
    (0..kh).flat_map(along).collect()
}

/// The input pixels whose row and column leave given remainders modulo the stride.
pub(super) struct StridePhase {
    /// First such row and column.
    pub origin: [usize; 2],
    /// Numbers of rows and columns.
    pub size: [usize; 2],
    /// Kernel elements `ky * kw + kx` that meet such a pixel, and where the output that they belong to lies from it.
    pub taps: Vec<(usize, [isize; 2])>,
}

/// All phases of a problem that have pixels. Input row `y` was read through `ky` by output row `(y + pt - ky*dh) / sh`, if that
/// divides.
pub(super) fn stride_phases(s: &Conv2dSpec) -> Vec<StridePhase> {
    let axis = |r: usize, a: usize, pad: usize| -> Vec<(usize, isize)> {
        let (stride, size) = (s.stride[a] as isize, s.kernel[a]);
        let from = |k: usize| (r + pad) as isize - (k * s.dilation[a]) as isize;
        (0..size).filter(|k| from(*k).rem_euclid(stride) == 0).map(|k| (k, from(k).div_euclid(stride))).collect()
    };
    let mut all = Vec::new();
    for ry in 0..s.stride[0].min(s.h) {
        for rx in 0..s.stride[1].min(s.w) {
            let (ys, xs) = (axis(ry, 0, s.padding[0]), axis(rx, 1, s.padding[2]));
            let kw = s.kernel[1];
            let taps = ys.iter().flat_map(|y| xs.iter().map(move |x| (y.0 * kw + x.0, [y.1, x.1]))).collect();
            let size = [(s.h - ry).div_ceil(s.stride[0]), (s.w - rx).div_ceil(s.stride[1])];
            all.push(StridePhase { origin: [ry, rx], size, taps });
        }
    }
    all
}

/// Interleaves the stride phases of a plane of `dx`.
pub(super) struct Interleave<'a> {
    pub s: &'a Conv2dSpec,
    /// For each phase, row by row, its plane (null: zeros) and the length of its rows.
    pub phases: &'a [(*const f32, usize)],
    pub plane: &'a mut [f32],
    pub accum: Accum,
}

impl Kernel for Interleave<'_> {
    type Out = ();
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let Interleave { s, phases, plane, accum } = self;
        let across = s.stride[1].min(s.w);
        for (y, to) in plane.chunks_exact_mut(s.w).enumerate() {
            let (phases, row) = (&phases[y % s.stride[0] * across..][..across], y / s.stride[0]);
            let &[a, b] = phases else {
                for (first, &(phase, w)) in phases.iter().enumerate() {
                    for (x, to) in to[first..].iter_mut().step_by(across).enumerate() {
                        // SAFETY: the plane of a phase has a number for each of its pixels.
                        accum.put(to, if phase.is_null() { 0.0 } else { unsafe { *phase.add(row * w + x) } });
                    }
                }
                continue;
            };
            for x in (0..to.len()).step_by(2 * V::LANES) {
                let here = (to.len() - x).min(2 * V::LANES);
                // SAFETY: as above; there is one even column more than odd ones where a row is odd.
                unsafe {
                    if here == 2 * V::LANES && !a.0.is_null() && !b.0.is_null() {
                        let to = to.as_mut_ptr().add(x);
                        let mut pair = [a, b].map(|(phase, w)| V::load(phase.add(row * w + x / 2)));
                        if accum == Accum::Add {
                            let old = V::deinterleave(to);
                            pair = [pair[0].add(old[0]), pair[1].add(old[1])];
                        }
                        V::interleave(pair, to);
                        continue;
                    }
                    let load = |(phase, w): (*const f32, usize), n: usize| match phase.is_null() {
                        true => V::splat(0.0),
                        false => V::load_first(phase.add(row * w + x / 2), n),
                    };
                    let mut pair = [0.0f32; 32];
                    V::interleave([load(a, here.div_ceil(2)), load(b, here / 2)], pair.as_mut_ptr());
                    for half in (0..here).step_by(V::LANES) {
                        let (n, to) = ((here - half).min(V::LANES), to[x + half..].as_mut_ptr());
                        let v = V::load(pair.as_ptr().add(half));
                        if accum == Accum::Add { v.add(V::load_first(to, n)) } else { v }.store_first(to, n);
                    }
                }
            }
        }
    }
}
