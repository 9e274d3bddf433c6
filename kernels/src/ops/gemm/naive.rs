//! gemm variant: three loops, the oracle.
//!
//! Computes  c[i,j] (+)= sum_k a[i,k] * b[k,j] (+ bias[j])
//! Loses when: always; every element of `b` is read from memory `m` times. It is here to be read and to be right.

use super::{Bias, GemmSpec};
use crate::core::buffer::Buffer;
use crate::core::device::Real;
use crate::core::table::Accum;

pub(super) fn run<T: Real>(s: &GemmSpec, inputs: &[&Buffer], outputs: &mut [&mut Buffer], accum: Accum) {
    let (a, b) = (inputs[0].as_slice::<T>(), inputs[1].as_slice::<T>()); // a [m,k], b [k,n]
    let c = outputs[0].as_mut_slice::<T>(); // c [m,n]
    for i in 0..s.m {
        for j in 0..s.n {
            let mut sum = match s.bias {
                Bias::Columns => inputs[2].as_slice::<T>()[j],
                Bias::None => T::ZERO,
            };
            for k in 0..s.k {
                let x = if s.ta { a[k * s.m + i] } else { a[i * s.k + k] };
                let y = if s.tb { b[j * s.k + k] } else { b[k * s.n + j] };
                sum += x * y;
            }
            accum.put(&mut c[i * s.n + j], sum);
        }
    }
}
