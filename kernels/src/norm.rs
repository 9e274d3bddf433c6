//! Batch normalisation (Ioffe & Szegedy 2015): `out = gamma * (x - mean) / sqrt(var + eps) + beta` per channel.
//!
//! At inference mean and variance are given; in training they are those of the batch (the variance is the biased one) and are
//! outputs too, from which the caller keeps its running statistics.

use crate::buffer::Buffer;
use crate::device::Real;
use crate::simd::{Kernel, Vector};
use crate::stream::{Affine, CentredProduct, Rows, Same, Square, blocks, lanes, map, par_map_planes, sum_block};
use crate::table::{Accum, Operand, Signature, TRANSCENDENTAL, Table, vector_rows};
use crate::threads::{Shared, par_work2};
use std::fmt;

/// A batch-norm problem on `x [n, c, plane]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NormSpec {
    /// Images.
    pub n: usize,
    /// Channels.
    pub c: usize,
    /// Height times width.
    pub plane: usize,
    /// Added to the variance.
    pub eps: f64,
}

impl NormSpec {
    fn len(&self) -> usize {
        self.n * self.c * self.plane
    }
    /// The values of one channel: its plane in each image.
    fn channel<'a, T>(&'a self, x: &'a [T], c: usize) -> impl Iterator<Item = &'a [T]> + Clone {
        (0..self.n).map(move |n| &x[(n * self.c + c) * self.plane..][..self.plane])
    }
    /// The same as rows of `x`.
    fn rows(&self, c: usize) -> Rows {
        Rows { start: c * self.plane, rows: self.n, stride: self.c * self.plane, len: self.plane }
    }
    fn count(&self) -> usize {
        (self.n * self.plane).max(1)
    }
    fn inverse_std<T: Real>(&self, var: T) -> T {
        T::ONE / (var + T::of(self.eps)).sqrt()
    }
}

impl fmt::Display for NormSpec {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "n{} c{} plane{} eps{:e}", self.n, self.c, self.plane, self.eps)
    }
}

/// `out = x * scale + shift` per channel.
fn affine<T: Real>(s: &NormSpec, x: &[T], out: &mut [T], accum: Accum, of: impl Fn(usize) -> (T, T)) {
    let planes = out.chunks_exact_mut(s.plane.max(1)).zip(x.chunks_exact(s.plane.max(1)));
    for (i, (out, x)) in planes.enumerate() {
        let (scale, shift) = of(i % s.c);
        out.iter_mut().zip(x).for_each(|(o, x)| accum.put(o, *x * scale + shift));
    }
}

fn infer_fwd<T: Real>(s: &NormSpec, inputs: &[&Buffer], outputs: &mut [&mut Buffer], accum: Accum) {
    let [x, gamma, beta, mean, var] = [0, 1, 2, 3, 4].map(|i| inputs[i].as_slice::<T>());
    affine(s, x, outputs[0].as_mut_slice(), accum, |c| {
        let scale = gamma[c] * s.inverse_std(var[c]);
        (scale, beta[c] - mean[c] * scale)
    });
}

fn infer_fwd_vector<V: Vector>(s: &NormSpec, inputs: &[&Buffer], outputs: &mut [&mut Buffer], accum: Accum) {
    let [x, gamma, beta, mean, var] = [0, 1, 2, 3, 4].map(|i| inputs[i].as_slice::<f32>());
    let of = |i: usize| {
        let c = i % s.c;
        Affine { centre: mean[c], scale: gamma[c] * s.inverse_std(var[c]), shift: beta[c] }
    };
    // SAFETY: the row is here only where the instructions of V are.
    unsafe { par_map_planes::<V, _, 1>(of, s.plane, [x], outputs[0].as_mut_slice(), accum) }
}

/// Mean and biased variance of a channel, in two passes: the one-pass formula cancels.
fn moments<T: Real>(s: &NormSpec, x: &[T], c: usize) -> (T, T) {
    let count = T::of(s.count() as f64);
    let mean = s.channel(x, c).map(|p| p.iter().copied().sum::<T>()).sum::<T>() / count;
    let square = |p: &[T]| p.iter().map(|v| (*v - mean) * (*v - mean)).sum::<T>();
    (mean, s.channel(x, c).map(square).sum::<T>() / count)
}

fn train_fwd<T: Real>(s: &NormSpec, inputs: &[&Buffer], outputs: &mut [&mut Buffer], accum: Accum) {
    let [x, gamma, beta] = [0, 1, 2].map(|i| inputs[i].as_slice::<T>());
    let [out, mean, var] = outputs else { unreachable!("the table checked the number of outputs") };
    let (mean, var) = (mean.as_mut_slice::<T>(), var.as_mut_slice::<T>()); // [c]
    for (c, (mean, var)) in mean.iter_mut().zip(&mut *var).enumerate() {
        (*mean, *var) = moments(s, x, c);
    }
    affine(s, x, out.as_mut_slice(), accum, |c| {
        let scale = gamma[c] * s.inverse_std(var[c]);
        (scale, beta[c] - mean[c] * scale)
    });
}

/// The moments, block by block: each block's two passes are over numbers in L1, so a channel comes from memory once. Blocks are
/// put together as in Chan, Golub & LeVeque 1979 ("Updating formulae and a pairwise algorithm for computing sample variances").
///
/// # Safety
/// As [`Vector`].
#[inline(always)]
unsafe fn moments_vector<V: Vector>(x: &[f32], channel: Rows) -> (f32, f32) {
    let (mut count, mut mean, mut squares) = (0.0, 0.0, 0.0);
    for block in blocks(channel) {
        let n = block.count() as f64;
        // SAFETY: the caller's.
        let (block_mean, block_squares) = unsafe {
            let centre = f64::from(sum_block::<V, 1>(Same {}, [x], block)) / n;
            (centre, f64::from(sum_block::<V, 1>(Square { centre: centre as f32 }, [x], block)))
        };
        let away = block_mean - mean;
        squares += block_squares + away * away * count * n / (count + n);
        count += n;
        mean += away * n / count;
    }
    (mean as f32, (squares / count.max(1.0)) as f32)
}

/// A channel is normalised as soon as its moments are known, while it is in the cache.
fn train_fwd_vector<V: Vector>(s: &NormSpec, inputs: &[&Buffer], outputs: &mut [&mut Buffer], _: Accum) {
    let [x, gamma, beta] = [0, 1, 2].map(|i| inputs[i].as_slice::<f32>());
    let [out, mean, var] = outputs else { unreachable!("the table checked the number of outputs") };
    let (mean, var) = (mean.as_mut_slice::<f32>(), var.as_mut_slice::<f32>()); // [c]
    let out = &Shared(out.as_mut_slice::<f32>().as_mut_ptr());
    par_work2(mean, var, 1, s.count(), |first, mean, var| {
        // SAFETY: the row is here only where the instructions of V are; these channels are this thread's alone.
        unsafe { V::run(TrainFwd { s, x, gamma, beta, first, mean, var, out }) }
    });
}

/// The channels from `first` on, as many as `mean` has.
struct TrainFwd<'a> {
    s: &'a NormSpec,
    x: &'a [f32],
    gamma: &'a [f32],
    beta: &'a [f32],
    first: usize,
    mean: &'a mut [f32],
    var: &'a mut [f32],
    /// As long as `x`; nothing else may use the planes of these channels.
    out: &'a Shared,
}

impl Kernel for TrainFwd<'_> {
    type Out = ();
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let Self { s, x, gamma, beta, first, mean, var, out } = self;
        for (c, (mean, var)) in (first..).zip(mean.iter_mut().zip(var)) {
            let channel = s.rows(c);
            // SAFETY: the caller's; the rows of a channel lie inside x and out.
            unsafe {
                (*mean, *var) = moments_vector::<V>(x, channel);
                let f = Affine { centre: *mean, scale: gamma[c] * s.inverse_std(*var), shift: beta[c] };
                for n in 0..s.n {
                    let start = channel.start + n * channel.stride;
                    let out = std::slice::from_raw_parts_mut(out.get().add(start), s.plane);
                    map::<V, 1>(f, [&x[start..start + s.plane]], out, Accum::Write);
                }
            }
        }
    }
}

fn param_grads<T: Real>(s: &NormSpec, inputs: &[&Buffer], outputs: &mut [&mut Buffer], accum: Accum) {
    let [dout, x, mean, var] = [0, 1, 2, 3].map(|i| inputs[i].as_slice::<T>());
    let [dgamma, dbeta] = outputs else { unreachable!("the table checked the number of outputs") };
    let (dgamma, dbeta) = (dgamma.as_mut_slice::<T>(), dbeta.as_mut_slice::<T>()); // [c]
    for c in 0..s.c {
        let product = |(x, d): (&[T], &[T])| x.iter().zip(d).map(|(x, d)| (*x - mean[c]) * *d).sum::<T>();
        let products = s.channel(x, c).zip(s.channel(dout, c)).map(product).sum::<T>();
        accum.put(&mut dgamma[c], products * s.inverse_std(var[c]));
        accum.put(&mut dbeta[c], s.channel(dout, c).map(|d| d.iter().copied().sum::<T>()).sum::<T>());
    }
}

fn param_grads_vector<V: Vector>(s: &NormSpec, inputs: &[&Buffer], outputs: &mut [&mut Buffer], accum: Accum) {
    let [dout, x, mean, var] = [0, 1, 2, 3].map(|i| inputs[i].as_slice::<f32>());
    let [dgamma, dbeta] = outputs else { unreachable!("the table checked the number of outputs") };
    let (dgamma, dbeta) = (dgamma.as_mut_slice::<f32>(), dbeta.as_mut_slice::<f32>()); // [c]
    par_work2(dgamma, dbeta, 1, 2 * s.count(), |first, dgamma, dbeta| {
        // SAFETY: the row is here only where the instructions of V are.
        unsafe { V::run(ParamGrads { s, dout, x, mean, var, first, dgamma, dbeta, accum }) }
    });
}

/// The channels from `first` on, as many as `dgamma` has.
struct ParamGrads<'a> {
    s: &'a NormSpec,
    dout: &'a [f32],
    x: &'a [f32],
    mean: &'a [f32],
    var: &'a [f32],
    first: usize,
    dgamma: &'a mut [f32],
    dbeta: &'a mut [f32],
    accum: Accum,
}

impl Kernel for ParamGrads<'_> {
    type Out = ();
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let Self { s, dout, x, mean, var, first, dgamma, dbeta, accum } = self;
        for (c, (dgamma, dbeta)) in (first..).zip(dgamma.iter_mut().zip(dbeta)) {
            let (mut products, mut sum) = (0.0, 0.0);
            for block in blocks(s.rows(c)) {
                // SAFETY: the caller's.
                unsafe {
                    products += f64::from(sum_block::<V, 2>(CentredProduct { centre: mean[c] }, [x, dout], block));
                    sum += f64::from(sum_block::<V, 1>(Same {}, [dout], block));
                }
            }
            accum.put(dgamma, products as f32 * s.inverse_std(var[c]));
            accum.put(dbeta, sum as f32);
        }
    }
}

fn infer_dgrad<T: Real>(s: &NormSpec, inputs: &[&Buffer], outputs: &mut [&mut Buffer], accum: Accum) {
    let [dout, gamma, var] = [0, 1, 2].map(|i| inputs[i].as_slice::<T>());
    affine(s, dout, outputs[0].as_mut_slice(), accum, |c| (gamma[c] * s.inverse_std(var[c]), T::ZERO));
}

fn infer_dgrad_vector<V: Vector>(s: &NormSpec, inputs: &[&Buffer], outputs: &mut [&mut Buffer], accum: Accum) {
    let [dout, gamma, var] = [0, 1, 2].map(|i| inputs[i].as_slice::<f32>());
    let of = |i: usize| Affine { centre: 0.0, scale: gamma[i % s.c] * s.inverse_std(var[i % s.c]), shift: 0.0 };
    // SAFETY: the row is here only where the instructions of V are.
    unsafe { par_map_planes::<V, _, 1>(of, s.plane, [dout], outputs[0].as_mut_slice(), accum) }
}

// dx = gamma/std * (dout - dbeta/N - xhat * dgamma/N), because mean and variance depend on x too.
lanes!(TrainDgrad { mean, mean_d, slope, scale } V [dout, x] => scale.mul(dout.sub(mean_d).sub(x.sub(mean).mul(slope))));

impl TrainDgrad {
    fn of_channel<T: Real>(s: &NormSpec, inputs: &[&Buffer], c: usize) -> [T; 4] {
        let [gamma, mean, var, dgamma, dbeta] = [2, 3, 4, 5, 6].map(|i| inputs[i].as_slice::<T>()[c]);
        let (inverse_std, count) = (s.inverse_std(var), T::of(s.count() as f64));
        [mean, dbeta / count, inverse_std * dgamma / count, gamma * inverse_std]
    }
}

fn train_dgrad<T: Real>(s: &NormSpec, inputs: &[&Buffer], outputs: &mut [&mut Buffer], accum: Accum) {
    let plane = s.plane.max(1);
    let [dout, x] = [0, 1].map(|i| inputs[i].as_slice::<T>().chunks_exact(plane));
    for (i, ((dx, d), x)) in outputs[0].as_mut_slice().chunks_exact_mut(plane).zip(dout).zip(x).enumerate() {
        let [mean, mean_d, slope, scale] = TrainDgrad::of_channel::<T>(s, inputs, i % s.c);
        for ((dx, d), x) in dx.iter_mut().zip(d).zip(x) {
            accum.put(dx, scale * (*d - mean_d - (*x - mean) * slope));
        }
    }
}

fn train_dgrad_vector<V: Vector>(s: &NormSpec, inputs: &[&Buffer], outputs: &mut [&mut Buffer], accum: Accum) {
    let xs = [0, 1].map(|i| inputs[i].as_slice::<f32>());
    let of = |i: usize| {
        let [mean, mean_d, slope, scale] = TrainDgrad::of_channel(s, inputs, i % s.c);
        TrainDgrad { mean, mean_d, slope, scale }
    };
    // SAFETY: the row is here only where the instructions of V are.
    unsafe { par_map_planes::<V, _, 2>(of, s.plane, xs, outputs[0].as_mut_slice(), accum) }
}

fn cases() -> Vec<NormSpec> {
    [(1, 1, 2), (2, 3, 35), (3, 65, 7), (2, 16, 900), (80, 2, 33), (1, 2, 70_001)]
        .map(|(n, c, plane)| NormSpec { n, c, plane, eps: 1e-5 })
        .to_vec()
}

const fn flops(s: &NormSpec) -> u64 {
    2 * (s.n * s.c * s.plane) as u64
}

/// `norm.infer`: inputs `x`, `gamma`, `beta`, `mean`, `var`; output `out`.
pub static INFER_FWD: Table<NormSpec> = Table {
    op: "norm.infer",
    signature: |s| Signature {
        inputs: vec![
            Operand::any("x", s.len()),
            Operand::any("gamma", s.c),
            Operand::any("beta", s.c),
            Operand::any("mean", s.c),
            Operand::positive("var", s.c),
        ],
        outputs: vec![Operand::any("out", s.len())],
    },
    flops,
    terms: |_| 1,
    accumulates: true,
    cases,
    rows: vector_rows!(infer_fwd_vector, infer_fwd, TRANSCENDENTAL),
};

/// `norm.train`: inputs `x`, `gamma`, `beta`; outputs `out`, and the batch's `mean` and biased `var`.
pub static TRAIN_FWD: Table<NormSpec> = Table {
    op: "norm.train",
    signature: |s| Signature {
        inputs: vec![Operand::any("x", s.len()), Operand::any("gamma", s.c), Operand::any("beta", s.c)],
        outputs: vec![Operand::any("out", s.len()), Operand::any("mean", s.c), Operand::any("var", s.c)],
    },
    flops,
    terms: |s| s.n * s.plane,
    accumulates: false,
    cases,
    rows: vector_rows!(train_fwd_vector, train_fwd, TRANSCENDENTAL),
};

/// `norm.params`: inputs `dout`, `x`, `mean`, `var`; outputs `dgamma`, `dbeta`. The same for inference and training.
pub static PARAM_GRADS: Table<NormSpec> = Table {
    op: "norm.params",
    signature: |s| Signature {
        inputs: vec![
            Operand::any("dout", s.len()),
            Operand::any("x", s.len()),
            Operand::any("mean", s.c),
            Operand::positive("var", s.c),
        ],
        outputs: vec![Operand::any("dgamma", s.c), Operand::any("dbeta", s.c)],
    },
    flops: |s| 2 * flops(s),
    terms: |s| s.n * s.plane,
    accumulates: true,
    cases,
    rows: vector_rows!(param_grads_vector, param_grads, TRANSCENDENTAL),
};

/// `norm.infer_dgrad`: inputs `dout`, `gamma`, `var`; output `dx`.
pub static INFER_DGRAD: Table<NormSpec> = Table {
    op: "norm.infer_dgrad",
    signature: |s| Signature {
        inputs: vec![Operand::any("dout", s.len()), Operand::any("gamma", s.c), Operand::positive("var", s.c)],
        outputs: vec![Operand::any("dx", s.len())],
    },
    flops,
    terms: |_| 1,
    accumulates: true,
    cases,
    rows: vector_rows!(infer_dgrad_vector, infer_dgrad, TRANSCENDENTAL),
};

/// `norm.train_dgrad`: inputs `dout`, `x`, `gamma`, `mean`, `var`, `dgamma`, `dbeta`; output `dx`.
pub static TRAIN_DGRAD: Table<NormSpec> = Table {
    op: "norm.train_dgrad",
    signature: |s| Signature {
        inputs: vec![
            Operand::any("dout", s.len()),
            Operand::any("x", s.len()),
            Operand::any("gamma", s.c),
            Operand::any("mean", s.c),
            Operand::positive("var", s.c),
            Operand::any("dgamma", s.c),
            Operand::any("dbeta", s.c),
        ],
        outputs: vec![Operand::any("dx", s.len())],
    },
    flops: |s| 3 * flops(s),
    terms: |_| 1,
    accumulates: true,
    cases,
    rows: vector_rows!(train_dgrad_vector, train_dgrad, TRANSCENDENTAL),
};
