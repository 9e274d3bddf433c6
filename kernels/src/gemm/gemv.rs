//! gemm rung for one row: a dense layer on one image.
//!
//! Computes  c[j] (+)= dot(a, b[j,:]) (+ bias[j])
//! The packed rung wasted: it copied all of `b` (VGG's first dense layer: 411 MB) to use each number once.
//! This rung:   streams `b` once, rows shared out over the threads; it is bound by memory, not arithmetic.
//! Loses when:  `a` has more than a few rows, because `b` is then streamed again for each.

use super::{Bias, GemmSpec};
use crate::buffer::Buffer;
use crate::table::Accum;
use crate::threads::par_items;

pub(super) fn fits(s: &GemmSpec) -> Result<(), &'static str> {
    if s.m == 1 && s.tb { Ok(()) } else { Err("wants m = 1 and b transposed") }
}

pub(super) fn run(s: &GemmSpec, inputs: &[&Buffer], outputs: &mut [&mut Buffer], accum: Accum) {
    let (a, b) = (inputs[0].as_slice::<f32>(), inputs[1].as_slice::<f32>()); // a [k], b [n,k]
    let bias = (s.bias == Bias::Columns).then(|| inputs[2].as_slice::<f32>());
    let rows_per_part = |j0: usize, part: &mut [f32]| {
        for (j, c) in (j0..).zip(part) {
            accum.put(c, dot(a, &b[j * s.k..][..s.k]) + bias.map_or(0.0, |b| b[j]));
        }
    };
    use rayon::prelude::*;
    let c = outputs[0].as_mut_slice::<f32>();
    if s.n * s.k < 1 << 16 {
        par_items(c, 1, rows_per_part);
    } else {
        c.par_chunks_mut(16).enumerate().for_each(|(i, part)| rows_per_part(i * 16, part));
    }
}

/// Sixty-four partial sums, so that the compiler's vector adds do not wait for each other.
fn dot(x: &[f32], y: &[f32]) -> f32 {
    const LANES: usize = 64;
    let mut sums = [0.0f32; LANES];
    let (xs, ys) = (x.chunks_exact(LANES), y.chunks_exact(LANES));
    let tail: f32 = xs.remainder().iter().zip(ys.remainder()).map(|(x, y)| x * y).sum();
    for (x, y) in xs.zip(ys) {
        for l in 0..LANES {
            sums[l] += x[l] * y[l];
        }
    }
    let mut width = LANES;
    while width > 1 {
        width /= 2;
        for l in 0..width {
            sums[l] += sums[l + width];
        }
    }
    sums[0] + tail
}
