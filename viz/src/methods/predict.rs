//! Predictions: logits, probabilities, top classes, and the gradient of a logit with respect to the image.

use super::VizError;
use convscope_engine::{Rules, Tape, Tensor};
use convscope_models::network::OutputActivation;
use convscope_models::{Model, Run};

/// The prediction for one image.
#[derive(Debug, Clone)]
pub struct Prediction {
    /// Logits, one per class.
    pub logits: Vec<f32>,
    /// Softmax or sigmoid of the logits, by the network's output activation.
    pub probabilities: Vec<f32>,
}

impl Prediction {
    pub(crate) fn new(logits: &[f32], output_activation: OutputActivation) -> Self {
        Prediction { logits: logits.to_vec(), probabilities: output_activation.probabilities(logits) }
    }

    /// The `k` classes with the largest logits, largest first; ties go to the lower index.
    pub fn top(&self, k: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.logits.len()).collect();
        order.sort_by(|a, b| self.logits[*b].total_cmp(&self.logits[*a]).then(a.cmp(b)));
        order.truncate(k);
        order
    }

    /// The class with the largest logit.
    pub fn best(&self) -> usize {
        self.top(1).first().copied().unwrap_or(0)
    }
}

/// Refuses values that are not finite, whose picture would be blank.
pub(crate) fn finite(what: &str, values: &[f32]) -> Result<(), VizError> {
    match values.iter().position(|v| !v.is_finite()) {
        None => Ok(()),
        Some(i) => Err(VizError::NotFinite { what: what.to_string(), index: i, value: values[i] }),
    }
}

/// Predictions for a batch of images `[n,c,h,w]`.
///
/// ```
/// use convscope_viz::predict::predict;
/// let model = convscope_models::Model::builtin()?;
/// let photo = convscope_viz::Photo::open("sample:cat", &model.network)?;
/// let found = predict(&model, &photo.input)?;
/// assert_eq!(found[0].logits.len(), 102);
/// assert_eq!(found[0].top(5)[0], found[0].best());
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`VizError`] if the images do not suit the network, it has no classes, or a logit is not finite.
pub fn predict(model: &Model, images: &Tensor) -> Result<Vec<Prediction>, VizError> {
    let mut tape = Tape::inference();
    let run = model.forward(&mut tape, images.clone())?;
    predictions(model, &tape, &run)
}

/// The predictions of a complete run.
pub(crate) fn predictions(model: &Model, tape: &Tape, run: &Run) -> Result<Vec<Prediction>, VizError> {
    model.network.class_count()?;
    let logits = tape.value(run.output())?;
    finite("the network's output", logits.f32())?;
    let classes = logits.shape()[1..].iter().product::<usize>().max(1);
    Ok(logits.f32().chunks_exact(classes).map(|row| Prediction::new(row, model.network.output_activation)).collect())
}

/// The predictions of a batch, and the gradient `d logit[class] / d image`, `[n,c,h,w]`. Without `class`, it is each image's best
/// one.
///
/// ```
/// use convscope_viz::predict::input_gradient;
/// let model = convscope_models::Model::builtin()?;
/// let photo = convscope_viz::Photo::open("sample:cat", &model.network)?;
/// let (_, gradient) = input_gradient(&model, &photo.input, None)?;
/// assert_eq!(gradient.shape(), photo.input.shape());
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// As [`predict`], and [`VizError::NoSuchClass`].
pub fn input_gradient(model: &Model, images: &Tensor, class: Option<usize>) -> Result<(Vec<Prediction>, Tensor), VizError> {
    let mut tape = Tape::new();
    let run = model.forward(&mut tape, images.clone())?;
    let predictions = predictions(model, &tape, &run)?;
    let chosen: Vec<usize> = predictions.iter().map(|p| class.unwrap_or(p.best())).collect();
    let upstream = one_hot(&tape, &run, &chosen)?;
    let image = tape.find(&model.network.layers[0].name)?;
    let grads = tape.backward(run.output(), Some(upstream), &[image], &Rules::default())?;
    let dx = grads.of(image).cloned().unwrap_or_else(|| Tensor::zeros(images.shape().clone(), images.dtype()));
    finite("the gradient of the image", dx.f32())?;
    Ok((predictions, dx))
}

/// The upstream gradient, 1 at class `chosen[i]` of image `i`: its backward pass gives the gradient of these logits.
pub(crate) fn one_hot(tape: &Tape, run: &Run, chosen: &[usize]) -> Result<Tensor, VizError> {
    let logits = tape.value(run.output())?;
    let classes = logits.len() / chosen.len().max(1);
    let mut values = vec![0.0f32; logits.len()];
    for (i, c) in chosen.iter().enumerate() {
        let at = values[i * classes..][..classes].get_mut(*c);
        *at.ok_or(VizError::NoSuchClass { class: *c, classes })? = 1.0;
    }
    Ok(Tensor::from_slice(logits.shape().clone(), &values)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probabilities_and_order() {
        let p = Prediction::new(&[1.0, 3.0, 3.0, -200.0], OutputActivation::Softmax);
        assert_eq!(p.top(3), [1, 2, 0]);
        assert!((p.probabilities.iter().sum::<f32>() - 1.0).abs() < 1e-6);
        assert_eq!(Prediction::new(&[0.0], OutputActivation::Sigmoid).probabilities, [0.5]);
    }
}
