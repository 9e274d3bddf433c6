//! `convscope features`: the feature maps of an image.

use crate::cli::args::{FeaturesArgs, FeaturesPreset, Sort};
use crate::cli::commands::RunCommand;
use crate::cli::error::CliError;
use crate::cli::invocation::Invocation;
use crate::cli::memory::PassKind;
use crate::cli::output::OutputFiles;
use crate::cli::session::Session;
use crate::cli::terminal::print_json;
use convscope_models::network::{LayerId, Selection};
use convscope_viz::draw::deprocess::Standardize;
use convscope_viz::draw::{Bar, BarList, Cell, Colormap, Figure, Grid, Limits, Order, Pixels, RangeScope, Theme, tile};
use convscope_viz::features::{Features, features};
use image::{Rgb, RgbImage};
use serde_json::json;
use std::collections::HashSet;
use std::path::Path;

impl RunCommand for FeaturesArgs {
    const NAME: &'static str = "features";
    const NUMBERS: bool = true;

    fn run(&self, invocation: &Invocation) -> Result<(), CliError> {
        let (common, path, look) = (invocation.common, self.path.as_path(), self);
        let scope: RangeScope = look.scale.parse().map_err(|e| CliError::usage(format!("--scale {}: {e}", look.scale)))?;
        let mut session = Session::open(invocation)?;
        let selected = session.network().select_many(&look.layer)?;
        let image = session.photo(path, &look.image, PassKind::Recorded)?.photo.input;
        let network = session.network();
        let mut layers: Vec<LayerId> = selected.iter().map(|s| s.layer).collect();
        let mut seen = HashSet::new();
        layers.retain(|layer| seen.insert(*layer));
        let (found, _) = features(&session.model.fused_once(&layers), &image, &layers)?;
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        let mut output =
            OutputFiles::new(common, session.metadata(&[("image", json!(path.to_string_lossy()))])).without(&["preset"]);
        let mut report = Vec::new();
        for maps in &found {
            let name = network[maps.layer].name.as_str();
            output.numbers(name, maps.values.clone());
            let channels = order(maps, look.sort, &selected);
            let [c, h, w] = maps.size();
            let title = format!("Feature maps · {} · {name}", network.name);
            let pages = match look.preset {
                Some(FeaturesPreset::Chollet1) if h * w > 1 => vec![chollet(maps, &channels)?],
                _ => pages(&session, &title, path, maps, &channels, scope, common.dark)?,
            };
            let dead = maps.channels().filter(|m| m.iter().all(|v| *v == 0.0)).count();
            let metadata = json!({"layer": name, "shape": [c, h, w], "dead_channels": dead, "sort": format!("{:?}", look.sort), "scale": look.scale, "preset": look.preset.map(|_| "chollet1")});
            for (i, page) in pages.iter().enumerate() {
                let number = if pages.len() > 1 { (i + 1).to_string() } else { String::new() };
                let look = if look.preset.is_some() { "chollet1" } else { "" };
                output.picture(
                    &["features", &network.name, name, &stem, look, &number],
                    &title,
                    page,
                    &[("features", metadata.clone())],
                )?;
            }
            report.push(metadata);
        }
        let pictures = output.finish()?;
        if common.json {
            print_json(format!("{:#}", json!({"image": path.to_string_lossy(), "layers": report, "pictures": pictures})))?;
        }
        Ok(())
    }
}

/// The shown channels of a layer, in order.
fn order(maps: &Features, sort: Sort, selected: &[Selection]) -> Vec<usize> {
    let asked: Vec<Option<usize>> = selected.iter().filter(|s| s.layer == maps.layer).map(|s| s.channel).collect();
    let mut channels: Vec<usize> = match asked.contains(&None) {
        true => (0..maps.size()[0]).collect(),
        false => asked.into_iter().flatten().collect(),
    };
    let all: Vec<&[f32]> = maps.channels().collect();
    let means = maps.means();
    let zeros = |c: usize| all[c].iter().filter(|v| **v <= 0.0).count();
    match sort {
        Sort::Index => {}
        Sort::Mean => channels.sort_by(|a, b| means[*b].total_cmp(&means[*a])),
        Sort::Sparsity => channels.sort_by_key(|c| zeros(*c)),
    }
    channels
}

fn pages(
    session: &Session,
    title: &str,
    path: &Path,
    maps: &Features,
    channels: &[usize],
    scope: RangeScope,
    dark: bool,
) -> Result<Vec<RgbImage>, CliError> {
    let [c, h, w] = maps.size();
    let kind = session.network()[maps.layer].kind.type_name();
    let file = path.file_name().unwrap_or_default().to_string_lossy();
    let shown = if channels.len() == c { String::new() } else { format!(", {} shown", channels.len()) };
    let size = if h * w == 1 { format!("{c} units") } else { format!("{c} channels of {w}×{h}") };
    let figure = Figure::new(title)
        .subtitle(format!("{file} · {kind} · {size}{shown}"))
        .metadata(session.credit(""))
        .theme(if dark { Theme::dark() } else { Theme::light() });
    let all: Vec<&[f32]> = maps.channels().collect();
    if h * w == 1 {
        // A dense layer: its strongest units as bars.
        let mut best = channels.to_vec();
        best.sort_by(|a, b| all[*b][0].total_cmp(&all[*a][0]));
        best.truncate(20);
        let is_output = maps.layer == session.network().output();
        let label = |u: usize| if is_output { session.class_name(u) } else { format!("#{u}") };
        let bars: Vec<Bar> = best.iter().map(|u| Bar { label: label(*u), value: all[*u][0], target: false }).collect();
        let full = bars.iter().map(|b| b.value.abs()).fold(1e-6, f32::max);
        let heading = match (bars.len(), channels.len()) {
            (1, 1) if c == 1 => "the one unit".into(),
            (shown, _) if shown == c => format!("all {c} units"),
            (shown, asked) if shown == asked => format!("{shown} of {c} units"),
            (shown, asked) => format!("the {shown} strongest of {asked} units"),
        };
        let list = BarList { heading, bars, full };
        return Ok(vec![figure.stack(&[&list])?]);
    }
    Ok(figure.grid(&Grid { scope, ..grid(maps, channels) })?)
}

/// The maps of some channels.
pub fn grid<'a>(maps: &'a Features, channels: &[usize]) -> Grid<'a> {
    let [_, h, w] = maps.size();
    let all: Vec<&[f32]> = maps.channels().collect();
    let cell = |i: &usize| Cell { label: format!("#{i}"), value: None, pixels: Pixels::Map { values: all[*i], h, w } };
    let mut grid = Grid::new(channels.iter().map(cell).collect());
    // After a ReLU the range starts at zero; otherwise it is symmetric.
    if all.iter().any(|m| m.iter().any(|v| *v < 0.0)) {
        (grid.colormap, grid.limits) = (Colormap::RdBu, Limits::Symmetric);
    }
    grid
}

/// The grid of Chollet's notebook (2017, 5.4.1): standardised channels, 16 per row, no gap. Unlike the notebook, it keeps the
/// last row, and dead channels are black.
fn chollet(maps: &Features, channels: &[usize]) -> Result<RgbImage, CliError> {
    let [_, h, w] = maps.size();
    let all: Vec<&[f32]> = maps.channels().collect();
    let look = Standardize { eps: 0.0, crop: 0, ..Standardize::CHOLLET2 };
    let cells: Vec<RgbImage> = channels
        .iter()
        .map(|c| {
            let three = all[*c].repeat(3);
            let grey = look.picture(&three, h, w)?;
            let color = |p: &Rgb<u8>| Rgb(Colormap::Viridis.rgb(f32::from(p[0]) / 255.0));
            Ok(RgbImage::from_fn(w as u32, h as u32, |x, y| color(grey.get_pixel(x, y))))
        })
        .collect::<Result<_, CliError>>()?;
    Ok(tile(&cells, cells.len().div_ceil(16), 16, 0, Order::RowMajor)?)
}
