//! The dense layer.

use crate::error::Result;
use crate::operation::{Backward, Case, Forward, Operation, Output};
use crate::shape::Shape;
use crate::tape::{Tape, Var};
use convscope_kernels::gemm::{Bias, GEMM, GemmSpec};
use convscope_kernels::reduce::{self, ReduceSpec};

/// `x [n,in]`, `w [out,in]`, optionally `bias [out]` -> `x w^T + bias`, `[n,out]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Linear;

impl Operation for Linear {
    type Spec = GemmSpec;

    fn name(&self) -> &'static str {
        "Linear"
    }

    fn infer(&self, xs: &[&Shape]) -> Result<(Shape, GemmSpec), String> {
        let (&[x, w], rest) = xs.split_first_chunk().ok_or("expects input, weight and perhaps bias")?;
        let ([n, i], [o, wi]) = (x.matrix().ok_or("expects an input [n,in]")?, w.matrix().ok_or("expects a weight [out,in]")?);
        if i != wi {
            return Err(format!("the input has {i} features, the weight takes {wi}"));
        }
        if rest.len() > 1 || rest.iter().any(|b| b.len() != o) {
            return Err(format!("expects one bias of {o}"));
        }
        let bias = if rest.is_empty() { Bias::None } else { Bias::Columns };
        Ok(([n, o].into(), GemmSpec { m: n, n: o, k: i, ta: false, tb: true, bias }))
    }

    fn forward(&self, spec: &GemmSpec, f: &mut Forward) -> Result<Output> {
        Ok(f.exec.make(&GEMM, spec, f.xs, f.shape)?.into())
    }

    fn backward(&self, spec: &GemmSpec, b: &mut Backward) -> Result<()> {
        let (x, w, dout) = (b.xs[0], b.xs[1], b.dout);
        let GemmSpec { m: n, n: o, k: i, .. } = *spec;
        let product = |m, n, k, ta| GemmSpec { m, n, k, ta, tb: false, bias: Bias::None };
        // dx = dout w, dw = dout^T x, db = sum of dout over the rows
        b.add_kernel(0, &GEMM, &product(n, i, o, false), &[dout, w])?;
        b.add_kernel(1, &GEMM, &product(o, i, n, true), &[dout, x])?;
        b.add_kernel(2, &reduce::FWD, &ReduceSpec { a: n, b: o, c: 1, scale: 1.0 }, &[dout])
    }

    fn cases() -> Vec<Case<Self>> {
        vec![
            Case::new(Linear, [&[1, 5], &[3, 5], &[3]]),
            Case::new(Linear, [&[4, 3], &[2, 3]]),
            Case::new(Linear, [&[3, 1], &[4, 1], &[4]]),
        ]
    }
}

impl Tape {
    /// The dense layer: `x [n,in]`, `w [out,in]`, `bias [out]` -> `x w^T + bias`, `[n,out]`.
    ///
    /// # Errors
    /// [`Error`](crate::Error) if the shapes do not fit each other, or an input is of another tape.
    ///
    /// ```
    /// # use convscope_engine::{Tape, Tensor};
    /// let mut tape = Tape::new();
    /// let x = tape.leaf(Tensor::from_slice([1, 2], &[1.0f32, 2.0])?, "x");
    /// let w = tape.leaf(Tensor::from_slice([2, 2], &[1.0f32, 1.0, 0.0, 3.0])?, "w");
    /// let bias = tape.leaf(Tensor::from_slice([2], &[0.5f32, 0.0])?, "bias");
    /// let y = tape.linear(x, w, Some(bias))?;
    /// assert_eq!(tape.value(y)?.f32(), [3.5, 6.0]);
    /// # Ok::<(), convscope_engine::Error>(())
    /// ```
    pub fn linear(&mut self, x: Var, w: Var, bias: Option<Var>) -> Result<Var> {
        let inputs: Vec<Var> = [x, w].into_iter().chain(bias).collect();
        self.apply(Linear, &inputs)
    }
}
