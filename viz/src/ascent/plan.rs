//! A batch of channels through the network: scores, gradients, steps.

use super::canvas::Canvas;
use super::climb::Climb;
use super::options::{InputSpace, Keep, Objective, Options};
use super::wobble::Movement;
use super::{Ascent, AscentError};
use convscope_models::engine::kernels::DType;
use convscope_models::engine::{Rules, Tape, Tensor, Var};
use convscope_models::network::{LayerId, NetworkError, Shape};
use convscope_models::{Mode, Model};

/// An ascent whose parts are known to go together.
pub(super) struct Plan<'a> {
    model: &'a Model,
    layer: LayerId,
    options: &'a Options,
    canvas: Canvas,
    /// Shape of the images, `[c, h, w]`.
    image: [usize; 3],
    /// Values of one image that a channel of the layer has, and those of them that the score is the mean of.
    plane: usize,
    scored: Vec<usize>,
    /// Network's input is image * gain + offset, per channel.
    gain: Vec<f32>,
    offset: Vec<f32>,
}

impl<'a> Plan<'a> {
    pub(super) fn new(model: &'a Model, layer: LayerId, channels: &[usize], options: &'a Options) -> Result<Self, AscentError> {
        let network = &model.network;
        let [h, w] = options.size;
        let c = network.input.channels;
        options.check(c)?;
        let shapes = network.shapes(h, w)?;
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
            (Shape::Vector { .. }, _) => vec![0],
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
        Ok(Plan {
            model,
            layer,
            options,
            canvas: Canvas::new(options),
            image: [c, h, w],
            plane: map[0] * map[1],
            scored,
            gain,
            offset,
        })
    }

    /// The whole ascent of some channels; `report` gets the number of steps done and the mean score.
    pub(super) fn run(&self, channels: &[usize], report: &mut dyn FnMut(usize, f32)) -> Result<Vec<Ascent>, AscentError> {
        let start = |channel: &usize| Climb::new(*channel, &self.canvas, self.options, self.image);
        let mut climbs = channels.iter().map(start).collect::<Result<Vec<_>, _>>()?;
        for step in 0..self.options.steps {
            let movements: Vec<Movement> = climbs.iter().map(|climb| climb.movement(self.options, step)).collect();
            let seen = climbs.iter().zip(&movements).map(|(c, m)| m.apply(c.image(), self.options.size)).collect();
            let mut pass = self.forward(&climbs, seen, step)?;
            let grads = self.backward(&mut pass, &climbs, step)?;
            for (((climb, movement), grad), score) in climbs.iter_mut().zip(&movements).zip(grads).zip(&pass.scores) {
                climb.step(&self.canvas, self.options, *score, movement.adjoint(&grad, self.options.size))?;
            }
            report(step + 1, pass.scores.iter().sum::<f32>() / pass.scores.len() as f32);
        }
        if self.options.keep == Keep::Best {
            climbs.iter_mut().for_each(Climb::take_best);
            let pass = self.forward(&climbs, climbs.iter().map(|c| c.image().to_vec()).collect(), self.options.steps)?;
            climbs.iter_mut().zip(&pass.scores).for_each(|(climb, score)| climb.score = *score);
        }
        Ok(climbs.into_iter().map(|climb| climb.finish(self.options.shown)).collect())
    }

    /// Scores of images, each for the channel of its climb.
    fn forward(&self, climbs: &[Climb], images: Vec<Vec<f32>>, step: usize) -> Result<Pass, AscentError> {
        let [c, h, w] = self.image;
        let n = climbs.len();
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
        let score = |(i, climb): (usize, &Climb)| {
            let plane = &value.f32()[i * per_image + climb.channel * self.plane..][..self.plane];
            let sum: f64 = self.scored.iter().map(|at| f64::from(plane[*at])).sum();
            let score = (sum / self.scored.len() as f64) as f32;
            if score.is_finite() { Ok(score) } else { Err(self.not_finite(climb, step, "score")) }
        };
        let scores = climbs.iter().enumerate().map(score).collect::<Result<Vec<_>, _>>()?;
        Ok(Pass { tape, x, y, scores })
    }

    /// Gradient of each climb's score with respect to its image as the network saw it.
    fn backward(&self, pass: &mut Pass, climbs: &[Climb], step: usize) -> Result<Vec<Vec<f32>>, AscentError> {
        let [c, h, w] = self.image;
        let value = pass.tape.value(pass.y)?;
        let (shape, dtype, n) = (value.shape().clone(), value.dtype(), value.shape()[0]);
        // Nothing but the scored places of each image's own channel, so images do not mix.
        let mut dy = vec![0.0f32; shape.len()];
        for (image, climb) in dy.chunks_mut(shape.len() / n).zip(climbs) {
            self.scored.iter().for_each(|at| image[climb.channel * self.plane + at] = 1.0 / self.scored.len() as f32);
        }
        let dy = Tensor::from_slice(shape, &dy)?.cast(dtype);
        let grads = pass.tape.backward(pass.y, Some(dy), &[pass.x], &Rules::default())?;
        let Some(dx) = grads.of(pass.x).map(|dx| dx.cast(DType::F32)) else { return Ok(Vec::new()) };
        let image_gradient = |(dx, climb): (&[f32], &Climb)| {
            let grad = dx.chunks(h * w).zip(&self.gain).flat_map(|(plane, gain)| plane.iter().map(move |g| g * gain));
            let grad: Vec<f32> = grad.collect();
            let finite = grad.iter().all(|g| g.is_finite());
            if finite { Ok(grad) } else { Err(self.not_finite(climb, step, "gradient")) }
        };
        dx.f32().chunks(c * h * w).zip(climbs).map(image_gradient).collect()
    }

    fn not_finite(&self, climb: &Climb, step: usize, what: &'static str) -> AscentError {
        AscentError::NotFinite { layer: self.model.network[self.layer].name.clone(), channel: climb.channel, step, what }
    }
}

/// One run through the network.
struct Pass {
    tape: Tape,
    x: Var,
    y: Var,
    scores: Vec<f32>,
}
