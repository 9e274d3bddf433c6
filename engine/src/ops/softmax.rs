//! Softmax and log-softmax over the last of two dimensions.

use super::{Exec, Output, Rule, Sink, Step, arity};
use crate::error::Result;
use crate::gradcheck::Case;
use crate::shape::Shape;
use crate::tape::{Tape, Var};
use crate::tensor::Tensor;
use convscope_kernels::softmax::{BWD, FWD, SoftmaxSpec};

/// `x [n,k]` -> probabilities of each row, or their logarithms.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Softmax {
    /// Whether the logarithm is wanted.
    pub log: bool,
}

impl Softmax {
    fn spec(&self, x: &Shape) -> SoftmaxSpec {
        SoftmaxSpec { rows: x[0], cols: x[1], log: self.log }
    }
}

impl Rule for Softmax {
    fn name(&self) -> &'static str {
        if self.log { "LogSoftmax" } else { "Softmax" }
    }

    fn settings(&self) -> String {
        String::new()
    }

    fn infer(&self, xs: &[&Shape]) -> Result<Shape, String> {
        let [x] = arity(xs)?;
        x.matrix().map(|_| x.clone()).ok_or_else(|| "wants [n,classes]".to_string())
    }

    fn forward(&self, exec: &mut Exec, xs: &[&Tensor], shape: &Shape) -> Result<Output> {
        Ok(exec.make(&FWD, &self.spec(shape), xs, shape)?.into())
    }

    fn backward(&self, exec: &mut Exec, step: &Step, sink: &mut Sink) -> Result<()> {
        let spec = self.spec(step.out.shape());
        sink.add(0, step.xs[0], |dx, accum| exec.run(&BWD, &spec, &[step.out, step.dout], &mut [dx], accum))
    }

    fn cases() -> Vec<Case> {
        [false, true].map(|log| Case::new(Softmax { log }, [&[3, 7]])).to_vec()
    }
}

impl Tape {
    /// Probabilities of each row.
    pub fn softmax(&mut self, x: Var) -> Result<Var> {
        self.apply(Softmax { log: false }.into(), &[x])
    }

    /// Logarithms of the probabilities of each row.
    pub fn log_softmax(&mut self, x: Var) -> Result<Var> {
        self.apply(Softmax { log: true }.into(), &[x])
    }
}
