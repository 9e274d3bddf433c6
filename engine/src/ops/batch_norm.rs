//! Batch normalisation.

use super::{Exec, Output, Rule, Sink, Step, images};
use crate::error::Result;
use crate::gradcheck::{Case, Input};
use crate::shape::Shape;
use crate::tape::{Tape, Var};
use crate::tensor::Tensor;
use convscope_kernels::norm::{INFER_DGRAD, INFER_FWD, NormSpec, PARAM_GRADS, TRAIN_DGRAD, TRAIN_FWD};
use convscope_kernels::{Accum, Buffer};

/// `gamma (x - mean) / sqrt(var + eps) + beta` per channel of `x [n,c,h,w]`.
///
/// Inference: inputs `x, gamma, beta, mean, var`. Training: inputs `x, gamma, beta`, and the mean and biased variance of the batch
/// are saved (see [`Tape::saved`]). No gradient flows to a given mean or variance.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BatchNorm {
    /// Added to the variance.
    pub eps: f64,
    /// Whether the statistics are the batch's.
    pub training: bool,
}

impl BatchNorm {
    fn spec(&self, x: &Shape) -> NormSpec {
        NormSpec { n: x[0], c: x[1], plane: x[2] * x[3], eps: self.eps }
    }
}

impl Rule for BatchNorm {
    fn name(&self) -> &'static str {
        "BatchNorm"
    }

    fn settings(&self) -> String {
        if self.training { "training".to_string() } else { String::new() }
    }

    fn infer(&self, xs: &[&Shape]) -> Result<Shape, String> {
        let want = if self.training { 3 } else { 5 };
        if xs.len() != want {
            return Err(format!("wants {want} inputs, not {}", xs.len()));
        }
        let [_, c, _, _] = images(xs[0])?;
        if xs[1..].iter().any(|p| p.len() != c) {
            return Err(format!("wants parameters of {c} channels"));
        }
        Ok(xs[0].clone())
    }

    fn forward(&self, exec: &mut Exec, xs: &[&Tensor], shape: &Shape) -> Result<Output> {
        let s = self.spec(shape);
        if !self.training {
            return Ok(exec.make(&INFER_FWD, &s, xs, shape)?.into());
        }
        let dtype = xs[0].dtype();
        let [mut out, mut mean, mut var] = [shape.len(), s.c, s.c].map(|len| Buffer::new(dtype, len));
        exec.run(&TRAIN_FWD, &s, xs, &mut [&mut out, &mut mean, &mut var], Accum::Write)?;
        Ok(Output { value: Tensor::new(shape.clone(), out)?, saved: vec![Tensor::new([s.c], mean)?, Tensor::new([s.c], var)?] })
    }

    fn backward(&self, exec: &mut Exec, step: &Step, sink: &mut Sink) -> Result<()> {
        let (x, gamma, dout) = (step.xs[0], step.xs[1], step.dout);
        let s = self.spec(x.shape());
        let (mean, var) = match step.saved {
            [mean, var] => (mean, var),
            _ => (step.xs[3], step.xs[4]),
        };
        if sink.wants(1) || sink.wants(2) || (self.training && sink.wants(0)) {
            let [mut dgamma, mut dbeta] = [(); 2].map(|_| Buffer::new(x.dtype(), s.c));
            exec.run(&PARAM_GRADS, &s, &[dout, x, mean, var], &mut [&mut dgamma, &mut dbeta], Accum::Write)?;
            let (dgamma, dbeta) = (Tensor::new([s.c], dgamma)?, Tensor::new([s.c], dbeta)?);
            sink.pass(exec, 1, &dgamma)?;
            sink.pass(exec, 2, &dbeta)?;
            if self.training {
                let inputs = [dout, x, gamma, mean, var, &dgamma, &dbeta];
                return sink.add(0, x, |dx, accum| exec.run(&TRAIN_DGRAD, &s, &inputs, &mut [dx], accum));
            }
        }
        sink.add(0, x, |dx, accum| exec.run(&INFER_DGRAD, &s, &[dout, gamma, var], &mut [dx], accum))
    }

    fn cases() -> Vec<Case> {
        let (training, inference) = (BatchNorm { eps: 1e-5, training: true }, BatchNorm { eps: 1e-3, training: false });
        vec![
            Case::new(training, [&[2, 3, 2, 4], &[3], &[3]]),
            Case::new(training, [&[4, 1, 3, 1], &[1], &[1]]),
            Case {
                op: inference.into(),
                inputs: vec![
                    Input::any([2, 3, 2, 4]),
                    Input::any([3]),
                    Input::any([3]),
                    Input::given([3]),
                    Input::given_positive([3]),
                ],
            },
        ]
    }
}

impl Tape {
    /// Batch normalisation by given statistics `[mean, var]`.
    pub fn batch_norm(&mut self, x: Var, gamma: Var, beta: Var, [mean, var]: [Var; 2], eps: f64) -> Result<Var> {
        self.apply(BatchNorm { eps, training: false }.into(), &[x, gamma, beta, mean, var])
    }

    /// Batch normalisation by the batch's own statistics, which [`Tape::saved`] then gives.
    pub fn batch_norm_training(&mut self, x: Var, gamma: Var, beta: Var, eps: f64) -> Result<Var> {
        self.apply(BatchNorm { eps, training: true }.into(), &[x, gamma, beta])
    }
}
