//! The same numbers under another shape.

use super::{Exec, Output, Rule, Sink, Step, arity};
use crate::error::Result;
use crate::gradcheck::Case;
use crate::shape::Shape;
use crate::tape::{Tape, Var};
use crate::tensor::Tensor;

/// `[n,a,b,...]` -> `[n] + shape`, or `[n,a*b*...]` for an empty one. Nothing is copied.
#[derive(Clone, Debug, PartialEq)]
pub struct Reshape {
    /// Sizes behind the first; flattened if empty.
    pub shape: Vec<usize>,
}

impl Rule for Reshape {
    fn name(&self) -> &'static str {
        if self.shape.is_empty() { "Flatten" } else { "Reshape" }
    }

    fn settings(&self) -> String {
        String::new()
    }

    fn infer(&self, xs: &[&Shape]) -> Result<Shape, String> {
        let [x] = arity(xs)?;
        let (n, rest) = x.split_first().ok_or("wants at least one dimension")?;
        let rest: usize = rest.iter().product();
        let mut out = vec![*n];
        if self.shape.is_empty() {
            out.push(rest)
        } else {
            out.extend(&self.shape)
        }
        if out[1..].iter().product::<usize>() != rest {
            return Err(format!("cannot become {:?} an image", self.shape));
        }
        Ok(out.into())
    }

    fn forward(&self, _: &mut Exec, xs: &[&Tensor], shape: &Shape) -> Result<Output> {
        Ok(xs[0].reshape(shape.clone())?.into())
    }

    fn backward(&self, exec: &mut Exec, step: &Step, sink: &mut Sink) -> Result<()> {
        sink.pass(exec, 0, step.dout)
    }

    fn cases() -> Vec<Case> {
        vec![Case::new(Reshape { shape: vec![] }, [&[2, 3, 2, 2]]), Case::new(Reshape { shape: vec![6, 2] }, [&[2, 3, 4]])]
    }
}

impl Tape {
    /// `[n, everything else]`.
    pub fn flatten(&mut self, x: Var) -> Result<Var> {
        self.apply(Reshape { shape: Vec::new() }.into(), &[x])
    }
}
