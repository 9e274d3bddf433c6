//! One page about a network and a photo: a single HTML file that needs no network and no program but a browser.
//!
//! A [`Report`] holds words, numbers and pictures, ready to be shown; [`Report::html`] fills `report.html` with them, which takes its
//! looks from `style.css` and its few motions from `script.js`. Pictures are within the file, and its content security policy
//! forbids to load anything. Without scripts the page only loses the slider of the heat maps.

mod picture;

pub use picture::{Picture, Scale};

use crate::methods::timings::LayerTime;
use askama::Template;
use convscope_models::network::{OutputActivation, Summary};
use convscope_models::text::thousands;

/// Everything on the page, in the order of its sections.
#[derive(Debug, Clone, Template)]
#[template(path = "report/report.html")]
pub struct Report {
    /// The network's name.
    pub network: String,
    /// Where its weights are from.
    pub weights: String,
    /// Name of the image's file.
    pub image: String,
    /// The command that makes this page again.
    pub command: String,
    /// The program and its version.
    pub software: String,
    /// Of everything random.
    pub seed: u64,
    /// What the reader must know before believing anything.
    pub notices: Vec<String>,
    /// What the network sees, in its proportions.
    pub photo: Picture,
    /// How its outputs become probabilities.
    pub output_activation: OutputActivation,
    /// The top classes.
    pub classes: Vec<Class>,
    /// How many classes there are.
    pub class_count: usize,
    /// Grad-CAM of some classes.
    pub heat: Heat,
    /// Pictures that excite those classes.
    pub excited: Vec<Excited>,
    /// What each stage has to say to the photo.
    pub stages: Vec<Stage>,
    /// Steps of each gradient ascent.
    pub steps: usize,
    /// The first layer's filters.
    pub filters: Option<Sheet>,
    /// Feature maps, from the image to the output.
    pub maps: Vec<Sheet>,
    /// The table of layers.
    pub summary: Summary,
    /// Where the time goes.
    pub timings: Option<Timings>,
}

/// A class with its bar.
#[derive(Debug, Clone)]
pub struct Class {
    /// Its name.
    pub name: String,
    /// Its number.
    pub index: usize,
    /// Whether the name says the number already, as that of a class without a name does.
    pub is_numbered: bool,
    /// Raw output.
    pub logit: f32,
    /// 0 to 1.
    pub probability: f32,
}

/// Grad-CAM at one layer.
#[derive(Debug, Clone)]
pub struct Heat {
    /// The layer.
    pub layer: String,
    /// Height and width of the layer's maps.
    pub size: [usize; 2],
    /// One a class.
    pub maps: Vec<HeatMap>,
}

/// Grad-CAM of one class.
#[derive(Debug, Clone)]
pub struct HeatMap {
    /// The class.
    pub class: Class,
    /// The heat alone, to be laid over the photo.
    pub picture: Picture,
    /// Its colours.
    pub scale: Scale,
    /// Why there is nothing to see, if so.
    pub warning: Option<String>,
}

/// What gradient ascent found for a channel or a class.
#[derive(Debug, Clone)]
pub struct Excited {
    /// The channel or class.
    pub name: String,
    /// The picture; none if no picture moves it.
    pub picture: Option<Picture>,
    /// The score of that picture: mean of the channel, or logit.
    pub reached: f32,
    /// The same score of the photo.
    pub photo: f32,
    /// The channel's map of the photo; none for a class, and where the channel is silent.
    pub map: Option<Picture>,
}

/// Some channels of a layer.
#[derive(Debug, Clone)]
pub struct Stage {
    /// The layer.
    pub layer: String,
    /// Channels, height, width of its output for the photo.
    pub shape: [usize; 3],
    /// The channels.
    pub channels: Vec<Excited>,
    /// Colours of the maps.
    pub scale: Option<Scale>,
}

/// Cells in one picture, with the words around it.
#[derive(Debug, Clone)]
pub struct Sheet {
    /// The layer.
    pub layer: String,
    /// Its kind and what there is of it: `ReLU · 32 channels of 80 × 80`.
    pub what: String,
    /// All cells.
    pub picture: Picture,
    /// Number of the first cell of each row.
    pub rows: Vec<usize>,
    /// Colours.
    pub scale: Option<Scale>,
    /// How the cells were enlarged, and what is not shown.
    pub note: String,
}

/// Where the time goes.
#[derive(Debug, Clone)]
pub struct Timings {
    /// Operations in order.
    pub layers: Vec<LayerTime>,
    /// Passes of which the medians are taken.
    pub passes: usize,
    /// Threads that worked.
    pub threads: usize,
}

impl Report {
    /// The page.
    ///
    /// # Errors
    /// None, unless memory runs out.
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

    /// Length of a bar in percent: the longest operation's is 100.
    fn share(&self, micros: &f64) -> f64 {
        let longest = self.layers.iter().map(|t| t.forward + t.backward).fold(1e-9, f64::max);
        100.0 * micros / longest
    }
}

/// How the template writes numbers.
mod filters {
    use askama::{Result, Values};
    use std::fmt::Display;

    /// Three significant digits.
    #[askama::filter_fn]
    pub fn short(value: &f32, _: &dyn Values) -> Result<String> {
        Ok(crate::draw::short(*value))
    }

    /// A number with this many decimals.
    #[askama::filter_fn]
    pub fn fixed(value: impl Display, _: &dyn Values, decimals: usize) -> Result<String> {
        Ok(format!("{value:.decimals$}").replace('-', "−"))
    }

    /// Digits in groups of three; nothing for zero.
    #[askama::filter_fn]
    pub fn counted(value: &usize, _: &dyn Values) -> Result<String> {
        Ok(if *value == 0 { String::new() } else { super::thousands(*value) })
    }
}
