//! The methods: from a network and an image to values, without drawing or files.

pub mod ascent;
pub mod default_layers;
mod error;
pub mod features;
pub mod filters;
pub mod gradcam;
pub mod predict;
pub mod timings;

pub use error::VizError;
