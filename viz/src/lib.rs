//! Looking into convolutional networks.
//!
//! Each method is a function from a network, an image and options to numbers ([`predict`], [`features`], [`filters`], [`gradcam`],
//! [`ascent`], [`timings`]); [`tour`] picks layers for who does not know a network; [`draw`] turns numbers into pictures, [`report`] both
//! into a page; the `convscope` binary does the reading and writing. No method touches a file.

pub mod draw;
mod map;
mod methods;
mod photo;
#[cfg(feature = "report")]
pub mod report;

pub use map::{Map, MapError};
pub use methods::{VizError, ascent, features, filters, gradcam, predict, timings, tour};
pub use photo::{Photo, batch};
