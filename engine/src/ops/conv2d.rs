//! Convolution.

use crate::error::Result;
use crate::operation::{Backward, Case, Forward, Operation, Output, images};
use crate::shape::Shape;
use crate::tape::{Tape, Var};
use convscope_kernels::conv2d::{Conv2dSpec, DGRAD, FWD, WGRAD};
use convscope_kernels::pointwise::{UNARY_BWD, Unary, UnarySpec};
use convscope_kernels::reduce::{self, ReduceSpec};

/// `x [n,c,h,w]`, `w [oc,c/groups,kh,kw]`, optionally `bias [oc]`, optionally a residual `[n,oc,oh,ow]` -> `[n,oc,oh,ow]`.
///
/// The kernel's epilogue adds the residual and applies the ReLU, as at the end of a residual block.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Conv2d {
    /// Stride, height and width.
    pub stride: [usize; 2],
    /// Padding with zeros: top, bottom, left, right.
    pub padding: [usize; 4],
    /// Dilation, height and width.
    pub dilation: [usize; 2],
    /// Groups of channels.
    pub groups: usize,
    /// Whether a residual is the last input.
    pub residual: bool,
    /// Whether a ReLU is last; the pass's rule of ReLU applies.
    pub relu: bool,
}

impl Default for Conv2d {
    fn default() -> Self {
        Conv2d { stride: [1, 1], padding: [0; 4], dilation: [1, 1], groups: 1, residual: false, relu: false }
    }
}

impl Operation for Conv2d {
    type Spec = Conv2dSpec;

    fn name(&self) -> &'static str {
        "Conv2d"
    }

    fn settings(&self) -> String {
        let pair = |[a, b]: [usize; 2]| if a == b { a.to_string() } else { format!("{a}x{b}") };
        let mut s = format!("s{} p{:?}", pair(self.stride), self.padding).replace(", ", ",");
        if self.dilation != [1, 1] {
            s += &format!(" d{}", pair(self.dilation));
        }
        if self.groups > 1 {
            s += &format!(" g{}", self.groups);
        }
        for (is, name) in [(self.residual, " +residual"), (self.relu, " relu")] {
            s += if is { name } else { "" };
        }
        s
    }

    fn infer(&self, xs: &[&Shape]) -> Result<(Shape, Conv2dSpec), String> {
        let (xs, residual) = match xs.split_last() {
            Some((last, rest)) if self.residual => (rest, Some(*last)),
            _ => (xs, None),
        };
        let (x, w, bias) = match *xs {
            [x, w] => (x, w, None),
            [x, w, b] => (x, w, Some(b)),
            _ => return Err("expects image, weight, perhaps bias, and the residual if there is one".to_string()),
        };
        let [n, c, h, iw] = images(x)?;
        let [oc, cg, kh, kw] = w.nchw().ok_or("expects a weight [oc,c/groups,kh,kw]")?;
        let Conv2d { stride, padding, dilation, groups, relu, .. } = *self;
        if groups == 0 || kh * kw == 0 || stride.contains(&0) || dilation.contains(&0) {
            return Err("groups, kernel, stride and dilation must be at least 1".to_string());
        }
        if cg * groups != c || !oc.is_multiple_of(groups) {
            return Err(format!("{c} channels in {groups} groups do not go with a weight for {cg} a group and {oc} out"));
        }
        if bias.is_some_and(|b| b.len() != oc) {
            return Err(format!("expects a bias of {oc}"));
        }
        let (kernel, bias, residual_shape) = ([kh, kw], bias.is_some(), residual);
        let residual = residual.is_some();
        let spec = Conv2dSpec {
            kernel,
            stride,
            padding,
            dilation,
            groups,
            bias,
            residual,
            relu,
            ..Conv2dSpec::simple(n, c, h, iw, oc, 1)
        };
        let Some([oh, ow]) = spec.out_size() else {
            return Err(format!("the kernel {kh}x{kw} is larger than the padded input {h}x{iw}"));
        };
        if residual_shape.is_some_and(|r| r[..] != [n, oc, oh, ow]) {
            return Err(format!("expects a residual of {n}x{oc}x{oh}x{ow}"));
        }
        Ok(([n, oc, oh, ow].into(), spec))
    }

    fn forward(&self, spec: &Conv2dSpec, f: &mut Forward) -> Result<Output> {
        Ok(f.exec.make(&FWD, spec, f.xs, f.shape)?.into())
    }

    fn backward(&self, spec: &Conv2dSpec, b: &mut Backward) -> Result<()> {
        let (x, w) = (b.xs[0], b.xs[1]);
        // The gradient of the sum, before the ReLU.
        let masked;
        let dout = if self.relu {
            let mask = UnarySpec { op: Unary::Relu, rule: b.rules.relu, len: b.out.len() };
            masked = b.exec.make(&UNARY_BWD, &mask, &[b.out, b.dout], b.out.shape())?;
            &masked
        } else {
            b.dout
        };
        b.add_kernel(0, &DGRAD, spec, &[dout, w])?;
        b.add_kernel(1, &WGRAD, spec, &[dout, x])?;
        if spec.bias {
            let sum = ReduceSpec { a: spec.n, b: spec.oc, c: dout.len() / (spec.n * spec.oc).max(1), scale: 1.0 };
            b.add_kernel(2, &reduce::FWD, &sum, &[dout])?;
        }
        if spec.residual {
            b.add(b.xs.len() - 1, dout)?;
        }
        Ok(())
    }

    fn cases() -> Vec<Case<Self>> {
        let base = Conv2d::default();
        vec![
            Case::new(base, [&[1, 2, 4, 5], &[3, 2, 3, 2]]),
            Case::new(Conv2d { padding: [1; 4], ..base }, [&[2, 2, 4, 3], &[3, 2, 3, 3], &[3]]),
            Case::new(Conv2d { stride: [2, 3], padding: [0, 1, 2, 1], ..base }, [&[1, 2, 6, 7], &[2, 2, 3, 3], &[2]]),
            Case::new(Conv2d { dilation: [2, 1], padding: [2, 2, 1, 1], ..base }, [&[1, 1, 5, 4], &[2, 1, 3, 3]]),
            Case::new(Conv2d { groups: 2, ..base }, [&[1, 4, 3, 3], &[6, 2, 2, 2], &[6]]),
            Case::new(Conv2d { groups: 3, stride: [2, 2], padding: [1; 4], ..base }, [&[2, 3, 5, 4], &[3, 1, 3, 3]]),
            Case::new(base, [&[2, 3, 4, 4], &[5, 3, 1, 1], &[5]]),
            Case::new(Conv2d { relu: true, ..base }, [&[1, 2, 4, 4], &[3, 2, 3, 3], &[3]]),
            Case::new(Conv2d { residual: true, ..base }, [&[2, 2, 4, 4], &[3, 2, 3, 3], &[2, 3, 2, 2]]),
            Case::new(
                Conv2d { residual: true, relu: true, padding: [1; 4], ..base },
                [&[1, 2, 4, 3], &[3, 2, 3, 3], &[3], &[1, 3, 4, 3]],
            ),
        ]
    }
}

impl Tape {
    /// Convolution of `x [n,c,h,w]` by `w [oc,c/groups,kh,kw]`, plus `bias [oc]`: `[n,oc,oh,ow]`, see [`Conv2d`].
    ///
    /// # Errors
    /// [`Error`](crate::Error) if the shapes do not fit each other, or an input is of another tape.
    ///
    /// ```
    /// # use convscope_engine::{Tape, Tensor};
    /// use convscope_engine::ops::Conv2d;
    /// let mut tape = Tape::new();
    /// let x = tape.leaf(Tensor::from_slice([1, 1, 2, 2], &[1.0f32, 2.0, 3.0, 4.0])?, "x");
    /// let w = tape.leaf(Tensor::from_slice([1, 1, 1, 2], &[-1.0f32, 1.0])?, "w");
    /// let y = tape.conv2d(x, w, None, Conv2d::default())?;
    /// assert_eq!(tape.value(y)?.shape()[..], [1, 1, 2, 1]);
    /// assert_eq!(tape.value(y)?.f32(), [1.0, 1.0]);
    /// # Ok::<(), convscope_engine::Error>(())
    /// ```
    pub fn conv2d(&mut self, x: Var, w: Var, bias: Option<Var>, settings: Conv2d) -> Result<Var> {
        let inputs: Vec<Var> = [x, w].into_iter().chain(bias).collect();
        self.apply(settings, &inputs)
    }
}
