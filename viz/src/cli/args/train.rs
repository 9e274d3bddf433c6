//! Arguments of `convscope train`.

use super::positive;
use clap::{Args as ClapArgs, ValueEnum};
use std::path::PathBuf;

/// A number from 0 to 1.
fn share(text: &str) -> Result<f32, String> {
    text.parse().ok().filter(|s| (0.0..=1.0).contains(s)).ok_or_else(|| "expects a number from 0 to 1".to_string())
}

/// Absent arguments have the default in `--help`, or with --resume the value of the resumed run.
#[derive(ClapArgs, Debug, Clone)]
#[command(
    after_help = "Writes to the folder of -o after each epoch: best.safetensors and last.safetensors, models for -w; log.csv, log.json and \
                  curves.png; and training.safetensors, the state for --resume. With -w the run starts from these weights, with a new \
                  last layer if the number of classes differs. NAME-w32 is a network with 32 channels in its first convolution."
)]
pub struct TrainArgs {
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,
    /// Resume the run in the folder of -o, up to its number of epochs or another --epochs
    #[arg(long)]
    pub resume: bool,
    /// Number of epochs [default: 60]
    #[arg(long, value_name = "N", value_parser = positive)]
    pub epochs: Option<usize>,
    /// Batch size [default: 64]
    #[arg(long, value_name = "N", value_parser = positive)]
    pub batch: Option<usize>,
    /// Image side [default: the network's]
    #[arg(long, value_name = "PIXELS", value_parser = positive)]
    pub size: Option<usize>,
    /// Image side in the first epoch, which grows to --size [default: that of --size]
    #[arg(long, value_name = "PIXELS", value_parser = positive)]
    pub start_size: Option<usize>,
    /// Image side for validation and inference [default: 1.25 times --size]
    #[arg(long, value_name = "PIXELS", value_parser = positive)]
    pub eval_size: Option<usize>,
    /// Restrict the folder to these classes: cat,dog
    #[arg(long, value_name = "CLASS,..")]
    pub among: Option<String>,
    /// Share of each class in the validation split, if there is no DIR/val
    #[arg(long, alias = "held-back", value_name = "SHARE", default_value_t = 0.15, value_parser = share)]
    pub validation_split: f32,
    /// Optimiser [default: sgd]
    #[arg(long, value_enum)]
    pub method: Option<TrainMethod>,
    /// Maximum learning rate [default: 0.1; adam-w 0.001]
    #[arg(long, value_name = "X")]
    pub lr: Option<f64>,
    /// Weight decay [default: 0.0005; adam-w 0.05]
    #[arg(long, value_name = "X")]
    pub weight_decay: Option<f64>,
    /// Warm-up of the learning rate, in epochs [default: 5]
    #[arg(long, value_name = "EPOCHS")]
    pub warmup: Option<f64>,
    /// Gradient clipping by global norm, 0 to disable [default: 5]
    #[arg(long, value_name = "X")]
    pub clip: Option<f64>,
    /// Decay of the moving average of weights, 0 to disable [default: 0.999]
    #[arg(long, value_name = "SHARE", value_parser = share)]
    pub ema: Option<f32>,
    /// Label smoothing [default: 0.1]
    #[arg(long, value_name = "SHARE", value_parser = share)]
    pub smoothing: Option<f32>,
    /// Parameter of mixup, 0 to disable [default: 0.2]
    #[arg(long, value_name = "ALPHA", value_parser = share)]
    pub mixup: Option<f32>,
    /// Parameter of cutmix, 0 to disable [default: 0]
    #[arg(long, value_name = "ALPHA", value_parser = share)]
    pub cutmix: Option<f32>,
    /// Minimum area share of a random resized crop [default: 0.35]
    #[arg(long, value_name = "SHARE", value_parser = share)]
    pub crop: Option<f32>,
    /// Whether to mirror half of the photos [default: true]
    #[arg(long, value_name = "true|false")]
    pub flip: Option<bool>,
    /// Jitter of brightness, contrast and saturation [default: 0.3]
    #[arg(long, value_name = "SHARE", value_parser = share)]
    pub jitter: Option<f32>,
    /// Probability of random erasing [default: 0.25]
    #[arg(long, value_name = "SHARE", value_parser = share)]
    pub erase: Option<f32>,
    /// Freeze the layers up to and including this one, for fine-tuning
    #[arg(long, value_name = "LAYER")]
    pub freeze: Option<String>,
    /// Threads that prefetch batches
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = positive)]
    pub workers: usize,
}

#[derive(ValueEnum, Debug, Clone, Copy, PartialEq)]
pub enum TrainMethod {
    /// SGD with Nesterov momentum 0.9
    Sgd,
    AdamW,
}
