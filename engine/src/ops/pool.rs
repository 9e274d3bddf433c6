//! Max and average pooling.

use crate::error::Result;
use crate::operation::{Backward, Case, Forward, Operation, Output, arity, images};
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

fn infer(windows: Windows, xs: &[&Shape]) -> Result<(Shape, PoolSpec), String> {
    let [x] = arity(xs)?;
    let [n, c, h, w] = images(x)?;
    if let Windows::Sliding { kernel, stride, .. } = windows
        && (kernel.contains(&0) || stride.contains(&0))
    {
        return Err("kernel and stride must be at least 1".to_string());
    }
    let spec = PoolSpec { planes: n * c, h, w, windows };
    let [oh, ow] = spec.out_size().ok_or_else(|| format!("no window fits into {h}x{w}"))?;
    Ok(([n, c, oh, ow].into(), spec))
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

impl Operation for MaxPool {
    type Spec = PoolSpec;

    fn name(&self) -> &'static str {
        "MaxPool"
    }
    fn settings(&self) -> String {
        settings(self.windows)
    }
    fn infer(&self, xs: &[&Shape]) -> Result<(Shape, PoolSpec), String> {
        infer(self.windows, xs)
    }

    fn forward(&self, spec: &PoolSpec, f: &mut Forward) -> Result<Output> {
        let mut out = f.xs[0].buffer_like(f.shape.len());
        let mut arg = out.like(DType::U32, f.shape.len());
        f.exec.run(&MAX_FWD, spec, f.xs, &mut [&mut out, &mut arg], Accum::Write)?;
        Ok(Output { value: Tensor::new(f.shape.clone(), out)?, saved: vec![Tensor::new(f.shape.clone(), arg)?] })
    }

    fn backward(&self, spec: &PoolSpec, b: &mut Backward) -> Result<()> {
        b.add_kernel(0, &MAX_BWD, spec, &[b.dout, &b.saved[0]])
    }

    fn cases() -> Vec<Case<Self>> {
        cases().into_iter().map(|(windows, x)| Case::new(MaxPool { windows }, [&x])).collect()
    }
}

impl Operation for AvgPool {
    type Spec = PoolSpec;

    fn name(&self) -> &'static str {
        "AvgPool"
    }
    fn settings(&self) -> String {
        settings(self.windows)
    }
    fn infer(&self, xs: &[&Shape]) -> Result<(Shape, PoolSpec), String> {
        infer(self.windows, xs)
    }

    fn forward(&self, spec: &PoolSpec, f: &mut Forward) -> Result<Output> {
        Ok(f.exec.make(&AVG_FWD, spec, f.xs, f.shape)?.into())
    }

    fn backward(&self, spec: &PoolSpec, b: &mut Backward) -> Result<()> {
        b.add_kernel(0, &AVG_BWD, spec, &[b.dout])
    }

    fn cases() -> Vec<Case<Self>> {
        cases().into_iter().map(|(windows, x)| Case::new(AvgPool { windows }, [&x])).collect()
    }
}

impl Tape {
    /// Maximum of each window of `x [n,c,h,w]`.
    ///
    /// # Errors
    /// If no window fits, `x` is no image stack or of another tape.
    ///
    /// ```
    /// # use convscope_engine::{Tape, Tensor};
    /// use convscope_engine::ops::Windows;
    /// let mut tape = Tape::new();
    /// let x = tape.leaf(Tensor::from_slice([1, 1, 2, 2], &[1.0f32, 2.0, 3.0, 4.0])?, "x");
    /// let windows =
    ///     Windows::Sliding { kernel: [2, 2], stride: [2, 2], padding: [0; 4], ceil: false, count_padding: false };
    /// let y = tape.max_pool(x, windows)?;
    /// assert_eq!(tape.value(y)?.f32(), [4.0]);
    /// # Ok::<(), convscope_engine::Error>(())
    /// ```
    pub fn max_pool(&mut self, x: Var, windows: Windows) -> Result<Var> {
        self.apply(MaxPool { windows }, &[x])
    }

    /// Mean of each window of `x [n,c,h,w]`. With one adaptive window, global average pooling.
    ///
    /// # Errors
    /// If no window fits, `x` is no image stack or of another tape.
    ///
    /// ```
    /// # use convscope_engine::{Tape, Tensor};
    /// use convscope_engine::ops::Windows;
    /// let mut tape = Tape::new();
    /// let x = tape.leaf(Tensor::from_slice([1, 1, 2, 2], &[1.0f32, 2.0, 3.0, 4.0])?, "x");
    /// let y = tape.avg_pool(x, Windows::Adaptive { out: [1, 1] })?;
    /// assert_eq!(tape.value(y)?.f32(), [2.5]);
    /// # Ok::<(), convscope_engine::Error>(())
    /// ```
    pub fn avg_pool(&mut self, x: Var, windows: Windows) -> Result<Var> {
        self.apply(AvgPool { windows }, &[x])
    }
}
