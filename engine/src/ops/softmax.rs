//! Softmax and log-softmax over the second dimension: the classes, or the channels of each pixel.

use super::{Exec, Output, Rule, Sink, Step, arity};
use crate::error::Result;
use crate::gradcheck::Case;
use crate::shape::Shape;
use crate::tape::{Tape, Var};
use crate::tensor::Tensor;
use convscope_kernels::softmax::{BWD, FWD, SoftmaxSpec};

/// `x [n,k,...]` -> probabilities along `k`, or their logarithms.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Softmax {
    /// Whether the logarithm is wanted.
    pub log: bool,
}

impl Softmax {
    fn spec(&self, x: &Shape) -> SoftmaxSpec {
        SoftmaxSpec { rows: x[0], cols: x[1], inner: x[2..].iter().product(), log: self.log }
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
        match x[..] {
            [_, _, ..] => Ok(x.clone()),
            _ => Err("wants [n,classes] or [n,channels,h,w]".to_string()),
        }
    }

    fn forward(&self, exec: &mut Exec, xs: &[&Tensor], shape: &Shape) -> Result<Output> {
        Ok(exec.make(&FWD, &self.spec(shape), xs, shape)?.into())
    }

    fn backward(&self, exec: &mut Exec, step: &Step, sink: &mut Sink) -> Result<()> {
        let spec = self.spec(step.out.shape());
        sink.add(0, step.xs[0], |dx, accum| exec.run(&BWD, &spec, &[step.out, step.dout], &mut [dx], accum))
    }

    fn cases() -> Vec<Case> {
        let case = |log| [Case::new(Softmax { log }, [&[3, 7]]), Case::new(Softmax { log }, [&[2, 3, 2, 2]])];
        [false, true].into_iter().flat_map(case).collect()
    }
}

impl Tape {
    /// Probabilities along the second dimension.
    pub fn softmax(&mut self, x: Var) -> Result<Var> {
        self.apply(Softmax { log: false }.into(), &[x])
    }

    /// Logarithms of the probabilities along the second dimension.
    pub fn log_softmax(&mut self, x: Var) -> Result<Var> {
        self.apply(Softmax { log: true }.into(), &[x])
    }
}
