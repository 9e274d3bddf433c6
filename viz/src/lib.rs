//! A microscope for convolutional networks: methods that compute, and drawings of their results.
//!
//! A method is a function from a model, an image and options to values. A drawing turns values into a picture and does not depend
//! on networks.
//!
//! ```
//! use convscope_models::Model;
//! use convscope_viz::Photo;
//! use convscope_viz::draw::{Colormap, Overlay};
//! use convscope_viz::gradcam::{Targets, grad_cam};
//!
//! let model = Model::builtin()?;
//! let photo = Photo::open("sample:cat", &model.network)?;
//! let layer = model.network.cam_layer().unwrap();
//! let (prediction, maps) = grad_cam(&model, &photo.input, layer, Targets::Best(1))?;
//! let picture = Overlay::Proportional(Colormap::Inferno).apply(&photo.shown, &maps[0].heatmap)?;
//! assert_eq!((picture.dimensions(), maps[0].class), (photo.shown.dimensions(), prediction.best()));
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```
//!
//! | module | holds |
//! |---|---|
//! | [`Photo`], [`batch`] | a photo as a network's input |
//! | [`predict`], [`features`], [`filters`], [`gradcam`], [`ascent`], [`timings`] | the methods |
//! | [`default_layers`] | default layers to show |
//! | [`Map`] | a two-dimensional map of values, and its resizing |
//! | [`draw`] | colour maps, overlays, grids, figures, PNG files |
//! | `report` | one HTML page about a network and a photo (feature `report`) |
//!
//! The feature `cli` (on by default) builds the `convscope` binary; a library user switches it off with `default-features = false`.

pub mod draw;
mod map;
mod methods;
mod photo;
#[cfg(feature = "report")]
pub mod report;

pub use map::{Map, MapError};
pub use methods::{VizError, ascent, default_layers, features, filters, gradcam, predict, timings};
pub use photo::{Photo, batch};

/// The example of the README compiles.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
