//! Quotient of two tensors of one shape.

use crate::error::Result;
use crate::operation::{Backward, Case, Forward, Input, Operation, Output, arity};
use crate::shape::Shape;
use crate::tape::{Tape, Var};

/// `x / y`. No kernel table divides: each quotient is a plain loop on the host.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Divide;

impl Operation for Divide {
    type Spec = ();

    fn name(&self) -> &'static str {
        "Divide"
    }

    fn infer(&self, xs: &[&Shape]) -> Result<(Shape, ()), String> {
        let [x, y] = arity(xs)?;
        if x == y { Ok((x.clone(), ())) } else { Err("expects two inputs of one shape".to_string()) }
    }

    fn forward(&self, _: &(), f: &mut Forward) -> Result<Output> {
        Ok(f.xs[0].zip(f.xs[1], |x, y| x / y)?.into())
    }

    fn backward(&self, _: &(), b: &mut Backward) -> Result<()> {
        let dx = b.dout.zip(b.xs[1], |dout, y| dout / y)?;
        b.add(0, &dx)?;
        if b.wants(1) {
            b.add(1, &dx.zip(b.out, |dx, out| -dx * out)?)?;
        }
        Ok(())
    }

    fn cases() -> Vec<Case<Self>> {
        vec![Case { op: Divide, inputs: vec![Input::any([2, 3]), Input::positive([2, 3])] }]
    }
}

impl Tape {
    /// `x / y`, element by element; shapes broadcast.
    ///
    /// # Errors
    /// If the shapes do not broadcast, or an input is of another tape.
    ///
    /// ```
    /// # use convscope_engine::{Tape, Tensor};
    /// let mut tape = Tape::new();
    /// let x = tape.leaf(Tensor::from_slice([2], &[1.0f32, 6.0])?, "x");
    /// let y = tape.leaf(Tensor::from_slice([1], &[2.0f32])?, "y");
    /// let z = tape.div(x, y)?;
    /// assert_eq!(tape.value(z)?.f32(), [0.5, 3.0]);
    /// # Ok::<(), convscope_engine::Error>(())
    /// ```
    pub fn div(&mut self, x: Var, y: Var) -> Result<Var> {
        let inputs = self.alike("Divide", x, y)?;
        self.apply(Divide, &inputs)
    }
}
