//! Batch normalisation by given statistics, as at inference.

use super::{Exec, Output, Rule, Sink, Step, arity};
use crate::error::Result;
use crate::gradcheck::{Case, Input};
use crate::shape::Shape;
use crate::tape::{Tape, Var};
use crate::tensor::Tensor;
use convscope_kernels::Accum;
use convscope_kernels::norm::{INFER_DGRAD, INFER_FWD, NormSpec, PARAM_GRADS};

/// `gamma (x - mean) / sqrt(var + eps) + beta` per channel of `x [n,c,h,w]` or `[n,c]`, by given statistics.
///
/// Inputs `x, gamma, beta, mean, var`. No gradient flows to a given mean or variance.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BatchNorm {
    /// Added to the variance.
    pub eps: f64,
}

impl BatchNorm {
    fn spec(&self, x: &Shape) -> NormSpec {
        NormSpec { n: x[0], c: x[1], plane: x[2..].iter().product(), eps: self.eps }
    }
}

impl Rule for BatchNorm {
    fn name(&self) -> &'static str {
        "BatchNorm"
    }

    fn settings(&self) -> String {
        String::new()
    }

    fn infer(&self, xs: &[&Shape]) -> Result<Shape, String> {
        let [x, params @ ..] = arity::<5>(xs)?;
        let &[_, c, ..] = &x[..] else { return Err("wants an image stack [n,c,h,w] or vectors [n,c]".to_string()) };
        if params.iter().any(|p| p.len() != c) {
            return Err(format!("wants parameters of {c} channels"));
        }
        Ok(x.clone())
    }

    fn forward(&self, exec: &mut Exec, xs: &[&Tensor], shape: &Shape) -> Result<Output> {
        Ok(exec.make(&INFER_FWD, &self.spec(shape), xs, shape)?.into())
    }

    fn backward(&self, exec: &mut Exec, step: &Step, sink: &mut Sink) -> Result<()> {
        let (x, gamma, mean, var, dout) = (step.xs[0], step.xs[1], step.xs[3], step.xs[4], step.dout);
        let s = self.spec(x.shape());
        if sink.wants(1) || sink.wants(2) {
            let [mut dgamma, mut dbeta] = [(); 2].map(|_| x.room(s.c));
            exec.run(&PARAM_GRADS, &s, &[dout, x, mean, var], &mut [&mut dgamma, &mut dbeta], Accum::Write)?;
            sink.pass(exec, 1, &Tensor::new([s.c], dgamma)?)?;
            sink.pass(exec, 2, &Tensor::new([s.c], dbeta)?)?;
        }
        sink.add(0, x, |dx, accum| exec.run(&INFER_DGRAD, &s, &[dout, gamma, var], &mut [dx], accum))
    }

    fn cases() -> Vec<Case> {
        let parameters = [Input::any([3]), Input::any([3]), Input::given([3]), Input::given_positive([3])];
        let inputs = [Input::any([2, 3, 2, 4])].into_iter().chain(parameters).collect();
        vec![Case { op: BatchNorm { eps: 1e-3 }.into(), inputs }]
    }
}

impl Tape {
    /// Batch normalisation by given statistics `[mean, var]`.
    pub fn batch_norm(&mut self, x: Var, gamma: Var, beta: Var, [mean, var]: [Var; 2], eps: f64) -> Result<Var> {
        self.apply(BatchNorm { eps }.into(), &[x, gamma, beta, mean, var])
    }
}
