//! Zeros around an image stack.

use crate::error::Result;
use crate::operation::{Backward, Case, Forward, Operation, Output, arity, images};
use crate::shape::Shape;
use crate::tape::{Tape, Var};
use convscope_kernels::copy::{BWD, CopySpec, FWD};

/// `x [n,c,h,w]` -> `[n, c, top + h + bottom, left + w + right]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ZeroPad {
    /// Zeros at `[top, bottom, left, right]`.
    pub sides: [usize; 4],
}

impl Operation for ZeroPad {
    type Spec = CopySpec;

    fn name(&self) -> &'static str {
        "ZeroPad"
    }

    fn settings(&self) -> String {
        format!("{:?}", self.sides).replace(", ", ",")
    }

    fn infer(&self, xs: &[&Shape]) -> Result<(Shape, CopySpec), String> {
        let [x] = arity(xs)?;
        let [n, c, h, w] = images(x)?;
        let [top, bottom, left, right] = self.sides;
        let [ph, pw] = [top + h + bottom, left + w + right];
        let (from_shape, to_shape, origin) = ([c, ph, pw], [c, h, w], [top, left]);
        // The padding is the gradient of taking `x` out of the padded stack.
        let spec = CopySpec { n, from_shape, to_shape, from: 0, to: 0, count: c, origin, stride: [1, 1] };
        Ok(([n, c, ph, pw].into(), spec))
    }

    fn forward(&self, spec: &CopySpec, f: &mut Forward) -> Result<Output> {
        Ok(f.exec.make(&BWD, spec, f.xs, f.shape)?.into())
    }

    fn backward(&self, spec: &CopySpec, b: &mut Backward) -> Result<()> {
        b.add_kernel(0, &FWD, spec, &[b.dout])
    }

    fn cases() -> Vec<Case<Self>> {
        [[1, 2, 0, 3], [0; 4]].map(|sides| Case::new(ZeroPad { sides }, [&[2, 3, 2, 4]])).to_vec()
    }
}

impl Tape {
    /// `x [n,c,h,w]` with zeros around it: `[top, bottom, left, right]` pixels.
    ///
    /// # Errors
    /// If `x` is no image stack or of another tape.
    ///
    /// ```
    /// # use convscope_engine::{Tape, Tensor};
    /// let mut tape = Tape::new();
    /// let x = tape.leaf(Tensor::from_slice([1, 1, 1, 1], &[5.0f32])?, "x");
    /// let y = tape.zero_pad(x, [0, 0, 1, 2])?;
    /// assert_eq!(tape.value(y)?.f32(), [0.0, 5.0, 0.0, 0.0]);
    /// # Ok::<(), convscope_engine::Error>(())
    /// ```
    pub fn zero_pad(&mut self, x: Var, sides: [usize; 4]) -> Result<Var> {
        self.apply(ZeroPad { sides }, &[x])
    }
}
