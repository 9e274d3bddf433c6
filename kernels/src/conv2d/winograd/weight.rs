//! The transformed weight.

use super::Problem;
use super::transform::{Transform, two_axes};
use crate::buffer::Buffer;
use crate::conv2d::Conv2dSpec;
use crate::conv2d::tile;
use crate::device::DType;
use crate::simd::{self, Kernel, Vector};
use crate::threads::Shared;
use rayon::prelude::*;
use std::marker::PhantomData;

/// Numbers of the transformed weight.
fn transformed_len<V: Vector, const A: usize>(p: &Problem) -> usize {
    A * A * p.oc.next_multiple_of(tile::panel::<V>()) * p.c
}

/// Where the 3x3 weights of an output and an input channel lie, and whether they are read from their end.
struct Weights<'a> {
    w: &'a [f32],
    oc_stride: usize,
    c_stride: usize,
    turned: bool,
}

/// `G w G^T` of a panel of output channels, for `[point][panel of oc][c][panel]`.
struct TransformWeight<'a, T, const M: usize, const A: usize> {
    p: &'a Problem,
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
        let Self { p, weights, panel, to, .. } = self;
        let wide = tile::panel::<V>();
        let len = p.c * wide;
        let point = p.oc.div_ceil(wide) * len;
        // One pair of channels a lane, in the order of the panel.
        let mut taps = [0.0f32; 9 * 16];
        let mut points = [0.0f32; 36 * 16];
        for first in (0..len).step_by(V::LANES) {
            let n = V::LANES.min(len - first);
            for lane in 0..n {
                let (c, oc) = ((first + lane) / wide, panel * wide + (first + lane) % wide);
                if oc < p.oc {
                    let w = &weights.w[oc * weights.oc_stride + c * weights.c_stride..][..9];
                    for (i, v) in w.iter().enumerate() {
                        taps[if weights.turned { 8 - i } else { i } * 16 + lane] = *v;
                    }
                } else {
                    (0..9).for_each(|i| taps[i * 16 + lane] = 0.0);
                }
            }
            // SAFETY: both scratches have sixteen lanes; the panel of each point has n more numbers.
            unsafe {
                let (from, scratch) = (taps.as_ptr(), points.as_mut_ptr());
                two_axes!(V, T::weight, [3, A], |i, j| V::load(from.add((i * 3 + j) * 16)), |i, j, v| v
                    .store(scratch.add((i * A + j) * 16)));
                for e in 0..A * A {
                    V::load(scratch.add(e * 16)).store_first(to.add(e * point + panel * len + first), n);
                }
            }
        }
    }
}

fn transform_weight<V: Vector, T: Transform<M, A>, const M: usize, const A: usize>(p: &Problem, weights: &Weights) -> Buffer {
    assert!(simd::here::<V>());
    let mut out = Buffer::new(DType::F32, transformed_len::<V, A>(p));
    let to = Shared(out.as_mut_slice::<f32>().as_mut_ptr());
    (0..p.oc.div_ceil(tile::panel::<V>())).into_par_iter().for_each(|panel| {
        let kernel = TransformWeight::<T, M, A> { p, weights, panel, to: to.get(), transform: PhantomData };
        // SAFETY: the instructions are here, the result has room for all points and panels, and each task has its panel.
        unsafe { V::run(kernel) }
    });
    out
}

pub(in crate::conv2d) fn pack_fwd<V: Vector, T: Transform<M, A>, const M: usize, const A: usize>(
    s: &Conv2dSpec,
    w: &Buffer,
) -> Buffer {
    let weights = Weights { w: w.as_slice(), oc_stride: 9 * s.c, c_stride: 9, turned: false };
    transform_weight::<V, T, M, A>(&Problem::forward(s), &weights)
}

pub(in crate::conv2d) fn pack_dgrad<V: Vector, T: Transform<M, A>, const M: usize, const A: usize>(
    s: &Conv2dSpec,
    w: &Buffer,
) -> Buffer {
    let weights = Weights { w: w.as_slice(), oc_stride: 9, c_stride: 9 * s.c, turned: true };
    transform_weight::<V, T, M, A>(&Problem::backward(s), &weights)
}
