//! Batch normalisation (Ioffe & Szegedy 2015): `out = gamma * (x - mean) / sqrt(var + eps) + beta` per channel.
//!
//! At inference mean and variance are given; in training they are those of the batch (the variance is the biased one) and are
//! outputs too, from which the caller keeps its running statistics.

use crate::buffer::Buffer;
use crate::device::Real;
use crate::table::{Accum, Operand, Signature, TRANSCENDENTAL, Table, threaded_rows};
use crate::threads::{par_items, par_work2};
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
    fn inverse_std<T: Real>(&self, var: T) -> T {
        T::ONE / (var + T::of(self.eps)).sqrt()
    }
}

impl fmt::Display for NormSpec {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "n{} c{} plane{} eps{:e}", self.n, self.c, self.plane, self.eps)
    }
}

/// `out[n,c,:] = f(c, index)` over planes, on threads or not.
fn planes<T: Real, const THREADS: bool>(s: &NormSpec, out: &mut [T], plane: impl Fn(usize, usize, &mut [T]) + Sync) {
    let item = s.plane.max(1);
    let part = |first: usize, part: &mut [T]| {
        (first..).zip(part.chunks_exact_mut(item)).for_each(|(i, p)| plane(i % s.c, i * s.plane, p));
    };
    if THREADS { par_items(out, item, part) } else { part(0, out) }
}

/// `out = x * scale + shift` per channel.
fn affine<T: Real, const THREADS: bool>(s: &NormSpec, x: &[T], out: &mut [T], accum: Accum, of: impl Fn(usize) -> (T, T) + Sync) {
    planes::<T, THREADS>(s, out, |c, start, out| {
        let (scale, shift) = of(c);
        out.iter_mut().zip(&x[start..]).for_each(|(o, x)| accum.put(o, *x * scale + shift));
    });
}

fn infer_fwd<T: Real, const THREADS: bool>(s: &NormSpec, inputs: &[&Buffer], outputs: &mut [&mut Buffer], accum: Accum) {
    let [x, gamma, beta, mean, var] = [0, 1, 2, 3, 4].map(|i| inputs[i].as_slice::<T>());
    affine::<T, THREADS>(s, x, outputs[0].as_mut_slice(), accum, |c| {
        let scale = gamma[c] * s.inverse_std(var[c]);
        (scale, beta[c] - mean[c] * scale)
    });
}

/// Mean and biased variance of a channel, in two passes: the one-pass formula cancels.
fn moments<T: Real>(s: &NormSpec, x: &[T], c: usize) -> (T, T) {
    let count = T::of((s.n * s.plane).max(1) as f64);
    let mean = s.channel(x, c).map(|p| p.iter().copied().sum::<T>()).sum::<T>() / count;
    let square = |p: &[T]| p.iter().map(|v| (*v - mean) * (*v - mean)).sum::<T>();
    (mean, s.channel(x, c).map(square).sum::<T>() / count)
}

fn train_fwd<T: Real, const THREADS: bool>(s: &NormSpec, inputs: &[&Buffer], outputs: &mut [&mut Buffer], accum: Accum) {
    let [x, gamma, beta] = [0, 1, 2].map(|i| inputs[i].as_slice::<T>());
    let [out, mean, var] = outputs else { unreachable!("the table checked the number of outputs") };
    let (mean, var) = (mean.as_mut_slice::<T>(), var.as_mut_slice::<T>()); // [c]
    per_channel::<T, THREADS>(s, mean, var, |c| moments(s, x, c));
    affine::<T, THREADS>(s, x, out.as_mut_slice(), accum, |c| {
        let scale = gamma[c] * s.inverse_std(var[c]);
        (scale, beta[c] - mean[c] * scale)
    });
}

/// Two numbers per channel, each from a whole channel.
fn per_channel<T: Real, const THREADS: bool>(s: &NormSpec, a: &mut [T], b: &mut [T], f: impl Fn(usize) -> (T, T) + Sync) {
    let part = |first: usize, a: &mut [T], b: &mut [T]| {
        (first..).zip(a.iter_mut().zip(b)).for_each(|(c, (a, b))| (*a, *b) = f(c));
    };
    if THREADS && s.len() > 1 << 14 {
        // Channels are few and long: one item each.
        use rayon::prelude::*;
        a.par_chunks_mut(1).zip(b.par_chunks_mut(1)).enumerate().for_each(|(c, (a, b))| part(c, a, b));
    } else if THREADS {
        par_work2(a, b, 1, 1, part);
    } else {
        part(0, a, b);
    }
}

fn param_grads<T: Real, const THREADS: bool>(s: &NormSpec, inputs: &[&Buffer], outputs: &mut [&mut Buffer], accum: Accum) {
    let [dout, x, mean, var] = [0, 1, 2, 3].map(|i| inputs[i].as_slice::<T>());
    let [dgamma, dbeta] = outputs else { unreachable!("the table checked the number of outputs") };
    let (dgamma, dbeta) = (dgamma.as_mut_slice::<T>(), dbeta.as_mut_slice::<T>()); // [c]
    let (old_gamma, old_beta) = (dgamma.to_vec(), dbeta.to_vec());
    per_channel::<T, THREADS>(s, dgamma, dbeta, |c| {
        let pairs = || s.channel(x, c).zip(s.channel(dout, c));
        let product = |(x, d): (&[T], &[T])| x.iter().zip(d).map(|(x, d)| (*x - mean[c]) * *d).sum::<T>();
        let dgamma = pairs().map(product).sum::<T>() * s.inverse_std(var[c]);
        let dbeta = s.channel(dout, c).map(|d| d.iter().copied().sum::<T>()).sum::<T>();
        match accum {
            Accum::Write => (dgamma, dbeta),
            Accum::Add => (old_gamma[c] + dgamma, old_beta[c] + dbeta),
        }
    });
}

fn infer_dgrad<T: Real, const THREADS: bool>(s: &NormSpec, inputs: &[&Buffer], outputs: &mut [&mut Buffer], accum: Accum) {
    let [dout, gamma, var] = [0, 1, 2].map(|i| inputs[i].as_slice::<T>());
    affine::<T, THREADS>(s, dout, outputs[0].as_mut_slice(), accum, |c| (gamma[c] * s.inverse_std(var[c]), T::ZERO));
}

fn train_dgrad<T: Real, const THREADS: bool>(s: &NormSpec, inputs: &[&Buffer], outputs: &mut [&mut Buffer], accum: Accum) {
    let [dout, x, gamma, mean, var, dgamma, dbeta] = [0, 1, 2, 3, 4, 5, 6].map(|i| inputs[i].as_slice::<T>());
    let count = T::of((s.n * s.plane).max(1) as f64);
    // dx = gamma/std * (dout - dbeta/N - xhat * dgamma/N), because mean and variance depend on x too.
    planes::<T, THREADS>(s, outputs[0].as_mut_slice(), |c, start, dx| {
        let inverse_std = s.inverse_std(var[c]);
        let (scale, mean_d, slope) = (gamma[c] * inverse_std, dbeta[c] / count, inverse_std * dgamma[c] / count);
        for ((dx, d), x) in dx.iter_mut().zip(&dout[start..]).zip(&x[start..]) {
            accum.put(dx, scale * (*d - mean_d - (*x - mean[c]) * slope));
        }
    });
}

fn cases() -> Vec<NormSpec> {
    [(1, 1, 2), (2, 3, 35), (3, 65, 7), (2, 16, 900)].map(|(n, c, plane)| NormSpec { n, c, plane, eps: 1e-5 }).to_vec()
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
    rows: threaded_rows!(infer_fwd, TRANSCENDENTAL),
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
    rows: threaded_rows!(train_fwd, TRANSCENDENTAL),
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
    rows: threaded_rows!(param_grads, TRANSCENDENTAL),
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
    rows: threaded_rows!(infer_dgrad, TRANSCENDENTAL),
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
    rows: threaded_rows!(train_dgrad, TRANSCENDENTAL),
};
