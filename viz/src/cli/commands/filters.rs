//! `convscope filters`: a convolution's kernels as a picture.

use crate::cli::args::{Common, FiltersArgs};
use crate::cli::commands::RunCommand;
use crate::cli::error::CliError;
use crate::cli::invocation::Invocation;
use crate::cli::output::{OutputFiles, metadata};
use crate::cli::session::{Session, credit, weights};
use crate::cli::terminal::print_json;
use convscope_engine::Tensor;
use convscope_models::text::{nearest, one_line};
use convscope_viz::draw::deprocess::signed;
use convscope_viz::draw::{Cell, Colormap, Figure, Grid, Limits, Pixels, Range, RangeScope, ScaleBar, Theme};
use convscope_viz::filters::{Filters, filters, first_conv, stored_filters};
use image::{Rgb, RgbImage};
use serde_json::{Map, Value, json};

impl RunCommand for FiltersArgs {
    const NAME: &'static str = "filters";
    const NUMBERS: bool = true;

    fn has_one_tensor(&self) -> bool {
        true
    }

    fn run(&self, invocation: &Invocation) -> Result<(), CliError> {
        let (common, layer, tensor) = (invocation.common, self.layer.as_deref(), self.tensor.as_deref());
        let Subject { of, kind, name, one, filters: found, credit, metadata } = match tensor {
            Some(text) => of_file(common, text)?,
            None => of_network(invocation, layer)?,
        };
        let [oc, c, kh, kw] = found.size;
        let what = one.map(|i| format!(":{i}")).unwrap_or_default();
        let title = format!("Filters · {of} · {name}{what}");
        let shown = match one {
            Some(filter) => format!("the {c} slices of filter {filter} (of {oc}), each {kh}×{kw}"),
            None => format!("{oc} filters, each {c}×{kh}×{kw}"),
        };
        let figure = Figure::new(&title)
            .subtitle(format!("{shown} · one scale for all, ends at the 99th percentile of |w|"))
            .metadata(credit)
            .theme(if common.dark { Theme::dark() } else { Theme::light() });
        let pages = match one {
            Some(filter) => slices(&figure, &found, filter)?,
            None => figure.grid(&DrawnFilters::new(&found)?.grid())?,
        };
        let mut output = OutputFiles::new(common, metadata);
        for (i, page) in pages.iter().enumerate() {
            let number = if pages.len() > 1 { (i + 1).to_string() } else { String::new() };
            output.picture(&["filters", &of, &format!("{name}{what}"), &number], &title, page, &[])?;
        }
        let stored_as = if tensor.is_some() { name.clone() } else { format!("{name}.weight") };
        output.numbers(stored_as, Tensor::from_slice(found.size, &found.values)?);
        let pictures = output.finish()?;
        if common.json {
            print_json(format!("{:#}", json!({kind: name, "shape": found.size, "pictures": pictures})))?;
        }
        Ok(())
    }
}

/// Filters and their source.
struct Subject {
    /// Name of the network or the file.
    of: String,
    /// Kind of `name`: `layer` or `tensor`.
    kind: &'static str,
    name: String,
    /// The only selected filter.
    one: Option<usize>,
    filters: Filters,
    credit: String,
    metadata: Map<String, Value>,
}

/// The filters of a layer, or of the first convolution.
fn of_network(invocation: &Invocation, layer: Option<&str>) -> Result<Subject, CliError> {
    let session = Session::open(invocation)?;
    let network = session.network();
    let (layer, one) = match layer {
        Some(text) => {
            let s = session.select(text)?;
            (s.layer, s.channel)
        }
        None => {
            (first_conv(&session.model).ok_or_else(|| CliError::usage(format!("{} has no convolution", network.name)))?, None)
        }
    };
    let (of, name, filters) = (network.name.clone(), network[layer].name.clone(), filters(&session.model, layer)?);
    let metadata = session.metadata(&[("layer", json!(name)), ("shape", json!(filters.size))]);
    Ok(Subject { of, kind: "layer", name, one, filters, credit: session.credit(""), metadata })
}

/// A tensor of the weights file, of any network.
fn of_file(common: &Common, text: &str) -> Result<Subject, CliError> {
    let source = weights(common, "--tensor")?;
    let Some(checkpoint) = source.checkpoint() else {
        return Err(CliError::usage(format!("--tensor {text}: random weights are in no file; choose a layer with -l")));
    };
    let weights = source.to_string();
    let named = |name: &str| checkpoint.tensors().iter().find(|t| t.name == name);
    let one = || {
        let (name, filter) = text.rsplit_once(':')?;
        Some((named(name)?, Some(filter.parse::<usize>().ok()?)))
    };
    let (tensor, one) = named(text).map(|t| (t, None)).or_else(one).ok_or_else(|| {
        let drawable = checkpoint.tensors().iter().filter(|t| t.shape.len() == 4).map(|t| t.name.as_str());
        let near: Vec<String> = nearest(text, drawable, 3).iter().map(one_line).collect();
        let hint =
            if near.is_empty() { "nor any of four dimensions".into() } else { format!("did you mean {}?", near.join(", ")) };
        CliError::usage(format!("--tensor {text}: {weights} has no such tensor; {hint}"))
    })?;
    let filters = stored_filters(tensor)?;
    let (name, count) = (one_line(&tensor.name), filters.size[0]);
    if let Some(filter) = one.filter(|filter| *filter >= count) {
        return Err(CliError::usage(format!("--tensor {text}: {name} has {count} filters, so none is number {filter}")));
    }
    let metadata = metadata(&[("weights", json!(weights)), ("tensor", json!(name)), ("shape", json!(filters.size))]);
    let of = weights.rsplit('/').next().unwrap_or_default().to_string();
    Ok(Subject { of, kind: "tensor", name, one, filters, credit: credit(&weights, ""), metadata })
}

/// A picture of each filter, with a description of its colours.
pub struct DrawnFilters {
    pictures: Vec<RgbImage>,
    dead: Vec<bool>,
    scale: ScaleBar,
}

impl DrawnFilters {
    /// Filters of RGB input in colour, others as slices; grey is zero, with one symmetric range for all.
    pub fn new(f: &Filters) -> Result<Self, CliError> {
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
        Ok(DrawnFilters { pictures, dead, scale: ScaleBar::new(Colormap::Grey, range, label) })
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

/// The slices of one filter, one per cell.
fn slices(figure: &Figure, f: &Filters, filter: usize) -> Result<Vec<RgbImage>, CliError> {
    let [_, _, h, w] = f.size;
    let weights = f.iter().nth(filter).unwrap_or(&[]);
    let cell = |(i, values)| Cell { label: format!("#{i}"), value: None, pixels: Pixels::Map { values, h, w } };
    Ok(figure.grid(&weight_grid(weights.chunks_exact((h * w).max(1)).enumerate().map(cell).collect()))?)
}

/// A filter's slices in one picture, row by row in the order of the input channels.
fn mosaic(weights: &[f32], [_, c, kh, kw]: [usize; 4], range: Option<Range>) -> RgbImage {
    let columns = (c as f64).sqrt().ceil().max(1.0) as usize;
    // White gaps, as grey is zero; 1x1 kernels have none.
    let gap = u32::from(kh * kw > 1);
    let slice = |values: &[f32]| {
        let shade = |v: f32| range.map_or([127; 3], |r| Colormap::Grey.rgb(r.unit(v)));
        RgbImage::from_fn(kw as u32, kh as u32, |x, y| Rgb(shade(values[y as usize * kw + x as usize])))
    };
    // The same margin around each filter separates it from its neighbours.
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
    (grid.colormap, grid.limits, grid.scope) = (Colormap::Grey, Limits::Symmetric, RangeScope::Shared);
    grid.quantity = "weight".into();
    grid
}
