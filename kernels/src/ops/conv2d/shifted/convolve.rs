//! The output, and the gradient of the input: both are convolutions of padded planes.

use super::padded::Padded;
use super::{Tile, min_groups};
use crate::core::buffer::Buffer;
use crate::core::device::DType;
use crate::core::table::Accum;
use crate::ops::conv2d::Conv2dSpec;
use crate::ops::conv2d::geometry::{Interleave, stride_phases};
use crate::simd::{self, Kernel, Vector};
use rayon::prelude::*;
use std::marker::PhantomData;

/// A product of each sum: where pixel 0 finds its number in the padded planes, and where the first channel finds its weight.
pub(in crate::ops::conv2d) struct Step {
    pub offset: usize,
    pub weight: usize,
}

/// One stride phase of the planes that are written.
pub(in crate::ops::conv2d) struct Phase {
    /// Rows and columns.
    pub size: [usize; 2],
    pub steps: Vec<Step>,
}

/// A convolution of the planes of each group.
pub(in crate::ops::conv2d) struct Plan {
    /// Planes of a group that are read, and pixels of each.
    read: [usize; 2],
    /// Planes of a group that are written, and pixels of each.
    written: [usize; 2],
    pub padded: Padded,
    /// All of them, row by row: one, but for the gradient of a strided convolution.
    pub phases: Vec<Phase>,
    /// Numbers from the weight of one written channel to that of the next.
    pub weight_stride: usize,
}

impl Plan {
    fn forward(s: &Conv2dSpec) -> Self {
        let padded = Padded::input(s);
        let (offsets, len) = (padded.taps(s), padded.len());
        let step = |i: usize| Step { offset: i / offsets.len() * len + offsets[i % offsets.len()], weight: i };
        let phases = vec![Phase { size: s.out_hw(), steps: (0..s.patch()).map(step).collect() }];
        let (read, written) = ([s.c / s.groups, s.h * s.w], [s.oc / s.groups, s.out_plane()]);
        Plan { read, written, padded, phases, weight_stride: s.patch() }
    }

    /// `dx` from `dout`.
    fn backward(s: &Conv2dSpec) -> Self {
        let (phases, og) = (stride_phases(s), s.oc / s.groups);
        let padded = Padded::gradient(s, &phases);
        let step = |oc: usize, k: usize, at: [isize; 2]| Step {
            offset: oc * padded.len() + padded.offset([0, 1].map(|a| (at[a] + padded.before[a]) as usize)),
            weight: oc * s.patch() + k,
        };
        let phases = phases.iter().map(|phase| {
            let steps = (0..og).flat_map(|oc| phase.taps.iter().map(move |(k, at)| (oc, *k, *at)));
            Phase { size: phase.size, steps: steps.map(|(oc, k, at)| step(oc, k, at)).collect() }
        });
        let phases = phases.collect();
        let (read, written) = ([og, s.out_plane()], [s.c / s.groups, s.h * s.w]);
        Plan { read, written, padded, phases, weight_stride: s.kernel[0] * s.kernel[1] }
    }

    /// Bytes of the padded planes and of the sums, for one thread.
    fn scratch<T: Tile>(&self) -> usize {
        4 * (self.read[0] * self.padded.len() + T::sums(self))
    }
}

/// Bytes for one thread: of the output or of the gradient of the input, whichever needs more.
pub(super) fn scratch<T: Tile>(s: &Conv2dSpec) -> usize {
    Plan::forward(s).scratch::<T>().max(Plan::backward(s).scratch::<T>())
}

pub(in crate::ops::conv2d) fn fwd<V: Vector, T: Tile>(
    s: &Conv2dSpec,
    inputs: &[&Buffer],
    outputs: &mut [&mut Buffer],
    accum: Accum,
) {
    let (bias, residual) = s.bias_and_residual(inputs); // bias [oc], residual [n,oc,oh,ow]
    let plan = &Plan::forward(s);
    let (from, w) = (inputs[0].as_slice(), inputs[1].as_slice()); // x [n,c,h,w], w [oc,c/g,kh,kw]
    run::<V, T>(&ShiftedConv { s, plan, from, w, bias, residual, relu: s.relu, accum }, outputs[0].as_mut_slice());
}

pub(in crate::ops::conv2d) fn dgrad<V: Vector, T: Tile>(
    s: &Conv2dSpec,
    inputs: &[&Buffer],
    outputs: &mut [&mut Buffer],
    accum: Accum,
) {
    let plan = &Plan::backward(s);
    let (from, w) = (inputs[0].as_slice(), inputs[1].as_slice()); // dout [n,oc,oh,ow], w [oc,c/g,kh,kw]
    run::<V, T>(&ShiftedConv { s, plan, from, w, bias: None, residual: None, relu: false, accum }, outputs[0].as_mut_slice());
}

/// The work of all groups.
#[derive(Clone, Copy)]
struct ShiftedConv<'a> {
    s: &'a Conv2dSpec,
    plan: &'a Plan,
    from: &'a [f32],
    w: &'a [f32],
    bias: Option<&'a [f32]>,
    residual: Option<&'a [f32]>,
    relu: bool,
    accum: Accum,
}

fn run<V: Vector, T: Tile>(work: &ShiftedConv, out: &mut [f32]) {
    simd::require::<V>();
    let Plan { read: [planes, _], written: [channels, pixels], padded, .. } = work.plan;
    let groups = out.par_chunks_exact_mut((channels * pixels).max(1)).enumerate();
    groups.with_min_len(min_groups(work.s, channels * pixels * planes)).for_each_init(
        || (Buffer::zeros(DType::F32, planes * padded.len()), Buffer::new(DType::F32, T::sums(work.plan)), Vec::new()),
        |(field, sums, taps), (group, out)| {
            let (field, sums) = (field.as_mut_slice(), sums.as_mut_slice());
            // SAFETY: the instructions are here (required).
            unsafe { V::run(Convolve(Group { work, plan: work.plan, group, field, sums, taps, out }, PhantomData::<T>)) }
        },
    );
}

/// The planes of group number `group`, counted through all images.
pub(in crate::ops::conv2d) struct Group<'a> {
    work: &'a ShiftedConv<'a>,
    pub plan: &'a Plan,
    group: usize,
    /// The padded planes; their zeros are there already.
    pub field: &'a mut [f32],
    /// Scratch.
    pub sums: &'a mut [f32],
    /// Scratch: the taps of one channel.
    pub taps: &'a mut Vec<(usize, f32)>,
    out: &'a mut [f32],
}

struct Convolve<'a, T>(Group<'a>, PhantomData<T>);

impl<T: Tile> Kernel for Convolve<'_, T> {
    type Out = ();
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let Convolve(mut group, _) = self;
        let Plan { read: [planes, len], written: [channels, _], padded, .. } = group.plan;
        for (i, field) in (group.group * planes..).zip(group.field.chunks_exact_mut(padded.len())) {
            // SAFETY: the caller's.
            unsafe { padded.fill::<V>(&group.work.from[i * len..][..*len], field) }
        }
        for first in (0..*channels).step_by(T::CHANNELS) {
            // SAFETY: the caller's.
            unsafe { T::convolve::<V>(&mut group, first, T::CHANNELS.min(channels - first)) }
        }
    }
}

impl<'a> Group<'a> {
    /// The weight of written channel `c`, and of those that follow.
    pub fn weight(&self, c: usize) -> &'a [f32] {
        let s = self.work.s;
        &self.work.w[self.group % s.groups * (s.oc / s.groups) * s.patch() + c * self.plan.weight_stride..]
    }

    /// Initial sums of written channel `c`.
    pub fn start(&self, c: usize) -> f32 {
        self.work.bias.map_or(0.0, |b| b[self.group % self.work.s.groups * self.plan.written[0] + c])
    }

    /// Where the plane of channel `c` goes if it has one phase, and what is done to its sums.
    pub fn epilogue(&mut self, c: usize) -> PlaneEpilogue {
        let (ShiftedConv { residual, relu, accum, .. }, [channels, pixels]) = (*self.work, self.plan.written);
        let to = self.out[c * pixels..][..pixels].as_mut_ptr();
        let old = (accum == Accum::Add).then_some(to.cast_const());
        let plus = residual.map(|r| r[(self.group * channels + c) * pixels..][..pixels].as_ptr()).or(old);
        PlaneEpilogue { plus, relu, to }
    }

    /// Interleaves the phases of the plane of channel `c`: `phase(i)` is the offset of the sums of each, and the length of its rows.
    ///
    /// # Safety
    /// As [`Vector`].
    #[inline(always)]
    pub unsafe fn interleave<V: Vector>(&mut self, c: usize, phase: impl Fn(usize) -> (usize, usize)) {
        let plane_of = |(i, p): (usize, &Phase)| {
            let (start, pitch) = phase(i);
            (self.sums[start..][..span(p.size, pitch)].as_ptr(), pitch)
        };
        let phases: Vec<(*const f32, usize)> = self.plan.phases.iter().enumerate().map(plane_of).collect();
        let pixels = self.plan.written[1];
        let (s, plane, accum) = (self.work.s, &mut self.out[c * pixels..][..pixels], self.work.accum);
        // SAFETY: the caller's; each plane has the size of its phase (sliced).
        unsafe { Interleave { s, phases: &phases, plane, accum }.run::<V>() }
    }
}

/// From the first pixel of a plane to the last, with rows that start `pitch` numbers after each other.
pub(super) fn span([rows, columns]: [usize; 2], pitch: usize) -> usize {
    rows.saturating_sub(1) * pitch + columns
}

/// The end of a plane: its sums, added to, through a ReLU, and stored.
#[derive(Clone, Copy)]
pub(in crate::ops::conv2d) struct PlaneEpilogue {
    /// Added; may be `to` itself.
    pub plus: Option<*const f32>,
    pub relu: bool,
    pub to: *mut f32,
}

impl PlaneEpilogue {
    /// Stores as many lanes at `offset` as remain there, at most a whole vector.
    ///
    /// # Safety
    /// As [`Vector`]; `to` and `plus` must be valid there.
    #[inline(always)]
    pub unsafe fn store<V: Vector>(&self, mut v: V, offset: usize, remaining: usize) {
        // SAFETY: the caller's.
        unsafe {
            if let Some(plus) = self.plus {
                v = v.add(V::load_first(plus.add(offset), V::LANES.min(remaining)));
            }
            if self.relu {
                v = V::splat(0.0).max(v);
            }
            if remaining >= V::LANES {
                v.store(self.to.add(offset));
            } else {
                v.store_first(self.to.add(offset), remaining);
            }
        }
    }
}
