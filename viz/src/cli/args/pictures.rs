//! What the commands that draw can be told.

use super::{ImageArgs, positive};
use clap::{Args as ClapArgs, ValueEnum};
use convscope_models::builtin::SAMPLES;
use std::path::PathBuf;

#[derive(ClapArgs, Debug, Clone)]
pub struct FiltersArgs {
    /// Convolution, or LAYER:FILTER for the slices of one filter (default: the first)
    #[arg(short, long, value_name = "LAYER[:FILTER]")]
    pub layer: Option<String>,
    /// Four-dimensional tensor of the weights' file instead, or NAME:FILTER; works for any network, known or not
    #[arg(long, value_name = "NAME[:FILTER]", conflicts_with = "layer")]
    pub tensor: Option<String>,
}

#[derive(ClapArgs, Debug, Clone)]
pub struct FeaturesArgs {
    #[arg(value_name = "IMAGE", default_value = SAMPLES[0].name)]
    pub path: PathBuf,
    #[command(flatten)]
    pub image: ImageArgs,
    /// Layers by name, scope, Keras name or index, with commas; also all, convs, last-conv
    #[arg(short, long, default_value = "convs", value_name = "LAYERS")]
    pub layer: String,
    /// Order of the channels
    #[arg(long, value_enum, default_value_t)]
    pub sort: Sort,
    /// Range of the colours: shared over the layer, per-image (each map its own), or a,b
    #[arg(long, default_value = "shared", value_name = "shared|per-image|A,B")]
    pub scale: String,
    /// The look of a well-known notebook instead
    #[arg(long, value_enum, conflicts_with_all = ["scale", "dark"])]
    pub preset: Option<FeaturesPreset>,
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

#[derive(ClapArgs, Debug, Clone)]
pub struct GradcamArgs {
    #[arg(value_name = "IMAGE", default_value = SAMPLES[0].name)]
    pub path: PathBuf,
    #[command(flatten)]
    pub image: ImageArgs,
    /// Classes by index or name, with commas (default: the predicted one)
    #[arg(short, long, value_name = "CLASS,..")]
    pub class: Option<String>,
    /// The best K classes instead
    #[arg(long, value_name = "K", value_parser = positive, conflicts_with = "class")]
    pub top: Option<usize>,
    /// Layer whose maps are weighted (default: the last one that still has a place in the image)
    #[arg(short, long, value_name = "LAYER")]
    pub layer: Option<String>,
    /// The look of a well-known tool instead of our own
    #[arg(long, value_enum)]
    pub preset: Option<CamPreset>,
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
