//! conv2d rung 2 for groups of one input channel (depthwise): sums of shifted planes.
//!
//! Computes  out[oc] = sum over taps of w[oc, tap] * x[c] shifted by the tap (+ bias + residual, relu), and both gradients
//! Rung 1 wasted: it made a matrix product of each channel, whose panels hold one row of weights and are used once.
//! This rung:     lays zeros around a plane, and its columns and rows apart by stride phase, so that every
//!                tap of every convolution sees numbers that lie side by side. Outputs are summed in registers, a few rows at a
//!                time. `dx` is the same of `dout`, for each phase of its pixels; `dw` is one dot product a tap.
//! Loses when:    never where it fits: a group of one channel has nothing else to share.
//! Run:           CONVSCOPE_KERNEL=conv2d.fwd=depthwise_avx2

use crate::core::buffer::Buffer;
use crate::core::device::DType;
use crate::core::table::Accum;
use crate::ops::conv2d::Conv2dSpec;
use crate::ops::conv2d::geometry::{StridePhase, stride_phases};
use crate::simd::{self, Kernel, Vector};
use rayon::prelude::*;

/// Rows that are summed at a time, so that a weight is loaded once for all of them.
const ROWS: usize = 4;
/// Taps of a 3x3 kernel.
pub(in crate::ops::conv2d) const TAPS: usize = 9;
/// Multiply-adds that are too few for a second thread.
const FEW: usize = 1 << 17;
/// Numbers behind a plane that a vector may read beyond its end.
pub(in crate::ops::conv2d) const SLACK: usize = 16;

pub(in crate::ops::conv2d) fn fits(s: &Conv2dSpec) -> Result<(), &'static str> {
    if s.c == s.groups { Ok(()) } else { Err("wants groups of one input channel") }
}

/// Bytes of the planes with their zeros, for one thread.
pub(in crate::ops::conv2d) fn scratch(s: &Conv2dSpec) -> usize {
    4 * Padded::input(s).len().max(s.oc / s.groups * Padded::gradient(s, &stride_phases(s)).len() + s.h * s.w)
}

/// How planes lie with zeros around them: one part for each phase of rows and columns modulo `stride`.
pub(in crate::ops::conv2d) struct Padded {
    /// Numbers of a row of a plane.
    w: usize,
    /// Zeros above and to the left; negative where pixels are left out.
    pub before: [isize; 2],
    stride: [usize; 2],
    /// Rows of a part, and numbers from one to the next.
    rows: usize,
    pub pitch: usize,
    /// Of each phase of the columns: the first column, where it goes in a row of its part, and how many follow.
    columns: Vec<(usize, usize, usize)>,
}

impl Padded {
    fn new(w: usize, before: [isize; 2], stride: [usize; 2], [rows, pitch]: [usize; 2]) -> Self {
        let (step, skip) = (stride[1], (-before[1]).max(0) as usize);
        let columns = (skip..w).take(step).map(|x| {
            let at = (x as isize + before[1]) as usize;
            let (part, at) = (at % step * rows * pitch, (at / step).min(pitch));
            (x, part + at, (w - x).div_ceil(step).min(pitch - at))
        });
        Padded { w, before, stride, rows, pitch, columns: columns.collect() }
    }

    /// What the taps of `s` see of its input.
    pub fn input(s: &Conv2dSpec) -> Self {
        let [rows, pitch] = [0, 1].map(|i| s.out_hw()[i] + s.dilation[i] * (s.kernel[i] - 1) / s.stride[i]);
        let before = [s.padding[0] as isize, s.padding[2] as isize];
        Padded::new(s.w, before, s.stride, [rows, pitch])
    }

    /// What input pixels see of `dout`.
    pub fn gradient(s: &Conv2dSpec, phases: &[StridePhase]) -> Self {
        let taps = || phases.iter().flat_map(|r| r.taps.iter().map(move |t| (r, t.1)));
        let before = [0, 1].map(|i| -taps().map(|(_, at)| at[i]).min().unwrap_or(0));
        let [rows, pitch] = [0, 1].map(|i| {
            let ends = taps().map(|(r, at)| r.size[i] as isize + at[i] + before[i]);
            ends.max().unwrap_or(0) as usize
        });
        Padded::new(s.out_hw()[1], before, [1, 1], [rows, pitch])
    }

    fn part(&self) -> usize {
        self.rows * self.pitch
    }

    pub fn len(&self) -> usize {
        self.stride[0] * self.stride[1] * self.part() + SLACK
    }

    /// Where output (0, 0) finds the pixel that lies `[dy, dx]` from the corner of the zeros.
    pub fn offset(&self, [dy, dx]: [usize; 2]) -> usize {
        let [sh, sw] = self.stride;
        (dy % sh * sw + dx % sw) * self.part() + dy / sh * self.pitch + dx / sw
    }

    /// Lays out a plane; what lies around it is left as it is, zeros.
    ///
    /// # Safety
    /// As [`Vector`].
    #[inline(always)]
    pub unsafe fn fill<V: Vector>(&self, plane: &[f32], to: &mut [f32]) {
        let [sh, sw] = self.stride;
        // The phase of a row and its place among those, counted along: a division takes longer than a short row.
        let first = self.before[0].max(0) as usize;
        let (mut phase, mut row) = (first % sh, first / sh);
        for from in plane.chunks_exact(self.w).skip((-self.before[0]).max(0) as usize) {
            if row < self.rows {
                let to = &mut to[phase * sw * self.part() + row * self.pitch..];
                // SAFETY: the caller's.
                unsafe {
                    match self.columns[..] {
                        [(x, at, count)] if sw == 1 => copy::<V>(&from[x..][..count], &mut to[at..]),
                        [(0, even, evens), (1, odd, odds)] if sw == 2 => split::<V>(from, to, [(even, evens), (odd, odds)]),
                        _ => {
                            for &(x, at, count) in &self.columns {
                                let from = from[x..].iter().step_by(sw);
                                to[at..][..count].iter_mut().zip(from).for_each(|(to, v)| *to = *v);
                            }
                        }
                    }
                }
            }
            phase += 1;
            if phase == sh {
                (phase, row) = (0, row + 1);
            }
        }
    }
}

/// # Safety
/// As [`Vector`].
#[inline(always)]
unsafe fn copy<V: Vector>(from: &[f32], to: &mut [f32]) {
    let (from, to, len) = (from.as_ptr(), to[..from.len()].as_mut_ptr(), from.len());
    let mut x = 0;
    // SAFETY: the caller's; both have `len` numbers.
    unsafe {
        while x + V::LANES <= len {
            V::load(from.add(x)).store(to.add(x));
            x += V::LANES;
        }
        V::load_first(from.add(x), len - x).store_first(to.add(x), len - x);
    }
}

/// The numbers of `from` at even and at odd places, each to a place in `to`, and so many of them.
///
/// # Safety
/// As [`Vector`].
#[inline(always)]
unsafe fn split<V: Vector>(from: &[f32], to: &mut [f32], ends: [(usize, usize); 2]) {
    for (at, count) in ends {
        assert!(at + count <= to.len());
    }
    for x in (0..from.len()).step_by(2 * V::LANES) {
        let (p, room) = (from.as_ptr().wrapping_add(x), from.len() - x);
        // SAFETY: the caller's; loads end with `from`, stores with each count.
        unsafe {
            let parts = if room >= 2 * V::LANES {
                V::split2(p)
            } else {
                let beyond = V::load_first(p.wrapping_add(V::LANES), room.saturating_sub(V::LANES));
                V::unzip(V::load_first(p, room.min(V::LANES)), beyond)
            };
            for i in 0..2 {
                let (at, count) = ends[i];
                let n = count.saturating_sub(x / 2).min(V::LANES);
                parts[i].store_first(to.as_mut_ptr().wrapping_add(at + x / 2), n);
            }
        }
    }
}

/// A tap: where output (0, 0) finds its number, and its weight.
pub(in crate::ops::conv2d) type Tap = (usize, f32);

/// `to[y, x] = start + plus[y, x] + sum over taps of weight * field[offset + y * pitch + x]`
pub(in crate::ops::conv2d) struct Sums<'a> {
    pub field: &'a [f32],
    pub pitch: usize,
    pub taps: &'a [Tap],
    /// Rows and columns.
    pub size: [usize; 2],
    pub start: f32,
    /// May be `to` itself.
    pub plus: Option<*const f32>,
    pub relu: bool,
    pub to: *mut f32,
}

impl Sums<'_> {
    /// # Safety
    /// As [`Vector`]; `to` and `plus` must be valid for `size` numbers.
    #[inline(always)]
    pub unsafe fn run<V: Vector>(self) {
        let [rows, columns] = self.size;
        let furthest = self.taps.iter().map(|t| t.0).max().unwrap_or(0);
        let end = furthest + rows.saturating_sub(1) * self.pitch + columns.next_multiple_of(V::LANES);
        assert!(self.taps.is_empty() || end <= self.field.len());
        // SAFETY: the caller's; whole vectors of the furthest tap lie in the field.
        unsafe {
            match <&[Tap; TAPS]>::try_from(self.taps) {
                Ok(taps) => self.all::<V, _>(*taps),
                Err(_) => self.all::<V, _>(self.taps),
            }
        }
    }

    /// The taps apart, so that loops over a 3x3 kernel are unrolled.
    ///
    /// # Safety
    /// As [`Sums::run`]; whole vectors of the furthest tap lie in the field.
    #[inline(always)]
    unsafe fn all<V: Vector, T: AsRef<[Tap]> + Copy>(&self, taps: T) {
        let [rows, columns] = self.size;
        for y in (0..rows).step_by(ROWS) {
            for x in (0..columns).step_by(V::LANES) {
                // SAFETY: the caller's.
                unsafe {
                    match rows - y {
                        1 => self.block::<V, T, 1>(taps, y, x),
                        2 => self.block::<V, T, 2>(taps, y, x),
                        3 => self.block::<V, T, 3>(taps, y, x),
                        _ => self.block::<V, T, ROWS>(taps, y, x),
                    }
                }
            }
        }
    }

    /// `N` rows of a vector.
    ///
    /// # Safety
    /// As [`Sums::all`]; `N` rows from `y` on, and column `x`, lie in `size`.
    #[inline(always)]
    #[allow(clippy::needless_range_loop)] // Indices are what unrolls.
    unsafe fn block<V: Vector, T: AsRef<[Tap]> + Copy, const N: usize>(&self, taps: T, y: usize, x: usize) {
        let columns = self.size[1];
        let n = V::LANES.min(columns - x);
        // SAFETY: the caller's.
        unsafe {
            let from = self.field.as_ptr().wrapping_add(y * self.pitch + x);
            let mut sums = [V::splat(self.start); N];
            for (offset, weight) in taps.as_ref() {
                let (from, weight) = (from.add(*offset), V::splat(*weight));
                for i in 0..N {
                    sums[i] = V::load(from.add(i * self.pitch)).mul_add(weight, sums[i]);
                }
            }
            for i in 0..N {
                let (at, mut v) = ((y + i) * columns + x, sums[i]);
                if let Some(plus) = self.plus {
                    v = v.add(V::load_first(plus.add(at), n));
                }
                if self.relu {
                    v = V::splat(0.0).max(v);
                }
                if n == V::LANES {
                    v.store(self.to.add(at));
                } else {
                    v.store_first(self.to.add(at), n);
                }
            }
        }
    }
}

/// Planes of so many outputs that a thread takes at least.
pub(in crate::ops::conv2d) fn least(s: &Conv2dSpec, outputs: usize) -> usize {
    (FEW / (outputs * s.kernel[0] * s.kernel[1]).max(1)).max(1)
}

pub(in crate::ops::conv2d) fn fwd<V: Vector>(s: &Conv2dSpec, inputs: &[&Buffer], outputs: &mut [&mut Buffer], _: Accum) {
    simd::require::<V>();
    let (x, w) = (inputs[0].as_slice(), inputs[1].as_slice()); // x [n,c,h,w], w [oc,1,kh,kw]
    let (bias, residual) = s.bias_and_residual(inputs); // bias [oc], residual [n,oc,oh,ow]
    let (padded, offsets) = (Padded::input(s), offsets(s));
    let plane = s.oc / s.groups * s.out_plane();
    let planes = outputs[0].as_mut_slice::<f32>().par_chunks_exact_mut(plane.max(1)).enumerate().with_min_len(least(s, plane));
    planes.for_each_init(
        || (Buffer::zeros(DType::F32, padded.len()), offsets.iter().map(|o| (*o, 0.0)).collect()),
        |(field, taps), (plane, out)| {
            let field = field.as_mut_slice();
            // SAFETY: the instructions are here (required).
            unsafe { V::run(Forward { s, padded: &padded, x, w, bias, residual, plane, field, taps, out }) }
        },
    );
}

/// The outputs of plane number `plane` of `x`.
struct Forward<'a> {
    s: &'a Conv2dSpec,
    padded: &'a Padded,
    x: &'a [f32],
    w: &'a [f32],
    bias: Option<&'a [f32]>,
    residual: Option<&'a [f32]>,
    plane: usize,
    field: &'a mut [f32],
    taps: &'a mut Vec<Tap>,
    out: &'a mut [f32],
}

impl Kernel for Forward<'_> {
    type Out = ();
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let Self { s, padded, x, w, bias, residual, plane, field, taps, out } = self;
        let (each, pixels, len) = (s.oc / s.groups, s.h * s.w, s.out_plane());
        // SAFETY: the caller's.
        unsafe { padded.fill::<V>(&x[plane * pixels..][..pixels], field) }
        for (i, out) in (plane * each..).zip(out.chunks_exact_mut(len)) {
            let oc = i % s.oc;
            let area = taps.len();
            taps.iter_mut().zip(&w[oc * area..]).for_each(|(tap, w)| tap.1 = *w);
            let sums = Sums {
                field,
                pitch: padded.pitch,
                taps,
                size: s.out_hw(),
                start: bias.map_or(0.0, |b| b[oc]),
                plus: residual.map(|r| r[i * len..][..len].as_ptr()),
                relu: s.relu,
                to: out.as_mut_ptr(),
            };
            // SAFETY: the caller's; the planes have the size of the output.
            unsafe { sums.run::<V>() }
        }
    }
}

/// Where output (0, 0) finds the number of each tap.
pub(in crate::ops::conv2d) fn offsets(s: &Conv2dSpec) -> Vec<usize> {
    let padded = Padded::input(s);
    let [kh, kw] = s.kernel;
    (0..kh * kw).map(|k| padded.offset([k / kw * s.dilation[0], k % kw * s.dilation[1]])).collect()
}
