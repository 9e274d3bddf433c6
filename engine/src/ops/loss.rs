//! Losses: composites, so their gradients come from their parts.

use crate::error::Result;
use crate::tape::{Tape, Var};
use convscope_kernels::pointwise::Unary;

impl Tape {
    /// Mean cross-entropy of `logits [n,k]` against `target [n,k]`, rows of probabilities (one-hot, smoothed or mixed): `[1]`.
    ///
    /// # Errors
    /// If the shapes do not broadcast, or an input is of another tape.
    ///
    /// ```
    /// # use convscope_engine::{Tape, Tensor};
    /// let mut tape = Tape::new();
    /// let logits = tape.leaf(Tensor::from_slice([1, 2], &[0.0f64, 3.0f64.ln()])?, "logits");
    /// let target = tape.leaf(Tensor::from_slice([1, 2], &[1.0f64, 0.0])?, "target");
    /// let loss = tape.cross_entropy(logits, target)?;
    /// assert!((tape.value(loss)?.item()? - 4.0f64.ln()).abs() < 1e-12);
    /// # Ok::<(), convscope_engine::Error>(())
    /// ```
    pub fn cross_entropy(&mut self, logits: Var, target: Var) -> Result<Var> {
        let n = self.value(logits)?.shape().first().copied().unwrap_or(1);
        let log_p = self.log_softmax(logits)?;
        let weighted = self.mul(log_p, target)?;
        let sum = self.sum(weighted)?;
        self.scale(sum, -1.0 / n.max(1) as f64)
    }

    /// Mean binary cross-entropy of `logits` against target probabilities of the same shape, elementwise: `[1]`. PyTorch's name
    /// is `binary_cross_entropy_with_logits`.
    ///
    /// `-t ln s(x) - (1 - t) ln(1 - s(x))` with the sigmoid `s` equals `softplus(x) - t x`, which does not overflow.
    ///
    /// # Errors
    /// If the shapes do not broadcast, or an input is of another tape.
    ///
    /// ```
    /// # use convscope_engine::{Tape, Tensor};
    /// let mut tape = Tape::new();
    /// let logits = tape.leaf(Tensor::from_slice([2], &[0.0f64, 0.0])?, "logits");
    /// let target = tape.leaf(Tensor::from_slice([2], &[1.0f64, 0.0])?, "target");
    /// let loss = tape.binary_cross_entropy(logits, target)?;
    /// assert!((tape.value(loss)?.item()? - 2.0f64.ln()).abs() < 1e-12);
    /// # Ok::<(), convscope_engine::Error>(())
    /// ```
    pub fn binary_cross_entropy(&mut self, logits: Var, target: Var) -> Result<Var> {
        let count = self.value(logits)?.len();
        let softplus = self.activation(logits, Unary::Softplus)?;
        let weighted = self.mul(logits, target)?;
        let weighted = self.scale(weighted, -1.0)?;
        let each = self.add(softplus, weighted)?;
        let sum = self.sum(each)?;
        self.scale(sum, 1.0 / count.max(1) as f64)
    }
}

#[cfg(test)]
mod tests {
    use crate::gradcheck::{Input, check_function};
    use crate::{Rules, Tape, Tensor};

    #[test]
    fn cross_entropy_is_right_and_so_is_its_gradient() {
        let mut tape = Tape::new();
        let logits = tape.leaf(Tensor::from_slice([1, 3], &[1.0f64, 2.0, 3.0]).unwrap(), "");
        let target = tape.leaf(Tensor::from_slice([1, 3], &[0.0f64, 1.0, 0.0]).unwrap(), "");
        let loss = tape.cross_entropy(logits, target).unwrap();
        // ln(e^1 + e^2 + e^3) - 2
        assert!((tape.value(loss).unwrap().f64()[0] - 1.407_605_964_444_38).abs() < 1e-12);
        let inputs = [Input::any([4, 5]), Input::given_positive([4, 5])];
        assert!(check_function(&inputs, 9, |t, v| t.cross_entropy(v[0], v[1])).unwrap().is_right());
    }

    /// Values of PyTorch 2.15 in f64.
    #[test]
    fn binary_cross_entropy_is_right_and_so_is_its_gradient() {
        let mut tape = Tape::new();
        let logits = tape.leaf(Tensor::from_slice([2, 3], &[-3.0f64, 0.0, 0.5, 2.0, -0.25, 7.0]).unwrap(), "");
        let target = tape.leaf(Tensor::from_slice([2, 3], &[0.0f64, 1.0, 0.3, 0.95, 0.5, 0.1]).unwrap(), "");
        let loss = tape.binary_cross_entropy(logits, target).unwrap();
        assert!((tape.value(loss).unwrap().f64()[0] - 1.465_765_068_948_230_7).abs() < 1e-12);
        let inputs = [Input::any([4, 5]), Input::given_positive([4, 5])];
        assert!(check_function(&inputs, 9, |t, v| t.binary_cross_entropy(v[0], v[1])).unwrap().is_right());
    }

    /// Loss and gradient are finite where a sigmoid rounds to 0 or 1 and its logarithm is infinite.
    #[test]
    fn binary_cross_entropy_does_not_overflow() {
        let mut tape = Tape::new();
        let logits = tape.leaf(Tensor::from_slice([4], &[-200.0f32, -200.0, 200.0, 200.0]).unwrap(), "");
        let target = tape.leaf(Tensor::from_slice([4], &[0.0f32, 1.0, 0.0, 1.0]).unwrap(), "");
        let loss = tape.binary_cross_entropy(logits, target).unwrap();
        assert_eq!(tape.value(loss).unwrap().f32(), [100.0]);
        let grads = tape.backward(loss, None, &[logits], &Rules::default()).unwrap();
        assert_eq!(grads.of(logits).unwrap().f32(), [0.0, -0.25, 0.25, 0.0]);
    }
}
