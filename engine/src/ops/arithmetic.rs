//! Sum and product of two tensors of one shape.

use super::{Exec, Output, Rule, Sink, Step, arity};
use crate::error::Result;
use crate::gradcheck::Case;
use crate::shape::Shape;
use crate::tape::{Tape, Var};
use crate::tensor::Tensor;
use convscope_kernels::pointwise::{BINARY, Binary, BinarySpec};

/// `x + y` or `x * y`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Arithmetic(pub Binary);

impl Rule for Arithmetic {
    fn name(&self) -> &'static str {
        match self.0 {
            Binary::Add => "Add",
            Binary::Mul => "Multiply",
        }
    }

    fn settings(&self) -> String {
        String::new()
    }

    fn infer(&self, xs: &[&Shape]) -> Result<Shape, String> {
        let [x, y] = arity(xs)?;
        if x == y { Ok(x.clone()) } else { Err("wants two inputs of one shape".to_string()) }
    }

    fn forward(&self, exec: &mut Exec, xs: &[&Tensor], shape: &Shape) -> Result<Output> {
        Ok(exec.make(&BINARY, &BinarySpec { op: self.0, len: shape.len() }, xs, shape)?.into())
    }

    fn backward(&self, exec: &mut Exec, step: &Step, sink: &mut Sink) -> Result<()> {
        for (i, other) in [(0, 1), (1, 0)] {
            match self.0 {
                Binary::Add => sink.pass(exec, i, step.dout)?,
                Binary::Mul => {
                    let spec = BinarySpec { op: Binary::Mul, len: step.out.len() };
                    let inputs = [step.dout, step.xs[other]];
                    sink.add(i, step.xs[i], |dx, accum| exec.run(&BINARY, &spec, &inputs, &mut [dx], accum))?;
                }
            }
        }
        Ok(())
    }

    fn cases() -> Vec<Case> {
        [Binary::Add, Binary::Mul].map(|op| Case::new(Arithmetic(op), [&[2, 3, 4], &[2, 3, 4]])).to_vec()
    }
}

impl Tape {
    /// `x + y`.
    pub fn add(&mut self, x: Var, y: Var) -> Result<Var> {
        self.apply(Arithmetic(Binary::Add).into(), &[x, y])
    }

    /// `x * y`, element by element.
    pub fn mul(&mut self, x: Var, y: Var) -> Result<Var> {
        self.apply(Arithmetic(Binary::Mul).into(), &[x, y])
    }
}
