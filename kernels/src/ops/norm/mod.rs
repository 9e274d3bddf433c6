//! Batch normalisation (Ioffe & Szegedy 2015): `out = gamma * (x - mean) / sqrt(var + eps) + beta` per channel.
//!
//! At inference mean and variance are given. In training they are those of the batch, and what follows a batch-norm in a
//! network, an addition and a ReLU, is done with it: see [`TrainSpec`].
//!
//! ```
//! use convscope_kernels::norm::{INFER_FWD, NormSpec};
//! use convscope_kernels::{Accum, Buffer, Context, DType};
//!
//! let spec = NormSpec { n: 1, c: 1, plane: 2, eps: 0.0 }; // x [1,1,2]
//! let [gamma, beta, mean, var] = [2.0f32, 1.0, 3.0, 4.0].map(|v| Buffer::from_slice(&[v]));
//! let (x, mut out) = (Buffer::from_slice(&[3.0f32, 5.0]), Buffer::new(DType::F32, 2));
//! INFER_FWD.run(&Context::default(), &spec, &[&x, &gamma, &beta, &mean, &var], &mut [&mut out], Accum::Write)?;
//! assert_eq!(out.as_slice::<f32>(), [1.0, 3.0]);
//! # Ok::<_, convscope_kernels::Error>(())
//! ```

pub(crate) mod cuda;
mod infer;
mod running;
mod train;

pub use infer::{INFER_DGRAD, INFER_FWD};
pub use running::{RUNNING, RunningSpec};
pub use train::{TRAIN_BWD, TRAIN_FWD, TrainSpec};

use crate::core::buffer::Buffer;
use crate::core::device::Real;
use crate::core::sizes::elements;
use crate::core::table::{Accum, Operand, Row, Signature, TRANSCENDENTAL, Table};
use crate::core::threads::par_work2;
use crate::simd::elementwise::{CentredProduct, Elementwise, Rows, blocks, elementwise_fn, sum_block};
use crate::simd::rows::{each_isa, naive, names};
use crate::simd::{self, Kernel, Vector};
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
    /// Checks the sizes; a message about the first fault.
    fn valid(&self) -> Result<(), String> {
        if self.c > 0 && (self.n == 0 || self.plane == 0) {
            return Err("a channel without values".to_string());
        }
        elements("x", &[self.n, self.c, self.plane]).map(|_| ())
    }
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

/// Scale and shift of channel `c`.
fn affine_of<T: Real>(s: &NormSpec, c: usize, gamma: &[T], beta: &[T], mean: &[T], var: &[T]) -> (T, T) {
    let scale = gamma[c] * s.inverse_std(var[c]);
    (scale, beta[c] - mean[c] * scale)
}

/// `dgamma` and `dbeta` of a channel.
fn param_sums<T: Real>(s: &NormSpec, x: &[T], dout: &[T], c: usize, mean: T, var: T) -> (T, T) {
    let product = |(x, d): (&[T], &[T])| x.iter().zip(d).map(|(x, d)| (*x - mean) * *d).sum::<T>();
    let products = s.channel(x, c).zip(s.channel(dout, c)).map(product).sum::<T>();
    (products * s.inverse_std(var), s.channel(dout, c).map(|d| d.iter().copied().sum::<T>()).sum::<T>())
}

fn param_grads<T: Real>(s: &NormSpec, inputs: &[&Buffer], outputs: &mut [&mut Buffer], accum: Accum) {
    let [dout, x, mean, var] = [0, 1, 2, 3].map(|i| inputs[i].as_slice::<T>());
    let [dgamma, dbeta] = outputs else { unreachable!("the table checked the number of outputs") };
    let (dgamma, dbeta) = (dgamma.as_mut_slice::<T>(), dbeta.as_mut_slice::<T>()); // [c]
    for c in 0..s.c {
        let (products, sum) = param_sums(s, x, dout, c, mean[c], var[c]);
        accum.put(&mut dgamma[c], products);
        accum.put(&mut dbeta[c], sum);
    }
}

/// Gradient at the output of the batch norm, from `xs = [x, dout, ..]`: `dout` is the gradient behind a fused activation.
trait ActivationGrad<const N: usize>: Elementwise<N> {}

elementwise_fn!(
    /// No activation: `dout` passes unchanged.
    Identity {} V [_x, dout] => dout
);
impl ActivationGrad<2> for Identity {}

/// `f(x, activation(x, dout, ..))`
#[derive(Clone, Copy)]
struct OfGradient<F, G>(F, G);

impl<F: Elementwise<2>, G: ActivationGrad<N>, const N: usize> Elementwise<N> for OfGradient<F, G> {
    #[inline(always)]
    unsafe fn of<V: Vector>(self, xs: [V; N]) -> V {
        // SAFETY: the caller's.
        unsafe { self.0.of([xs[0], self.1.of(xs)]) }
    }
}

/// The sums of [`param_sums`], of the gradient behind the activation: both of a block while it is in L1.
///
/// # Safety
/// As [`Vector`].
#[inline(always)]
unsafe fn param_sums_vector<V: Vector, const N: usize>(
    s: &NormSpec,
    activation: impl ActivationGrad<N>,
    xs: [&[f32]; N],
    c: usize,
    mean: f32,
    var: f32,
) -> (f32, f32) {
    let (mut products, mut sum) = (0.0, 0.0);
    for block in blocks(s.rows(c)) {
        // SAFETY: the caller's.
        unsafe {
            products += f64::from(sum_block::<V, N>(OfGradient(CentredProduct { centre: mean }, activation), xs, block));
            sum += f64::from(sum_block::<V, N>(activation, xs, block));
        }
    }
    (products as f32 * s.inverse_std(var), sum as f32)
}

fn param_grads_vector<V: Vector>(s: &NormSpec, inputs: &[&Buffer], outputs: &mut [&mut Buffer], accum: Accum) {
    simd::require::<V>();
    let [dout, x, mean, var] = [0, 1, 2, 3].map(|i| inputs[i].as_slice::<f32>());
    let [dgamma, dbeta] = outputs else { unreachable!("the table checked the number of outputs") };
    let (dgamma, dbeta) = (dgamma.as_mut_slice::<f32>(), dbeta.as_mut_slice::<f32>()); // [c]
    par_work2(dgamma, dbeta, 1, 2 * s.count(), |first, dgamma, dbeta| {
        // SAFETY: the instructions are here (required).
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
            // SAFETY: the caller's.
            let (products, sum) = unsafe { param_sums_vector::<V, 2>(s, Identity {}, [x, dout], c, mean[c], var[c]) };
            accum.put(dgamma, products);
            accum.put(dbeta, sum);
        }
    }
}

fn cases() -> Vec<NormSpec> {
    [(1, 1, 2), (2, 3, 35), (2, 2, 15), (1, 3, 17), (3, 65, 7), (2, 16, 900), (80, 2, 33), (1, 2, 70_001)]
        .map(|(n, c, plane)| NormSpec { n, c, plane, eps: 1e-5 })
        .to_vec()
}

const fn flops(s: &NormSpec) -> u64 {
    2 * (s.n * s.c * s.plane) as u64
}

const fn param_grads_rows<V: Vector>() -> [Row<NormSpec>; 1] {
    [Row::on::<V>(names!("vector"), TRANSCENDENTAL, param_grads_vector::<V>)]
}

/// `norm.params`: inputs `dout`, `x`, `mean`, `var`; outputs `dgamma`, `dbeta`. In training they come with `dx`: [`TRAIN_BWD`].
pub static PARAM_GRADS: Table<NormSpec> = Table {
    op: "norm.params",
    valid: NormSpec::valid,
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
    indices: None,
    joined: Vec::new(),
    cuda: crate::ops::norm::cuda::PARAM_GRADS,
    rows: each_isa!(param_grads_rows, naive(TRANSCENDENTAL, param_grads::<f32>, param_grads::<f64>)),
};
