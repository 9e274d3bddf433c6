//! conv2d rung 2 for groups of a few channels: the shifted planes of [`super::depthwise`], several output channels at a time.
//!
//! Computes  out[oc] = sum over the group's c and taps of w[oc, c, tap] * x[c] shifted by the tap (+ bias + residual, relu), and both
//!           gradients
//! Rung 1 wasted: it made a matrix product of each group, whose panels of weights hold as few rows as a group has channels: most
//!                lanes of its tile are empty, and each input is copied once per kernel element for so few uses.
//! This rung:     lays zeros around the planes of a group, which stay in cache for all its outputs, and takes pixels into the lanes.
//!                Rows follow each other with their zeros between them, so that only the end of a plane leaves lanes empty, however
//!                short rows are. A vector of pixels is loaded once for four output channels, a weight once for several vectors.
//!                `dx` is the same of `dout`, for each phase of its pixels; `dw` has four by three dot products at a time.
//! Loses when:    groups fill the lanes of the direct rung, and their planes no longer stay in cache.
//! Run:           CONVSCOPE_KERNEL=conv2d.fwd=grouped_avx2

use super::depthwise::{Padded, SLACK, least, offsets};
use crate::core::buffer::Buffer;
use crate::core::device::DType;
use crate::core::table::Accum;
use crate::ops::conv2d::Conv2dSpec;
use crate::ops::conv2d::geometry::stride_phases;
use crate::ops::conv2d::microkernel::many;
use crate::simd::{self, Kernel, Vector};
use rayon::prelude::*;

/// Output channels that are summed at a time.
pub(in crate::ops::conv2d) const CHANNELS: usize = 4;

pub(in crate::ops::conv2d) fn fits(s: &Conv2dSpec) -> Result<(), &'static str> {
    if s.groups > 1 { Ok(()) } else { Err("wants several groups") }
}

/// Output channels of a group that fill the lanes of products.
const FULL: usize = 32;

fn narrow(channels: usize) -> Result<(), &'static str> {
    if channels < FULL { Ok(()) } else { Err("groups that fill the lanes of products") }
}

pub(in crate::ops::conv2d) fn wins(s: &Conv2dSpec) -> Result<(), &'static str> {
    narrow(s.oc / s.groups)
}

pub(in crate::ops::conv2d) fn wins_dgrad(s: &Conv2dSpec) -> Result<(), &'static str> {
    narrow(s.c / s.groups)
}

/// Bytes of the planes of a group with their zeros and of the sums, for one thread.
pub(in crate::ops::conv2d) fn scratch(s: &Conv2dSpec) -> usize {
    let (input, gradient) = (Padded::input(s), Padded::gradient(s, &stride_phases(s)));
    let [cg, og] = [s.c / s.groups, s.oc / s.groups];
    let sums = CHANNELS * (input.len() + gradient.len() * s.stride[0] * s.stride[1]);
    4 * ((cg * input.len()).max(og * gradient.len()) + sums)
}

/// From the first pixel to the last of a plane whose rows are `pitch` apart.
pub(in crate::ops::conv2d) fn flat([rows, columns]: [usize; 2], pitch: usize) -> usize {
    rows.saturating_sub(1) * pitch + columns
}

/// Room for so many sums: whole vectors, wherever one begins.
pub(in crate::ops::conv2d) fn room(len: usize) -> usize {
    len.next_multiple_of(16) + SLACK
}

/// A product of each sum: where pixel 0 finds its number, and where the first output channel finds its weight.
pub(in crate::ops::conv2d) struct Step {
    pub seen: usize,
    pub weight: usize,
}

/// `sums[i][p] = start[i] + sum over steps of w[weight + i * apart] * field[seen + p]` for `len` pixels of some output channels.
pub(in crate::ops::conv2d) struct Sums<'a> {
    pub field: &'a [f32],
    pub steps: &'a [Step],
    pub w: &'a [f32],
    /// Numbers from the weight of one output channel to that of the next.
    pub apart: usize,
    pub channels: usize,
    pub len: usize,
    pub start: [f32; CHANNELS],
    pub sums: &'a mut [f32],
    /// Numbers from the sums of one output channel to those of the next.
    pub room: usize,
}

impl Sums<'_> {
    /// # Safety
    /// As [`Vector`].
    #[inline(always)]
    pub unsafe fn run<V: Vector>(mut self) {
        let whole = self.len.next_multiple_of(V::LANES);
        let last = self.channels - 1;
        assert!(self.channels <= CHANNELS && whole <= self.room && last * self.room + whole <= self.sums.len());
        assert!(self.steps.iter().all(|s| s.seen + whole <= self.field.len() && s.weight + last * self.apart < self.w.len()));
        // SAFETY: the caller's; all that is read and written lies inside (asserted).
        unsafe {
            match self.channels {
                1 => self.all::<V, 1>(),
                2 => self.all::<V, 2>(),
                3 => self.all::<V, 3>(),
                _ => self.all::<V, CHANNELS>(),
            }
        }
    }

    /// # Safety
    /// As [`Vector`]; `M` output channels, and whole vectors of `len` pixels, lie in the sums, and what they see in field and weight.
    #[inline(always)]
    unsafe fn all<V: Vector, const M: usize>(&mut self) {
        // As many vectors as registers hold the sums of, in blocks of nearly the same size.
        let vectors = self.len.div_ceil(V::LANES);
        let most = if many::<V>() { 4 } else { 3 };
        let each = vectors.div_ceil(vectors.div_ceil(most).max(1));
        for v in (0..vectors).step_by(each.max(1)) {
            // SAFETY: the caller's.
            unsafe {
                match each.min(vectors - v) {
                    1 => self.block::<V, M, 1>(v * V::LANES),
                    2 => self.block::<V, M, 2>(v * V::LANES),
                    3 => self.block::<V, M, 3>(v * V::LANES),
                    _ => self.block::<V, M, 4>(v * V::LANES),
                }
            }
        }
    }

    /// `M` output channels of `N` vectors of pixels.
    ///
    /// # Safety
    /// As [`Sums::all`]; `at + N * LANES` pixels are at most the whole vectors of `len`.
    #[inline(always)]
    #[allow(clippy::needless_range_loop)] // Indices are what unrolls.
    unsafe fn block<V: Vector, const M: usize, const N: usize>(&mut self, at: usize) {
        // SAFETY: the caller's.
        unsafe {
            let (from, w) = (self.field.as_ptr().add(at), self.w.as_ptr());
            let mut sums = [[V::splat(0.0); N]; M];
            for m in 0..M {
                sums[m] = [V::splat(self.start[m]); N];
            }
            for step in self.steps {
                let mut seen = [V::splat(0.0); N];
                for i in 0..N {
                    seen[i] = V::load(from.add(step.seen + i * V::LANES));
                }
                for m in 0..M {
                    let weight = V::splat(*w.add(step.weight + m * self.apart));
                    for i in 0..N {
                        sums[m][i] = seen[i].mul_add(weight, sums[m][i]);
                    }
                }
            }
            for m in 0..M {
                for i in 0..N {
                    sums[m][i].store(self.sums.as_mut_ptr().add(m * self.room + at + i * V::LANES));
                }
            }
        }
    }
}

/// Takes the rows of a plane from between its zeros: `to[y, x] = from[y * pitch + x] + plus[y, x]`.
pub(in crate::ops::conv2d) struct Rows<'a> {
    pub from: &'a [f32],
    pub pitch: usize,
    /// Rows and columns.
    pub size: [usize; 2],
    /// May be `to` itself.
    pub plus: Option<*const f32>,
    pub relu: bool,
    pub to: *mut f32,
}

impl Rows<'_> {
    /// # Safety
    /// As [`Vector`]; `to` and `plus` must be valid for `size` numbers.
    #[inline(always)]
    pub unsafe fn store<V: Vector>(self) {
        let [rows, columns] = self.size;
        assert!(rows == 0 || (rows - 1) * self.pitch + columns.next_multiple_of(V::LANES) <= self.from.len());
        for y in 0..rows {
            for x in (0..columns).step_by(V::LANES) {
                let (at, n) = (y * columns + x, V::LANES.min(columns - x));
                // SAFETY: the caller's; whole vectors of the last row lie in `from` (asserted).
                unsafe {
                    let mut v = V::load(self.from.as_ptr().add(y * self.pitch + x));
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
}

pub(in crate::ops::conv2d) fn fwd<V: Vector>(s: &Conv2dSpec, inputs: &[&Buffer], outputs: &mut [&mut Buffer], _: Accum) {
    simd::require::<V>();
    let (x, w) = (inputs[0].as_slice(), inputs[1].as_slice()); // x [n,c,h,w], w [oc,c/g,kh,kw]
    let (bias, residual) = s.bias_and_residual(inputs); // bias [oc], residual [n,oc,oh,ow]
    let (padded, offsets) = (Padded::input(s), offsets(s));
    let [cg, og] = [s.c / s.groups, s.oc / s.groups];
    let steps = (0..s.patch()).map(|i| {
        let (c, tap) = (i / offsets.len(), i % offsets.len());
        Step { seen: c * padded.len() + offsets[tap], weight: i }
    });
    let steps: Vec<Step> = steps.collect();
    let (outs, room) = (og * s.out_plane(), room(flat(s.out_hw(), padded.pitch)));
    let groups = outputs[0].as_mut_slice::<f32>().par_chunks_exact_mut(outs.max(1)).enumerate();
    groups.with_min_len(least(s, outs * cg)).for_each_init(
        || (Buffer::zeros(DType::F32, cg * padded.len()), Buffer::new(DType::F32, CHANNELS * room)),
        |(field, sums), (group, out)| {
            let (field, sums) = (field.as_mut_slice(), sums.as_mut_slice());
            // SAFETY: the instructions are here (required).
            unsafe { V::run(Forward { s, padded: &padded, steps: &steps, x, w, bias, residual, group, field, sums, room, out }) }
        },
    );
}

/// The outputs of group number `group`, counted through all images.
struct Forward<'a> {
    s: &'a Conv2dSpec,
    padded: &'a Padded,
    steps: &'a [Step],
    x: &'a [f32],
    w: &'a [f32],
    bias: Option<&'a [f32]>,
    residual: Option<&'a [f32]>,
    group: usize,
    field: &'a mut [f32],
    sums: &'a mut [f32],
    room: usize,
    out: &'a mut [f32],
}

impl Kernel for Forward<'_> {
    type Out = ();
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let Self { s, padded, steps, x, w, bias, residual, group, field, sums, room, out } = self;
        let ([cg, og], pixels, plane) = ([s.c / s.groups, s.oc / s.groups], s.h * s.w, s.out_plane());
        for (c, field) in field.chunks_exact_mut(padded.len()).enumerate() {
            // SAFETY: the caller's.
            unsafe { padded.fill::<V>(&x[(group * cg + c) * pixels..][..pixels], field) }
        }
        let first = group % s.groups * og;
        for (i, out) in out.chunks_mut(CHANNELS * plane).enumerate() {
            let (oc, channels) = (first + i * CHANNELS, out.len() / plane);
            let mut start = [0.0; CHANNELS];
            if let Some(bias) = bias {
                start[..channels].copy_from_slice(&bias[oc..][..channels]);
            }
            let (w, apart, len, size) = (&w[oc * s.patch()..], s.patch(), flat(s.out_hw(), padded.pitch), s.out_hw());
            // SAFETY: the caller's.
            unsafe { Sums { field, steps, w, apart, channels, len, start, sums, room }.run::<V>() }
            for (j, out) in out.chunks_exact_mut(plane).enumerate() {
                let at = (group * og + i * CHANNELS + j) * plane;
                let plus = residual.map(|r| r[at..][..plane].as_ptr());
                let (from, pitch, to) = (&sums[j * room..][..room], padded.pitch, out.as_mut_ptr());
                // SAFETY: the caller's; the planes have the size of the output.
                unsafe { Rows { from, pitch, size, plus, relu: s.relu, to }.store::<V>() }
            }
        }
    }
}
