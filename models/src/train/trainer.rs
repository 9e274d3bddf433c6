//! The training loop.

use super::TrainError;
use super::batches::{Batch, Maker, steps, target};
use super::gradients::{Gradients, gradients};
use super::photos::Photos;
use super::random::{Purpose, Stream};
use super::recipe::Recipe;
use crate::image::ImageError;
use crate::model::{Mode, Model};
use crate::network::{LayerId, Network, ParamKind};
use convscope_engine::optim::{Clip, Optimizer, update_ema};
use convscope_engine::{Context, Result, Tape, Tensor};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::time::Instant;

/// The photos of a run.
#[derive(Debug)]
pub struct Images {
    /// Training split.
    pub train: Photos,
    /// Validation split.
    pub val: Photos,
}

/// Results of an epoch.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Epoch {
    /// Epoch, counted from 1.
    pub epoch: usize,
    /// Side of the images in pixels.
    pub size: usize,
    /// Learning rate of the last step.
    pub lr: f64,
    /// Mean loss of the augmented and mixed training images.
    pub train_loss: f64,
    /// Accuracy on the augmented training images, 0 to 1.
    pub train_top1: f64,
    /// Mean loss of the validation images, without label smoothing.
    pub val_loss: f64,
    /// Top-1 accuracy on the validation images, 0 to 1.
    pub val_top1: f64,
    /// Top-5 accuracy on the validation images, 0 to 1.
    pub val_top5: f64,
    /// Wall-clock time in seconds.
    pub seconds: f64,
}

/// Progress of an epoch.
#[derive(Debug, Clone, Copy)]
pub struct EpochProgress {
    /// Steps so far.
    pub done: usize,
    /// Steps of the epoch.
    pub of: usize,
    /// Images per step.
    pub images: usize,
    /// Mean loss so far.
    pub loss: f64,
    /// Accuracy so far.
    pub top1: f64,
}

/// A model in training.
#[derive(Debug)]
pub struct Trainer {
    /// Hyperparameters.
    pub recipe: Recipe,
    /// Epochs so far.
    pub history: Vec<Epoch>,
    pub(super) model: Model,
    /// Moving average of the model's tensors; empty without one.
    pub(super) average: Vec<Tensor>,
    /// Trained tensors with their optimisers: weights, then biases and batch-norms, which have no weight decay.
    pub(super) groups: [(Vec<usize>, Optimizer); 2],
    /// Last frozen layer.
    pub(super) frozen: LayerId,
}

impl Trainer {
    /// A run of `model`. Layers up to and including `frozen` do not change, nor do their batch-norms.
    pub fn new(model: Model, recipe: Recipe, frozen: LayerId) -> Self {
        let params = model.network.params();
        let group = |decays: bool, weight_decay: f64| {
            let chosen = |i: &usize| {
                let p = &params[*i];
                p.layer > frozen && p.kind.is_trained() && (p.kind == ParamKind::Weight) == decays
            };
            ((0..params.len()).filter(chosen).collect(), recipe.optimizer(weight_decay))
        };
        let groups = [group(true, recipe.weight_decay), group(false, 0.0)];
        let average = if recipe.ema > 0.0 { model.params.clone() } else { Vec::new() };
        Trainer { recipe, history: Vec::new(), model, average, groups, frozen }
    }

    /// The trained network.
    pub fn network(&self) -> &Network {
        &self.model.network
    }

    /// Sets the context of the following steps.
    pub fn set_context(&mut self, context: &Context) {
        self.model.context = context.clone();
        self.groups.iter_mut().for_each(|(_, optimizer)| optimizer.set_context(context));
    }

    /// Whether all epochs are done.
    pub fn is_done(&self) -> bool {
        self.history.len() >= self.recipe.epochs
    }

    /// The model for inference: the moving average if there is one, else the current weights.
    ///
    /// # Errors
    /// [`TrainError`] if the average's shapes differ from the model's, which the trainer rules out.
    pub fn averaged(&self) -> Result<Model> {
        match self.average.is_empty() {
            true => Ok(self.model.clone()),
            false => Ok(Model::new(self.model.network.clone(), self.average.clone())?.with_context(self.model.context.clone())),
        }
    }

    /// Whether the last epoch was the best so far, by top-1.
    pub fn is_best(&self) -> bool {
        let Some((last, before)) = self.history.split_last() else { return false };
        before.iter().all(|epoch| epoch.val_top1 < last.val_top1)
    }

    /// Runs one epoch. `threads` threads prefetch the batches; `watch` is called after each step.
    ///
    /// # Errors
    /// [`TrainError`] if the loss is not finite, or an image outside memory can no longer be read.
    pub fn epoch(
        &mut self,
        images: &Images,
        threads: usize,
        watch: &mut dyn FnMut(EpochProgress),
    ) -> std::result::Result<Epoch, TrainError> {
        let start = Instant::now();
        let epoch = self.history.len();
        let (network, recipe) = (self.model.network.clone(), self.recipe.clone());
        let of = steps(images.train.len(), recipe.batch);
        let maker = Maker { photos: &images.train, recipe: &recipe, network: &network, epoch };
        let (mut sum, mut lr) = (Score::default(), 0.0);
        std::thread::scope(|scope| {
            for (step, batch) in maker.start(scope, threads.max(1)).take(of).enumerate() {
                let batch = batch?;
                let (n, classes) = (batch.classes.len(), batch.classes.clone());
                lr = recipe.lr_at(epoch as f64 + (step + 1) as f64 / of as f64);
                let (step_loss, logits) = self.step(batch, epoch * of + step, lr)?;
                if !step_loss.is_finite() {
                    return Err(TrainError::Diverged { loss: step_loss, epoch: epoch + 1, step: step + 1 });
                }
                sum.loss += step_loss * n as f64;
                sum.count(&logits, &classes);
                watch(EpochProgress { done: step + 1, of, images: n, loss: sum.mean_loss(), top1: sum.share(sum.top1) });
            }
            Ok(())
        })?;
        let val = self.measure(&images.val)?;
        let record = Epoch {
            epoch: epoch + 1,
            size: recipe.size_in(epoch),
            lr,
            train_loss: sum.mean_loss(),
            train_top1: sum.share(sum.top1),
            val_loss: val.mean_loss(),
            val_top1: val.share(val.top1),
            val_top5: val.share(val.top5),
            seconds: start.elapsed().as_secs_f64(),
        };
        self.history.push(record);
        Ok(record)
    }

    /// One step; returns the loss and the logits.
    fn step(&mut self, batch: Batch, number: usize, lr: f64) -> Result<(f64, Tensor)> {
        let network = &self.model.network;
        let features = match self.frozen {
            LayerId::INPUT => batch.images,
            frozen => {
                let mut tape = Tape::inference();
                let x = tape.leaf(batch.images, &network[LayerId::INPUT].name);
                let run = self.model.run(&mut tape, LayerId::INPUT, x, frozen, Mode::Inference)?;
                tape.value(run.output())?.clone()
            }
        };
        let wanted: Vec<usize> = self.groups.iter().flat_map(|(group, _)| group).copied().collect();
        let seed = Stream::new(self.recipe.seed, Purpose::Dropout(number)).seed();
        let Gradients { loss, logits, grads, tape } =
            gradients(&mut self.model, (self.frozen, features), batch.targets, &wanted, seed)?;
        // Frees memory for the next step.
        drop(tape);
        let most = self.recipe.clip;
        let clip = if most > 0.0 { Some(Clip::new(&self.model.context, &grads, most)?) } else { None };
        let mut rest = &grads[..];
        for (group, optimizer) in &mut self.groups {
            optimizer.set_lr(lr);
            let (own, others) = rest.split_at(group.len());
            optimizer.step_clipped(self.model.at_mut(group).zip(own), clip.as_ref())?;
            rest = others;
        }
        self.update_average(number)?;
        Ok((loss, logits))
    }

    /// Moves the average towards the model: at first faster, as it covers few steps.
    fn update_average(&mut self, step: usize) -> Result<()> {
        let decay = self.recipe.ema.min((1.0 + step as f32) / (10.0 + step as f32));
        let pairs = self.average.iter_mut().zip(&self.model.params);
        pairs.into_iter().try_for_each(|(average, new)| update_ema(&self.model.context, average, new, decay))
    }

    /// Validates the averaged model on photos, with the network's preparation.
    fn measure(&self, photos: &Photos) -> std::result::Result<Score, TrainError> {
        let model = self.averaged()?.fused(&[])?;
        let preprocess = model.network.preprocess;
        let mut sum = Score::default();
        let order: Vec<usize> = (0..photos.len()).collect();
        for part in order.chunks(self.recipe.batch) {
            let prepare = |i: &usize| preprocess.prepare(&*photos.pixels(*i)?);
            let prepared = part.par_iter().map(prepare).collect::<std::result::Result<Vec<_>, ImageError>>()?;
            // Batches hold images of one size, nearly always all of them.
            for run in prepared.iter().zip(part).collect::<Vec<_>>().chunk_by(|a, b| (a.0.h, a.0.w) == (b.0.h, b.0.w)) {
                let data: Vec<f32> = run.iter().flat_map(|(p, _)| &p.data).copied().collect();
                let classes: Vec<usize> = run.iter().map(|(_, i)| photos.class(**i)).collect();
                let mut tape = Tape::inference();
                let out = model.forward(&mut tape, Tensor::from_slice([run.len(), 3, run[0].0.h, run[0].0.w], &data)?)?;
                let logits = tape.value(out.output())?.clone();
                let right: Vec<f32> = classes.iter().flat_map(|class| target(model.network.classes.len(), *class, 0.0)).collect();
                let right = tape.leaf(Tensor::from_slice(logits.shape().clone(), &right)?, "target");
                let loss = model.network.output_activation.loss(&mut tape, out.output(), right)?;
                sum.loss += f64::from(tape.value(loss)?.f32()[0]) * classes.len() as f64;
                sum.count(&logits, &classes);
            }
        }
        Ok(sum)
    }
}

/// Sums of correct predictions and losses.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Score {
    /// Number of images.
    images: usize,
    /// Top-1 correct images.
    top1: usize,
    /// Top-5 correct images.
    top5: usize,
    /// Sum of the losses.
    loss: f64,
}

impl Score {
    /// Compares `logits [n, classes]` with the correct classes. Among equal logits the first class ranks higher.
    fn count(&mut self, logits: &Tensor, classes: &[usize]) {
        let width = logits.len() / classes.len().max(1);
        for (row, class) in logits.f32().chunks_exact(width.max(1)).zip(classes) {
            let own = row[*class];
            let better = row.iter().enumerate().filter(|(k, v)| **v > own || (**v == own && k < class)).count();
            self.images += 1;
            self.top1 += usize::from(better == 0);
            self.top5 += usize::from(better < 5);
        }
    }

    fn mean_loss(&self) -> f64 {
        self.loss / self.images.max(1) as f64
    }

    /// Ratio to the number of images.
    fn share(&self, part: usize) -> f64 {
        part as f64 / self.images.max(1) as f64
    }
}
