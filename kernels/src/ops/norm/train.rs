//! Batch-norm in training, with the addition and the ReLU that follow it in a residual network.
//!
//! These are passes over all activations with hardly any arithmetic, so what counts is how often a number comes from memory. One
//! channel of a batch is a few hundred kilobytes: it stays in L2 between its sums and its output. Forward therefore reads `x` (and
//! the residual) and writes `out`, once each, and backward reads `dout` and `x` (and `out`) and writes `dx` (and the residual's
//! gradient). One by one, the three operations and their gradients move two to three times as much, and keep what lies between.

use super::{ActivationGrad, Identity, NormSpec, OfGradient, affine_of, cases as norm_cases, param_sums, param_sums_vector};
use crate::core::buffer::Buffer;
use crate::core::device::Real;
use crate::core::table::{Accum, Operand, Row, Signature, TRANSCENDENTAL, Table};
use crate::core::threads::{Shared, par_work2};
use crate::ops::pointwise::{Relu, ReluGrad};
use crate::simd::elementwise::{Affine, Elementwise, Plus, Rows, Same, Square, Then, blocks, elementwise_fn, map, sum_block};
use crate::simd::rows::{each_isa, naive, names};
use crate::simd::{self, Kernel, Vector};
use std::fmt;

/// `out = relu(batch_norm(x) + residual)` with the mean and the (biased) variance of the batch; both ends are optional.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TrainSpec {
    /// The batch-norm.
    pub norm: NormSpec,
    /// Whether something is added to it.
    pub residual: bool,
    /// Whether `max(.., 0)` ends it.
    pub relu: bool,
}

impl TrainSpec {
    /// Checks the sizes; a message about the first fault.
    fn valid(&self) -> Result<(), String> {
        self.norm.valid()
    }
    /// Whether the sign of the sum before the ReLU takes more than `x` to know.
    fn gated_by_out(&self) -> bool {
        self.residual && self.relu
    }
}

impl fmt::Display for TrainSpec {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let [residual, relu] = [(self.residual, " +residual"), (self.relu, " relu")].map(|(is, name)| if is { name } else { "" });
        write!(f, "{}{residual}{relu}", self.norm)
    }
}

/// Mean and biased variance of a channel, in two passes: the one-pass formula cancels.
fn moments<T: Real>(s: &NormSpec, x: &[T], c: usize) -> (T, T) {
    let count = T::of(s.count() as f64);
    let mean = s.channel(x, c).map(|p| p.iter().copied().sum::<T>()).sum::<T>() / count;
    let square = |p: &[T]| p.iter().map(|v| (*v - mean) * (*v - mean)).sum::<T>();
    (mean, s.channel(x, c).map(square).sum::<T>() / count)
}

fn train_fwd<T: Real>(s: &TrainSpec, inputs: &[&Buffer], outputs: &mut [&mut Buffer], _: Accum) {
    let [x, gamma, beta] = [0, 1, 2].map(|i| inputs[i].as_slice::<T>());
    let [out, mean, var] = outputs else { unreachable!("the table checked the number of outputs") };
    let (out, mean, var) = (out.as_mut_slice::<T>(), mean.as_mut_slice::<T>(), var.as_mut_slice::<T>());
    for (c, (mean, var)) in mean.iter_mut().zip(&mut *var).enumerate() {
        (*mean, *var) = moments(&s.norm, x, c);
    }
    super::affine(&s.norm, x, out, Accum::Write, |c| affine_of(&s.norm, c, gamma, beta, mean, var));
    if s.residual {
        out.iter_mut().zip(inputs[3].as_slice::<T>()).for_each(|(out, r)| *out += *r);
    }
    if s.relu {
        // Written so that NaN stays NaN.
        out.iter_mut().filter(|v| **v < T::ZERO).for_each(|v| *v = T::ZERO);
    }
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

/// The batch-norm alone. Forward and backward must round alike, for backward knows from it where the ReLU was open.
fn forward(s: &NormSpec, gamma: f32, beta: f32, mean: f32, var: f32) -> Affine {
    Affine { centre: mean, scale: gamma * s.inverse_std(var), shift: beta }
}

/// `out = f(xs[0], xs[1], ..)` on the planes of channel `c`.
///
/// # Safety
/// As [`Vector`]; `out` is as long as each of `xs`, and nothing else uses its planes of this channel.
#[inline(always)]
unsafe fn map_channel<V: Vector, const N: usize>(s: &NormSpec, c: usize, f: impl Elementwise<N>, xs: [&[f32]; N], out: &Shared) {
    for n in 0..s.n {
        let start = (n * s.c + c) * s.plane;
        let xs = xs.map(|x| &x[start..start + s.plane]);
        // SAFETY: the caller's; the plane lies in xs, so in out too.
        unsafe { map::<V, N>(f, xs, std::slice::from_raw_parts_mut(out.get().add(start), s.plane), Accum::Write) }
    }
}

/// A channel is normalised as soon as its moments are known, while it is in the cache.
fn train_fwd_vector<V: Vector>(s: &TrainSpec, inputs: &[&Buffer], outputs: &mut [&mut Buffer], _: Accum) {
    simd::require::<V>();
    let [x, gamma, beta] = [0, 1, 2].map(|i| inputs[i].as_slice::<f32>());
    let residual = inputs.get(3).map_or(&[][..], |r| r.as_slice::<f32>());
    let [out, mean, var] = outputs else { unreachable!("the table checked the number of outputs") };
    let (mean, var) = (mean.as_mut_slice::<f32>(), var.as_mut_slice::<f32>()); // [c]
    let out = &Shared(out.as_mut_slice::<f32>().as_mut_ptr());
    par_work2(mean, var, 1, s.norm.count(), |first, mean, var| {
        // SAFETY: the instructions are here (required); these channels are this thread's alone.
        unsafe { V::run(TrainFwd { s, x, gamma, beta, residual, first, mean, var, out }) }
    });
}

/// The channels from `first` on, as many as `mean` has.
struct TrainFwd<'a> {
    s: &'a TrainSpec,
    x: &'a [f32],
    gamma: &'a [f32],
    beta: &'a [f32],
    /// Empty without one.
    residual: &'a [f32],
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
        let Self { s, x, gamma, beta, residual, first, mean, var, out } = self;
        let norm = &s.norm;
        for (c, (mean, var)) in (first..).zip(mean.iter_mut().zip(var)) {
            // SAFETY: the caller's.
            unsafe {
                (*mean, *var) = moments_vector::<V>(x, norm.rows(c));
                let f = forward(norm, gamma[c], beta[c], *mean, *var);
                match (s.residual, s.relu) {
                    (false, false) => map_channel::<V, 1>(norm, c, f, [x], out),
                    (false, true) => map_channel::<V, 1>(norm, c, Then(f, Relu {}), [x], out),
                    (true, false) => map_channel::<V, 2>(norm, c, Plus(f), [x, residual], out),
                    (true, true) => map_channel::<V, 2>(norm, c, Then(Plus(f), Relu {}), [x, residual], out),
                }
            }
        }
    }
}

// dx = gamma/std * (dout - dbeta/N - xhat * dgamma/N), because mean and variance depend on x too.
elementwise_fn!(Dgrad { mean, mean_d, slope, scale } V [x, dout] => scale.mul(dout.sub(mean_d).sub(x.sub(mean).mul(slope))));

/// The parameters of [`Dgrad`].
fn dgrad_of<T: Real>(s: &NormSpec, gamma: T, mean: T, var: T, dgamma: T, dbeta: T) -> [T; 4] {
    let (inverse_std, count) = (s.inverse_std(var), T::of(s.count() as f64));
    [mean, dbeta / count, inverse_std * dgamma / count, gamma * inverse_std]
}

fn train_bwd<T: Real>(s: &TrainSpec, inputs: &[&Buffer], outputs: &mut [&mut Buffer], _: Accum) {
    let [dout, x, gamma, beta, mean, var] = [0, 1, 2, 3, 4, 5].map(|i| inputs[i].as_slice::<T>());
    let [dx, dgamma, dbeta, dresidual @ ..] = outputs else { unreachable!("the table checked the number of outputs") };
    let (dgamma, dbeta) = (dgamma.as_mut_slice::<T>(), dbeta.as_mut_slice::<T>()); // [c]
    let plane = s.norm.plane.max(1);

    // The gradient of the sum before the ReLU.
    let mut d = dout.to_vec();
    if s.relu {
        let mut value = vec![T::ZERO; x.len()];
        match inputs.get(6) {
            Some(out) => value.copy_from_slice(out.as_slice::<T>()),
            None => super::affine(&s.norm, x, &mut value, Accum::Write, |c| affine_of(&s.norm, c, gamma, beta, mean, var)),
        }
        // Written so that NaN shuts it, as in the ReLU's own gradient.
        d.iter_mut().zip(&value).for_each(|(d, v)| *d = if *v > T::ZERO { *d } else { T::ZERO });
    }
    if let [dresidual] = dresidual {
        dresidual.as_mut_slice::<T>().copy_from_slice(&d);
    }
    for c in 0..s.norm.c {
        (dgamma[c], dbeta[c]) = param_sums(&s.norm, x, &d, c, mean[c], var[c]);
    }
    for (i, ((dx, d), x)) in dx.as_mut_slice().chunks_mut(plane).zip(d.chunks(plane)).zip(x.chunks(plane)).enumerate() {
        let c = i % s.norm.c;
        let [mean, mean_d, slope, scale] = dgrad_of(&s.norm, gamma[c], mean[c], var[c], dgamma[c], dbeta[c]);
        for ((dx, d), x) in dx.iter_mut().zip(d).zip(x) {
            *dx = scale * (*d - mean_d - (*x - mean) * slope);
        }
    }
}

/// A ReLU after the batch norm alone. Its value is computed again, which is cheaper than reading it.
#[derive(Clone, Copy)]
struct ReluByInput(Affine);

impl Elementwise<2> for ReluByInput {
    #[inline(always)]
    unsafe fn of<V: Vector>(self, [x, dout]: [V; 2]) -> V {
        // SAFETY: the caller's.
        unsafe { ReluGrad {}.of([self.0.of([x]), dout]) }
    }
}
impl ActivationGrad<2> for ReluByInput {}

elementwise_fn!(
    /// A ReLU whose value is an input.
    ReluByOutput {} V [_x, dout, out] => ReluGrad {}.of([out, dout])
);
impl ActivationGrad<3> for ReluByOutput {}

/// `dx` of a channel follows its sums while it is in the cache.
fn train_bwd_vector<V: Vector>(s: &TrainSpec, inputs: &[&Buffer], outputs: &mut [&mut Buffer], _: Accum) {
    simd::require::<V>();
    let [dx, dgamma, dbeta, dresidual @ ..] = outputs else { unreachable!("the table checked the number of outputs") };
    let (dgamma, dbeta) = (dgamma.as_mut_slice::<f32>(), dbeta.as_mut_slice::<f32>()); // [c]
    let dx = &Shared(dx.as_mut_slice::<f32>().as_mut_ptr());
    let dresidual = dresidual.first_mut().map(|d| Shared(d.as_mut_slice::<f32>().as_mut_ptr()));
    par_work2(dgamma, dbeta, 1, 2 * s.norm.count(), |first, dgamma, dbeta| {
        // SAFETY: the instructions are here (required); these channels are this thread's alone.
        unsafe { V::run(TrainBwd { s, inputs, first, dgamma, dbeta, dx, dresidual: dresidual.as_ref() }) }
    });
}

/// The channels from `first` on, as many as `dgamma` has.
struct TrainBwd<'a> {
    s: &'a TrainSpec,
    inputs: &'a [&'a Buffer],
    first: usize,
    dgamma: &'a mut [f32],
    dbeta: &'a mut [f32],
    /// As long as `x`; nothing else may use the planes of these channels.
    dx: &'a Shared,
    /// The same.
    dresidual: Option<&'a Shared>,
}

impl Kernel for TrainBwd<'_> {
    type Out = ();
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let Self { s, inputs, first, dgamma, dbeta, dx, dresidual } = self;
        let [dout, x, gamma, beta, mean, var] = [0, 1, 2, 3, 4, 5].map(|i| inputs[i].as_slice::<f32>());
        for (c, grads) in (first..).zip(dgamma.iter_mut().zip(dbeta)) {
            let channel = Channel { s: &s.norm, c, gamma: gamma[c], mean: mean[c], var: var[c], dx };
            // SAFETY: the caller's.
            unsafe {
                match dresidual {
                    Some(dresidual) => {
                        let xs = [x, dout, inputs[6].as_slice::<f32>()];
                        channel.bwd::<V, 3>(ReluByOutput {}, xs, grads);
                        map_channel::<V, 3>(&s.norm, c, ReluByOutput {}, xs, dresidual);
                    }
                    None if s.relu => {
                        let f = forward(&s.norm, gamma[c], beta[c], mean[c], var[c]);
                        channel.bwd::<V, 2>(ReluByInput(f), [x, dout], grads);
                    }
                    None => channel.bwd::<V, 2>(Identity {}, [x, dout], grads),
                }
            }
        }
    }
}

/// A channel of a backward pass.
struct Channel<'a> {
    s: &'a NormSpec,
    c: usize,
    gamma: f32,
    mean: f32,
    var: f32,
    dx: &'a Shared,
}

impl Channel<'_> {
    /// # Safety
    /// As [`map_channel`] into `dx`.
    #[inline(always)]
    unsafe fn bwd<V: Vector, const N: usize>(
        &self,
        activation: impl ActivationGrad<N>,
        xs: [&[f32]; N],
        (dgamma, dbeta): (&mut f32, &mut f32),
    ) {
        let Self { s, c, gamma, mean, var, dx } = *self;
        // SAFETY: the caller's.
        unsafe {
            (*dgamma, *dbeta) = param_sums_vector::<V, N>(s, activation, xs, c, mean, var);
            let [mean, mean_d, slope, scale] = dgrad_of(s, gamma, mean, var, *dgamma, *dbeta);
            map_channel::<V, N>(s, c, OfGradient(Dgrad { mean, mean_d, slope, scale }, activation), xs, dx);
        }
    }
}

fn cases() -> Vec<TrainSpec> {
    let endings = [(false, false), (false, true), (true, false), (true, true)];
    let with = |(residual, relu)| norm_cases().into_iter().map(move |norm| TrainSpec { norm, residual, relu });
    endings.into_iter().flat_map(with).collect()
}

const fn train_fwd_rows<V: Vector>() -> [Row<TrainSpec>; 1] {
    [Row::on::<V>(names!("vector"), TRANSCENDENTAL, train_fwd_vector::<V>)]
}

/// `norm.train`: inputs `x`, `gamma`, `beta`, and `residual` if there is one; outputs `out`, and the batch's `mean` and biased `var`.
pub static TRAIN_FWD: Table<TrainSpec> = Table {
    op: "norm.train",
    valid: TrainSpec::valid,
    signature: |s| {
        let (len, c) = (s.norm.len(), s.norm.c);
        let mut inputs = vec![Operand::any("x", len), Operand::any("gamma", c), Operand::any("beta", c)];
        inputs.extend(s.residual.then(|| Operand::any("residual", len)));
        Signature { inputs, outputs: vec![Operand::any("out", len), Operand::any("mean", c), Operand::any("var", c)] }
    },
    flops: |s| super::flops(&s.norm),
    terms: |s| s.norm.count(),
    accumulates: false,
    cases,
    indices: None,
    joined: Vec::new(),
    cuda: crate::ops::norm::cuda::TRAIN_FWD,
    rows: each_isa!(train_fwd_rows, naive(TRANSCENDENTAL, train_fwd::<f32>, train_fwd::<f64>)),
};

const fn train_bwd_rows<V: Vector>() -> [Row<TrainSpec>; 1] {
    [Row::on::<V>(names!("vector"), TRANSCENDENTAL, train_bwd_vector::<V>)]
}

/// `norm.train_bwd`: inputs `dout`, `x`, `gamma`, `beta`, `mean`, `var`; outputs `dx`, `dgamma`, `dbeta`.
///
/// With residual and ReLU `out` is an input too, and `dresidual` an output; without ReLU the residual's gradient is `dout`.
pub static TRAIN_BWD: Table<TrainSpec> = Table {
    op: "norm.train_bwd",
    valid: TrainSpec::valid,
    signature: |s| {
        let (len, c) = (s.norm.len(), s.norm.c);
        let parameters = ["gamma", "beta", "mean"].map(|name| Operand::any(name, c));
        let mut inputs = vec![Operand::any("dout", len), Operand::any("x", len)];
        inputs.extend(parameters);
        inputs.push(Operand::positive("var", c));
        let mut outputs = vec![Operand::any("dx", len), Operand::any("dgamma", c), Operand::any("dbeta", c)];
        if s.gated_by_out() {
            inputs.push(Operand::any("out", len));
            outputs.push(Operand::any("dresidual", len));
        }
        Signature { inputs, outputs }
    },
    flops: |s| 5 * super::flops(&s.norm),
    terms: |s| s.norm.count(),
    accumulates: false,
    cases,
    indices: None,
    joined: Vec::new(),
    cuda: crate::ops::norm::cuda::TRAIN_BWD,
    rows: each_isa!(train_bwd_rows, naive(TRANSCENDENTAL, train_bwd::<f32>, train_bwd::<f64>)),
};
