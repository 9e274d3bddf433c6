//! Max and average pooling.

use super::{Exec, Output, Rule, Sink, Step, arity, images};
use crate::error::Result;
use crate::gradcheck::Case;
use crate::shape::Shape;
use crate::tape::{Tape, Var};
use crate::tensor::Tensor;
use convscope_kernels::pool::{AVG_BWD, AVG_FWD, MAX_BWD, MAX_FWD, PoolSpec, Windows};
use convscope_kernels::{Accum, DType};

/// The largest value of each window; the gradient goes to the first maximum.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MaxPool {
    /// The windows.
    pub windows: Windows,
}

/// The mean of each window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AvgPool {
    /// The windows.
    pub windows: Windows,
}

fn spec(windows: Windows, x: &Shape) -> Result<PoolSpec, String> {
    let [n, c, h, w] = images(x)?;
    let s = PoolSpec { planes: n * c, h, w, windows };
    if let Windows::Sliding { kernel, stride, .. } = windows
        && (kernel.contains(&0) || stride.contains(&0))
    {
        return Err("kernel and stride must be at least 1".to_string());
    }
    s.out_size().map(|_| s).ok_or_else(|| format!("no window fits into {h}x{w}"))
}

fn known_spec(windows: Windows, x: &Tensor) -> PoolSpec {
    spec(windows, x.shape()).expect("infer accepted this shape")
}

fn infer(windows: Windows, xs: &[&Shape]) -> Result<Shape, String> {
    let [x] = arity(xs)?;
    let [oh, ow] = spec(windows, x)?.out_size().unwrap_or_default();
    Ok([x[0], x[1], oh, ow].into())
}

fn settings(windows: Windows) -> String {
    match windows {
        Windows::Sliding { kernel, stride, .. } => format!("{}x{} s{}", kernel[0], kernel[1], stride[0]),
        Windows::Adaptive { out } => format!("to {}x{}", out[0], out[1]),
    }
}

fn cases() -> Vec<(Windows, [usize; 4])> {
    let sliding =
        |kernel, stride, padding, ceil, count_padding| Windows::Sliding { kernel, stride, padding, ceil, count_padding };
    vec![
        (sliding([2, 2], [2, 2], [0; 4], false, false), [2, 2, 4, 6]),
        (sliding([3, 3], [2, 2], [1; 4], false, true), [1, 2, 5, 7]),
        (sliding([3, 2], [1, 2], [1, 0, 0, 1], true, false), [1, 1, 4, 5]),
        (sliding([2, 3], [3, 3], [0; 4], true, true), [1, 2, 6, 5]),
        (Windows::Adaptive { out: [1, 1] }, [2, 3, 3, 4]),
        (Windows::Adaptive { out: [3, 2] }, [1, 2, 4, 5]),
    ]
}

impl Rule for MaxPool {
    fn name(&self) -> &'static str {
        "MaxPool"
    }
    fn settings(&self) -> String {
        settings(self.windows)
    }
    fn infer(&self, xs: &[&Shape]) -> Result<Shape, String> {
        infer(self.windows, xs)
    }

    fn forward(&self, exec: &mut Exec, xs: &[&Tensor], shape: &Shape) -> Result<Output> {
        let mut out = xs[0].room(shape.len());
        let mut arg = out.like(DType::U32, shape.len());
        exec.run(&MAX_FWD, &known_spec(self.windows, xs[0]), xs, &mut [&mut out, &mut arg], Accum::Write)?;
        Ok(Output { value: Tensor::new(shape.clone(), out)?, saved: vec![Tensor::new(shape.clone(), arg)?] })
    }

    fn backward(&self, exec: &mut Exec, step: &Step, sink: &mut Sink) -> Result<()> {
        let x = step.xs[0];
        let s = known_spec(self.windows, x);
        sink.add(0, x, |dx, accum| exec.run(&MAX_BWD, &s, &[step.dout, &step.saved[0]], &mut [dx], accum))
    }

    fn cases() -> Vec<Case> {
        cases().into_iter().map(|(windows, x)| Case::new(MaxPool { windows }, [&x])).collect()
    }
}

impl Rule for AvgPool {
    fn name(&self) -> &'static str {
        "AvgPool"
    }
    fn settings(&self) -> String {
        settings(self.windows)
    }
    fn infer(&self, xs: &[&Shape]) -> Result<Shape, String> {
        infer(self.windows, xs)
    }

    fn forward(&self, exec: &mut Exec, xs: &[&Tensor], shape: &Shape) -> Result<Output> {
        Ok(exec.make(&AVG_FWD, &known_spec(self.windows, xs[0]), xs, shape)?.into())
    }

    fn backward(&self, exec: &mut Exec, step: &Step, sink: &mut Sink) -> Result<()> {
        let x = step.xs[0];
        let s = known_spec(self.windows, x);
        sink.add(0, x, |dx, accum| exec.run(&AVG_BWD, &s, &[step.dout], &mut [dx], accum))
    }

    fn cases() -> Vec<Case> {
        cases().into_iter().map(|(windows, x)| Case::new(AvgPool { windows }, [&x])).collect()
    }
}

impl Tape {
    /// Maximum of each window.
    pub fn max_pool(&mut self, x: Var, windows: Windows) -> Result<Var> {
        self.apply(MaxPool { windows }.into(), &[x])
    }

    /// Mean of each window.
    pub fn avg_pool(&mut self, x: Var, windows: Windows) -> Result<Var> {
        self.apply(AvgPool { windows }.into(), &[x])
    }
}
