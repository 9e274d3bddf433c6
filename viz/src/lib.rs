//! Looking into convolutional networks.
//!
//! Each method is a function from a network, an image and options to numbers ([`predict`], [`features`], [`filters`], [`gradcam`],
//! [`ascent`]); [`draw`] turns numbers into pictures; the `convscope` binary does the reading and writing. No method touches a
//! file.

pub mod ascent;
pub mod draw;
mod error;
pub mod features;
pub mod filters;
pub mod gradcam;
pub mod predict;

pub use error::VizError;
