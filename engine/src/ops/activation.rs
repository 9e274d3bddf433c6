//! Activations: elementwise functions.

use super::Arithmetic;
use crate::error::Result;
use crate::operation::{Backward, Case, Forward, Operation, Output, arity};
use crate::shape::Shape;
use crate::tape::{Tape, Var};
use crate::tensor::Tensor;
use convscope_kernels::pointwise::{Binary, EVERY, Reads, ReluRule, UNARY_BWD, UNARY_FWD, Unary, UnarySpec};

/// A function of each element of `x`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Activation(pub Unary);

impl Operation for Activation {
    type Spec = UnarySpec;

    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn settings(&self) -> String {
        self.0.settings()
    }

    fn infer(&self, xs: &[&Shape]) -> Result<(Shape, UnarySpec), String> {
        let [x] = arity(xs)?;
        Ok((x.clone(), UnarySpec { op: self.0, rule: ReluRule::Plain, len: x.len() }))
    }

    fn forward(&self, spec: &UnarySpec, f: &mut Forward) -> Result<Output> {
        Ok(f.exec.make(&UNARY_FWD, spec, f.xs, f.shape)?.into())
    }

    fn backward(&self, spec: &UnarySpec, b: &mut Backward) -> Result<()> {
        let spec = UnarySpec { rule: b.rules.relu, ..*spec };
        let read = match self.0.gradient_reads() {
            Reads::Argument => b.xs[0],
            Reads::Value => b.out,
        };
        b.add_kernel(0, &UNARY_BWD, &spec, &[read, b.dout])
    }

    fn cases() -> Vec<Case<Self>> {
        EVERY.map(|op| Case::new(Activation(op), [&[2, 3, 5]])).to_vec()
    }
}

impl Tape {
    /// `max(x, 0)` (Nair & Hinton, ICML 2010).
    ///
    /// # Errors
    /// If an input is of another tape.
    ///
    /// ```
    /// # use convscope_engine::{Tape, Tensor};
    /// let mut tape = Tape::new();
    /// let x = tape.leaf(Tensor::from_slice([4], &[-2.0f32, -1.0, 0.0, 3.0])?, "x");
    /// let y = tape.relu(x)?;
    /// assert_eq!(tape.value(y)?.f32(), [0.0, 0.0, 0.0, 3.0]);
    /// # Ok::<(), convscope_engine::Error>(())
    /// ```
    pub fn relu(&mut self, x: Var) -> Result<Var> {
        self.apply(Activation(Unary::Relu), &[x])
    }

    /// An elementwise function.
    ///
    /// # Errors
    /// If an input is of another tape.
    ///
    /// ```
    /// # use convscope_engine::{Tape, Tensor};
    /// use convscope_engine::Unary;
    /// let mut tape = Tape::new();
    /// let x = tape.leaf(Tensor::from_slice([4], &[-2.0f32, -1.0, 0.0, 3.0])?, "x");
    /// let y = tape.activation(x, Unary::Clip(-1.0, 1.0))?;
    /// assert_eq!(tape.value(y)?.f32(), [-1.0, -1.0, 0.0, 1.0]);
    /// # Ok::<(), convscope_engine::Error>(())
    /// ```
    pub fn activation(&mut self, x: Var, function: Unary) -> Result<Var> {
        self.apply(Activation(function), &[x])
    }

    /// `x` where positive, else `slope * x`: a `slope [c]` for each channel of `x [n,c,h,w]` or `[n,c]` (He et al., ICCV 2015).
    ///
    /// # Errors
    /// [`Error`](crate::Error) if the number of slopes is not the number of channels, or an input is of another tape.
    ///
    /// ```
    /// # use convscope_engine::{Tape, Tensor};
    /// let mut tape = Tape::new();
    /// let x = tape.leaf(Tensor::from_slice([1, 2], &[-1.0f32, -1.0])?, "x");
    /// let slope = tape.leaf(Tensor::from_slice([2], &[0.5f32, 0.25])?, "slope");
    /// let y = tape.prelu(x, slope)?;
    /// assert_eq!(tape.value(y)?.f32(), [-0.5, -0.25]);
    /// # Ok::<(), convscope_engine::Error>(())
    /// ```
    pub fn prelu(&mut self, x: Var, slope: Var) -> Result<Var> {
        let above = self.relu(x)?;
        let minus = self.scale(above, -1.0)?;
        let below = self.apply(Arithmetic(Binary::Add), &[x, minus])?;
        // A scale per channel is a batch-norm of mean 0.
        let constant = |of: &Tensor, value| Tensor::full(of.shape().clone(), of.dtype(), value);
        let [zeros, ones] = [0.0, 1.0].map(|value| self.value(slope).map(|slope| constant(slope, value)));
        let (zeros, ones) = (self.leaf(zeros?, ""), self.leaf(ones?, ""));
        let scaled = self.batch_norm(below, slope, zeros, [zeros, ones], 0.0)?;
        self.apply(Arithmetic(Binary::Add), &[above, scaled])
    }

    /// `factor * x`.
    ///
    /// # Errors
    /// If an input is of another tape.
    ///
    /// ```
    /// # use convscope_engine::{Tape, Tensor};
    /// let mut tape = Tape::new();
    /// let x = tape.leaf(Tensor::from_slice([4], &[-2.0f32, -1.0, 0.0, 3.0])?, "x");
    /// let y = tape.scale(x, 2.0)?;
    /// assert_eq!(tape.value(y)?.f32(), [-4.0, -2.0, 0.0, 6.0]);
    /// # Ok::<(), convscope_engine::Error>(())
    /// ```
    pub fn scale(&mut self, x: Var, factor: f64) -> Result<Var> {
        self.apply(Activation(Unary::Affine(factor, 0.0)), &[x])
    }

    /// `x + number`.
    ///
    /// # Errors
    /// If an input is of another tape.
    ///
    /// ```
    /// # use convscope_engine::{Tape, Tensor};
    /// let mut tape = Tape::new();
    /// let x = tape.leaf(Tensor::from_slice([4], &[-2.0f32, -1.0, 0.0, 3.0])?, "x");
    /// let y = tape.shift(x, 1.0)?;
    /// assert_eq!(tape.value(y)?.f32(), [-1.0, 0.0, 1.0, 4.0]);
    /// # Ok::<(), convscope_engine::Error>(())
    /// ```
    pub fn shift(&mut self, x: Var, number: f64) -> Result<Var> {
        self.apply(Activation(Unary::Affine(1.0, number)), &[x])
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
            assert!(check_function(&inputs, 9, |t, v| t.prelu(v[0], v[1])).unwrap().is_right());
        }
    }
}
