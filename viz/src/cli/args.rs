//! Command line arguments.

mod bench;
mod pictures;
mod report;
mod train;

pub use bench::{BenchCommand, BenchKernelsArgs, BenchModelsArgs, By, ModelPass};
pub use pictures::{
    AscentArgs, AscentInput, AscentPreset, CamPreset, FeaturesArgs, FeaturesPreset, FiltersArgs, GradcamArgs, Sort,
};
pub use report::ReportArgs;
pub use train::{TrainArgs, TrainMethod};

use clap::parser::ValueSource;
use clap::{ArgMatches, Args as ClapArgs, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};
use convscope_models::builtin::SAMPLES;
use std::path::PathBuf;

/// A microscope for convolutional networks: filters, feature maps, heat maps and gradient ascent
#[derive(Parser, Debug)]
#[command(
    name = "convscope",
    version,
    max_term_width = 110,
    // Of two equal options the last counts, as a script that appends options expects.
    args_override_self = true,
    after_help = "Start with: convscope report; convscope models; convscope gradcam PHOTO -m resnet50 -w hf:timm/resnet50.tv_in1k"
)]
pub struct Args {
    #[command(flatten)]
    pub common: Common,
    #[command(subcommand)]
    pub command: Command,
}

/// A positive integer.
fn positive(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|n| *n > 0).ok_or_else(|| "expects a number from 1 up".to_string())
}

/// Options of every command.
#[derive(ClapArgs, Debug, Clone)]
#[command(next_help_heading = "Common options")]
pub struct Common {
    /// Network, see `convscope models`, or a Keras architecture (.json) [default: builtin, or the network of the weights]
    #[arg(short, long, global = true, value_name = "NAME")]
    pub model: Option<String>,
    /// Weights: a .safetensors, .pth, .pt, .th, .keras, .h5, .hdf5 or .onnx file, hf:owner/repo[/file], `builtin` or `random`
    #[arg(short, long, global = true, value_name = "FILE|hf:OWNER/REPO")]
    pub weights: Option<String>,
    /// Number of classes of the network, or a text file with one name a line
    #[arg(long, global = true, value_name = "N|FILE")]
    pub classes: Option<String>,
    /// Device of the computation
    #[arg(long, global = true, default_value = "auto", value_name = "auto|cpu|cuda:N")]
    pub device: String,
    /// Operand precision of a GPU's matrix products; sums are f32
    #[arg(long, global = true, default_value = "f32", value_name = "f32|tf32|f16|bf16")]
    pub precision: String,
    /// Threads (default: all cores)
    #[arg(long, global = true, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
    /// Seed of all random numbers
    #[arg(long, global = true, default_value_t = 0, value_name = "N")]
    pub seed: u64,
    /// Output folder
    #[arg(short, long, global = true, default_value = "convscope-out", value_name = "DIR")]
    pub out: PathBuf,
    /// Write the values behind a picture or prediction: .safetensors, .npz, .npy or .csv. In Python: numpy.load("FILE.npz")["logits"]
    #[arg(long, global = true, value_name = "FILE")]
    pub raw: Option<PathBuf>,
    /// Print JSON instead of text
    #[arg(long, global = true)]
    pub json: bool,
    /// Print results only, no progress or notes
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// Force kernels by name, such as conv2d.fwd=naive (with ? at the end: only where it supports the problem)
    #[arg(long, global = true, value_name = "OP=NAME,..")]
    pub kernel: Option<String>,
    /// Dark theme
    #[arg(long, global = true)]
    pub dark: bool,
    /// The options that were typed and change a picture, with their values, in alphabetical order. They are part of its file's name.
    #[arg(skip)]
    pub variant: Vec<(String, String)>,
}

impl Args {
    /// What was typed.
    ///
    /// # Errors
    /// clap's, help and version among them.
    pub fn read() -> Result<Self, clap::Error> {
        let matches = Args::command().try_get_matches()?;
        let mut args = Args::from_arg_matches(&matches)?;
        let mut typed = &matches;
        while let Some((_, inner)) = typed.subcommand() {
            typed = inner;
        }
        args.common.variant = variant(typed);
        Ok(args)
    }
}

/// Options that do not change a picture, or that the rest of its name tells.
const NEUTRAL: [&str; 17] = [
    "quiet",
    "json",
    "raw",
    "out",
    "threads",
    "device",
    "precision",
    "kernel",
    "model",
    "weights",
    "layer",
    "tensor",
    "path",
    "images",
    "dir",
    "no_timings",
    "batch",
];

/// The other options that were typed.
fn variant(typed: &ArgMatches) -> Vec<(String, String)> {
    // A group of options has the name of its type.
    let ids = typed.ids().map(clap::Id::as_str).filter(|id| !NEUTRAL.contains(id) && !id.starts_with(char::is_uppercase));
    let ids = ids.filter(|id| typed.value_source(id) == Some(ValueSource::CommandLine));
    let text = |id: &str| typed.get_raw(id).into_iter().flatten().map(|v| v.to_string_lossy()).collect::<Vec<_>>().join(",");
    let mut all: Vec<_> = ids.map(|id| (id.replace('_', "-"), text(id))).collect();
    // A flag's value says nothing more.
    all.iter_mut().filter(|(_, value)| value == "true").for_each(|(_, value)| value.clear());
    all.sort();
    all
}

/// Preparation of an image for the network.
#[derive(ClapArgs, Debug, Clone, Default)]
pub struct ImageArgs {
    /// Input size: own (no resize), N (shorter side), HxW [default: the network's]
    #[arg(long, value_name = "own|N|HxW")]
    pub size: Option<String>,
}

#[derive(Subcommand, Debug)]
pub enum Command {
    /// Table of layers: name, type, output shape, parameters, multiply-adds
    Summary(SummaryArgs),
    /// Top classes of photos with their probabilities
    Predict(PredictArgs),
    /// Train a network on a folder: DIR/train/CLASS/*.jpg and DIR/val/CLASS/*.jpg, or DIR/CLASS/*.jpg
    Train(TrainArgs),
    /// Accuracy on a folder DIR/CLASS/*.jpg, a confusion matrix and the most confident mistakes
    Eval(EvalArgs),
    /// Weights as pictures: the first layer in colour, any layer as grey slices
    Filters(FiltersArgs),
    /// Content of a weights file, of a known network or not: tensors, statistics, dead and duplicate filters, NaN; a guess at the
    /// network
    Inspect(InspectArgs),
    /// Feature maps of one layer, several or all
    Features(FeaturesArgs),
    /// Gradient ascent: an image that maximises a channel or a class
    Ascent(AscentArgs),
    /// Grad-CAM heat map of a class: input, map, overlay
    Gradcam(GradcamArgs),
    /// One page about a network and a photo: predictions, heat maps, gradient ascent, filters, feature maps, timings
    Report(ReportArgs),
    /// Recorded tape of a pass: operations, times, kernels
    Trace(TraceArgs),
    /// Speed of this machine: kernels, or whole networks
    #[command(subcommand)]
    Bench(BenchCommand),
    /// Known networks, and the sources of their weights
    Models(ModelsArgs),
    /// Convert a weights file to safetensors (with -m: names and shapes of that network)
    Convert(ConvertArgs),
}

#[derive(ClapArgs, Debug, Clone)]
pub struct SummaryArgs {
    #[command(flatten)]
    pub image: ImageArgs,
    /// Print the graph in Graphviz's DOT language instead
    #[arg(long)]
    pub dot: bool,
}

#[derive(ClapArgs, Debug, Clone)]
pub struct PredictArgs {
    #[arg(value_name = "IMAGE", default_values = SAMPLES.map(|s| s.name))]
    pub images: Vec<PathBuf>,
    #[command(flatten)]
    pub image: ImageArgs,
    /// Number of classes
    #[arg(long, default_value_t = 5, value_name = "K", value_parser = positive)]
    pub top: usize,
    /// With --raw: also the gradient of the class's logit with respect to the image, as `dx`
    #[arg(long)]
    pub input_gradient: bool,
    /// Class of --input-gradient: index or name [default: the predicted one]
    #[arg(long, value_name = "CLASS", requires = "input_gradient")]
    pub class: Option<String>,
}

#[derive(ClapArgs, Debug, Clone)]
pub struct EvalArgs {
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,
    #[command(flatten)]
    pub image: ImageArgs,
    /// Batch size
    #[arg(long, default_value_t = 32, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub batch: u16,
    /// Restrict images and predictions to these classes: cat,dog
    #[arg(long, value_name = "CLASS,..")]
    pub among: Option<String>,
    /// Number of mistakes in the picture
    #[arg(long, default_value_t = 24, value_name = "N", value_parser = positive)]
    pub mistakes: usize,
}

#[derive(ClapArgs, Debug, Clone)]
pub struct InspectArgs {
    /// Weights file or hf:owner/repo[/file] [default: that of -w, or builtin]
    #[arg(value_name = "FILE|hf:OWNER/REPO")]
    pub file: Option<String>,
}

#[derive(ClapArgs, Debug, Clone)]
pub struct TraceArgs {
    #[arg(value_name = "IMAGE", default_value = SAMPLES[0].name)]
    pub path: PathBuf,
    #[command(flatten)]
    pub image: ImageArgs,
    /// Also the backward pass of the predicted class's logit to the image
    #[arg(long)]
    pub backward: bool,
    /// With fused layers, as `predict` runs: batch-norm, addition and ReLU in the convolution's epilogue
    #[arg(long)]
    pub fused: bool,
    /// Output format
    #[arg(long, value_enum, default_value_t)]
    pub format: TraceFormat,
}

#[derive(ClapArgs, Debug, Clone)]
pub struct ModelsArgs {}

#[derive(ClapArgs, Debug, Clone)]
pub struct ConvertArgs {
    #[arg(value_name = "FROM")]
    pub from: String,
    /// .safetensors, .npz, or .npy or .csv for one tensor
    #[arg(value_name = "TO")]
    pub to: PathBuf,
    /// Element type
    #[arg(long, value_enum, default_value_t)]
    pub dtype: SaveAs,
}

#[derive(ValueEnum, Debug, Clone, Copy, Default, PartialEq)]
pub enum TraceFormat {
    #[default]
    Text,
    Json,
    /// Graphviz
    Dot,
    /// chrome://tracing, Perfetto
    Chrome,
}

#[derive(ValueEnum, Debug, Clone, Copy, Default, PartialEq)]
pub enum SaveAs {
    #[default]
    F32,
    F16,
    Bf16,
}
