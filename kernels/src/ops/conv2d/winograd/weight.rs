//! The transformed weight.

use super::WinogradProblem;
use super::transform::{Transform, two_axes};
use crate::core::buffer::Buffer;
use crate::core::device::DType;
use crate::core::threads::Shared;
use crate::ops::conv2d::Conv2dSpec;
use crate::ops::conv2d::microkernel;
use crate::simd::{self, Kernel, Vector};
use rayon::prelude::*;
use std::marker::PhantomData;

/// Numbers from one point of the transformed weight to the next: an odd number of cache lines, as for [`super::products::Strides::point`].
pub(super) fn point_stride<V: Vector>(p: &WinogradProblem) -> usize {
    (p.oc.next_multiple_of(microkernel::panel_width::<V>()) * p.c).next_multiple_of(32) + 16
}

/// Where the 3x3 weights of an output and an input channel lie, and whether they are read from their end.
struct Weights<'a> {
    w: &'a [f32],
    oc_stride: usize,
    c_stride: usize,
    rotated: bool,
}

/// `G w G^T` of a panel of output channels, for `[point][panel of oc][c][panel]`.
struct TransformWeight<'a, T, const M: usize, const A: usize> {
    p: &'a WinogradProblem,
    weights: &'a Weights<'a>,
    panel: usize,
    /// The whole result, of which this panel is written.
    to: *mut f32,
    transform: PhantomData<T>,
}

impl<T: Transform<M, A>, const M: usize, const A: usize> Kernel for TransformWeight<'_, T, M, A> {
    type Out = ();
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let Self { p, weights: &Weights { w, oc_stride, c_stride, rotated }, panel, to, .. } = self;
        let wide = microkernel::panel_width::<V>();
        let point_stride = point_stride::<V>(p);
        // The nine weights of as many output channels as there are lanes, transposed: one output channel a lane.
        let columns = 9usize.next_multiple_of(V::LANES);
        let mut taps = [0.0f32; 16 * 16];
        for c in 0..p.c {
            for lane in (0..wide).step_by(V::LANES) {
                let oc = panel * wide + lane;
                let first = oc * oc_stride + c * c_stride;
                // SAFETY: only numbers inside of the weight are read; the scratch holds all lanes of all columns, and the panel of each
                // point a vector for each channel and lane.
                unsafe {
                    if oc + V::LANES <= p.oc && first + (V::LANES - 1) * oc_stride + columns <= w.len() {
                        for column in (0..columns).step_by(V::LANES) {
                            let (from, to) = (w.as_ptr().add(first + column), taps.as_mut_ptr().add(column * V::LANES));
                            V::transpose(from, oc_stride, to, V::LANES);
                        }
                    } else {
                        taps.fill(0.0);
                        for i in 0..V::LANES.min(p.oc.saturating_sub(oc)) {
                            w[first + i * oc_stride..][..9].iter().enumerate().for_each(|(tap, v)| taps[tap * V::LANES + i] = *v);
                        }
                    }
                    let tap = |i: usize| taps.as_ptr().wrapping_add(if rotated { 8 - i } else { i } * V::LANES);
                    let to = to.add((panel * p.c + c) * wide + lane);
                    two_axes!(V, T::weight, [3, A], |i, j| V::load(tap(i * 3 + j)), |i, j, v| v
                        .store(to.add((i * A + j) * point_stride)));
                }
            }
        }
    }
}

fn transform_weight<V: Vector, T: Transform<M, A>, const M: usize, const A: usize>(
    p: &WinogradProblem,
    weights: &Weights,
) -> Buffer {
    simd::require::<V>();
    let mut out = Buffer::new(DType::F32, A * A * point_stride::<V>(p));
    let to = Shared(out.as_mut_slice::<f32>().as_mut_ptr());
    (0..p.oc.div_ceil(microkernel::panel_width::<V>())).into_par_iter().for_each(|panel| {
        let kernel = TransformWeight::<T, M, A> { p, weights, panel, to: to.get(), transform: PhantomData };
        // SAFETY: the instructions are here, the result holds all points and panels, and each task has its panel.
        unsafe { V::run(kernel) }
    });
    out
}

pub(in crate::ops::conv2d) fn pack_fwd<V: Vector, T: Transform<M, A>, const M: usize, const A: usize>(
    s: &Conv2dSpec,
    w: &Buffer,
) -> Buffer {
    let weights = Weights { w: w.as_slice(), oc_stride: 9 * s.c, c_stride: 9, rotated: false };
    transform_weight::<V, T, M, A>(&WinogradProblem::forward(s), &weights)
}

pub(in crate::ops::conv2d) fn pack_dgrad<V: Vector, T: Transform<M, A>, const M: usize, const A: usize>(
    s: &Conv2dSpec,
    w: &Buffer,
) -> Buffer {
    let weights = Weights { w: w.as_slice(), oc_stride: 9, c_stride: 9 * s.c, rotated: true };
    transform_weight::<V, T, M, A>(&WinogradProblem::backward(s), &weights)
}
