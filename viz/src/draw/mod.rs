//! The drawing: numbers in, pictures out.
//!
//! Nothing here knows of networks. Numbers are `f32` slices in row-major order, photos are [`image::RgbImage`].
//!
//! * [`Colormap`] and [`Range`] turn a number into a colour; [`Limits`] and [`Scope`] say where a range comes from.
//! * [`overlay`] brings a heat [`Map`](crate::Map) onto a photo, [`deprocess`] a tensor into a picture.
//! * [`Figure`] puts a [`Grid`] of maps or a row of [`Panels`] on a page, with a title, scale bars and a line of metadata.
//! * [`Roofline`] plots rates under the roofs of a machine, as SVG.
//! * [`png`] writes the page with the metadata inside and beside it.
//!
//! Lengths in this module are logical pixels; [`Theme::zoom`] real pixels stand for one, so that text stays sharp on a
//! projector.

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
pub use cells::{Cells, Shown};
pub use chart::{Chart, Series};
pub use colormap::{Colormap, NAN_COLOR};
pub use figure::{Block, Figure, Row};
pub use grid::{Cell, Grid, Pixels};
pub use matrix::Matrix;
pub use overlay::Overlay;
pub use panels::{Panel, Panels};
pub use roofline::{Roofline, RooflinePoint};
pub use scale::{Health, Limits, Range, Scope, short};
pub use text::{Align, Font, Style};
pub use theme::Theme;
pub use tile::{Order, tile};

/// What can go wrong while drawing. Every message is one line.
#[derive(Debug, thiserror::Error)]
pub enum DrawError {
    /// A slice does not have the number of values its shape asks for.
    #[error("{what} has {got} values, but its shape {shape} needs {want}")]
    Length {
        /// The thing that was to be drawn.
        what: String,
        /// Number of values given.
        got: usize,
        /// Number of values needed.
        want: usize,
        /// The shape, for example `3x64x64`.
        shape: String,
    },
    /// Cells of one grid, or a picture and its map, differ in size.
    #[error("{what} is {got} (width x height), but {want} is needed")]
    Size {
        /// The thing that was to be drawn.
        what: String,
        /// Its size.
        got: String,
        /// The size that fits.
        want: String,
    },
    /// There is nothing to draw.
    #[error("{0} is empty: nothing to draw")]
    Empty(String),
    /// The picture would be larger than [`MAX_PIXELS`].
    #[error("a picture of {width}x{height} pixels is above the limit of {} million", MAX_PIXELS / 1_000_000)]
    TooLarge {
        /// Width asked for.
        width: u64,
        /// Height asked for.
        height: u64,
    },
    /// A map is empty or of another size than its values.
    #[error(transparent)]
    Map(#[from] crate::map::MapError),
    /// A name or number on the command line is not understood.
    #[error("{0}")]
    Unknown(String),
    /// A file cannot be written.
    #[error("cannot write {path}: {reason}")]
    Write {
        /// The file or folder.
        path: String,
        /// The system's reason.
        reason: String,
    },
}

/// Largest picture drawn, in pixels: far above any sensible page, far below what would exhaust memory.
pub const MAX_PIXELS: u64 = 400_000_000;

/// Checks that `values` holds `channels * height * width` numbers and that none of the three is zero.
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

/// Checks a picture's size against [`MAX_PIXELS`].
pub(crate) fn check_pixels(width: u64, height: u64) -> Result<(), DrawError> {
    match width.checked_mul(height) {
        Some(0) => Err(DrawError::Empty(format!("a picture of {width}x{height} pixels"))),
        Some(n) if n <= MAX_PIXELS => Ok(()),
        _ => Err(DrawError::TooLarge { width, height }),
    }
}
