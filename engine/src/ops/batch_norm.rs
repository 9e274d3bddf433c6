//! Batch normalisation by given statistics, as at inference.

use crate::error::Result;
use crate::operation::{Backward, Case, Forward, Input, Operation, Output, arity};
use crate::shape::Shape;
use crate::tape::{Tape, Var};
use crate::tensor::Tensor;
use convscope_kernels::Accum;
use convscope_kernels::norm::{INFER_DGRAD, INFER_FWD, NormSpec, PARAM_GRADS};

/// `gamma (x - mean) / sqrt(var + eps) + beta` per channel of `x [n,c,h,w]` or `[n,c]`, by given statistics.
///
/// Inputs `x, gamma, beta, mean, var`. No gradient flows to a given mean or variance.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BatchNorm {
    /// Added to the variance.
    pub eps: f64,
}

impl Operation for BatchNorm {
    type Spec = NormSpec;

    fn name(&self) -> &'static str {
        "BatchNorm"
    }

    fn infer(&self, xs: &[&Shape]) -> Result<(Shape, NormSpec), String> {
        let [x, params @ ..] = arity::<5>(xs)?;
        let &[_, c, ..] = &x[..] else { return Err("expects an image stack [n,c,h,w] or vectors [n,c]".to_string()) };
        if params.iter().any(|p| p.len() != c) {
            return Err(format!("expects parameters of {c} channels"));
        }
        Ok((x.clone(), NormSpec { n: x[0], c, plane: x[2..].iter().product(), eps: self.eps }))
    }

    fn forward(&self, spec: &NormSpec, f: &mut Forward) -> Result<Output> {
        Ok(f.exec.make(&INFER_FWD, spec, f.xs, f.shape)?.into())
    }

    fn backward(&self, spec: &NormSpec, b: &mut Backward) -> Result<()> {
        let (x, gamma, mean, var) = (b.xs[0], b.xs[1], b.xs[3], b.xs[4]);
        if b.wants(1) || b.wants(2) {
            let [mut dgamma, mut dbeta] = [(); 2].map(|_| x.buffer_like(spec.c));
            b.exec.run(&PARAM_GRADS, spec, &[b.dout, x, mean, var], &mut [&mut dgamma, &mut dbeta], Accum::Write)?;
            b.add(1, &Tensor::new([spec.c], dgamma)?)?;
            b.add(2, &Tensor::new([spec.c], dbeta)?)?;
        }
        b.add_kernel(0, &INFER_DGRAD, spec, &[b.dout, gamma, var])
    }

    fn cases() -> Vec<Case<Self>> {
        let parameters = [Input::any([3]), Input::any([3]), Input::given([3]), Input::given_positive([3])];
        let inputs = [Input::any([2, 3, 2, 4])].into_iter().chain(parameters).collect();
        vec![Case { op: BatchNorm { eps: 1e-3 }, inputs }]
    }
}

impl Tape {
    /// Batch normalisation by given statistics `[mean, var]`, `[c]` each, as at inference (Ioffe & Szegedy, ICML 2015).
    ///
    /// # Errors
    /// If a parameter is not `[c]`, or an input is of another tape.
    ///
    /// ```
    /// # use convscope_engine::{Tape, Tensor};
    /// use convscope_engine::kernels::DType;
    /// let mut tape = Tape::new();
    /// let x = tape.leaf(Tensor::from_slice([1, 1, 1, 2], &[3.0f32, 7.0])?, "x");
    /// let [gamma, beta, mean, var] =
    ///     [10.0f32, 1.0, 5.0, 4.0].map(|v| tape.leaf(Tensor::full([1], DType::F32, v.into()), ""));
    /// let y = tape.batch_norm(x, gamma, beta, [mean, var], 0.0)?;
    /// assert_eq!(tape.value(y)?.f32(), [-9.0, 11.0]);
    /// # Ok::<(), convscope_engine::Error>(())
    /// ```
    pub fn batch_norm(&mut self, x: Var, gamma: Var, beta: Var, [mean, var]: [Var; 2], eps: f64) -> Result<Var> {
        self.apply(BatchNorm { eps }, &[x, gamma, beta, mean, var])
    }
}
