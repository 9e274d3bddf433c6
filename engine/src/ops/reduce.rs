//! Sums and means over axes.

use crate::error::Result;
use crate::operation::{Backward, Case, Forward, Operation, Output, arity};
use crate::shape::Shape;
use crate::tape::{Tape, Var};
use convscope_kernels::reduce::{BWD, FWD, ReduceSpec};

/// Sum over all but the first `keep` dimensions, times a factor or divided by their count.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reduce {
    /// Leading dimensions that stay; with 0 the result is one number, shape `[1]`.
    pub keep: usize,
    /// Whether the sum is divided by the number of its terms.
    pub mean: bool,
}

impl Operation for Reduce {
    type Spec = ReduceSpec;

    fn name(&self) -> &'static str {
        if self.mean { "Mean" } else { "Sum" }
    }

    fn settings(&self) -> String {
        format!("keep{}", self.keep)
    }

    fn infer(&self, xs: &[&Shape]) -> Result<(Shape, ReduceSpec), String> {
        let [x] = arity(xs)?;
        if self.keep > x.iter().count() {
            return Err(format!("cannot keep {} dimensions", self.keep));
        }
        let (b, c): (usize, usize) = (x[..self.keep].iter().product(), x[self.keep..].iter().product());
        let spec = ReduceSpec { a: 1, b, c, scale: if self.mean { 1.0 / c.max(1) as f64 } else { 1.0 } };
        Ok((if self.keep == 0 { [1].into() } else { x[..self.keep].to_vec().into() }, spec))
    }

    fn forward(&self, spec: &ReduceSpec, f: &mut Forward) -> Result<Output> {
        Ok(f.exec.make(&FWD, spec, f.xs, f.shape)?.into())
    }

    fn backward(&self, spec: &ReduceSpec, b: &mut Backward) -> Result<()> {
        b.add_kernel(0, &BWD, spec, &[b.dout])
    }

    fn cases() -> Vec<Case<Self>> {
        [(0, true), (1, true), (1, false), (2, false)].map(|(keep, mean)| Case::new(Reduce { keep, mean }, [&[2, 3, 4]])).to_vec()
    }
}

impl Tape {
    /// Mean of all elements, `[1]`.
    ///
    /// # Errors
    /// If an input is of another tape.
    ///
    /// ```
    /// # use convscope_engine::{Tape, Tensor};
    /// let mut tape = Tape::new();
    /// let x = tape.leaf(Tensor::from_slice([1, 1, 2, 2], &[1.0f32, 2.0, 3.0, 4.0])?, "x");
    /// let y = tape.mean(x)?;
    /// assert_eq!(tape.value(y)?.item()?, 2.5);
    /// # Ok::<(), convscope_engine::Error>(())
    /// ```
    pub fn mean(&mut self, x: Var) -> Result<Var> {
        self.apply(Reduce { keep: 0, mean: true }, &[x])
    }

    /// Sum of all elements, `[1]`.
    ///
    /// # Errors
    /// If an input is of another tape.
    ///
    /// ```
    /// # use convscope_engine::{Tape, Tensor};
    /// let mut tape = Tape::new();
    /// let x = tape.leaf(Tensor::from_slice([1, 1, 2, 2], &[1.0f32, 2.0, 3.0, 4.0])?, "x");
    /// let y = tape.sum(x)?;
    /// assert_eq!(tape.value(y)?.item()?, 10.0);
    /// # Ok::<(), convscope_engine::Error>(())
    /// ```
    pub fn sum(&mut self, x: Var) -> Result<Var> {
        self.apply(Reduce { keep: 0, mean: false }, &[x])
    }

    /// Mean of each image of `x [n,...]`, `[n]`. Other reductions are [`Reduce`], by [`Tape::apply`].
    ///
    /// # Errors
    /// If an input is of another tape.
    ///
    /// ```
    /// # use convscope_engine::{Tape, Tensor};
    /// let mut tape = Tape::new();
    /// let x = tape.leaf(Tensor::from_slice([2, 2], &[1.0f32, 2.0, 3.0, 4.0])?, "x");
    /// let y = tape.mean_per_image(x)?;
    /// assert_eq!(tape.value(y)?.f32(), [1.5, 3.5]);
    /// # Ok::<(), convscope_engine::Error>(())
    /// ```
    pub fn mean_per_image(&mut self, x: Var) -> Result<Var> {
        self.apply(Reduce { keep: 1, mean: true }, &[x])
    }
}
