//! Convolution.

use super::{Exec, Output, Rule, Sink, Step, images};
use crate::error::Result;
use crate::gradcheck::Case;
use crate::shape::Shape;
use crate::tape::{Tape, Var};
use crate::tensor::Tensor;
use convscope_kernels::conv2d::{Conv2dSpec, DGRAD, FWD, WGRAD};
use convscope_kernels::reduce::{self, ReduceSpec};

/// `x [n,c,h,w]`, `w [oc,c/groups,kh,kw]`, optionally `bias [oc]` -> `[n,oc,oh,ow]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Conv2d {
    /// Step of the kernel, height and width.
    pub stride: [usize; 2],
    /// Zeros around the input: top, bottom, left, right.
    pub padding: [usize; 4],
    /// Distance of kernel elements.
    pub dilation: [usize; 2],
    /// Groups of channels.
    pub groups: usize,
}

impl Default for Conv2d {
    fn default() -> Self {
        Conv2d { stride: [1, 1], padding: [0; 4], dilation: [1, 1], groups: 1 }
    }
}

impl Conv2d {
    fn spec(&self, xs: &[&Shape]) -> Result<Conv2dSpec, String> {
        let (x, w, bias) = match *xs {
            [x, w] => (x, w, None),
            [x, w, b] => (x, w, Some(b)),
            _ => return Err("wants image, weight and perhaps bias".to_string()),
        };
        let [n, c, h, iw] = images(x)?;
        let [oc, cg, kh, kw] = w.nchw().ok_or("wants a weight [oc,c/groups,kh,kw]")?;
        let Conv2d { stride, padding, dilation, groups } = *self;
        if groups == 0 || kh * kw == 0 || stride.contains(&0) || dilation.contains(&0) {
            return Err("groups, kernel, stride and dilation must be at least 1".to_string());
        }
        if cg * groups != c || !oc.is_multiple_of(groups) {
            return Err(format!("{c} channels in {groups} groups do not go with a weight for {cg} a group and {oc} out"));
        }
        if bias.is_some_and(|b| b.len() != oc) {
            return Err(format!("wants a bias of {oc}"));
        }
        let bias = bias.is_some();
        let kernel = [kh, kw];
        let spec = Conv2dSpec { kernel, stride, padding, dilation, groups, bias, ..Conv2dSpec::simple(n, c, h, iw, oc, 1) };
        if spec.out_size().is_none() {
            return Err(format!("the kernel {kh}x{kw} is larger than the padded input {h}x{iw}"));
        }
        Ok(spec)
    }
}

impl Rule for Conv2d {
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
        s
    }

    fn infer(&self, xs: &[&Shape]) -> Result<Shape, String> {
        let s = self.spec(xs)?;
        let [oh, ow] = s.out_size().unwrap_or_default();
        Ok([s.n, s.oc, oh, ow].into())
    }

    fn forward(&self, exec: &mut Exec, xs: &[&Tensor], shape: &Shape) -> Result<Output> {
        Ok(exec.make(&FWD, &self.known_spec(xs), xs, shape)?.into())
    }

    fn backward(&self, exec: &mut Exec, step: &Step, sink: &mut Sink) -> Result<()> {
        let s = self.known_spec(&step.xs);
        let (x, w) = (step.xs[0], step.xs[1]);
        sink.add(0, x, |dx, accum| exec.run(&DGRAD, &s, &[step.dout, w], &mut [dx], accum))?;
        sink.add(1, w, |dw, accum| exec.run(&WGRAD, &s, &[step.dout, x], &mut [dw], accum))?;
        if let Some(bias) = step.xs.get(2) {
            let sum = ReduceSpec { a: s.n, b: s.oc, c: step.dout.len() / (s.n * s.oc).max(1), scale: 1.0 };
            sink.add(2, bias, |db, accum| exec.run(&reduce::FWD, &sum, &[step.dout], &mut [db], accum))?;
        }
        Ok(())
    }

    fn cases() -> Vec<Case> {
        let base = Conv2d::default();
        vec![
            Case::new(base, [&[1, 2, 4, 5], &[3, 2, 3, 2]]),
            Case::new(Conv2d { padding: [1; 4], ..base }, [&[2, 2, 4, 3], &[3, 2, 3, 3], &[3]]),
            Case::new(Conv2d { stride: [2, 3], padding: [0, 1, 2, 1], ..base }, [&[1, 2, 6, 7], &[2, 2, 3, 3], &[2]]),
            Case::new(Conv2d { dilation: [2, 1], padding: [2, 2, 1, 1], ..base }, [&[1, 1, 5, 4], &[2, 1, 3, 3]]),
            Case::new(Conv2d { groups: 2, ..base }, [&[1, 4, 3, 3], &[6, 2, 2, 2], &[6]]),
            Case::new(Conv2d { groups: 3, stride: [2, 2], padding: [1; 4], ..base }, [&[2, 3, 5, 4], &[3, 1, 3, 3]]),
            Case::new(base, [&[2, 3, 4, 4], &[5, 3, 1, 1], &[5]]),
        ]
    }
}

impl Conv2d {
    /// The spec of inputs that [`Rule::infer`] accepted.
    fn known_spec(&self, xs: &[&Tensor]) -> Conv2dSpec {
        let shapes: Vec<&Shape> = xs.iter().map(|x| x.shape()).collect();
        self.spec(&shapes).expect("infer accepted these shapes")
    }
}

impl Tape {
    /// Convolution of `x` by `w`, see [`Conv2d`].
    pub fn conv2d(&mut self, x: Var, w: Var, bias: Option<Var>, settings: Conv2d) -> Result<Var> {
        let inputs: Vec<Var> = [x, w].into_iter().chain(bias).collect();
        self.apply(settings.into(), &inputs)
    }
}
