//! Hyperparameters of a training run.

use convscope_engine::optim::{Optimizer, Rule};
use serde::{Deserialize, Serialize};

/// Optimiser.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// SGD with Nesterov's momentum 0.9.
    Sgd,
    /// Adam with decoupled weight decay (Loshchilov & Hutter 2019).
    AdamW,
}

/// Augmentation of a photo.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Augment {
    /// Smallest area share of a random resized crop (0.08 in Szegedy et al. 2014).
    pub crop: f32,
    /// Whether half of the photos are mirrored.
    pub flip: bool,
    /// Brightness, contrast and saturation change by a factor within this of 1.
    pub jitter: f32,
    /// Share of the photos with random erasing of a rectangle (Zhong et al. 2017).
    pub erase: f32,
}

/// Hyperparameters of a run. With the initial network and the images, they determine its result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Recipe {
    /// Number of epochs.
    pub epochs: usize,
    /// Images per step.
    pub batch: usize,
    /// Side of the images in the last quarter of the run, in pixels.
    pub size: usize,
    /// Side of the images in the first epoch; it grows to `size`, as small images train faster (Tan & Le 2021).
    pub start_size: usize,
    /// Optimiser.
    pub method: Method,
    /// Largest learning rate.
    pub lr: f64,
    /// Weight decay; biases and batch-norms have none.
    pub weight_decay: f64,
    /// Epochs of linear warm-up, before the cosine decay.
    pub warmup: f64,
    /// Maximum norm of all gradients together; 0 disables clipping.
    pub clip: f64,
    /// Decay of the moving average of weights, which is validated and saved; 0 disables it.
    pub ema: f32,
    /// Label smoothing: probability that targets move from the correct class to all.
    pub smoothing: f32,
    /// Parameter of mixup's Beta distribution (Zhang et al. 2017); 0 disables it.
    pub mixup: f32,
    /// Parameter of cutmix (Yun et al. 2019); 0 disables it. With both, each batch draws one.
    pub cutmix: f32,
    /// Augmentation of photos.
    pub augment: Augment,
    /// Seed of all random streams.
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

/// Sizes are multiples of this, so that five halvings leave an integer or half of one.
const SIZE_STEP: usize = 16;

/// Share of the run after which images have their final size.
const GROWN: f64 = 0.75;

impl Recipe {
    /// Side of the images in `epoch`, counted from 0.
    pub fn size_in(&self, epoch: usize) -> usize {
        let grown = (epoch as f64 / (GROWN * self.epochs as f64).max(1.0)).min(1.0);
        if grown == 1.0 || self.start_size == self.size {
            return self.size;
        }
        let side = self.start_size as f64 + grown * (self.size as f64 - self.start_size as f64);
        (side / SIZE_STEP as f64).round() as usize * SIZE_STEP
    }

    /// Learning rate after `epochs`, with fractions of epochs.
    pub fn lr_at(&self, epochs: f64) -> f64 {
        let warmup = self.warmup.min(self.epochs as f64);
        if epochs < warmup {
            return self.lr * epochs / warmup;
        }
        let done = (epochs - warmup) / (self.epochs as f64 - warmup).max(f64::MIN_POSITIVE);
        self.lr * 0.5 * (1.0 + (std::f64::consts::PI * done.min(1.0)).cos())
    }

    /// A new optimiser with this weight decay.
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
