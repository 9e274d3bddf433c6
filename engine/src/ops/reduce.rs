//! Sums and means over parts.

use super::{Exec, Output, Rule, Sink, Step, arity};
use crate::error::Result;
use crate::gradcheck::Case;
use crate::shape::Shape;
use crate::tape::{Tape, Var};
use crate::tensor::Tensor;
use convscope_kernels::reduce::{BWD, FWD, ReduceSpec};

/// Sum over all but the first `keep` dimensions, times a factor or divided by their count.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reduce {
    /// Leading dimensions that stay; with 0 the result is one number, shape `[1]`.
    pub keep: usize,
    /// Whether the sum is divided by the number of its terms.
    pub mean: bool,
}

impl Reduce {
    fn spec(&self, x: &Shape) -> ReduceSpec {
        let (b, c): (usize, usize) = (x[..self.keep].iter().product(), x[self.keep..].iter().product());
        ReduceSpec { a: 1, b, c, scale: if self.mean { 1.0 / c.max(1) as f64 } else { 1.0 } }
    }
}

impl Rule for Reduce {
    fn name(&self) -> &'static str {
        if self.mean { "Mean" } else { "Sum" }
    }

    fn settings(&self) -> String {
        format!("keep{}", self.keep)
    }

    fn infer(&self, xs: &[&Shape]) -> Result<Shape, String> {
        let [x] = arity(xs)?;
        if self.keep > x.iter().count() {
            return Err(format!("cannot keep {} dimensions", self.keep));
        }
        Ok(if self.keep == 0 { [1].into() } else { x[..self.keep].to_vec().into() })
    }

    fn forward(&self, exec: &mut Exec, xs: &[&Tensor], shape: &Shape) -> Result<Output> {
        Ok(exec.make(&FWD, &self.spec(xs[0].shape()), xs, shape)?.into())
    }

    fn backward(&self, exec: &mut Exec, step: &Step, sink: &mut Sink) -> Result<()> {
        let x = step.xs[0];
        sink.add(0, x, |dx, accum| exec.run(&BWD, &self.spec(x.shape()), &[step.dout], &mut [dx], accum))
    }

    fn cases() -> Vec<Case> {
        [(0, true), (1, true), (1, false), (2, false)].map(|(keep, mean)| Case::new(Reduce { keep, mean }, [&[2, 3, 4]])).to_vec()
    }
}

impl Tape {
    /// Mean of everything, `[1]`.
    pub fn mean(&mut self, x: Var) -> Result<Var> {
        self.apply(Reduce { keep: 0, mean: true }.into(), &[x])
    }

    /// Sum of everything, `[1]`.
    pub fn sum(&mut self, x: Var) -> Result<Var> {
        self.apply(Reduce { keep: 0, mean: false }.into(), &[x])
    }

    /// Mean of each image, `[n]`.
    pub fn mean_per_image(&mut self, x: Var) -> Result<Var> {
        self.apply(Reduce { keep: 1, mean: true }.into(), &[x])
    }
}
