//! `convscope filters`: a convolution's kernels as a picture.

use crate::cli::args::Common;
use crate::cli::output::{Output, print};
use crate::cli::problem::Problem;
use crate::cli::session::Session;
use convscope_models::engine::Tensor;
use convscope_viz::draw::deprocess::signed;
use convscope_viz::draw::{Cell, Colormap, Figure, Grid, Limits, Pixels, Range, ScaleBar, Scope, Theme};
use convscope_viz::filters::{Filters, filters, first_conv};
use image::{Rgb, RgbImage};
use serde_json::json;

pub fn run(common: &Common, layer: Option<&str>) -> Result<(), Problem> {
    let session = Session::open(common)?;
    let network = session.network();
    let (layer, one) = match layer {
        Some(text) => {
            let s = session.select(text)?;
            (s.layer, s.channel)
        }
        None => (first_conv(&session.model).ok_or_else(|| Problem::usage(format!("{} has no convolution", network.name)))?, None),
    };
    let found = filters(&session.model, layer)?;
    let [oc, c, kh, kw] = found.size;
    let name = network[layer].name.as_str();
    let what = one.map(|i| format!(":{i}")).unwrap_or_default();
    let title = format!("Filters · {} · {name}{what}", network.name);
    let of = match one {
        Some(filter) => format!("the {c} slices of filter {filter} (of {oc}), each {kh}×{kw}"),
        None => format!("{oc} filters, each {c}×{kh}×{kw}"),
    };
    let figure = Figure::new(&title)
        .subtitle(format!("{of} · one scale for all, ends at the 99th percentile of |w|"))
        .metadata(session.metadata(""))
        .theme(if common.dark { Theme::dark() } else { Theme::light() });
    let pages = match one {
        Some(filter) => slices(&figure, &found, filter)?,
        None => figure.grid(&Drawn::new(&found)?.grid())?,
    };
    let mut output = Output::new(common, session.facts(&[("layer", json!(name)), ("shape", json!(found.size))]));
    for (i, page) in pages.iter().enumerate() {
        let number = if pages.len() > 1 { (i + 1).to_string() } else { String::new() };
        output.picture(&["filters", &network.name, &format!("{name}{what}"), &number], &title, page, &[])?;
    }
    output.numbers(format!("{name}.weight"), Tensor::from_slice(found.size, &found.values)?);
    let pictures = output.finish()?;
    if common.json {
        print(format!("{:#}", json!({"layer": name, "shape": found.size, "pictures": pictures})))?;
    }
    Ok(())
}

/// A picture of each filter, and what its shades stand for.
pub struct Drawn {
    pictures: Vec<RgbImage>,
    dead: Vec<bool>,
    scale: ScaleBar,
}

impl Drawn {
    /// Filters that read RGB in colour, others as mosaics of their slices; grey is zero, one symmetric scale for all.
    pub fn new(f: &Filters) -> Result<Self, Problem> {
        let [_, _, kh, kw] = f.size;
        let range = Limits::Symmetric.range(&f.values);
        let (pictures, label) = match range {
            Some(range) if f.is_rgb() => {
                let colour = f.iter().map(|w| signed(w, kh, kw, range)).collect::<Result<Vec<_>, _>>()?;
                (colour, "weight, in each of red, green and blue")
            }
            _ => (f.iter().map(|w| mosaic(w, f.size, range)).collect(), "weight"),
        };
        let dead = f.iter().map(|w| w.iter().all(|v| *v == 0.0)).collect();
        Ok(Drawn { pictures, dead, scale: ScaleBar::new(Colormap::Grey, range, label) })
    }

    pub fn grid(&self) -> Grid<'_> {
        let cell = |(i, (picture, dead)): (usize, (_, &bool))| Cell {
            label: format!("#{i}"),
            value: None,
            pixels: if *dead { Pixels::Blank("dead") } else { Pixels::Picture(picture) },
        };
        let mut grid = Grid::new(self.pictures.iter().zip(&self.dead).enumerate().map(cell).collect());
        grid.picture_scale = Some(self.scale.clone());
        grid
    }
}

/// The slices of one filter, a cell each.
fn slices(figure: &Figure, f: &Filters, filter: usize) -> Result<Vec<RgbImage>, Problem> {
    let [_, _, h, w] = f.size;
    let weights = f.iter().nth(filter).unwrap_or(&[]);
    let cell = |(i, values)| Cell { label: format!("#{i}"), value: None, pixels: Pixels::Map { values, h, w } };
    Ok(figure.grid(&weight_grid(weights.chunks_exact((h * w).max(1)).enumerate().map(cell).collect()))?)
}

/// A filter's slices side by side, in reading order of the input channels.
fn mosaic(weights: &[f32], [_, c, kh, kw]: [usize; 4], range: Option<Range>) -> RgbImage {
    let columns = (c as f64).sqrt().ceil().max(1.0) as usize;
    // White between slices, as grey is zero; a 1x1 kernel needs no gap.
    let gap = u32::from(kh * kw > 1);
    let slice = |values: &[f32]| {
        let shade = |v: f32| range.map_or([127; 3], |r| Colormap::Grey.rgb(r.unit(v)));
        RgbImage::from_fn(kw as u32, kh as u32, |x, y| Rgb(shade(values[y as usize * kw + x as usize])))
    };
    // The same gap around them, so that a filter's slices stand nearer to each other than to the next filter.
    let (w, h) = (columns as u32 * (kw as u32 + gap) + gap, c.div_ceil(columns) as u32 * (kh as u32 + gap) + gap);
    let mut all = RgbImage::from_pixel(w, h, Rgb([255; 3]));
    for (i, values) in weights.chunks_exact(kh * kw).enumerate() {
        let gap = gap as usize;
        let (x, y) = (gap + i % columns * (kw + gap), gap + i / columns * (kh + gap));
        image::imageops::replace(&mut all, &slice(values), x as i64, y as i64);
    }
    all
}

fn weight_grid(cells: Vec<Cell>) -> Grid {
    let mut grid = Grid::new(cells);
    (grid.colormap, grid.limits, grid.scope) = (Colormap::Grey, Limits::Symmetric, Scope::Shared);
    grid.quantity = "weight".into();
    grid
}
