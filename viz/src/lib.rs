//! Looking into convolutional networks.
//!
//! Each method is a function from a network, an image and options to numbers ([`predict`], [`features`], [`filters`], [`gradcam`],
//! [`ascent`], [`timings`]); [`tour`] picks layers for who does not know a network; [`draw`] turns numbers into pictures, [`report`] both
//! into a page; the `convscope` binary does the reading and writing. No method touches a file.

pub mod ascent;
pub mod draw;
mod error;
pub mod features;
pub mod filters;
pub mod gradcam;
pub mod predict;
pub mod report;
pub mod timings;
pub mod tour;

pub use error::VizError;
