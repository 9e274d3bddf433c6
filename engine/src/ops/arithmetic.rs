//! Sum and product of two tensors of one shape.

use crate::error::Result;
use crate::operation::{Backward, Case, Forward, Operation, Output, arity};
use crate::shape::Shape;
use crate::tape::{Tape, Var};
use convscope_kernels::pointwise::{BINARY, Binary, BinarySpec};

/// `x + y` or `x * y`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Arithmetic(pub Binary);

impl Operation for Arithmetic {
    type Spec = BinarySpec;

    fn name(&self) -> &'static str {
        match self.0 {
            Binary::Add => "Add",
            Binary::Mul => "Multiply",
        }
    }

    fn infer(&self, xs: &[&Shape]) -> Result<(Shape, BinarySpec), String> {
        let [x, y] = arity(xs)?;
        if x != y {
            return Err("wants two inputs of one shape".to_string());
        }
        Ok((x.clone(), BinarySpec { op: self.0, len: x.len() }))
    }

    fn forward(&self, spec: &BinarySpec, f: &mut Forward) -> Result<Output> {
        Ok(f.exec.make(&BINARY, spec, f.xs, f.shape)?.into())
    }

    fn backward(&self, spec: &BinarySpec, b: &mut Backward) -> Result<()> {
        for (i, other) in [(0, 1), (1, 0)] {
            match self.0 {
                Binary::Add => b.add(i, b.dout)?,
                Binary::Mul => b.add_kernel(i, &BINARY, spec, &[b.dout, b.xs[other]])?,
            }
        }
        Ok(())
    }

    fn cases() -> Vec<Case<Self>> {
        [Binary::Add, Binary::Mul].map(|op| Case::new(Arithmetic(op), [&[2, 3, 4], &[2, 3, 4]])).to_vec()
    }
}

impl Tape {
    /// `x + y`.
    pub fn add(&mut self, x: Var, y: Var) -> Result<Var> {
        self.apply(Arithmetic(Binary::Add), &[x, y])
    }

    /// `x * y`, element by element.
    pub fn mul(&mut self, x: Var, y: Var) -> Result<Var> {
        self.apply(Arithmetic(Binary::Mul), &[x, y])
    }
}
