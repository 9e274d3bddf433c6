//! Sheets of filters and feature maps.

use crate::cli::commands::features::grid;
use crate::cli::commands::filters::DrawnFilters;
use crate::cli::error::CliError;
use crate::cli::session::Session;
use convscope_viz::draw::{CellContent, Grid};
use convscope_viz::features::Features;
use convscope_viz::filters::{filters as weights, first_conv};
use convscope_viz::report::{Picture, Scale, Sheet};

/// Approximate side of a cell in pixels, and maximum number of cells.
const MAP: u32 = 48;
const FILTER: u32 = 56;
const MOST: usize = 128;
const GAP: u32 = 3;

/// The feature maps of a layer for the photo `name`.
pub fn maps(session: &Session, maps: &Features, name: &str) -> Result<Sheet, CliError> {
    let layer = &session.network()[maps.layer];
    let [c, h, w] = maps.size();
    let channels: Vec<usize> = (0..c.min(MOST)).collect();
    let what = format!("{} · {c} channels of {w} × {h}", layer.kind.type_name());
    sheet(&layer.name, what, c, &grid(maps, &channels), MAP, |silent| {
        format!("Feature maps of {} for {name}: {} channels of {w} by {h}, {silent} of them silent", layer.name, channels.len())
    })
}

/// The filters of the first convolution.
pub fn filters(session: &Session) -> Result<Option<Sheet>, CliError> {
    let Some(layer) = first_conv(&session.model) else { return Ok(None) };
    let found = weights(&session.model, layer)?;
    let ([oc, c, kh, kw], name) = (found.size, &session.network()[layer].name);
    let drawn = DrawnFilters::new(&found)?;
    let mut grid = drawn.grid();
    grid.cells.truncate(MOST);
    let what = format!("{oc} filters of {c} × {kh} × {kw}");
    let alt = |dead| format!("The {} filters of {name}, {kw} by {kh} pixels each, {dead} of them zero", oc.min(MOST));
    sheet(name, what, oc, &grid, FILTER, alt).map(Some)
}

/// A grid of some of `all` cells as one picture; `alt` gets the number of blank cells.
fn sheet(
    layer: &str,
    what: String,
    all: usize,
    grid: &Grid,
    side: u32,
    alt: impl Fn(usize) -> String,
) -> Result<Sheet, CliError> {
    let cells = grid.pictures(side)?;
    let count = cells.pictures.len();
    let columns = if count <= 64 { 8 } else { 16 };
    let blank = cells.pictures.iter().filter(|p| matches!(p, CellContent::Word(_))).count();
    let more = if all > count { format!(" · the first {count} of {all}") } else { String::new() };
    let silent = if blank > 0 { format!(" · {blank} with nothing to show") } else { String::new() };
    Ok(Sheet {
        layer: layer.to_string(),
        what,
        picture: Picture::new(cells.sheet(columns, GAP)?, alt(blank))?,
        rows: (0..count).step_by(columns).collect(),
        scale: cells.scale.as_ref().map(Scale::from),
        note: format!("{}{silent}{more}", cells.note),
    })
}
