//! Changes of shape.

use crate::error::Result;
use crate::operation::{Backward, Case, Forward, Operation, Output, arity};
use crate::shape::Shape;
use crate::tape::{Tape, Var};

/// `[n,a,b,...]` -> `[n] + shape`, or `[n,a*b*...]` for an empty one. Nothing is copied.
#[derive(Clone, Debug, PartialEq)]
pub struct Reshape {
    /// Sizes behind the first; flattened if empty.
    pub shape: Vec<usize>,
}

impl Operation for Reshape {
    type Spec = ();

    fn name(&self) -> &'static str {
        if self.shape.is_empty() { "Flatten" } else { "Reshape" }
    }

    fn infer(&self, xs: &[&Shape]) -> Result<(Shape, ()), String> {
        let [x] = arity(xs)?;
        let (n, rest) = x.split_first().ok_or("expects at least one dimension")?;
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
        Ok((out.into(), ()))
    }

    fn forward(&self, _: &(), f: &mut Forward) -> Result<Output> {
        Ok(f.xs[0].reshape(f.shape.clone())?.into())
    }

    fn backward(&self, _: &(), b: &mut Backward) -> Result<()> {
        b.add(0, b.dout)
    }

    fn cases() -> Vec<Case<Self>> {
        vec![Case::new(Reshape { shape: vec![] }, [&[2, 3, 2, 2]]), Case::new(Reshape { shape: vec![6, 2] }, [&[2, 3, 4]])]
    }
}

impl Tape {
    /// `x [n,...]` as `[n, all other elements]`. Nothing is copied.
    ///
    /// # Errors
    /// If an input is of another tape.
    ///
    /// ```
    /// # use convscope_engine::{Tape, Tensor};
    /// let mut tape = Tape::new();
    /// let x = tape.leaf(Tensor::from_slice([2, 1, 1, 2], &[1.0f32, 2.0, 3.0, 4.0])?, "x");
    /// let y = tape.flatten(x)?;
    /// assert_eq!(tape.value(y)?.shape()[..], [2, 2]);
    /// # Ok::<(), convscope_engine::Error>(())
    /// ```
    pub fn flatten(&mut self, x: Var) -> Result<Var> {
        self.apply(Reshape { shape: Vec::new() }, &[x])
    }

    /// `x [n,...]` as `[n, shape...]`: each image takes `shape`. Nothing is copied.
    ///
    /// # Errors
    /// If an image has another number of elements, or `x` is of another tape.
    ///
    /// ```
    /// # use convscope_engine::{Tape, Tensor};
    /// let mut tape = Tape::new();
    /// let x = tape.leaf(Tensor::from_slice([1, 4], &[1.0f32, 2.0, 3.0, 4.0])?, "x");
    /// let y = tape.reshape(x, [1, 2, 2])?;
    /// assert_eq!(tape.value(y)?.shape()[..], [1, 1, 2, 2]);
    /// # Ok::<(), convscope_engine::Error>(())
    /// ```
    pub fn reshape(&mut self, x: Var, shape: impl Into<Vec<usize>>) -> Result<Var> {
        self.apply(Reshape { shape: shape.into() }, &[x])
    }
}
