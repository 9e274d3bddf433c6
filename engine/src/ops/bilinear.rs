//! Bilinear interpolation.
//!
//! Interpolation is linear and separable: `A_h x A_w^T` for each plane `x`, with two non-zero values in each row of the matrices.
//! Matrix product kernels compute it: a dense layer along the rows, then a 1x1 convolution along the columns with the rows of a
//! plane as channels. The gradient is `A_h^T dout A_w`, with the same products.

use crate::error::Result;
use crate::operation::{Backward, Case, Forward, Operation, Output, arity, images};
use crate::shape::Shape;
use crate::tape::{Tape, Var};
use crate::tensor::Tensor;
use convscope_kernels::conv2d::{Conv2dSpec, DGRAD, FWD};
use convscope_kernels::gemm::{Bias, GEMM, GemmSpec};

/// `x [n,c,h,w]` -> `[n,c,oh,ow]` with half-pixel centres and clamped borders (PyTorch's `align_corners=False`, TensorFlow 2's
/// `resize` without antialiasing).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bilinear {
    /// Height and width of the output.
    pub out: [usize; 2],
}

/// The weights of `from` pixels in each of `to`, `[to,from]`.
fn weights(to: usize, from: usize) -> Vec<f64> {
    let mut weights = vec![0.0; to * from];
    for (i, row) in weights.chunks_exact_mut(from).enumerate() {
        let last = (from - 1) as f64;
        let at = ((i as f64 + 0.5) * from as f64 / to as f64 - 0.5).clamp(0.0, last);
        let (below, share) = (at.floor() as usize, at.fract());
        row[below] = 1.0 - share;
        // The last pixel has no successor; its weight is 0.
        row[(below + 1).min(from - 1)] += share;
    }
    weights
}

/// [`weights`] of the type and on the device of `like`.
fn matrix(to: usize, from: usize, shape: impl Into<Shape>, like: &Tensor) -> Result<Tensor> {
    Tensor::from_slice(shape, &weights(to, from))?.cast(like.dtype()).on(like.device())
}

/// A product of the rows of a matrix `[m,k]` with `A` or its transpose.
fn rows(m: usize, n: usize, k: usize, tb: bool) -> GemmSpec {
    GemmSpec { m, n, k, ta: false, tb, bias: Bias::None }
}

impl Operation for Bilinear {
    type Spec = Conv2dSpec;

    fn name(&self) -> &'static str {
        "Bilinear"
    }

    fn settings(&self) -> String {
        format!("to {}x{}", self.out[0], self.out[1])
    }

    fn infer(&self, xs: &[&Shape]) -> Result<(Shape, Conv2dSpec), String> {
        let [x] = arity(xs)?;
        let [n, c, h, w] = images(x)?;
        if h * w == 0 || self.out.contains(&0) {
            return Err("expects at least one pixel and makes as many".to_string());
        }
        let [oh, ow] = self.out;
        Ok(([n, c, oh, ow].into(), Conv2dSpec::simple(n * c, h, 1, ow, oh, 1)))
    }

    fn forward(&self, spec: &Conv2dSpec, f: &mut Forward) -> Result<Output> {
        let x = f.xs[0];
        let ([planes, h, w], [oh, ow]) = ([spec.n, x.shape()[2], x.shape()[3]], self.out);
        let (along, across) = (matrix(ow, w, [ow, w], x)?, matrix(oh, h, [oh, h, 1, 1], x)?);
        let wide = f.exec.make(&GEMM, &rows(planes * h, ow, w, true), &[x, &along], &[planes, h, ow].into())?;
        Ok(Output { value: f.exec.make(&FWD, spec, &[&wide, &across], f.shape)?, saved: vec![along, across] })
    }

    fn backward(&self, spec: &Conv2dSpec, b: &mut Backward) -> Result<()> {
        let x = b.xs[0];
        let ([planes, h, w], [_, ow]) = ([spec.n, x.shape()[2], x.shape()[3]], self.out);
        let (along, across) = (&b.saved[0], &b.saved[1]);
        let wide = b.exec.make(&DGRAD, spec, &[b.dout, across], &[planes, h, ow].into())?;
        b.add_kernel(0, &GEMM, &rows(planes * h, w, ow, false), &[&wide, along])
    }

    fn cases() -> Vec<Case<Self>> {
        let case = |out, x: &[usize; 4]| Case::new(Bilinear { out }, [x]);
        vec![case([4, 9], &[2, 3, 2, 3]), case([3, 5], &[1, 2, 1, 1]), case([5, 2], &[1, 2, 3, 5]), case([3, 4], &[1, 1, 3, 4])]
    }
}

impl Tape {
    /// `x [n,c,h,w]` at the size `out`, height and width: bilinear interpolation with half-pixel centres, see [`Bilinear`].
    ///
    /// # Errors
    /// If `x` is no image stack, a size is 0, or `x` is of another tape.
    ///
    /// ```
    /// # use convscope_engine::{Tape, Tensor};
    /// let mut tape = Tape::new();
    /// let x = tape.leaf(Tensor::from_slice([1, 1, 1, 2], &[0.0f32, 4.0])?, "x");
    /// let y = tape.bilinear(x, [1, 4])?;
    /// assert_eq!(tape.value(y)?.f32(), [0.0, 1.0, 3.0, 4.0]);
    /// # Ok::<(), convscope_engine::Error>(())
    /// ```
    pub fn bilinear(&mut self, x: Var, out: [usize; 2]) -> Result<Var> {
        self.apply(Bilinear { out }, &[x])
    }
}

#[cfg(test)]
mod tests {
    use super::weights;

    /// `torch.nn.functional.interpolate` of the rows of a unit matrix.
    #[test]
    fn weights_are_pytorchs() {
        assert_eq!(weights(4, 2), [1.0, 0.0, 0.75, 0.25, 0.25, 0.75, 0.0, 1.0]);
        assert_eq!(weights(2, 4), [0.5, 0.5, 0.0, 0.0, 0.0, 0.0, 0.5, 0.5]);
        assert_eq!(weights(3, 1), [1.0; 3]);
        assert_eq!(weights(1, 3), [0.0, 1.0, 0.0]);
    }
}
