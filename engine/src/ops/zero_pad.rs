//! Zeros around an image stack.

use super::{Exec, Output, Rule, Sink, Step, arity, images};
use crate::error::Result;
use crate::gradcheck::Case;
use crate::shape::Shape;
use crate::tensor::Tensor;
use convscope_kernels::copy::{BWD, FWD, PlaceSpec};

/// `x [n,c,h,w]` -> `[n, c, top + h + bottom, left + w + right]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ZeroPad {
    /// Zeros at `[top, bottom, left, right]`.
    pub sides: [usize; 4],
}

impl ZeroPad {
    /// Taking `x` out of the padded stack, whose gradient is the padding.
    fn spec(&self, x: &Shape) -> Result<PlaceSpec, String> {
        let [n, c, h, w] = images(x)?;
        let [top, bottom, left, right] = self.sides;
        let from_shape = [c, top + h + bottom, left + w + right];
        let (origin, stride) = ([top, left], [1, 1]);
        Ok(PlaceSpec { n, from_shape, to_shape: [c, h, w], from: 0, to: 0, count: c, origin, stride })
    }
}

impl Rule for ZeroPad {
    fn name(&self) -> &'static str {
        "ZeroPad"
    }

    fn settings(&self) -> String {
        format!("{:?}", self.sides).replace(", ", ",")
    }

    fn infer(&self, xs: &[&Shape]) -> Result<Shape, String> {
        let [x] = arity(xs)?;
        let s = self.spec(x)?;
        Ok([s.n, s.from_shape[0], s.from_shape[1], s.from_shape[2]].into())
    }

    fn forward(&self, exec: &mut Exec, xs: &[&Tensor], shape: &Shape) -> Result<Output> {
        let spec = self.spec(xs[0].shape()).expect("infer accepted this shape");
        Ok(exec.make(&BWD, &spec, xs, shape)?.into())
    }

    fn backward(&self, exec: &mut Exec, step: &Step, sink: &mut Sink) -> Result<()> {
        let x = step.xs[0];
        let spec = self.spec(x.shape()).expect("infer accepted this shape");
        sink.add(0, x, |dx, accum| exec.run(&FWD, &spec, &[step.dout], &mut [dx], accum))
    }

    fn cases() -> Vec<Case> {
        [[1, 2, 0, 3], [0; 4]].map(|sides| Case::new(ZeroPad { sides }, [&[2, 3, 2, 4]])).to_vec()
    }
}
