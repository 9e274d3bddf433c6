//! From logits to probabilities, and the training loss.

use crate::network::OutputActivation;
use convscope_engine::{Result, Tape, Var};

impl OutputActivation {
    /// Probabilities of the classes, from the logits of one image.
    pub fn probabilities(self, logits: &[f32]) -> Vec<f32> {
        match self {
            OutputActivation::Sigmoid => logits.iter().map(|v| 1.0 / (1.0 + (-v).exp())).collect(),
            OutputActivation::Softmax => {
                let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                let exp: Vec<f64> = logits.iter().map(|v| f64::from(v - max).exp()).collect();
                let sum: f64 = exp.iter().sum();
                exp.iter().map(|v| (v / sum) as f32).collect()
            }
        }
    }

    /// Mean loss of `logits [n,classes]` against target probabilities `target [n,classes]`; the result is `[1]`.
    ///
    /// [Binary logits](crate::network::LayerKind::BinaryLogits) `[-z, z]` have twice the same cross-entropy, so the mean over both
    /// classes is the binary cross-entropy of `z`.
    ///
    /// # Errors
    /// [`Error`](convscope_engine::Error) if the shapes differ.
    pub fn loss(self, tape: &mut Tape, logits: Var, target: Var) -> Result<Var> {
        match self {
            OutputActivation::Sigmoid => tape.binary_cross_entropy(logits, target),
            OutputActivation::Softmax => tape.cross_entropy(logits, target),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use convscope_engine::Tensor;

    #[test]
    fn two_sides_of_one_output() {
        let p = OutputActivation::Sigmoid.probabilities(&[-2.0, 2.0]);
        assert!((p[1] - 0.880_797).abs() < 1e-6 && (p[0] + p[1] - 1.0).abs() < 1e-6, "{p:?}");
        assert_eq!(OutputActivation::Sigmoid.probabilities(&[-200.0, 200.0]), [0.0, 1.0]);
        let loss = |logits: &[f64], target: &[f64], width| {
            let mut tape = Tape::new();
            let [x, t] = [logits, target].map(|v| tape.leaf(Tensor::from_slice([v.len() / width, width], v).unwrap(), ""));
            let loss = OutputActivation::Sigmoid.loss(&mut tape, x, t).unwrap();
            tape.value(loss).unwrap().f64()[0]
        };
        // Smoothed and mixed targets too.
        let (one, both) = (loss(&[2.0, -0.7], &[0.95, 0.3], 1), loss(&[-2.0, 2.0, 0.7, -0.7], &[0.05, 0.95, 0.7, 0.3], 2));
        assert!((one - both).abs() < 1e-12, "{one} {both}");
    }
}
