//! Arguments of `convscope bench`.

use clap::{Args as ClapArgs, Subcommand, ValueEnum};
use std::path::PathBuf;

#[derive(Subcommand, Debug)]
pub enum BenchCommand {
    /// Every kernel on the layers of real networks (of -m, or of well-known ones)
    Kernels(BenchKernelsArgs),
    /// Whole networks with random weights: time, rate and memory of a forward pass, an input gradient, a training step
    #[command(
        after_help = "GFLOP/s count the direct algorithm, two operations per multiply-add of convolutions and dense layers: once for forward, \
                      twice for input-gradient, three times for training. GB/s count the operands of all kernels. Both are compared \
                      with the machine's measured peaks. On a CUDA device times are by its own clock, with a cold L2. The memory pool \
                      keeps allocations of earlier cases: for the peak of one case, run it alone."
    )]
    Models(BenchModelsArgs),
}

#[derive(ClapArgs, Debug, Clone)]
pub struct BenchKernelsArgs {
    /// Words that select problems by operation, network, layer and sizes: conv2d.fwd resnet50 3x3
    #[arg(value_name = "FILTER")]
    pub filter: Vec<String>,
    /// Batch size
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub batch: u16,
    /// Print CSV instead of text
    #[arg(long, conflicts_with = "json")]
    pub csv: bool,
    /// Draw the dispatcher's kernels in a roofline plot
    #[arg(long, value_name = "FILE.svg")]
    pub plot: Option<PathBuf>,
    /// Compare with the output of an earlier --json
    #[arg(long, value_name = "OLD.json", conflicts_with_all = ["json", "csv"])]
    pub compare: Option<PathBuf>,
    /// Fail if the dispatcher picks a slower kernel than the best
    #[arg(long)]
    pub assert: bool,
}

#[derive(ClapArgs, Debug, Clone)]
pub struct BenchModelsArgs {
    /// Networks, see `convscope models`
    #[arg(value_name = "NAME", default_values = ["vgg16", "resnet50", "resnet18"])]
    pub names: Vec<String>,
    /// Kinds of passes
    #[arg(long, value_enum, value_delimiter = ',', value_name = "WORK,..", default_value = "forward,input-gradient,training")]
    pub work: Vec<ModelPass>,
    /// Batch sizes
    #[arg(long, value_delimiter = ',', value_name = "N,..", default_value = "1,8", value_parser = clap::value_parser!(u16).range(1..))]
    pub batch: Vec<u16>,
    /// Image size
    #[arg(long, default_value = "224", value_name = "N|HxW")]
    pub size: String,
    /// Number of timed passes, whose median counts, after two warm-up passes
    #[arg(long, default_value_t = 7, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub repeats: u16,
    /// Also the time by kernel or layer, slowest first (CPU only)
    #[arg(long, value_enum, value_name = "KEY", conflicts_with = "csv")]
    pub by: Option<By>,
    /// Print comma-separated values instead of text
    #[arg(long, conflicts_with = "json")]
    pub csv: bool,
}

/// Grouping of times.
#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// By kernel
    Kernel,
    /// By kernel and layer
    Layer,
}

#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub enum ModelPass {
    /// Images to logits, in inference mode
    Forward,
    /// Forward, then backward from one logit of each image to the images only
    InputGradient,
    /// Training step without the optimiser: forward in training mode, cross-entropy, gradients of all trained parameters, running
    /// statistics. An untimed step of SGD with momentum follows each pass, so weights change each time
    Training,
}

impl ModelPass {
    /// The value on the command line.
    pub fn name(self) -> &'static str {
        match self {
            ModelPass::Forward => "forward",
            ModelPass::InputGradient => "input-gradient",
            ModelPass::Training => "training",
        }
    }
}
