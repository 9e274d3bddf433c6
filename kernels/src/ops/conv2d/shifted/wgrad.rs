//! The gradient of the weight: dot products of the output's gradient with the padded input.

use super::convolve::span;
use super::padded::Padded;
use super::{MAX_TAPS, Tile, min_groups};
use crate::core::buffer::Buffer;
use crate::core::device::{DType, Real};
use crate::core::table::Accum;
use crate::ops::conv2d::Conv2dSpec;
use crate::simd::{self, Kernel, Vector};
use rayon::prelude::*;

pub(in crate::ops::conv2d) fn wgrad<V: Vector, T: Tile>(
    s: &Conv2dSpec,
    inputs: &[&Buffer],
    outputs: &mut [&mut Buffer],
    accum: Accum,
) {
    simd::require::<V>();
    let (dout, x) = (inputs[0].as_slice(), inputs[1].as_slice()); // dout [n,oc,oh,ow], x [n,c,h,w]
    let (padded, [cg, og]) = (&Padded::input(s), [s.c / s.groups, s.oc / s.groups]);
    let capacity = span(s.out_hw(), padded.pitch).next_multiple_of(V::LANES);
    let images = T::images(s, cg * padded.len() + og * capacity);
    let channel = |c: usize| padded.taps(s).into_iter().map(move |offset| c * images * padded.len() + offset);
    let taps: &[usize] = &(0..cg).flat_map(channel).collect::<Vec<usize>>();
    let copied = if T::COPIES { og * images * capacity } else { 0 };
    let groups = outputs[0].as_mut_slice::<f32>().par_chunks_exact_mut((og * s.patch()).max(1)).enumerate();
    groups.with_min_len(min_groups(s, s.n * og * cg * s.out_plane())).for_each_init(
        || {
            let field = Buffer::zeros(DType::F32, cg * images * padded.len());
            (field, Buffer::zeros(DType::F32, copied), vec![T::Sum::ZERO; og * s.patch()])
        },
        |(field, copy, sums), (group, dw)| {
            let (field, copy, sums) = (field.as_mut_slice(), copy.as_mut_slice(), &mut sums[..]);
            // SAFETY: the instructions are here (required).
            unsafe { V::run(Group::<T> { s, padded, taps, images, capacity, dout, x, group, field, copy, sums }) }
            dw.iter_mut().zip(sums).for_each(|(dw, sum)| accum.put(dw, sum.wide() as f32));
        },
    );
}

/// The sums that are `dw` of a group.
struct Group<'a, T: Tile> {
    s: &'a Conv2dSpec,
    padded: &'a Padded,
    /// Where pixel 0 of the first image finds the number of each weight.
    taps: &'a [usize],
    /// Images that are summed at a time.
    images: usize,
    /// Numbers of a plane of `copy`.
    capacity: usize,
    dout: &'a [f32],
    x: &'a [f32],
    group: usize,
    /// The input with its zeros, `[c][image]`.
    field: &'a mut [f32],
    /// The gradient with the row stride of the input, `[oc][image]`; zeros between its rows.
    copy: &'a mut [f32],
    sums: &'a mut [T::Sum],
}

impl<T: Tile> Kernel for Group<'_, T> {
    type Out = ();
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let Self { s, padded, taps: all, images, capacity, dout, x, group, field, copy, sums } = self;
        let ([cg, og], plane, pixels) = ([s.c / s.groups, s.oc / s.groups], s.out_plane(), s.h * s.w);
        sums.fill(T::Sum::ZERO);
        for n0 in (0..s.n).step_by(images) {
            let some = images.min(s.n - n0);
            for (i, field) in field.chunks_exact_mut(padded.len()).enumerate().filter(|(i, _)| i % images < some) {
                let at = (n0 + i % images) * s.c + group * cg + i / images;
                // SAFETY: the caller's.
                unsafe { padded.fill::<V>(&x[at * pixels..][..pixels], field) }
            }
            for (i, to) in copy.chunks_exact_mut(capacity).enumerate().filter(|(i, _)| i % images < some) {
                let at = (n0 + i % images) * s.oc + group * og + i / images;
                let rows = dout[at * plane..][..plane].chunks_exact(s.out_hw()[1]);
                rows.zip(to.chunks_mut(padded.pitch)).for_each(|(row, to)| to[..row.len()].copy_from_slice(row));
            }
            for oc in (0..og).step_by(T::CHANNELS) {
                let channels = T::CHANNELS.min(og - oc);
                let gradient = match T::COPIES {
                    true => &copy[oc * images * capacity..],
                    false => &dout[(n0 * s.oc + group * og + oc) * plane..][..plane],
                };
                for (i, some_taps) in all.chunks(T::TAPS).enumerate() {
                    // Where there are fewer taps, the last one stands for the missing ones.
                    let taps = std::array::from_fn(|i| some_taps[i.min(some_taps.len() - 1)]);
                    let (pitch, size, planes, stride) = (padded.pitch, s.out_hw(), [capacity, padded.len()], images * capacity);
                    let dots = Dots { gradient, field, pitch, size, planes, images: some, stride, taps };
                    // SAFETY: the caller's.
                    let more = unsafe { T::dots::<V>(&dots, channels) };
                    for (j, more) in more.chunks_exact(T::TAPS).take(channels).enumerate() {
                        let sums = &mut sums[(oc + j) * all.len() + i * T::TAPS..][..some_taps.len()];
                        sums.iter_mut().zip(more).for_each(|(sum, more)| *sum += T::Sum::of(f64::from(*more)));
                    }
                }
            }
        }
    }
}

/// Operands of the dot products of some channels' gradients with what they see of the padded input from some taps on.
pub(in crate::ops::conv2d) struct Dots<'a> {
    pub gradient: &'a [f32],
    pub field: &'a [f32],
    /// Numbers from one row of the padded input to the next.
    pub pitch: usize,
    /// Rows and columns of the gradient.
    pub size: [usize; 2],
    /// Numbers from one image to the next: of the copied gradient, of the padded input.
    pub planes: [usize; 2],
    pub images: usize,
    /// Numbers from one channel of the copied gradient to the next.
    pub stride: usize,
    /// Where pixel 0 finds its number; the tile takes the first [`Tile::TAPS`].
    pub taps: [usize; MAX_TAPS],
}
