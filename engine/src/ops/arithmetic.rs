//! Sum and product of two tensors of one shape.

use crate::error::Result;
use crate::operation::{Backward, Case, Forward, Operation, Output, arity};
use crate::shape::Shape;
use crate::tape::{Tape, Var};
use crate::tensor::Tensor;
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
            return Err("expects two inputs of one shape".to_string());
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
    /// `x + y`; shapes broadcast by numpy's rules.
    ///
    /// # Errors
    /// If the shapes do not broadcast, or an input is of another tape.
    ///
    /// ```
    /// # use convscope_engine::{Tape, Tensor};
    /// let mut tape = Tape::new();
    /// let x = tape.leaf(Tensor::from_slice([2, 2], &[1.0f32, 2.0, 3.0, 4.0])?, "x");
    /// let y = tape.leaf(Tensor::from_slice([2], &[10.0f32, 20.0])?, "y");
    /// let z = tape.add(x, y)?;
    /// assert_eq!(tape.value(z)?.f32(), [11.0, 22.0, 13.0, 24.0]);
    /// # Ok::<(), convscope_engine::Error>(())
    /// ```
    pub fn add(&mut self, x: Var, y: Var) -> Result<Var> {
        let inputs = self.alike("Add", x, y)?;
        self.apply(Arithmetic(Binary::Add), &inputs)
    }

    /// `x - y`; shapes broadcast.
    ///
    /// # Errors
    /// As [`Tape::add`].
    ///
    /// ```
    /// # use convscope_engine::{Tape, Tensor};
    /// let mut tape = Tape::new();
    /// let x = tape.leaf(Tensor::from_slice([2], &[1.0f32, 2.0])?, "x");
    /// let y = tape.leaf(Tensor::from_slice([2], &[3.0f32, 5.0])?, "y");
    /// let z = tape.sub(x, y)?;
    /// assert_eq!(tape.value(z)?.f32(), [-2.0, -3.0]);
    /// # Ok::<(), convscope_engine::Error>(())
    /// ```
    pub fn sub(&mut self, x: Var, y: Var) -> Result<Var> {
        let minus = self.scale(y, -1.0)?;
        self.add(x, minus)
    }

    /// `x * y`, element by element; shapes broadcast.
    ///
    /// # Errors
    /// As [`Tape::add`].
    ///
    /// ```
    /// # use convscope_engine::{Tape, Tensor};
    /// let mut tape = Tape::new();
    /// // A factor for each channel of an image stack [n, c, h, w].
    /// let x = tape.leaf(Tensor::from_slice([1, 2, 1, 2], &[1.0f32, 2.0, 3.0, 4.0])?, "x");
    /// let factor = tape.leaf(Tensor::from_slice([2, 1, 1], &[10.0f32, 100.0])?, "factor");
    /// let y = tape.mul(x, factor)?;
    /// assert_eq!(tape.value(y)?.f32(), [10.0, 20.0, 300.0, 400.0]);
    /// # Ok::<(), convscope_engine::Error>(())
    /// ```
    pub fn mul(&mut self, x: Var, y: Var) -> Result<Var> {
        let inputs = self.alike("Multiply", x, y)?;
        self.apply(Arithmetic(Binary::Mul), &inputs)
    }

    /// `x` to the power `n`, by repeated squaring; ones for `n = 0`.
    ///
    /// # Errors
    /// If `x` is of another tape.
    ///
    /// ```
    /// # use convscope_engine::{Tape, Tensor};
    /// let mut tape = Tape::new();
    /// let x = tape.leaf(Tensor::from_slice([2], &[2.0f32, -3.0])?, "x");
    /// let y = tape.powi(x, 3)?;
    /// assert_eq!(tape.value(y)?.f32(), [8.0, -27.0]);
    /// # Ok::<(), convscope_engine::Error>(())
    /// ```
    pub fn powi(&mut self, x: Var, n: u32) -> Result<Var> {
        match n {
            0 => {
                let ones = Tensor::full(self.value(x)?.shape().clone(), self.value(x)?.dtype(), 1.0);
                Ok(self.leaf(ones, ""))
            }
            1 => Ok(x),
            _ => {
                let root = self.powi(x, n / 2)?;
                let square = self.mul(root, root)?;
                if n.is_multiple_of(2) { Ok(square) } else { self.mul(square, x) }
            }
        }
    }
}
