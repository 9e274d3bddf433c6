//! Drawing: from values to pictures.
//!
//! This module does not depend on networks. Values are `f32` slices in row-major order, photos are [`image::RgbImage`].
//!
//! * [`Colormap`] and [`Range`] map a value to a colour; [`Limits`] and [`RangeScope`] are the rules for ranges.
//! * [`overlay`] draws a heat [`Map`](crate::Map) over a photo, [`deprocess`] turns a tensor into a picture.
//! * [`Figure`] lays out a [`Grid`] of maps or a row of [`Panels`], with a title, scale bars and a line of metadata.
//! * [`Roofline`] plots rates under a machine's roofs, as SVG.
//! * [`png`] writes a page with its metadata inside and beside it.
//!
//! Lengths in this module are logical pixels; one is [`Theme::zoom`] device pixels, for sharp text on a projector.

mod bars;
mod canvas;
mod cells;
mod chart;
mod colormap;
pub mod deprocess;
mod figure;
mod grid;
mod matrix;
pub mod overlay;
mod panels;
pub mod png;
pub mod resize;
mod roofline;
mod scale;
mod text;
mod theme;
mod tile;

pub use bars::{Bar, BarList, ScaleBar};
pub use canvas::Canvas;
pub use cells::{CellContent, Cells};
pub use chart::{Chart, Series};
pub use colormap::{Colormap, NAN_COLOR};
pub use figure::{Block, BlockRow, Figure};
pub use grid::{Cell, Grid, Pixels};
pub use matrix::Matrix;
pub use overlay::Overlay;
pub use panels::{Panel, Panels};
pub use roofline::{Roofline, RooflinePoint};
pub use scale::{Health, Limits, Range, RangeScope, short};
pub use text::{Align, Font, Style};
pub use theme::Theme;
pub use tile::{Order, tile};

/// A drawing error. Every message is one line.
#[derive(Debug, thiserror::Error)]
pub enum DrawError {
    /// The length of a slice differs from its shape.
    #[error("{what} has {got} values, but its shape {shape} needs {want}")]
    Length {
        /// Object of the drawing.
        what: String,
        /// Given number of values.
        got: usize,
        /// Expected number of values.
        want: usize,
        /// The shape, for example `3x64x64`.
        shape: String,
    },
    /// Cells of one grid, or a picture and its map, differ in size.
    #[error("{what} is {got} (width x height), but {want} is needed")]
    Size {
        /// Object of the drawing.
        what: String,
        /// Size of the object.
        got: String,
        /// Expected size.
        want: String,
    },
    /// The input is empty.
    #[error("{0} is empty: nothing to draw")]
    Empty(String),
    /// The picture would be larger than [`MAX_PIXELS`].
    #[error("a picture of {width}x{height} pixels is above the limit of {} million", MAX_PIXELS / 1_000_000)]
    TooLarge {
        /// Requested width.
        width: u64,
        /// Requested height.
        height: u64,
    },
    /// A map is empty, or its size differs from its number of values.
    #[error(transparent)]
    Map(#[from] crate::map::MapError),
    /// A name or number in the arguments is invalid.
    #[error("{0}")]
    Unknown(String),
    /// A file cannot be written.
    #[error("cannot write {path}: {reason}")]
    Write {
        /// The file or folder.
        path: String,
        /// The system's error.
        reason: String,
    },
}

/// Maximum pixels of a picture, far above any sensible page and far below the memory's size.
pub const MAX_PIXELS: u64 = 400_000_000;

/// Checks that `values` has `channels * height * width` elements and that none of the three is zero.
pub(crate) fn check_shape(what: &str, values: &[f32], channels: usize, height: usize, width: usize) -> Result<(), DrawError> {
    let want = channels.saturating_mul(height).saturating_mul(width);
    if values.len() != want {
        let shape = if channels == 1 { format!("{height}x{width}") } else { format!("{channels}x{height}x{width}") };
        return Err(DrawError::Length { what: what.into(), got: values.len(), want, shape });
    }
    if want == 0 {
        return Err(DrawError::Empty(what.into()));
    }
    check_pixels(width as u64, height as u64)
}

/// Checks a size against [`MAX_PIXELS`].
pub(crate) fn check_pixels(width: u64, height: u64) -> Result<(), DrawError> {
    match width.checked_mul(height) {
        Some(0) => Err(DrawError::Empty(format!("a picture of {width}x{height} pixels"))),
        Some(n) if n <= MAX_PIXELS => Ok(()),
        _ => Err(DrawError::TooLarge { width, height }),
    }
}
