//! Dropout (Srivastava et al. 2014), with a mask that is a function of a seed.

use crate::error::Result;
use crate::operation::{Backward, Case, Forward, Operation, Output, arity};
use crate::shape::Shape;
use crate::tape::{Tape, Var};
use convscope_kernels::pointwise::{DROPOUT, DropoutSpec};

/// Zero with probability `p`, else `x / (1 - p)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dropout {
    /// Probability of zero, in `0..1`.
    pub p: f64,
    /// Seed of the mask.
    pub seed: u64,
}

impl Operation for Dropout {
    type Spec = DropoutSpec;

    fn name(&self) -> &'static str {
        "Dropout"
    }

    fn settings(&self) -> String {
        format!("p{}", self.p)
    }

    fn infer(&self, xs: &[&Shape]) -> Result<(Shape, DropoutSpec), String> {
        if !(0.0..1.0).contains(&self.p) {
            return Err(format!("the probability {} is not in 0..1", self.p));
        }
        let [x] = arity(xs)?;
        Ok((x.clone(), DropoutSpec { p: self.p, seed: self.seed, len: x.len() }))
    }

    fn forward(&self, spec: &DropoutSpec, f: &mut Forward) -> Result<Output> {
        Ok(f.exec.make(&DROPOUT, spec, f.xs, f.shape)?.into())
    }

    fn backward(&self, spec: &DropoutSpec, b: &mut Backward) -> Result<()> {
        b.add_kernel(0, &DROPOUT, spec, &[b.dout])
    }

    fn cases() -> Vec<Case<Self>> {
        vec![Case::new(Dropout { p: 0.4, seed: 3 }, [&[3, 11]])]
    }
}

impl Tape {
    /// Zero with probability `p`, else `x / (1 - p)`, by the mask of `seed` (Srivastava et al., JMLR 2014). For training.
    ///
    /// # Errors
    /// If `p` is not in `0..1`, or `x` is of another tape.
    ///
    /// ```
    /// # use convscope_engine::{Tape, Tensor};
    /// let mut tape = Tape::new();
    /// let x = tape.leaf(Tensor::from_slice([4], &[1.0f32; 4])?, "x");
    /// let y = tape.dropout(x, 0.5, 1)?;
    /// assert!(tape.value(y)?.f32().iter().all(|v| *v == 0.0 || *v == 2.0));
    /// # Ok::<(), convscope_engine::Error>(())
    /// ```
    pub fn dropout(&mut self, x: Var, p: f64, seed: u64) -> Result<Var> {
        self.apply(Dropout { p, seed }, &[x])
    }
}
