//! Gradients of the rung for groups of one input channel, see [`super::depthwise`].
//!
//! Computes  dx (+)= sum over taps of w[oc, tap] * dout[oc] shifted by the tap, for each phase of the pixels modulo the stride;
//!           dw[oc, tap] (+)= sum over images and pixels of dout[oc] * x[c] shifted by the tap
//! Run:           CONVSCOPE_KERNEL=conv2d.dgrad=depthwise_avx2,conv2d.wgrad=depthwise_avx2

use super::depthwise::{Padded, SLACK, Sums, TAPS, Tap, least, offsets};
use crate::core::buffer::Buffer;
use crate::core::device::DType;
use crate::core::table::Accum;
use crate::ops::conv2d::Conv2dSpec;
use crate::ops::conv2d::geometry::{StridePhase, stride_phases};
use crate::simd::{self, Kernel, Vector};
use rayon::prelude::*;

pub(in crate::ops::conv2d) fn dgrad<V: Vector>(s: &Conv2dSpec, inputs: &[&Buffer], outputs: &mut [&mut Buffer], accum: Accum) {
    simd::require::<V>();
    let (dout, w) = (inputs[0].as_slice(), inputs[1].as_slice()); // dout [n,oc,oh,ow], w [oc,1,kh,kw]
    let (phases, plane) = (stride_phases(s), s.h * s.w);
    let padded = Padded::gradient(s, &phases);
    let apart = if s.stride == [1, 1] { 0 } else { plane + SLACK };
    let planes = outputs[0].as_mut_slice::<f32>().par_chunks_exact_mut(plane.max(1)).enumerate().with_min_len(least(s, plane));
    planes.for_each_init(
        || (Buffer::zeros(DType::F32, s.oc / s.groups * padded.len()), Buffer::new(DType::F32, apart), Vec::new()),
        |(field, apart, taps), (plane, dx)| {
            let (field, apart) = (field.as_mut_slice(), apart.as_mut_slice());
            // SAFETY: the instructions are here (required).
            unsafe {
                V::run(InputGradient { s, padded: &padded, phases: &phases, dout, w, plane, field, apart, taps, dx, accum })
            }
        },
    );
}

/// Plane number `plane` of `dx`.
struct InputGradient<'a> {
    s: &'a Conv2dSpec,
    padded: &'a Padded,
    phases: &'a [StridePhase],
    dout: &'a [f32],
    w: &'a [f32],
    plane: usize,
    field: &'a mut [f32],
    /// Room for the phases, where there are several.
    apart: &'a mut [f32],
    taps: &'a mut Vec<Tap>,
    dx: &'a mut [f32],
    accum: Accum,
}

impl Kernel for InputGradient<'_> {
    type Out = ();
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let Self { s, padded, phases, dout, w, plane, field, apart, taps, dx, accum } = self;
        let (each, len, area) = (s.oc / s.groups, s.out_plane(), s.kernel[0] * s.kernel[1]);
        for (i, field) in (plane * each..).zip(field.chunks_exact_mut(padded.len())) {
            // SAFETY: the caller's.
            unsafe { padded.fill::<V>(&dout[i * len..][..len], field) }
        }
        // The phases of one row phase, one after the other in `apart`, make whole rows.
        for row in phases.chunk_by(|a, b| a.origin[0] == b.origin[0]) {
            let mut end = 0;
            for phase in row {
                taps.clear();
                for j in 0..each {
                    let w = &w[(plane % s.c * each + j) * area..][..area];
                    taps.extend(phase.taps.iter().map(|(k, at)| {
                        let at = [0, 1].map(|a| (at[a] + padded.before[a]) as usize);
                        (j * padded.len() + padded.offset(at), w[*k])
                    }));
                }
                let to = if apart.is_empty() { dx.as_mut_ptr() } else { apart[end..].as_mut_ptr() };
                let plus = (apart.is_empty() && accum == Accum::Add).then_some(to.cast_const());
                let (size, pitch) = (phase.size, padded.pitch);
                // SAFETY: the caller's; without stride there is one phase, of all pixels, else `apart` has room for all.
                unsafe { Sums { field, pitch, taps, size, start: 0.0, plus, relu: false, to }.run::<V>() }
                end += size[0] * size[1];
            }
            if !apart.is_empty() {
                // SAFETY: the caller's.
                unsafe { weave::<V>(s, row, apart, dx, accum) }
            }
        }
    }
}

/// Puts rows whose columns are `apart` by their phase into `dx`.
///
/// # Safety
/// As [`Vector`].
#[inline(always)]
unsafe fn weave<V: Vector>(s: &Conv2dSpec, phases: &[StridePhase], apart: &[f32], dx: &mut [f32], accum: Accum) {
    let (step, [rows, columns]) = (s.stride[1], phases[0].size);
    for y in 0..rows {
        let to = &mut dx[(phases[0].origin[0] + y * s.stride[0]) * s.w..][..s.w];
        // Columns that are interleaved a vector at a time.
        let mut interleaved = 0;
        if step == 2 {
            let (a, b) = (apart[y * columns..].as_ptr(), apart[rows * columns + y * (s.w - columns)..].as_ptr());
            while 2 * (interleaved + V::LANES) <= s.w {
                // SAFETY: so many numbers lie in the row and, every second, in both phases.
                unsafe {
                    let (mut pair, to) =
                        ([V::load(a.add(interleaved)), V::load(b.add(interleaved))], to.as_mut_ptr().add(2 * interleaved));
                    if accum == Accum::Add {
                        let old = V::split2(to);
                        pair = [pair[0].add(old[0]), pair[1].add(old[1])];
                    }
                    V::join2(pair, to);
                }
                interleaved += V::LANES;
            }
        }
        let mut from = apart;
        for phase in phases {
            let [rows, columns] = phase.size;
            let line = &from[y * columns..][..columns];
            let to = to[phase.origin[1]..].iter_mut().step_by(step);
            line.iter().zip(to).skip(interleaved).for_each(|(v, to)| accum.put(to, *v));
            from = &from[rows * columns..];
        }
    }
}

pub(in crate::ops::conv2d) fn wgrad<V: Vector>(s: &Conv2dSpec, inputs: &[&Buffer], outputs: &mut [&mut Buffer], accum: Accum) {
    simd::require::<V>();
    let (dout, x) = (inputs[0].as_slice(), inputs[1].as_slice()); // dout [n,oc,oh,ow], x [n,c,h,w]
    let (padded, offsets) = (Padded::input(s), offsets(s));
    let each = s.oc / s.groups;
    let channels = outputs[0].as_mut_slice::<f32>().par_chunks_exact_mut((each * offsets.len()).max(1)).enumerate();
    channels.with_min_len(least(s, s.n * each * s.out_plane())).for_each_init(
        || (Buffer::zeros(DType::F32, padded.len()), vec![0.0; each * offsets.len()]),
        |(field, sums), (c, dw)| {
            let (field, offsets) = (field.as_mut_slice(), &offsets[..]);
            // SAFETY: the instructions are here (required).
            unsafe { V::run(WeightGradient { s, padded: &padded, offsets, dout, x, c, field, sums }) }
            dw.iter_mut().zip(sums).for_each(|(dw, sum)| accum.put(dw, *sum as f32));
        },
    );
}

/// The sums that are `dw` of input channel `c`.
struct WeightGradient<'a> {
    s: &'a Conv2dSpec,
    padded: &'a Padded,
    offsets: &'a [usize],
    dout: &'a [f32],
    x: &'a [f32],
    c: usize,
    field: &'a mut [f32],
    sums: &'a mut [f64],
}

impl Kernel for WeightGradient<'_> {
    type Out = ();
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let Self { s, padded, offsets, dout, x, c, field, sums } = self;
        let (each, len, pixels) = (s.oc / s.groups, s.out_plane(), s.h * s.w);
        sums.fill(0.0);
        for n in 0..s.n {
            // SAFETY: the caller's.
            unsafe { padded.fill::<V>(&x[(n * s.c + c) * pixels..][..pixels], field) }
            for (j, sums) in sums.chunks_exact_mut(offsets.len()).enumerate() {
                let dout = &dout[(n * s.oc + c * each + j) * len..][..len];
                for (sums, offsets) in sums.chunks_mut(TAPS).zip(offsets.chunks(TAPS)) {
                    // Where there are fewer taps, the last one stands for the missing ones.
                    let last = offsets[offsets.len() - 1];
                    let some = std::array::from_fn(|i| *offsets.get(i).unwrap_or(&last));
                    // SAFETY: the caller's.
                    let more = unsafe { dots::<V>(dout, field, padded.pitch, s.out_hw(), some) };
                    sums.iter_mut().zip(more).for_each(|(sum, v)| *sum += f64::from(v));
                }
            }
        }
    }
}

/// Dot products of `dout`, of `rows` and `columns`, with what it sees of the field from some offsets on.
///
/// # Safety
/// As [`Vector`].
#[inline(always)]
unsafe fn dots<V: Vector>(
    dout: &[f32],
    field: &[f32],
    pitch: usize,
    [rows, columns]: [usize; 2],
    offsets: [usize; TAPS],
) -> [f32; TAPS] {
    let furthest = offsets.into_iter().max().unwrap_or(0);
    assert!(rows * columns <= dout.len());
    assert!(furthest + rows.saturating_sub(1) * pitch + columns.next_multiple_of(V::LANES) <= field.len());
    // SAFETY: the caller's; whole vectors of the furthest tap lie in the field.
    unsafe {
        let mut sums = [V::splat(0.0); TAPS];
        for y in 0..rows {
            for x in (0..columns).step_by(V::LANES) {
                // Beyond the row there are zeros, by which what the field has there is multiplied.
                let d = V::load_first(dout.as_ptr().add(y * columns + x), V::LANES.min(columns - x));
                let from = field.as_ptr().add(y * pitch + x);
                for i in 0..TAPS {
                    sums[i] = V::load(from.add(offsets[i])).mul_add(d, sums[i]);
                }
            }
        }
        let mut all = [0.0; TAPS];
        for i in 0..TAPS {
            all[i] = sums[i].sum();
        }
        all
    }
}
