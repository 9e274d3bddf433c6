//! The optimisation run of one channel, without the network.

use super::options::{Keep, Normalise, Options, Rendering, Start, StepRule};
use super::parameterisation::Parameterisation;
use super::transform::Transform;
use super::{Ascent, AscentError, penalty};
use convscope_engine::Tensor;
use convscope_engine::optim::{Optimizer, Rule};
use convscope_kernels::random::philox;

/// Number of starts for a channel without a gradient: a deviation of 0.01 grows to 2.56, all black and white.
const ATTEMPTS: u32 = 9;

/// Parameters, image and history of one channel, independent of other channels.
pub(super) struct AscentRun {
    pub(super) channel: usize,
    pub(super) score: f32,
    shape: [usize; 3],
    parameters: Tensor,
    image: Vec<f32>,
    /// Highest score so far with its image, if it is kept.
    best: Option<(f32, Vec<f32>)>,
    /// Adam's moments, if it is the update rule.
    adam: Option<Optimizer>,
    start_stream: u64,
    transform_stream: u64,
    /// Number of starts so far.
    attempts: u32,
    losses: Vec<f32>,
    dead: bool,
    skipped: bool,
}

impl AscentRun {
    pub(super) fn new(
        channel: usize,
        parameterisation: &Parameterisation,
        options: &Options,
        shape: [usize; 3],
    ) -> Result<Self, AscentError> {
        let word = philox(options.seed, channel as u64).map(u64::from);
        let (start_stream, transform_stream) = (word[0] << 32 | word[1], word[2] << 32 | word[3]);
        let parameters = parameterisation.start(options, shape, start_stream, 0)?;
        let adam = match options.step {
            StepRule::Adam { rate, eps } => Some(Optimizer::new(Rule::Adam {
                lr: f64::from(rate),
                beta1: 0.9,
                beta2: 0.999,
                eps: f64::from(eps),
                weight_decay: 0.0,
                decoupled: false,
                step: 0,
            })),
            StepRule::Gradient { .. } => None,
        };
        Ok(AscentRun {
            channel,
            score: f32::NEG_INFINITY,
            shape,
            image: parameterisation.image(&parameters)?,
            parameters: Tensor::from_slice(shape, &parameters)?,
            best: None,
            adam,
            start_stream,
            transform_stream,
            attempts: 1,
            losses: Vec::with_capacity(options.steps),
            dead: true,
            skipped: false,
        })
    }

    /// The image of the current parameters.
    pub(super) fn image(&self) -> &[f32] {
        &self.image
    }

    /// This channel's transform in a step.
    pub(super) fn transform(&self, options: &Options, step: usize) -> Transform {
        if options.transform.is_identity() {
            Transform::IDENTITY
        } else {
            Transform::draw(&options.transform, self.transform_stream, step)
        }
    }

    /// Records the score of the current image and takes a step along its gradient.
    pub(super) fn step(
        &mut self,
        parameterisation: &Parameterisation,
        options: &Options,
        score: f32,
        grad: Vec<f32>,
    ) -> Result<(), AscentError> {
        if self.skipped {
            return Ok(());
        }
        self.losses.push(score);
        self.score = score;
        self.dead &= grad.iter().all(|g| *g == 0.0);
        if options.keep == Keep::Best && self.best.as_ref().is_none_or(|(best, _)| score > *best) {
            self.best = Some((score, self.image.clone()));
        }
        if self.dead && self.attempts < ATTEMPTS && matches!(options.start, Start::Normal { .. }) {
            return self.restart(parameterisation, options);
        }
        let grad = parameterisation.adjoint(&self.image, normalised(penalised(grad, &self.image, options), options.normalise))?;
        self.advance(options, grad)?;
        self.image = parameterisation.image(self.parameters.f32())?;
        // The Keras blog checks the loss after the step.
        self.skipped = options.skip_at_or_below.is_some_and(|limit| score <= limit);
        Ok(())
    }

    /// Many ReLUs that are closed near grey open at more contrast.
    fn restart(&mut self, parameterisation: &Parameterisation, options: &Options) -> Result<(), AscentError> {
        let parameters = parameterisation.start(options, self.shape, self.start_stream, self.attempts)?;
        self.attempts += 1;
        self.image = parameterisation.image(&parameters)?;
        self.parameters = Tensor::from_slice(self.shape, &parameters)?;
        Ok(())
    }

    fn advance(&mut self, options: &Options, grad: Vec<f32>) -> Result<(), AscentError> {
        let shape = self.shape;
        match (&mut self.adam, options.step) {
            // The optimiser minimises.
            (Some(adam), _) => {
                let downhill: Vec<f32> = grad.iter().map(|g| -g).collect();
                adam.step([(&mut self.parameters, &Tensor::from_slice(shape, &downhill)?)])?;
            }
            (None, StepRule::Gradient { rate } | StepRule::Adam { rate, .. }) => {
                let moved: Vec<f32> = self.parameters.f32().iter().zip(&grad).map(|(x, g)| x + rate * g).collect();
                self.parameters = Tensor::from_slice(shape, &moved)?;
            }
        }
        if options.clip && matches!(options.parameters, super::Parameters::Pixels) {
            let [low, high] = options.range;
            let inside: Vec<f32> = self.parameters.f32().iter().map(|x| x.clamp(low, high)).collect();
            self.parameters = Tensor::from_slice(shape, &inside)?;
        }
        Ok(())
    }

    /// Restores the best image.
    pub(super) fn take_best(&mut self) {
        if let Some((_, image)) = self.best.take() {
            self.image = image;
        }
    }

    pub(super) fn finish(self, shown: Rendering) -> Ascent {
        let AscentRun { channel, image, shape, score, losses, dead, skipped, .. } = self;
        Ascent { channel, image, shape, shown, score, losses, dead, skipped }
    }
}

fn rms(values: &[f32]) -> f32 {
    (values.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>() / values.len().max(1) as f64).sqrt() as f32
}

/// The gradient minus the penalties' gradients; see [`Options::l2`].
fn penalised(mut grad: Vec<f32>, image: &[f32], options: &Options) -> Vec<f32> {
    if options.tv == 0.0 && options.l2 == 0.0 {
        return grad;
    }
    let unit = rms(&grad);
    let [low, high] = options.range;
    let image: Vec<f32> = image.iter().map(|v| (v - low) / (high - low)).collect();
    let variation = penalty::total_variation(&image, options.size, options.tv_beta);
    for ((g, v), l) in grad.iter_mut().zip(variation).zip(penalty::l2(&image, 0.5)) {
        *g -= unit * (options.tv * v + options.l2 * l);
    }
    grad
}

fn normalised(mut grad: Vec<f32>, rule: Normalise) -> Vec<f32> {
    let divisor = match rule {
        Normalise::None => return grad,
        Normalise::Rms { eps } => rms(&grad) + eps,
        Normalise::L2 { eps } => {
            let squares: f64 = grad.iter().map(|g| f64::from(*g).powi(2)).sum();
            squares.max(f64::from(eps)).sqrt() as f32
        }
    };
    grad.iter_mut().for_each(|g| *g /= divisor);
    grad
}
