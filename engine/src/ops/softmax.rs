//! Softmax and log-softmax over the second dimension: the classes, or the channels of each pixel.

use crate::error::Result;
use crate::operation::{Backward, Case, Forward, Operation, Output, arity};
use crate::shape::Shape;
use crate::tape::{Tape, Var};
use convscope_kernels::softmax::{BWD, FWD, SoftmaxSpec};

/// `x [n,k,...]` -> probabilities along `k`, or their logarithms.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Softmax {
    /// Whether the logarithm is wanted.
    pub log: bool,
}

impl Operation for Softmax {
    type Spec = SoftmaxSpec;

    fn name(&self) -> &'static str {
        if self.log { "LogSoftmax" } else { "Softmax" }
    }

    fn infer(&self, xs: &[&Shape]) -> Result<(Shape, SoftmaxSpec), String> {
        let [x] = arity(xs)?;
        let &[rows, cols, ref rest @ ..] = &x[..] else { return Err("expects [n,classes] or [n,channels,h,w]".to_string()) };
        Ok((x.clone(), SoftmaxSpec { rows, cols, inner: rest.iter().product(), log: self.log }))
    }

    fn forward(&self, spec: &SoftmaxSpec, f: &mut Forward) -> Result<Output> {
        Ok(f.exec.make(&FWD, spec, f.xs, f.shape)?.into())
    }

    fn backward(&self, spec: &SoftmaxSpec, b: &mut Backward) -> Result<()> {
        b.add_kernel(0, &BWD, spec, &[b.out, b.dout])
    }

    fn cases() -> Vec<Case<Self>> {
        let case = |log| [Case::new(Softmax { log }, [&[3, 7]]), Case::new(Softmax { log }, [&[2, 3, 2, 2]])];
        [false, true].into_iter().flat_map(case).collect()
    }
}

impl Tape {
    /// Probabilities along the second dimension of `x [n,k]` or `[n,k,h,w]`.
    ///
    /// # Errors
    /// If `x` has fewer than two dimensions or is of another tape.
    ///
    /// ```
    /// # use convscope_engine::{Tape, Tensor};
    /// let mut tape = Tape::new();
    /// let x = tape.leaf(Tensor::from_slice([1, 2], &[0.0f64, 3.0f64.ln()])?, "x");
    /// let y = tape.softmax(x)?;
    /// assert!((tape.value(y)?.f64()[1] - 0.75).abs() < 1e-12);
    /// # Ok::<(), convscope_engine::Error>(())
    /// ```
    pub fn softmax(&mut self, x: Var) -> Result<Var> {
        self.apply(Softmax { log: false }, &[x])
    }

    /// Logarithms of the probabilities along the second dimension of `x [n,k]` or `[n,k,h,w]`.
    ///
    /// # Errors
    /// If `x` has fewer than two dimensions or is of another tape.
    ///
    /// ```
    /// # use convscope_engine::{Tape, Tensor};
    /// let mut tape = Tape::new();
    /// let x = tape.leaf(Tensor::from_slice([1, 2], &[0.0f64, 3.0f64.ln()])?, "x");
    /// let y = tape.log_softmax(x)?;
    /// assert!((tape.value(y)?.f64()[1] - 0.75f64.ln()).abs() < 1e-12);
    /// # Ok::<(), convscope_engine::Error>(())
    /// ```
    pub fn log_softmax(&mut self, x: Var) -> Result<Var> {
        self.apply(Softmax { log: true }, &[x])
    }
}
