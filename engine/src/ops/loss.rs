//! Losses: composites, so their gradients come from their parts.

use crate::error::Result;
use crate::tape::{Tape, Var};

impl Tape {
    /// Mean cross-entropy of `logits [n,k]` against `target [n,k]`, rows of probabilities (one-hot, smoothed or mixed): `[1]`.
    pub fn cross_entropy(&mut self, logits: Var, target: Var) -> Result<Var> {
        let n = self.value(logits)?.shape().first().copied().unwrap_or(1);
        let log_p = self.log_softmax(logits)?;
        let weighted = self.mul(log_p, target)?;
        let sum = self.sum(weighted)?;
        self.scale(sum, -1.0 / n.max(1) as f64)
    }
}

#[cfg(test)]
mod tests {
    use crate::gradcheck::{Input, check_function};
    use crate::{Tape, Tensor};

    #[test]
    fn cross_entropy_is_right_and_so_is_its_gradient() {
        let mut tape = Tape::new();
        let logits = tape.leaf(Tensor::from_slice([1, 3], &[1.0f64, 2.0, 3.0]).unwrap(), "");
        let target = tape.leaf(Tensor::from_slice([1, 3], &[0.0f64, 1.0, 0.0]).unwrap(), "");
        let loss = tape.cross_entropy(logits, target).unwrap();
        // ln(e^1 + e^2 + e^3) - 2
        assert!((tape.value(loss).unwrap().f64()[0] - 1.407_605_964_444_38).abs() < 1e-12);
        let inputs = [Input::any([4, 5]), Input::given_positive([4, 5])];
        assert!(check_function(&inputs, 9, |t, v| t.cross_entropy(v[0], v[1])).unwrap() < 1e-6);
    }
}
