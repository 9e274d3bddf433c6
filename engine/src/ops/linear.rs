//! The dense layer.

use super::{Exec, Output, Rule, Sink, Step};
use crate::error::Result;
use crate::gradcheck::Case;
use crate::shape::Shape;
use crate::tape::{Tape, Var};
use crate::tensor::Tensor;
use convscope_kernels::gemm::{Bias, GEMM, GemmSpec};
use convscope_kernels::reduce::{self, ReduceSpec};

/// `x [n,in]`, `w [out,in]`, optionally `bias [out]` -> `x w^T + bias`, `[n,out]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Linear;

impl Rule for Linear {
    fn name(&self) -> &'static str {
        "Linear"
    }

    fn settings(&self) -> String {
        String::new()
    }

    fn infer(&self, xs: &[&Shape]) -> Result<Shape, String> {
        let (&[x, w], rest) = xs.split_first_chunk().ok_or("wants input, weight and perhaps bias")?;
        let ([n, i], [o, wi]) = (x.matrix().ok_or("wants an input [n,in]")?, w.matrix().ok_or("wants a weight [out,in]")?);
        if i != wi {
            return Err(format!("the input has {i} features, the weight takes {wi}"));
        }
        if rest.len() > 1 || rest.iter().any(|b| b.len() != o) {
            return Err(format!("wants one bias of {o}"));
        }
        Ok([n, o].into())
    }

    fn forward(&self, exec: &mut Exec, xs: &[&Tensor], shape: &Shape) -> Result<Output> {
        let (m, n, k) = (shape[0], shape[1], xs[0].shape()[1]);
        let bias = if xs.len() == 3 { Bias::Columns } else { Bias::None };
        Ok(exec.make(&GEMM, &GemmSpec { m, n, k, ta: false, tb: true, bias }, xs, shape)?.into())
    }

    fn backward(&self, exec: &mut Exec, step: &Step, sink: &mut Sink) -> Result<()> {
        let (x, w, dout) = (step.xs[0], step.xs[1], step.dout);
        let (n, o, i) = (dout.shape()[0], dout.shape()[1], x.shape()[1]);
        let product = |m, n, k, ta| GemmSpec { m, n, k, ta, tb: false, bias: Bias::None };
        // dx = dout w, dw = dout^T x, db = sum of dout over the rows
        sink.add(0, x, |dx, accum| exec.run(&GEMM, &product(n, i, o, false), &[dout, w], &mut [dx], accum))?;
        sink.add(1, w, |dw, accum| exec.run(&GEMM, &product(o, i, n, true), &[dout, x], &mut [dw], accum))?;
        if let Some(bias) = step.xs.get(2) {
            let sum = ReduceSpec { a: n, b: o, c: 1, scale: 1.0 };
            sink.add(2, bias, |db, accum| exec.run(&reduce::FWD, &sum, &[dout], &mut [db], accum))?;
        }
        Ok(())
    }

    fn cases() -> Vec<Case> {
        vec![
            Case::new(Linear, [&[1, 5], &[3, 5], &[3]]),
            Case::new(Linear, [&[4, 3], &[2, 3]]),
            Case::new(Linear, [&[3, 1], &[4, 1], &[4]]),
        ]
    }
}

impl Tape {
    /// `x w^T + bias`.
    pub fn linear(&mut self, x: Var, w: Var, bias: Option<Var>) -> Result<Var> {
        let inputs: Vec<Var> = [x, w].into_iter().chain(bias).collect();
        self.apply(Linear.into(), &inputs)
    }
}
