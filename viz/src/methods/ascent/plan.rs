//! A batch of channels on the network: scores, gradients, steps.

use super::options::{InputSpace, Keep, Objective, Options};
use super::parameterisation::Parameterisation;
use super::run::AscentRun;
use super::transform::Transform;
use super::{Ascent, AscentError};
use convscope_engine::{Rules, Tape, Tensor, Var};
use convscope_kernels::DType;
use convscope_models::network::{LayerId, LayerShape, NetworkError};
use convscope_models::{Mode, Model};

/// A validated ascent.
pub(super) struct AscentPlan<'a> {
    model: &'a Model,
    layer: LayerId,
    options: &'a Options,
    parameterisation: Parameterisation,
    /// Shape of the images, `[c, h, w]`.
    image: [usize; 3],
    /// Values per channel of one image in the layer, and the indices of those in the score's mean.
    plane: usize,
    scored: Vec<usize>,
    /// The network's input is image * gain + offset, per channel.
    gain: Vec<f32>,
    offset: Vec<f32>,
}

impl<'a> AscentPlan<'a> {
    pub(super) fn new(model: &'a Model, layer: LayerId, channels: &[usize], options: &'a Options) -> Result<Self, AscentError> {
        let network = &model.network;
        let [h, w] = options.size;
        let c = network.input.channels;
        options.check(c)?;
        let shapes = network.at(h, w)?.shapes;
        let shape = shapes.get(layer.0).ok_or_else(|| NetworkError::LayerIndex {
            network: network.name.clone(),
            index: layer.0.to_string(),
            count: shapes.len(),
        })?;
        let name = &network[layer].name;
        if let Some(channel) = channels.iter().find(|channel| **channel >= shape.channels()) {
            return Err(AscentError::Network(NetworkError::Channel {
                network: network.name.clone(),
                layer: name.clone(),
                channel: channel.to_string(),
                count: shape.channels(),
            }));
        }
        let map = shape.spatial().unwrap_or([1, 1]);
        let scored = match (shape, options.objective) {
            (LayerShape::Vector { .. }, _) => vec![0],
            (_, Objective::Centre) => vec![map[0] / 2 * map[1] + map[1] / 2],
            (_, Objective::Channel { border }) => {
                let inside = |i: usize, n: usize| i >= border && i + border < n;
                (0..map[0] * map[1]).filter(|i| inside(i / map[1], map[0]) && inside(i % map[1], map[1])).collect()
            }
        };
        if scored.is_empty() {
            let border = if let Objective::Channel { border } = options.objective { border } else { 0 };
            return Err(AscentError::Border { layer: name.clone(), map, size: options.size, border });
        }
        let (gain, offset) = match &options.input {
            InputSpace::Raw => (vec![1.0; c], vec![0.0; c]),
            InputSpace::Normalised { mean, std } => {
                let [low, high] = options.range;
                let offset = mean.iter().zip(std).map(|(mean, std)| (-low / (high - low) - mean) / std);
                (std.iter().map(|std| 1.0 / ((high - low) * std)).collect(), offset.collect())
            }
        };
        Ok(AscentPlan {
            model,
            layer,
            options,
            parameterisation: Parameterisation::new(options, &model.context),
            image: [c, h, w],
            plane: map[0] * map[1],
            scored,
            gain,
            offset,
        })
    }

    /// The whole ascent of some channels; `report` gets the number of steps and the mean score.
    pub(super) fn run(&self, channels: &[usize], report: &mut dyn FnMut(usize, f32)) -> Result<Vec<Ascent>, AscentError> {
        let start = |channel: &usize| AscentRun::new(*channel, &self.parameterisation, self.options, self.image);
        let mut runs = channels.iter().map(start).collect::<Result<Vec<_>, _>>()?;
        for step in 0..self.options.steps {
            let transforms: Vec<Transform> = runs.iter().map(|run| run.transform(self.options, step)).collect();
            let seen = runs.iter().zip(&transforms).map(|(c, m)| m.apply(c.image(), self.options.size)).collect();
            let mut pass = self.forward(&runs, seen, step)?;
            let grads = self.backward(&mut pass, &runs, step)?;
            for (((run, transform), grad), score) in runs.iter_mut().zip(&transforms).zip(grads).zip(&pass.scores) {
                run.step(&self.parameterisation, self.options, *score, transform.adjoint(&grad, self.options.size))?;
            }
            report(step + 1, pass.scores.iter().sum::<f32>() / pass.scores.len() as f32);
        }
        if self.options.keep == Keep::Best {
            runs.iter_mut().for_each(AscentRun::take_best);
            let pass = self.forward(&runs, runs.iter().map(|c| c.image().to_vec()).collect(), self.options.steps)?;
            runs.iter_mut().zip(&pass.scores).for_each(|(run, score)| run.score = *score);
        }
        Ok(runs.into_iter().map(|run| run.finish(self.options.shown)).collect())
    }

    /// Scores of images, each for its run's channel.
    fn forward(&self, runs: &[AscentRun], images: Vec<Vec<f32>>, step: usize) -> Result<AscentPass, AscentError> {
        let [c, h, w] = self.image;
        let n = runs.len();
        let mut values = Vec::with_capacity(n * c * h * w);
        for image in &images {
            for (plane, (gain, offset)) in image.chunks(h * w).zip(self.gain.iter().zip(&self.offset)) {
                values.extend(plane.iter().map(|v| v * gain + offset));
            }
        }
        let dtype = self.model.params.first().map_or(DType::F32, Tensor::dtype);
        let mut tape = Tape::new();
        let x = tape.leaf(Tensor::from_slice([n, c, h, w], &values)?.cast(dtype), "input");
        let run = self.model.run(&mut tape, LayerId::INPUT, x, self.layer, Mode::Inference)?;
        let y = run.output();
        let value = tape.value(y)?.cast(DType::F32);
        let per_image = value.len() / n;
        let score = |(i, run): (usize, &AscentRun)| {
            let plane = &value.f32()[i * per_image + run.channel * self.plane..][..self.plane];
            let sum: f64 = self.scored.iter().map(|at| f64::from(plane[*at])).sum();
            let score = (sum / self.scored.len() as f64) as f32;
            if score.is_finite() { Ok(score) } else { Err(self.not_finite(run, step, "score")) }
        };
        let scores = runs.iter().enumerate().map(score).collect::<Result<Vec<_>, _>>()?;
        Ok(AscentPass { tape, x, y, scores })
    }

    /// Gradient of each run's score with respect to its transformed image.
    fn backward(&self, pass: &mut AscentPass, runs: &[AscentRun], step: usize) -> Result<Vec<Vec<f32>>, AscentError> {
        let [c, h, w] = self.image;
        let value = pass.tape.value(pass.y)?;
        let (shape, dtype, n) = (value.shape().clone(), value.dtype(), value.shape()[0]);
        // Gradients are non-zero at the scored positions of each image's own channel only, so images do not mix.
        let mut dy = vec![0.0f32; shape.len()];
        for (image, run) in dy.chunks_mut(shape.len() / n).zip(runs) {
            self.scored.iter().for_each(|at| image[run.channel * self.plane + at] = 1.0 / self.scored.len() as f32);
        }
        let dy = Tensor::from_slice(shape, &dy)?.cast(dtype);
        let grads = pass.tape.backward(pass.y, Some(dy), &[pass.x], &Rules::default())?;
        let Some(dx) = grads.of(pass.x).map(|dx| dx.cast(DType::F32)) else { return Ok(Vec::new()) };
        let image_gradient = |(dx, run): (&[f32], &AscentRun)| {
            let grad = dx.chunks(h * w).zip(&self.gain).flat_map(|(plane, gain)| plane.iter().map(move |g| g * gain));
            let grad: Vec<f32> = grad.collect();
            let finite = grad.iter().all(|g| g.is_finite());
            if finite { Ok(grad) } else { Err(self.not_finite(run, step, "gradient")) }
        };
        dx.f32().chunks(c * h * w).zip(runs).map(image_gradient).collect()
    }

    fn not_finite(&self, run: &AscentRun, step: usize, what: &'static str) -> AscentError {
        AscentError::NotFinite { layer: self.model.network[self.layer].name.clone(), channel: run.channel, step, what }
    }
}

/// One pass through the network.
struct AscentPass {
    tape: Tape,
    x: Var,
    y: Var,
    scores: Vec<f32>,
}
