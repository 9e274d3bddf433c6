//! What can be typed.

mod bench;
mod report;
mod train;

pub use bench::{BenchCommand, BenchKernelsArgs, BenchModelsArgs, By, Work};
pub use report::ReportArgs;
pub use train::{TrainArgs, TrainMethod};

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};
use convscope_models::builtin::SAMPLES;
use std::path::PathBuf;

/// A microscope for convolutional networks: what their filters, feature maps and gradients look like.
#[derive(Parser, Debug)]
#[command(
    name = "convscope",
    version,
    max_term_width = 110,
    after_help = "Start with: convscope report; convscope models; convscope gradcam PHOTO -m resnet50 -w hf:timm/resnet50.tv_in1k"
)]
pub struct Args {
    #[command(flatten)]
    pub common: Common,
    #[command(subcommand)]
    pub command: Command,
}

/// A number of things of which there must be one.
fn positive(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|n| *n > 0).ok_or_else(|| "wants a number from 1 up".to_string())
}

/// Options of every command.
#[derive(ClapArgs, Debug, Clone)]
#[command(next_help_heading = "Common options")]
pub struct Common {
    /// Network, see `convscope models`, or a Keras architecture (.json) [builtin, or what the weights are of]
    #[arg(short, long, global = true, value_name = "NAME")]
    pub model: Option<String>,
    /// Weights: a .safetensors, .pth, .pt, .th, .keras, .h5, .hdf5 or .onnx file, hf:owner/repo[/file], `builtin` or `random`
    #[arg(short, long, global = true, value_name = "FILE|hf:OWNER/REPO")]
    pub weights: Option<String>,
    /// Number of classes of the network, or a text file with one name a line
    #[arg(long, global = true, value_name = "N|FILE")]
    pub classes: Option<String>,
    /// Where to compute
    #[arg(long, global = true, default_value = "auto", value_name = "auto|cpu|cuda:N")]
    pub device: String,
    /// What a GPU may round the operands of products to; sums are f32
    #[arg(long, global = true, default_value = "f32", value_name = "f32|tf32|f16|bf16")]
    pub precision: String,
    /// Threads (default: all cores)
    #[arg(long, global = true, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
    /// Seed of everything random
    #[arg(long, global = true, default_value_t = 0, value_name = "N")]
    pub seed: u64,
    /// Folder for pictures
    #[arg(short, long, global = true, default_value = "convscope-out", value_name = "DIR")]
    pub out: PathBuf,
    /// Write the numbers behind a picture or prediction
    #[arg(long, global = true, value_name = "FILE.safetensors")]
    pub raw: Option<PathBuf>,
    /// Print JSON instead of text
    #[arg(long, global = true)]
    pub json: bool,
    /// Print nothing but results, no progress
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// Force kernels by name, such as conv2d.fwd=naive (with ? at the end: where it fits)
    #[arg(long, global = true, value_name = "OP=NAME,..")]
    pub kernel: Option<String>,
    /// Dark pictures
    #[arg(long, global = true)]
    pub dark: bool,
}

/// How an image is brought to the network.
#[derive(ClapArgs, Debug, Clone, Default)]
pub struct ImageArgs {
    /// Size of the input: own (no resize), N (shorter side), HxW; default: as the network was trained
    #[arg(long, value_name = "own|N|HxW")]
    pub size: Option<String>,
}

#[derive(Subcommand, Debug)]
pub enum Command {
    /// Table of layers: name, type, output shape, parameters, multiply-adds
    Summary {
        #[command(flatten)]
        image: ImageArgs,
        /// Print the graph in Graphviz's language instead
        #[arg(long)]
        dot: bool,
    },
    /// Top classes of photos with their probabilities
    Predict {
        #[arg(value_name = "IMAGE", default_values = SAMPLES.map(|s| s.name))]
        images: Vec<PathBuf>,
        #[command(flatten)]
        image: ImageArgs,
        /// How many classes to show
        #[arg(long, default_value_t = 5, value_name = "K", value_parser = positive)]
        top: usize,
        /// With --raw: also the gradient of the class's logit with respect to the image, as `dx`
        #[arg(long)]
        input_gradient: bool,
        /// The class of --input-gradient: index or name (default: the predicted one)
        #[arg(long, value_name = "CLASS", requires = "input_gradient")]
        class: Option<String>,
    },
    /// Teaches a network the classes of a folder: DIR/train/CLASS/*.jpg and DIR/val/CLASS/*.jpg, or DIR/CLASS/*.jpg
    Train(TrainArgs),
    /// Accuracy on a folder DIR/CLASS/*.jpg, a confusion matrix and the most confident mistakes
    Eval(EvalArgs),
    /// Weights as pictures: the first layer in colour, any layer as grey slices
    Filters {
        /// Convolution, or LAYER:FILTER for the slices of one filter (default: the first)
        #[arg(short, long, value_name = "LAYER[:FILTER]")]
        layer: Option<String>,
        /// Four-dimensional tensor of the weights' file instead, or NAME:FILTER; works for any network, known or not
        #[arg(long, value_name = "NAME[:FILTER]", conflicts_with = "layer")]
        tensor: Option<String>,
    },
    /// What a file of weights holds, known network or not: tensors, statistics, dead and duplicate filters, NaN; a guess at the network
    Inspect {
        /// A file of weights or hf:owner/repo[/file] [default: what -w says, or builtin]
        #[arg(value_name = "FILE|hf:OWNER/REPO")]
        file: Option<String>,
    },
    /// Feature maps of one layer, several or all
    Features {
        #[arg(value_name = "IMAGE", default_value = SAMPLES[0].name)]
        path: PathBuf,
        #[command(flatten)]
        image: ImageArgs,
        /// Layers by name, scope, Keras name or index, with commas; also all, convs, last-conv
        #[arg(short, long, default_value = "convs", value_name = "LAYERS")]
        layer: String,
        /// Order of the channels
        #[arg(long, value_enum, default_value_t)]
        sort: Sort,
        /// Range of the colours: shared over the layer, per-image (each map its own), or a,b
        #[arg(long, default_value = "shared", value_name = "shared|per-image|A,B")]
        scale: String,
        /// The look of a well-known notebook instead
        #[arg(long, value_enum, conflicts_with_all = ["scale", "dark"])]
        preset: Option<FeaturesPreset>,
    },
    /// The picture that excites a channel or a class
    Ascent(AscentArgs),
    /// Class heat map: input, map, overlay
    Gradcam {
        #[arg(value_name = "IMAGE", default_value = SAMPLES[0].name)]
        path: PathBuf,
        #[command(flatten)]
        image: ImageArgs,
        /// Classes by index or name, with commas (default: the predicted one)
        #[arg(short, long, value_name = "CLASS,..")]
        class: Option<String>,
        /// The best K classes instead
        #[arg(long, value_name = "K", value_parser = positive, conflicts_with = "class")]
        top: Option<usize>,
        /// Layer whose maps are weighted (default: the last one that still has a place in the image)
        #[arg(short, long, value_name = "LAYER")]
        layer: Option<String>,
        /// The look of a well-known tool instead of our own
        #[arg(long, value_enum)]
        preset: Option<CamPreset>,
    },
    /// One page about a network and a photo: predictions, heat maps, gradient ascent, filters, feature maps, timings
    Report(ReportArgs),
    /// The recorded tape of a pass: what ran, for how long, through which kernel
    Trace {
        #[arg(value_name = "IMAGE", default_value = SAMPLES[0].name)]
        path: PathBuf,
        #[command(flatten)]
        image: ImageArgs,
        /// Also the backward pass of the predicted class's logit, to the image
        #[arg(long)]
        backward: bool,
        /// As `predict` runs it: batch-norm, addition and ReLU within the convolution before them
        #[arg(long)]
        fused: bool,
        /// Format
        #[arg(long, value_enum, default_value_t)]
        format: TraceFormat,
    },
    /// How fast this machine is at what networks do
    Bench {
        #[command(subcommand)]
        command: BenchCommand,
    },
    /// Networks that are known, and where their weights are
    Models,
    /// Any weights file to safetensors (with -m: names and shapes of that network)
    Convert {
        #[arg(value_name = "FROM")]
        from: String,
        #[arg(value_name = "TO.safetensors")]
        to: PathBuf,
        /// Type of the numbers
        #[arg(long, value_enum, default_value_t)]
        dtype: SaveAs,
    },
}

#[derive(ClapArgs, Debug, Clone)]
pub struct EvalArgs {
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,
    #[command(flatten)]
    pub image: ImageArgs,
    /// Images at a time
    #[arg(long, default_value_t = 32, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub batch: u16,
    /// Only these classes: only their images, and only they as answers: cat,dog
    #[arg(long, value_name = "CLASS,..")]
    pub among: Option<String>,
    /// Mistakes that are shown
    #[arg(long, default_value_t = 24, value_name = "N", value_parser = positive)]
    pub mistakes: usize,
}

#[derive(ClapArgs, Debug, Clone)]
pub struct AscentArgs {
    /// Layer, or LAYER:CHANNEL (default: the last one that still has a place in the image)
    #[arg(short, long, value_name = "LAYER[:CHANNEL]", conflicts_with = "class")]
    pub layer: Option<String>,
    /// Classes by index or name, with commas
    #[arg(short, long, value_name = "CLASS,..")]
    pub class: Option<String>,
    /// Channels: 5 or 0-15 or 3,7,9 or all (default: the first 16, or all that the preset shows)
    #[arg(long, value_name = "LIST", conflicts_with = "class")]
    pub channels: Option<String>,
    /// Recipe
    #[arg(long, value_enum, default_value_t)]
    pub preset: AscentPreset,
    /// Steps of ascent
    #[arg(long, value_name = "N")]
    pub steps: Option<usize>,
    /// Size of the picture in pixels
    #[arg(long, value_name = "N|HxW")]
    pub size: Option<String>,
    /// Step size
    #[arg(long, value_name = "X")]
    pub lr: Option<f32>,
    /// Weight of total variation
    #[arg(long, value_name = "X")]
    pub tv: Option<f32>,
    /// Weight of the squared distance from grey
    #[arg(long, value_name = "X")]
    pub l2: Option<f32>,
    /// Largest shift before each step, in pixels
    #[arg(long, value_name = "N")]
    pub jitter: Option<usize>,
    /// What the network is given: the picture normalised as photos are, or its numbers as they are (Keras' weights)
    #[arg(long, value_enum, default_value_t)]
    pub input: AscentInput,
    /// Start from this image instead of noise; with few --steps it stays recognisable
    #[arg(long, value_name = "IMAGE")]
    pub start: Option<PathBuf>,
    /// Show the best first
    #[arg(long)]
    pub sort: bool,
    /// Keep only the best N
    #[arg(long, value_name = "N", value_parser = positive)]
    pub best: Option<usize>,
}

#[derive(ValueEnum, Debug, Clone, Copy, Default, PartialEq)]
pub enum Sort {
    /// By number
    #[default]
    Index,
    /// Largest mean first
    Mean,
    /// Sparsest last
    Sparsity,
}

#[derive(ValueEnum, Debug, Clone, Copy, PartialEq)]
pub enum FeaturesPreset {
    /// Each channel standardised to 64 x + 128, viridis, 16 a row, no gap
    Chollet1,
}

#[derive(ValueEnum, Debug, Clone, Copy, PartialEq)]
pub enum CamPreset {
    /// Chollet's book of 2017: jet at .4 added to the photo
    Chollet1,
    /// pytorch-grad-cam: jet and photo half and half
    Pytorch,
}

#[derive(ValueEnum, Debug, Clone, Copy, Default, PartialEq)]
pub enum AscentPreset {
    /// Our own
    #[default]
    Default,
    /// Chollet's book of 2017, section 5.4
    Chollet1,
    /// The Keras blog of 2016
    Kerasblog,
    /// keras.io, 2020
    KerasIo,
}

#[derive(ValueEnum, Debug, Clone, Copy, Default, PartialEq)]
pub enum AscentInput {
    #[default]
    Normalised,
    Raw,
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
