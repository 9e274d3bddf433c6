//! Dropout (Srivastava et al. 2014), with a mask that is a function of a seed.

use super::{Exec, Output, Rule, Sink, Step, arity};
use crate::error::Result;
use crate::gradcheck::Case;
use crate::shape::Shape;
use crate::tape::{Tape, Var};
use crate::tensor::Tensor;
use convscope_kernels::pointwise::{DROPOUT, DropoutSpec};

/// Zero with probability `p`, else `x / (1 - p)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dropout {
    /// Probability of zero, in `0..1`.
    pub p: f64,
    /// Which mask.
    pub seed: u64,
}

impl Rule for Dropout {
    fn name(&self) -> &'static str {
        "Dropout"
    }

    fn settings(&self) -> String {
        format!("p{}", self.p)
    }

    fn infer(&self, xs: &[&Shape]) -> Result<Shape, String> {
        if !(0.0..1.0).contains(&self.p) {
            return Err(format!("the probability {} is not in 0..1", self.p));
        }
        arity(xs).map(|[x]| x.clone())
    }

    fn forward(&self, exec: &mut Exec, xs: &[&Tensor], shape: &Shape) -> Result<Output> {
        let spec = DropoutSpec { p: self.p, seed: self.seed, len: shape.len() };
        Ok(exec.make(&DROPOUT, &spec, xs, shape)?.into())
    }

    fn backward(&self, exec: &mut Exec, step: &Step, sink: &mut Sink) -> Result<()> {
        let spec = DropoutSpec { p: self.p, seed: self.seed, len: step.out.len() };
        sink.add(0, step.xs[0], |dx, accum| exec.run(&DROPOUT, &spec, &[step.dout], &mut [dx], accum))
    }

    fn cases() -> Vec<Case> {
        vec![Case::new(Dropout { p: 0.4, seed: 3 }, [&[3, 11]])]
    }
}

impl Tape {
    /// Dropout, for training.
    pub fn dropout(&mut self, x: Var, p: f64, seed: u64) -> Result<Var> {
        self.apply(Dropout { p, seed }.into(), &[x])
    }
}
