//! Gradients of the rung for groups of a few channels, see [`super::grouped`].
//!
//! Computes  dx[c] (+)= sum over the group's oc and taps of w[oc, c, tap] * dout[oc] shifted by the tap, for each phase of the
//!           pixels modulo the stride;
//!           dw[oc, c, tap] (+)= sum over images and pixels of dout[oc] * x[c] shifted by the tap
//! Run:           CONVSCOPE_KERNEL=conv2d.dgrad=grouped_avx2,conv2d.wgrad=grouped_avx2

use super::depthwise::{Padded, least, offsets};
use super::grouped::{CHANNELS, Rows, Step, Sums, flat, room};
use crate::core::buffer::Buffer;
use crate::core::device::DType;
use crate::core::table::Accum;
use crate::ops::conv2d::Conv2dSpec;
use crate::ops::conv2d::geometry::{Interleave, StridePhase, stride_phases};
use crate::simd::{self, Kernel, Vector};
use rayon::prelude::*;

pub(in crate::ops::conv2d) fn dgrad<V: Vector>(s: &Conv2dSpec, inputs: &[&Buffer], outputs: &mut [&mut Buffer], accum: Accum) {
    simd::require::<V>();
    let (dout, w) = (inputs[0].as_slice(), inputs[1].as_slice()); // dout [n,oc,oh,ow], w [oc,c/g,kh,kw]
    let phases = stride_phases(s);
    let padded = Padded::gradient(s, &phases);
    let [cg, og] = [s.c / s.groups, s.oc / s.groups];
    let steps = |phase: &StridePhase| -> Vec<Step> {
        let of = |oc: usize| phase.taps.iter().map(move |(k, at)| (oc, *k, [0, 1].map(|a| (at[a] + padded.before[a]) as usize)));
        let step = |(oc, k, at): (usize, usize, [usize; 2])| Step {
            seen: oc * padded.len() + padded.offset(at),
            weight: oc * s.patch() + k,
        };
        (0..og).flat_map(of).map(step).collect()
    };
    let steps: Vec<Vec<Step>> = phases.iter().map(steps).collect();
    let ins = cg * s.h * s.w;
    let room = room(phases.iter().map(|r| flat(r.size, padded.pitch)).max().unwrap_or(0));
    let groups = outputs[0].as_mut_slice::<f32>().par_chunks_exact_mut(ins.max(1)).enumerate();
    groups.with_min_len(least(s, ins * og)).for_each_init(
        || (Buffer::zeros(DType::F32, og * padded.len()), Buffer::new(DType::F32, phases.len() * CHANNELS * room)),
        |(field, sums), (group, dx)| {
            let (field, sums) = (field.as_mut_slice(), sums.as_mut_slice());
            let (padded, phases, steps) = (&padded, &phases[..], &steps[..]);
            // SAFETY: the instructions are here (required).
            unsafe { V::run(InputGradient { s, padded, phases, steps, dout, w, group, field, sums, room, dx, accum }) }
        },
    );
}

/// `dx` of group number `group`, counted through all images.
struct InputGradient<'a> {
    s: &'a Conv2dSpec,
    padded: &'a Padded,
    phases: &'a [StridePhase],
    /// Of each phase.
    steps: &'a [Vec<Step>],
    dout: &'a [f32],
    w: &'a [f32],
    group: usize,
    field: &'a mut [f32],
    /// `[phase][channel]`
    sums: &'a mut [f32],
    room: usize,
    dx: &'a mut [f32],
    accum: Accum,
}

impl Kernel for InputGradient<'_> {
    type Out = ();
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let Self { s, padded, phases, steps, dout, w, group, field, sums, room, dx, accum } = self;
        let (og, plane, pixels, pitch) = (s.oc / s.groups, s.out_plane(), s.h * s.w, padded.pitch);
        for (oc, field) in field.chunks_exact_mut(padded.len()).enumerate() {
            // SAFETY: the caller's.
            unsafe { padded.fill::<V>(&dout[(group * og + oc) * plane..][..plane], field) }
        }
        let area = s.kernel[0] * s.kernel[1];
        let w = &w[group % s.groups * og * s.patch()..];
        for (i, dx) in dx.chunks_mut(CHANNELS * pixels).enumerate() {
            let (w, channels) = (&w[i * CHANNELS * area..], dx.len() / pixels);
            for ((phase, steps), sums) in phases.iter().zip(steps).zip(sums.chunks_exact_mut(CHANNELS * room)) {
                let (len, start) = (flat(phase.size, pitch), [0.0; CHANNELS]);
                // SAFETY: the caller's.
                unsafe { Sums { field, steps, w, apart: area, channels, len, start, sums, room }.run::<V>() }
            }
            for (j, plane) in dx.chunks_exact_mut(pixels).enumerate() {
                if let [phase] = phases {
                    let (from, to) = (&sums[j * room..][..room], plane.as_mut_ptr());
                    let plus = (accum == Accum::Add).then_some(to.cast_const());
                    // SAFETY: the caller's; the only phase is all pixels.
                    unsafe { Rows { from, pitch, size: phase.size, plus, relu: false, to }.store::<V>() }
                    continue;
                }
                let part = |i: usize| (sums[(i * CHANNELS + j) * room..][..room].as_ptr(), pitch);
                let parts: Vec<(*const f32, usize)> = (0..phases.len()).map(part).collect();
                // SAFETY: the caller's; each part is a plane of its phase's size.
                unsafe { Interleave { s, parts: &parts, plane, accum }.run::<V>() }
            }
        }
    }
}

/// Kernel elements whose dot products with [`CHANNELS`] output channels are summed at a time.
const TAPS: usize = 3;
/// Numbers of some images' planes of a group that stay in L2.
const CACHED: usize = 1 << 16;

pub(in crate::ops::conv2d) fn wgrad<V: Vector>(s: &Conv2dSpec, inputs: &[&Buffer], outputs: &mut [&mut Buffer], accum: Accum) {
    simd::require::<V>();
    let (dout, x) = (inputs[0].as_slice(), inputs[1].as_slice()); // dout [n,oc,oh,ow], x [n,c,h,w]
    let (padded, offsets) = (Padded::input(s), offsets(s));
    let [cg, og] = [s.c / s.groups, s.oc / s.groups];
    let room = flat(s.out_hw(), padded.pitch).next_multiple_of(V::LANES);
    // Images that are summed at a time: short planes make short sums, whose lanes are soon to be added.
    let images = (CACHED / (cg * padded.len() + og * room)).clamp(1, s.n.max(1));
    let steps: Vec<usize> =
        (0..cg).flat_map(|c| offsets.iter().map(move |at| (c, at))).map(|(c, at)| c * images * padded.len() + at).collect();
    let groups = outputs[0].as_mut_slice::<f32>().par_chunks_exact_mut((og * s.patch()).max(1)).enumerate();
    groups.with_min_len(least(s, s.n * og * cg * s.out_plane())).for_each_init(
        || {
            let field = Buffer::zeros(DType::F32, cg * images * padded.len());
            (field, Buffer::zeros(DType::F32, og * images * room), vec![0.0; og * s.patch()])
        },
        |(field, apart, sums), (group, dw)| {
            let (field, apart, sums) = (field.as_mut_slice(), apart.as_mut_slice(), &mut sums[..]);
            let (padded, steps) = (&padded, &steps[..]);
            // SAFETY: the instructions are here (required).
            unsafe { V::run(WeightGradient { s, padded, steps, images, room, dout, x, group, field, apart, sums }) }
            dw.iter_mut().zip(sums).for_each(|(dw, sum)| accum.put(dw, *sum));
        },
    );
}

/// The sums that are `dw` of a group.
struct WeightGradient<'a> {
    s: &'a Conv2dSpec,
    padded: &'a Padded,
    /// Where pixel 0 of the first image finds the number of each weight.
    steps: &'a [usize],
    images: usize,
    /// Numbers of a plane of `apart`.
    room: usize,
    dout: &'a [f32],
    x: &'a [f32],
    group: usize,
    /// The input with its zeros, `[c][image]`.
    field: &'a mut [f32],
    /// The gradient, its rows as far apart as those of the input, `[oc][image]`; zeros between them.
    apart: &'a mut [f32],
    sums: &'a mut [f32],
}

impl Kernel for WeightGradient<'_> {
    type Out = ();
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let Self { s, padded, steps, images, room, dout, x, group, field, apart, sums } = self;
        let ([cg, og], plane, pixels) = ([s.c / s.groups, s.oc / s.groups], s.out_plane(), s.h * s.w);
        sums.fill(0.0);
        for n0 in (0..s.n).step_by(images) {
            let some = images.min(s.n - n0);
            for (i, field) in field.chunks_exact_mut(padded.len()).enumerate().filter(|(i, _)| i % images < some) {
                let at = (n0 + i % images) * s.c + group * cg + i / images;
                // SAFETY: the caller's.
                unsafe { padded.fill::<V>(&x[at * pixels..][..pixels], field) }
            }
            for (i, to) in apart.chunks_exact_mut(room).enumerate().filter(|(i, _)| i % images < some) {
                let at = (n0 + i % images) * s.oc + group * og + i / images;
                let rows = dout[at * plane..][..plane].chunks_exact(s.out_hw()[1]);
                rows.zip(to.chunks_mut(padded.pitch)).for_each(|(row, to)| to[..row.len()].copy_from_slice(row));
            }
            for oc in (0..og).step_by(CHANNELS) {
                let (gradient, channels) = (&apart[oc * images * room..], CHANNELS.min(og - oc));
                for (i, taps) in steps.chunks(TAPS).enumerate() {
                    // Where there are fewer taps, the last one stands for the missing ones.
                    let seen = std::array::from_fn(|i| taps[i.min(taps.len() - 1)]);
                    let dots = Dots { gradient, field, planes: [room, padded.len()], images: some, apart: images * room, seen };
                    // SAFETY: the caller's.
                    let more = unsafe {
                        match channels {
                            1 => dots.sum::<V, 1>(),
                            2 => dots.sum::<V, 2>(),
                            3 => dots.sum::<V, 3>(),
                            _ => dots.sum::<V, CHANNELS>(),
                        }
                    };
                    for (j, more) in more.chunks_exact(TAPS).take(channels).enumerate() {
                        let sums = &mut sums[(oc + j) * steps.len() + i * TAPS..][..taps.len()];
                        sums.iter_mut().zip(more).for_each(|(sum, more)| *sum += more);
                    }
                }
            }
        }
    }
}

/// Dot products of the gradients of some channels with what they see of the field from some places on.
struct Dots<'a> {
    gradient: &'a [f32],
    field: &'a [f32],
    /// Numbers from one image to the next: of the gradient, of the field.
    planes: [usize; 2],
    images: usize,
    /// Numbers from one channel of the gradient to the next.
    apart: usize,
    seen: [usize; TAPS],
}

impl Dots<'_> {
    /// `[channel][tap]`
    ///
    /// # Safety
    /// As [`Vector`].
    #[inline(always)]
    #[allow(clippy::needless_range_loop)] // Indices are what unrolls.
    unsafe fn sum<V: Vector, const M: usize>(self) -> [f32; 16] {
        let Self { gradient, field, planes: [room, plane], images, apart, seen } = self;
        let furthest = seen.into_iter().max().unwrap_or(0);
        assert!(images > 0 && (M - 1) * apart + images * room <= gradient.len());
        assert!(furthest + (images - 1) * plane + room <= field.len());
        // SAFETY: the caller's; all that is read lies inside (asserted).
        unsafe {
            let mut sums = [[V::splat(0.0); TAPS]; M];
            for image in 0..images {
                let (d, x) = (gradient.as_ptr().add(image * room), field.as_ptr().add(image * plane));
                for p in (0..room).step_by(V::LANES) {
                    let mut x_seen = [V::splat(0.0); TAPS];
                    for t in 0..TAPS {
                        x_seen[t] = V::load(x.add(seen[t] + p));
                    }
                    for m in 0..M {
                        let d = V::load(d.add(m * apart + p));
                        for t in 0..TAPS {
                            sums[m][t] = x_seen[t].mul_add(d, sums[m][t]);
                        }
                    }
                }
            }
            // The lanes of all sums are added at once, by turning them.
            let (mut lanes, mut turned, mut all) = ([0.0f32; 256], [0.0f32; 256], [0.0f32; 16]);
            for m in 0..M {
                for t in 0..TAPS {
                    sums[m][t].store(lanes.as_mut_ptr().add((m * TAPS + t) * V::LANES));
                }
            }
            for i in (0..M * TAPS).step_by(V::LANES) {
                V::transpose(lanes.as_ptr().add(i * V::LANES), V::LANES, turned.as_mut_ptr(), V::LANES);
                let mut sum = V::splat(0.0);
                for lane in 0..V::LANES {
                    sum = sum.add(V::load(turned.as_ptr().add(lane * V::LANES)));
                }
                sum.store(all.as_mut_ptr().add(i));
            }
            all
        }
    }
}
