//! The numbers of a training run.

use convscope_engine::optim::{Optimizer, Rule};
use serde::{Deserialize, Serialize};

/// How weights follow from gradients.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// SGD with Nesterov's momentum 0.9.
    Sgd,
    /// Adam with decoupled weight decay (Loshchilov & Hutter 2019).
    AdamW,
}

/// How a photo is changed before the network learns from it, so that it never sees the same picture twice.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Augment {
    /// Smallest share of the photo's area that a random resized crop keeps (Szegedy et al. 2014 have 0.08).
    pub crop: f32,
    /// Whether half of the photos are mirrored.
    pub flip: bool,
    /// Brightness, contrast and saturation are each changed by a factor within this of 1.
    pub jitter: f32,
    /// Share of the photos of which a rectangle is blanked out (random erasing, Zhong et al. 2017).
    pub erase: f32,
}

/// Everything that decides the outcome of a run, beside the network it starts from and the images.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Recipe {
    /// Times that every image is seen.
    pub epochs: usize,
    /// Images a step.
    pub batch: usize,
    /// Side of the images in the last quarter of the run, in pixels.
    pub size: usize,
    /// Side of the images in the first epoch, from where it grows: small images are quick (Tan & Le 2021).
    pub start_size: usize,
    /// How weights follow from gradients.
    pub method: Method,
    /// Largest learning rate.
    pub lr: f64,
    /// Decay of weights; biases and batch-norms have none.
    pub weight_decay: f64,
    /// Epochs in which the learning rate grows to its largest, before it falls on half a cosine.
    pub warmup: f64,
    /// Largest norm of all gradients together; 0 for any.
    pub clip: f64,
    /// Share of the old in the moving average of weights, the one that is measured and kept; 0 for no average.
    pub ema: f32,
    /// Probability that targets take from the right class and give to all.
    pub smoothing: f32,
    /// Parameter of the Beta distribution by which pairs of images are mixed (Zhang et al. 2017); 0 for none.
    pub mixup: f32,
    /// The same for images pasted into another (Yun et al. 2019). With both, each batch draws one.
    pub cutmix: f32,
    /// What is done to photos.
    pub augment: Augment,
    /// Seed of everything random.
    pub seed: u64,
}

impl Default for Recipe {
    fn default() -> Self {
        Recipe {
            epochs: 60,
            batch: 64,
            size: 128,
            start_size: 128,
            method: Method::Sgd,
            lr: 0.1,
            weight_decay: 5e-4,
            warmup: 5.0,
            clip: 5.0,
            ema: 0.999,
            smoothing: 0.1,
            mixup: 0.2,
            cutmix: 0.0,
            augment: Augment { crop: 0.35, flip: true, jitter: 0.3, erase: 0.25 },
            seed: 0,
        }
    }
}

/// Sizes are multiples of this: what five halvings leave is whole, or half.
const SIZE_STEP: usize = 16;

/// Share of the run after which images have their last size.
const GROWN: f64 = 0.75;

impl Recipe {
    /// Side of the images in an epoch, counted from 0.
    pub fn size_in(&self, epoch: usize) -> usize {
        let grown = (epoch as f64 / (GROWN * self.epochs as f64).max(1.0)).min(1.0);
        if grown == 1.0 || self.start_size == self.size {
            return self.size;
        }
        let side = self.start_size as f64 + grown * (self.size as f64 - self.start_size as f64);
        (side / SIZE_STEP as f64).round() as usize * SIZE_STEP
    }

    /// Learning rate after `epochs`, parts of epochs counted.
    pub fn lr_at(&self, epochs: f64) -> f64 {
        let warmup = self.warmup.min(self.epochs as f64);
        if epochs < warmup {
            return self.lr * epochs / warmup;
        }
        let done = (epochs - warmup) / (self.epochs as f64 - warmup).max(f64::MIN_POSITIVE);
        self.lr * 0.5 * (1.0 + (std::f64::consts::PI * done.min(1.0)).cos())
    }

    /// A new optimiser, with this decay.
    pub(super) fn optimizer(&self, weight_decay: f64) -> Optimizer {
        match self.method {
            Method::Sgd => Optimizer::new(Rule::Sgd { lr: self.lr, momentum: 0.9, weight_decay, nesterov: true }),
            Method::AdamW => Optimizer::adamw(self.lr, weight_decay),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schedule_rises_and_falls() {
        let recipe = Recipe { epochs: 20, start_size: 96, ..Recipe::default() };
        assert_eq!([0.0, 2.5, 5.0].map(|e| recipe.lr_at(e)), [0.0, 0.05, 0.1]);
        assert!((recipe.lr_at(12.5) - 0.05).abs() < 1e-12 && recipe.lr_at(20.0) < 1e-12);
        assert_eq!([0, 3, 8, 15, 19].map(|e| recipe.size_in(e)), [96, 96, 112, 128, 128]);
        assert!(Recipe { epochs: 1, ..recipe }.lr_at(1.0).is_finite());
    }
}
