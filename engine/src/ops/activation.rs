//! Activations: functions of one number, whose gradient is computed from the value.

use super::{Exec, Output, Rule, Sink, Step, arity};
use crate::error::Result;
use crate::gradcheck::Case;
use crate::shape::Shape;
use crate::tape::{Tape, Var};
use crate::tensor::Tensor;
use convscope_kernels::pointwise::{ReluRule, UNARY_BWD, UNARY_FWD, Unary, UnarySpec};

/// A function of one number on every element of `x`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Activation(pub Unary);

impl Rule for Activation {
    fn name(&self) -> &'static str {
        match self.0 {
            Unary::Relu => "ReLU",
            Unary::Relu6 => "ReLU6",
            Unary::LeakyRelu(_) => "LeakyReLU",
            Unary::Sigmoid => "Sigmoid",
            Unary::Softplus => "Softplus",
            Unary::Scale(_) => "Scale",
        }
    }

    fn settings(&self) -> String {
        match self.0 {
            Unary::LeakyRelu(v) | Unary::Scale(v) => v.to_string(),
            _ => String::new(),
        }
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
        sink.add(0, step.xs[0], |dx, accum| exec.run(&UNARY_BWD, &spec, &[step.out, step.dout], &mut [dx], accum))
    }

    fn cases() -> Vec<Case> {
        [Unary::Relu, Unary::Relu6, Unary::LeakyRelu(0.1), Unary::Sigmoid, Unary::Softplus, Unary::Scale(-1.5)]
            .map(|op| Case::new(Activation(op), [&[2, 3, 5]]))
            .to_vec()
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

    /// `factor * x`.
    pub fn scale(&mut self, x: Var, factor: f64) -> Result<Var> {
        self.apply(Activation(Unary::Scale(factor)).into(), &[x])
    }
}
