//! What `convscope train` can be told.

use super::positive;
use clap::{Args as ClapArgs, ValueEnum};
use std::path::PathBuf;

/// A part of a whole.
fn share(text: &str) -> Result<f32, String> {
    text.parse().ok().filter(|s| (0.0..=1.0).contains(s)).ok_or_else(|| "wants a number from 0 to 1".to_string())
}

/// What is not given has the default that `--help` names, or with --resume the value of the run that goes on.
#[derive(ClapArgs, Debug, Clone)]
#[command(
    after_help = "Leaves in the folder of -o after each epoch: best.safetensors and last.safetensors, models that -w takes; log.csv, \
                  log.json and curves.png; and training.safetensors, from which --resume goes on. With -w the run begins with \
                  these weights, and a new last layer where the classes differ in number. NAME-w32 is a network with 32 channels \
                  in its first convolution."
)]
pub struct TrainArgs {
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,
    /// Go on with the run in the folder of -o, to its end or that of another number of --epochs
    #[arg(long)]
    pub resume: bool,
    /// Times that every image is seen (default: 60)
    #[arg(long, value_name = "N", value_parser = positive)]
    pub epochs: Option<usize>,
    /// Images a step (default: 64)
    #[arg(long, value_name = "N", value_parser = positive)]
    pub batch: Option<usize>,
    /// Side of the images [the network's]
    #[arg(long, value_name = "PIXELS", value_parser = positive)]
    pub size: Option<usize>,
    /// Side of the images in the first epoch, from where it grows [that of --size]
    #[arg(long, value_name = "PIXELS", value_parser = positive)]
    pub start_size: Option<usize>,
    /// Side of the images when the network is used and measured [1.25 times that of --size]
    #[arg(long, value_name = "PIXELS", value_parser = positive)]
    pub eval_size: Option<usize>,
    /// Only these classes of the folder: cat,dog
    #[arg(long, value_name = "CLASS,..")]
    pub among: Option<String>,
    /// Share of each class in the validation split, if there is no DIR/val
    #[arg(long, alias = "held-back", value_name = "SHARE", default_value_t = 0.15, value_parser = share)]
    pub validation_split: f32,
    /// How weights follow from gradients (default: sgd)
    #[arg(long, value_enum)]
    pub method: Option<TrainMethod>,
    /// Largest learning rate [0.1; adam-w 0.001]
    #[arg(long, value_name = "X")]
    pub lr: Option<f64>,
    /// Decay of weights [0.0005; adam-w 0.05]
    #[arg(long, value_name = "X")]
    pub weight_decay: Option<f64>,
    /// Epochs in which the learning rate grows (default: 5)
    #[arg(long, value_name = "EPOCHS")]
    pub warmup: Option<f64>,
    /// Largest norm of the gradients, 0 for any (default: 5)
    #[arg(long, value_name = "X")]
    pub clip: Option<f64>,
    /// Share of the old in the moving average of weights, 0 for none (default: 0.999)
    #[arg(long, value_name = "SHARE", value_parser = share)]
    pub ema: Option<f32>,
    /// Label smoothing (default: 0.1)
    #[arg(long, value_name = "SHARE", value_parser = share)]
    pub smoothing: Option<f32>,
    /// Parameter of mixup, 0 for none (default: 0.2)
    #[arg(long, value_name = "ALPHA", value_parser = share)]
    pub mixup: Option<f32>,
    /// Parameter of cutmix, 0 for none (default: 0)
    #[arg(long, value_name = "ALPHA", value_parser = share)]
    pub cutmix: Option<f32>,
    /// Smallest share of a photo that a random crop keeps (default: 0.35)
    #[arg(long, value_name = "SHARE", value_parser = share)]
    pub crop: Option<f32>,
    /// Whether half of the photos are mirrored (default: true)
    #[arg(long, value_name = "true|false")]
    pub flip: Option<bool>,
    /// Random change of brightness, contrast and saturation (default: 0.3)
    #[arg(long, value_name = "SHARE", value_parser = share)]
    pub jitter: Option<f32>,
    /// Share of the photos of which a rectangle is blanked out (default: 0.25)
    #[arg(long, value_name = "SHARE", value_parser = share)]
    pub erase: Option<f32>,
    /// Leave the layers up to and including this one as they are, for fine-tuning
    #[arg(long, value_name = "LAYER")]
    pub freeze: Option<String>,
    /// Threads that make batches ahead of the network
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = positive)]
    pub workers: usize,
}

#[derive(ValueEnum, Debug, Clone, Copy, PartialEq)]
pub enum TrainMethod {
    /// Nesterov's momentum 0.9
    Sgd,
    AdamW,
}
