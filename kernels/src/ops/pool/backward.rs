//! Gradients of pooling.

use super::{PoolSpec, each_plane};
use crate::core::buffer::Buffer;
use crate::core::device::Real;
use crate::core::table::Accum;
use crate::simd::elementwise::{Constant, par_map_planes};
use crate::simd::{self, Vector};

pub(super) fn max_bwd<T: Real, const THREADS: bool>(s: &PoolSpec, inputs: &[&Buffer], outputs: &mut [&mut Buffer], accum: Accum) {
    let (dout, arg) = (inputs[0].as_slice::<T>(), inputs[1].as_slice::<u32>());
    let op = s.out_plane();
    each_plane::<T, THREADS>(outputs[0].as_mut_slice(), s.in_plane(), |i, dx| {
        if accum == Accum::Write {
            dx.fill(T::ZERO);
        }
        for (d, &a) in dout[i * op..][..op].iter().zip(&arg[i * op..][..op]) {
            dx[a as usize] += *d;
        }
    });
}

pub(super) fn avg_bwd_vector<V: Vector>(s: &PoolSpec, inputs: &[&Buffer], outputs: &mut [&mut Buffer], accum: Accum) {
    simd::require::<V>();
    let (dout, plane) = (inputs[0].as_slice::<f32>(), s.in_plane()); // dout [planes,1,1]
    let share = |i: usize| Constant { value: dout[i] / plane as f32 };
    // SAFETY: the instructions are here (required).
    unsafe { par_map_planes::<V, _, 0>(share, plane, [], outputs[0].as_mut_slice(), accum) }
}

pub(super) fn avg_bwd<T: Real, const THREADS: bool>(s: &PoolSpec, inputs: &[&Buffer], outputs: &mut [&mut Buffer], accum: Accum) {
    let dout = inputs[0].as_slice::<T>(); // dout [planes,oh,ow]
    let [oh, ow] = s.out_hw();
    each_plane::<T, THREADS>(outputs[0].as_mut_slice(), s.in_plane(), |i, dx| {
        if accum == Accum::Write {
            dx.fill(T::ZERO);
        }
        let dout = &dout[i * oh * ow..][..oh * ow];
        for oy in 0..oh {
            let (ys, ny) = s.window(0, oy);
            for ox in 0..ow {
                let (xs, nx) = s.window(1, ox);
                let share = dout[oy * ow + ox] / T::of((ny * nx) as f64);
                for y in ys.clone() {
                    dx[y * s.w..][xs.clone()].iter_mut().for_each(|v| *v += share);
                }
            }
        }
    });
}
