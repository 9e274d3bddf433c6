//! One page about a network and a photo: a self-contained HTML file for any browser, offline.
//!
//! A [`Report`] holds text, values and pictures; [`Report::html`] fills the template `report.html` with them, its style
//! `style.css` and its script `script.js`. Pictures are embedded, and the content security policy forbids requests. Without
//! scripts the page only lacks the slider of the heat maps.

mod picture;

pub use picture::{Picture, Scale};

use crate::methods::timings::LayerTime;
use askama::Template;
use convscope_models::network::{OutputActivation, Summary};
use convscope_models::text::thousands;

/// Content of the page, in the order of its sections.
#[derive(Debug, Clone, Template)]
#[template(path = "report/report.html")]
pub struct Report {
    /// Name of the network.
    pub network: String,
    /// Source of the weights.
    pub weights: String,
    /// File name of the photo.
    pub image: String,
    /// The command that reproduces this page.
    pub command: String,
    /// Name and version of the program.
    pub software: String,
    /// Seed of all random numbers.
    pub seed: u64,
    /// Warnings to the reader.
    pub notices: Vec<String>,
    /// The network's crop of the photo.
    pub photo: Picture,
    /// Conversion of logits to probabilities.
    pub output_activation: OutputActivation,
    /// The top classes.
    pub classes: Vec<Class>,
    /// Number of classes.
    pub class_count: usize,
    /// Grad-CAM of some classes.
    pub heat: Heat,
    /// Gradient ascent of the explained classes.
    pub excited: Vec<Excited>,
    /// Channels of each stage that respond to the photo.
    pub stages: Vec<Stage>,
    /// Number of gradient ascent steps.
    pub steps: usize,
    /// Filters of the first layer.
    pub filters: Option<Sheet>,
    /// Feature maps, from the image to the output.
    pub maps: Vec<Sheet>,
    /// The table of layers.
    pub summary: Summary,
    /// Layer times.
    pub timings: Option<Timings>,
}

/// A class with its bar.
#[derive(Debug, Clone)]
pub struct Class {
    /// Name of the class.
    pub name: String,
    /// Index of the class.
    pub index: usize,
    /// Whether the name contains the index, for classes without names.
    pub is_numbered: bool,
    /// Logit.
    pub logit: f32,
    /// Probability, 0 to 1.
    pub probability: f32,
}

/// Grad-CAM at one layer.
#[derive(Debug, Clone)]
pub struct Heat {
    /// The layer.
    pub layer: String,
    /// `[height, width]` of the layer's feature maps.
    pub size: [usize; 2],
    /// One map per class.
    pub maps: Vec<HeatMap>,
}

/// Grad-CAM of one class.
#[derive(Debug, Clone)]
pub struct HeatMap {
    /// The class.
    pub class: Class,
    /// The heat alone, with transparency, for drawing over the photo.
    pub picture: Picture,
    /// Colour scale.
    pub scale: Scale,
    /// Reason for a blank map.
    pub warning: Option<String>,
}

/// Gradient ascent of a channel or class.
#[derive(Debug, Clone)]
pub struct Excited {
    /// The channel or class.
    pub name: String,
    /// The image; `None` if no image affects the channel.
    pub picture: Option<Picture>,
    /// Score of the image: mean of the channel, or logit.
    pub reached: f32,
    /// Score of the photo.
    pub photo: f32,
    /// Feature map of the photo; `None` for a class or a silent channel.
    pub map: Option<Picture>,
}

/// Some channels of a stage.
#[derive(Debug, Clone)]
pub struct Stage {
    /// The layer.
    pub layer: String,
    /// `[channels, height, width]` of its output.
    pub shape: [usize; 3],
    /// The channels.
    pub channels: Vec<Excited>,
    /// Colour scale of the maps.
    pub scale: Option<Scale>,
}

/// A grid of cells in one picture, with captions.
#[derive(Debug, Clone)]
pub struct Sheet {
    /// The layer.
    pub layer: String,
    /// Kind and size of the layer: `ReLU · 32 channels of 80 × 80`.
    pub what: String,
    /// All cells.
    pub picture: Picture,
    /// Index of the first cell of each row.
    pub rows: Vec<usize>,
    /// Colour scale.
    pub scale: Option<Scale>,
    /// Scaling of the cells, and omissions.
    pub note: String,
}

/// Layer times.
#[derive(Debug, Clone)]
pub struct Timings {
    /// Operations in order.
    pub layers: Vec<LayerTime>,
    /// Number of passes of the medians.
    pub passes: usize,
    /// Number of threads.
    pub threads: usize,
}

impl Report {
    /// Renders the page.
    ///
    /// # Errors
    /// [`askama::Error`] if memory runs out.
    pub fn html(&self) -> Result<String, askama::Error> {
        self.render()
    }
}

impl Timings {
    fn forward(&self) -> f64 {
        self.layers.iter().map(|t| t.forward).sum()
    }

    fn backward(&self) -> f64 {
        self.layers.iter().map(|t| t.backward).sum()
    }

    /// Length of a bar in percent of the longest operation.
    fn share(&self, micros: &f64) -> f64 {
        let longest = self.layers.iter().map(|t| t.forward + t.backward).fold(1e-9, f64::max);
        100.0 * micros / longest
    }
}

/// Number formats of the template.
mod filters {
    use askama::{Result, Values};
    use std::fmt::Display;

    /// Three significant digits.
    #[askama::filter_fn]
    pub fn short(value: &f32, _: &dyn Values) -> Result<String> {
        Ok(crate::draw::short(*value))
    }

    /// A number with `decimals` decimals.
    #[askama::filter_fn]
    pub fn fixed(value: impl Display, _: &dyn Values, decimals: usize) -> Result<String> {
        Ok(format!("{value:.decimals$}").replace('-', "−"))
    }

    /// Digits in groups of three; empty for zero.
    #[askama::filter_fn]
    pub fn counted(value: &usize, _: &dyn Values) -> Result<String> {
        Ok(if *value == 0 { String::new() } else { super::thousands(*value) })
    }
}
