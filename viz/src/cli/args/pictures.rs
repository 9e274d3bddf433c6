//! Arguments of the commands that draw.

use super::{ImageArgs, positive};
use clap::{Args as ClapArgs, ValueEnum};
use convscope_models::builtin::SAMPLES;
use std::path::PathBuf;

#[derive(ClapArgs, Debug, Clone)]
pub struct FiltersArgs {
    /// Convolution, or LAYER:FILTER for the slices of one filter [default: the first convolution]
    #[arg(short, long, value_name = "LAYER[:FILTER]")]
    pub layer: Option<String>,
    /// Four-dimensional tensor of the weights file instead, or NAME:FILTER; works for any network, known or not
    #[arg(long, value_name = "NAME[:FILTER]", conflicts_with = "layer")]
    pub tensor: Option<String>,
}

#[derive(ClapArgs, Debug, Clone)]
pub struct FeaturesArgs {
    #[arg(value_name = "IMAGE", default_value = SAMPLES[0].name)]
    pub path: PathBuf,
    #[command(flatten)]
    pub image: ImageArgs,
    /// Layers by name, scope, Keras name or index, comma-separated; also all, convs, last-conv
    #[arg(short, long, default_value = "convs", value_name = "LAYERS")]
    pub layer: String,
    /// Order of the channels
    #[arg(long, value_enum, default_value_t)]
    pub sort: Sort,
    /// Colour range: shared by the layer, per-image (one per map), or a,b
    #[arg(long, default_value = "shared", value_name = "shared|per-image|A,B")]
    pub scale: String,
    /// Look of a well-known notebook instead
    #[arg(long, value_enum, conflicts_with_all = ["scale", "dark"])]
    pub preset: Option<FeaturesPreset>,
}

#[derive(ClapArgs, Debug, Clone)]
pub struct AscentArgs {
    /// Layer, or LAYER:CHANNEL [default: the last one with a spatial extent]
    #[arg(short, long, value_name = "LAYER[:CHANNEL]", conflicts_with = "class")]
    pub layer: Option<String>,
    /// Classes by index or name, comma-separated
    #[arg(short, long, value_name = "CLASS,..")]
    pub class: Option<String>,
    /// Channels: 5 or 0-15 or 3,7,9 or all [default: the first 16, or the preset's number]
    #[arg(long, value_name = "LIST", conflicts_with = "class")]
    pub channels: Option<String>,
    /// Recipe
    #[arg(long, value_enum, default_value_t)]
    pub preset: AscentPreset,
    /// Number of steps
    #[arg(long, value_name = "N")]
    pub steps: Option<usize>,
    /// Image size in pixels
    #[arg(long, value_name = "N|HxW")]
    pub size: Option<String>,
    /// Step size
    #[arg(long, value_name = "X")]
    pub lr: Option<f32>,
    /// Weight of the total variation penalty
    #[arg(long, value_name = "X")]
    pub tv: Option<f32>,
    /// Weight of the squared distance from grey (L2 penalty)
    #[arg(long, value_name = "X")]
    pub l2: Option<f32>,
    /// Largest shift before each step, in pixels
    #[arg(long, value_name = "N")]
    pub jitter: Option<usize>,
    /// Network input: the image normalised like a photo, or its raw values (Keras' weights)
    #[arg(long, value_enum, default_value_t)]
    pub input: AscentInput,
    /// Start from this image instead of noise; with few --steps it stays recognisable
    #[arg(long, value_name = "IMAGE")]
    pub start: Option<PathBuf>,
    /// Sort by score, best first
    #[arg(long)]
    pub sort: bool,
    /// Keep the N best only
    #[arg(long, value_name = "N", value_parser = positive)]
    pub best: Option<usize>,
}

#[derive(ClapArgs, Debug, Clone)]
pub struct GradcamArgs {
    #[arg(value_name = "IMAGE", default_value = SAMPLES[0].name)]
    pub path: PathBuf,
    #[command(flatten)]
    pub image: ImageArgs,
    /// Classes by index or name, comma-separated [default: the predicted one]
    #[arg(short, long, value_name = "CLASS,..")]
    pub class: Option<String>,
    /// The K most probable classes instead
    #[arg(long, value_name = "K", value_parser = positive, conflicts_with = "class")]
    pub top: Option<usize>,
    /// Layer of the feature maps [default: the last one with a spatial extent]
    #[arg(short, long, value_name = "LAYER")]
    pub layer: Option<String>,
    /// Look of a well-known tool instead
    #[arg(long, value_enum)]
    pub preset: Option<CamPreset>,
}

#[derive(ValueEnum, Debug, Clone, Copy, Default, PartialEq)]
pub enum Sort {
    /// By index
    #[default]
    Index,
    /// Largest mean first
    Mean,
    /// Least sparse first
    Sparsity,
}

#[derive(ValueEnum, Debug, Clone, Copy, PartialEq)]
pub enum FeaturesPreset {
    /// Each channel standardised to 64 x + 128, viridis, 16 per row, no gap
    Chollet1,
}

#[derive(ValueEnum, Debug, Clone, Copy, PartialEq)]
pub enum CamPreset {
    /// Chollet's book of 2017: jet times 0.4 added to the photo
    Chollet1,
    /// pytorch-grad-cam: jet and photo half and half
    Pytorch,
}

#[derive(ValueEnum, Debug, Clone, Copy, Default, PartialEq)]
pub enum AscentPreset {
    /// Convscope's own recipe
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
