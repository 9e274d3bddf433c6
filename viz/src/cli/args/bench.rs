//! What `convscope bench` can be told.

use clap::{Args as ClapArgs, Subcommand, ValueEnum};
use std::path::PathBuf;

#[derive(Subcommand, Debug)]
pub enum BenchCommand {
    /// Every row of the kernel tables on the layers of real networks (of -m, or of the best-known ones)
    Kernels(BenchKernelsArgs),
    /// Whole networks with random weights: time, rate and memory of a forward pass, an input gradient, a training step
    #[command(
        after_help = "GFLOP/s are of the direct count, two for each multiply-add of convolutions and dense layers: once for forward, \
                      twice for input-gradient, three times for training, whatever the kernels save; GB/s are of the operands of all \
                      kernels. Both are set against what was measured of the machine. On a CUDA device times are by its own clock, with a \
                      cold L2. Memory that earlier rows left \
                      in the pool counts in later ones: for the peak of one case alone, run that case alone."
    )]
    Models(BenchModelsArgs),
}

#[derive(ClapArgs, Debug, Clone)]
pub struct BenchKernelsArgs {
    /// Only problems whose operation, network, layer and sizes hold all of these words: conv2d.fwd resnet50 3x3
    #[arg(value_name = "FILTER")]
    pub filter: Vec<String>,
    /// Images at a time
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub batch: u16,
    /// Print CSV instead of text
    #[arg(long, conflicts_with = "json")]
    pub csv: bool,
    /// Draw what the dispatcher picks under the machine's roofs
    #[arg(long, value_name = "FILE.svg")]
    pub plot: Option<PathBuf>,
    /// Say what is faster or slower than in the output of an earlier --json
    #[arg(long, value_name = "OLD.json", conflicts_with_all = ["json", "csv"])]
    pub compare: Option<PathBuf>,
    /// Fail where the dispatcher picks a row that is slower than another
    #[arg(long)]
    pub assert: bool,
}

#[derive(ClapArgs, Debug, Clone)]
pub struct BenchModelsArgs {
    /// Networks, see `convscope models`
    #[arg(value_name = "NAME", default_values = ["vgg16", "resnet50", "resnet18"])]
    pub names: Vec<String>,
    /// What is timed
    #[arg(long, value_enum, value_delimiter = ',', value_name = "WORK,..", default_value = "forward,input-gradient,training")]
    pub work: Vec<Work>,
    /// Images at a time
    #[arg(long, value_delimiter = ',', value_name = "N,..", default_value = "1,8", value_parser = clap::value_parser!(u16).range(1..))]
    pub batch: Vec<u16>,
    /// Size of the images
    #[arg(long, default_value = "224", value_name = "N|HxW")]
    pub size: String,
    /// Timed passes of which the median is taken, after two that are not timed
    #[arg(long, default_value_t = 7, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub repeats: u16,
    /// Also say where the time of each case goes, the slowest first (CPU only)
    #[arg(long, value_enum, value_name = "KEY", conflicts_with = "csv")]
    pub by: Option<By>,
    /// Print comma-separated values instead of text
    #[arg(long, conflicts_with = "json")]
    pub csv: bool,
}

/// What times are summed over.
#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// The calls of one kernel
    Kernel,
    /// Those within one layer
    Layer,
}

#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// Images to logits, as for use
    Forward,
    /// Forward, then backward from one logit of each image to the images, and to nothing else
    InputGradient,
    /// A step of training without the optimiser: forward in training mode, cross-entropy, gradients of all trained parameters,
    /// running statistics. SGD with momentum follows each pass untimed, so weights are new each time
    Training,
}

impl Work {
    /// As it is typed.
    pub fn name(self) -> &'static str {
        match self {
            Work::Forward => "forward",
            Work::InputGradient => "input-gradient",
            Work::Training => "training",
        }
    }
}
