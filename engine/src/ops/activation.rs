//! Activations: functions of one number.

use super::{Arithmetic, Exec, Output, Rule, Sink, Step, arity};
use crate::error::Result;
use crate::gradcheck::Case;
use crate::shape::Shape;
use crate::tape::{Tape, Var};
use crate::tensor::Tensor;
use convscope_kernels::pointwise::{Binary, EVERY, Reads, ReluRule, UNARY_BWD, UNARY_FWD, Unary, UnarySpec};

/// A function of one number on every element of `x`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Activation(pub Unary);

impl Rule for Activation {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn settings(&self) -> String {
        self.0.settings()
    }

    fn infer(&self, xs: &[&Shape]) -> Result<Shape, String> {
        arity(xs).map(|[x]| x.clone())
    }

    fn forward(&self, exec: &mut Exec, xs: &[&Tensor], shape: &Shape) -> Result<Output> {
        let spec = UnarySpec { op: self.0, rule: ReluRule::Plain, len: shape.len() };
        Ok(exec.make(&UNARY_FWD, &spec, xs, shape)?.into())
    }

    fn backward(&self, exec: &mut Exec, step: &Step, sink: &mut Sink) -> Result<()> {
        let spec = UnarySpec { op: self.0, rule: step.rules.relu, len: step.out.len() };
        let read = match self.0.gradient_reads() {
            Reads::Argument => step.xs[0],
            Reads::Value => step.out,
        };
        sink.add(0, step.xs[0], |dx, accum| exec.run(&UNARY_BWD, &spec, &[read, step.dout], &mut [dx], accum))
    }

    fn cases() -> Vec<Case> {
        EVERY.map(|op| Case::new(Activation(op), [&[2, 3, 5]])).to_vec()
    }
}

impl Tape {
    /// `max(x, 0)`.
    pub fn relu(&mut self, x: Var) -> Result<Var> {
        self.apply(Activation(Unary::Relu).into(), &[x])
    }

    /// Any activation.
    pub fn activation(&mut self, x: Var, function: Unary) -> Result<Var> {
        self.apply(Activation(function).into(), &[x])
    }

    /// `x` where positive, else `slope * x` with a slope for each channel of `x [n,c,h,w]` or `[n,c]`.
    pub fn prelu(&mut self, x: Var, slope: Var) -> Result<Var> {
        let above = self.relu(x)?;
        let minus = self.scale(above, -1.0)?;
        let below = self.apply(Arithmetic(Binary::Add).into(), &[x, minus])?;
        // A factor for each channel is a batch-norm that has nothing to subtract.
        let constant = |of: &Tensor, value| Tensor::full(of.shape().clone(), of.dtype(), value);
        let [zeros, ones] = [0.0, 1.0].map(|value| self.value(slope).map(|slope| constant(slope, value)));
        let (zeros, ones) = (self.leaf(zeros?, ""), self.leaf(ones?, ""));
        let scaled = self.batch_norm(below, slope, zeros, [zeros, ones], 0.0)?;
        self.apply(Arithmetic(Binary::Add).into(), &[above, scaled])
    }

    /// `factor * x`.
    pub fn scale(&mut self, x: Var, factor: f64) -> Result<Var> {
        self.apply(Activation(Unary::Affine(factor, 0.0)).into(), &[x])
    }
}

#[cfg(test)]
mod tests {
    use crate::gradcheck::{Input, check_function};
    use crate::{Tape, Tensor};

    #[test]
    fn prelu_is_right_and_so_is_its_gradient() {
        let mut tape = Tape::new();
        let x = tape.leaf(Tensor::from_slice([1, 2, 1, 2], &[-1.0f64, 2.0, -3.0, 0.0]).unwrap(), "");
        let slope = tape.leaf(Tensor::from_slice([2], &[0.5f64, -0.25]).unwrap(), "");
        let y = tape.prelu(x, slope).unwrap();
        assert_eq!(tape.value(y).unwrap().f64(), [-0.5, 2.0, 0.75, 0.0]);
        for shape in [&[2, 3, 2, 4][..], &[4, 3]] {
            let inputs = [Input::any(shape.to_vec()), Input::any([3])];
            assert!(check_function(&inputs, 9, |t, v| t.prelu(v[0], v[1])).unwrap() < 1e-6);
        }
    }
}
