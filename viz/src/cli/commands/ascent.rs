//! `convscope ascent`: images that maximise a layer, a channel or a class.

use crate::cli::args::{AscentArgs, AscentInput, AscentPreset};
use crate::cli::commands::RunCommand;
use crate::cli::error::CliError;
use crate::cli::invocation::Invocation;
use crate::cli::memory::PassKind;
use crate::cli::output::OutputFiles;
use crate::cli::session::{Session, progress, side_lengths};
use crate::cli::terminal::print_json;
use clap::ValueEnum;
use convscope_engine::Tensor;
use convscope_models::image::{ChannelOrder, Normalization, Preprocess, Resize, prepare_file};
use convscope_models::network::{LayerId, Selection};
use convscope_viz::ascent::{self, Ascent, InputSpace, Options, Preset, Rendering, Start, StepRule, ascend, best};
use convscope_viz::draw::deprocess::{Standardize, denormalize};
use convscope_viz::draw::{Cell, Figure, Grid, Order, Pixels, Theme, tile};
use image::RgbImage;
use serde_json::json;

/// Margin of the recipes' grids, in pixels.
const MARGIN: u32 = 5;

impl RunCommand for AscentArgs {
    const NAME: &'static str = "ascent";
    const NUMBERS: bool = true;

    fn run(&self, invocation: &Invocation) -> Result<(), CliError> {
        let (common, args) = (invocation.common, self);
        let mut session = Session::open(invocation)?;
        let (layer, channels) = target(&session, args)?;
        let options = options(&session, args, common.seed)?;
        session.check_memory(options.size, options.batch.min(channels.len()), PassKind::Recorded)?;
        let network = session.network();
        let bar = progress((channels.len() * options.steps) as u64, "ascent", common.quiet || common.json);
        let mut results = ascend(&session.model.fused(&[layer])?, layer, &channels, &options, &mut |p: ascent::Progress| {
            let together = options.batch.min(p.total - p.done_channels);
            bar.set_position((p.done_channels * p.steps + p.step * together) as u64);
            bar.set_message(format!("score {:.3}", p.score));
        })?;
        bar.finish_and_clear();
        let skipped = results.iter().filter(|a| a.skipped).count();
        let keep = args.best.or(if args.preset == AscentPreset::Kerasblog { Some(64) } else { None });
        if args.sort || keep.is_some() {
            results = best(results, keep.unwrap_or(channels.len()));
        }
        if results.is_empty() {
            return Err(CliError::failure(format!(
                "none of the {} channels of {} can be excited",
                channels.len(),
                network[layer].name
            )));
        }
        let name = network[layer].name.as_str();
        let preset = args.preset.to_possible_value().map_or_else(String::new, |v| v.get_name().to_string());
        let title = format!("Gradient ascent · {} · {name}", network.name);
        let pictures = results.iter().map(picture).collect::<Result<Vec<_>, _>>()?;
        let page = match args.preset {
            AscentPreset::Default => {
                let tried = (results.len() < channels.len()).then_some(channels.len());
                let figure = figure(&session, &title, layer, results.len(), tried, &options);
                let theme = if common.dark { Theme::dark() } else { Theme::light() };
                figure.theme(theme).grid(&grid(&session, layer, &results, &pictures))?
            }
            AscentPreset::Chollet1 => vec![recipe_grid(&pictures, Order::ColumnMajor)?],
            AscentPreset::Kerasblog | AscentPreset::KerasIo => vec![recipe_grid(&pictures, Order::RowMajor)?],
        };
        let scores: Vec<_> = results
            .iter()
            .map(|a| json!({"channel": a.channel, "score": a.score, "dead": a.dead, "skipped": a.skipped}))
            .collect();
        let metadata = [
            ("layer", json!(name)),
            ("preset", json!(preset)),
            ("options", json!(format!("{options:?}"))),
            ("skipped", json!(skipped)),
            ("channels", json!(scores)),
        ];
        let one = if results.len() == 1 { results[0].channel.to_string() } else { String::new() };
        let told: &[&str] = if one.is_empty() { &["preset"] } else { &["preset", "channels", "class"] };
        let mut output = OutputFiles::new(common, session.metadata(&[])).without(told);
        for (i, page_image) in page.iter().enumerate() {
            let number = if page.len() > 1 { (i + 1).to_string() } else { String::new() };
            let preset = if args.preset == AscentPreset::Default { "" } else { &preset };
            output.picture(&["ascent", &network.name, name, &one, preset, &number], &title, page_image, &metadata)?;
        }
        let [c, h, w] = results[0].shape;
        let images: Vec<f32> = results.iter().flat_map(|a| &a.image).copied().collect();
        output.numbers("image", Tensor::from_slice([results.len(), c, h, w], &images)?);
        output.numbers("score", Tensor::from_slice([results.len()], &results.iter().map(|a| a.score).collect::<Vec<_>>())?);
        let written = output.finish()?;
        if common.json {
            print_json(format!("{:#}", json!({"layer": name, "preset": preset, "channels": scores, "pictures": written})))?;
        }
        Ok(())
    }
}

/// The layer and its channels.
fn target(session: &Session, args: &AscentArgs) -> Result<(LayerId, Vec<usize>), CliError> {
    let network = session.network();
    if let Some(classes) = &args.class {
        return Ok((network.output(), session.classes(classes)?));
    }
    let selected = match (&args.layer, network.cam_layer()) {
        (Some(text), _) => session.select(text)?,
        (None, Some(layer)) => Selection { layer, channel: None },
        (None, None) => return Err(CliError::usage("which layer? the network has no convolution: give one with -l")),
    };
    let count = network.channels(selected.layer)?;
    let channels = match (&args.channels, selected.channel) {
        (Some(_), Some(_)) => {
            return Err(CliError::usage("--layer names a channel already: leave out --channels or the channel"));
        }
        (None, Some(channel)) => vec![channel],
        (Some(list), None) => parse_channels(list, count)?,
        (None, None) => {
            let shown = match args.preset {
                AscentPreset::Default => 16,
                AscentPreset::Chollet1 | AscentPreset::KerasIo => 64,
                AscentPreset::Kerasblog => 200,
            };
            (0..count.min(shown)).collect()
        }
    };
    Ok((selected.layer, channels))
}

/// Parses `all`, `5`, `0-15`, `3,7,9-12`.
fn parse_channels(list: &str, count: usize) -> Result<Vec<usize>, CliError> {
    if list == "all" {
        return Ok((0..count).collect());
    }
    let wrong = || CliError::usage(format!("--channels {list}: expects all, 5, 0-15 or 3,7,9-12, below {count}"));
    let number = |t: &str| t.trim().parse::<usize>().ok().filter(|c| *c < count).ok_or_else(wrong);
    let mut channels = Vec::new();
    for part in list.split(',') {
        match part.split_once('-') {
            Some((a, b)) => channels.extend(number(a)?..=number(b)?),
            None => channels.push(number(part)?),
        }
    }
    if channels.is_empty() { Err(wrong()) } else { Ok(channels) }
}

/// The preset's options, changed by the arguments.
fn options(session: &Session, args: &AscentArgs, seed: u64) -> Result<Options, CliError> {
    let preset = match args.preset {
        AscentPreset::Default => Preset::Default,
        AscentPreset::Chollet1 => Preset::Chollet1,
        AscentPreset::Kerasblog => Preset::Kerasblog,
        AscentPreset::KerasIo => Preset::KerasIo,
    };
    let mut o = preset.options(session.network());
    o.seed = seed;
    if let Some(text) = &args.size {
        o.size = side_lengths(text)?;
    }
    o.steps = args.steps.unwrap_or(o.steps);
    o.tv = args.tv.unwrap_or(o.tv);
    o.l2 = args.l2.unwrap_or(o.l2);
    o.transform.jitter = args.jitter.unwrap_or(o.transform.jitter);
    if let (Some(lr), StepRule::Gradient { rate } | StepRule::Adam { rate, .. }) = (args.lr, &mut o.step) {
        *rate = lr;
    }
    if args.input == AscentInput::Raw {
        o.input = InputSpace::Raw;
    }
    if let Some(path) = &args.start {
        let resize = Resize::Exact { h: o.size[0], w: o.size[1] };
        // Channels in the order red, green, blue, regardless of the network's.
        let order = match session.network().preprocess.normalization.order {
            ChannelOrder::Grey => ChannelOrder::Grey,
            ChannelOrder::Rgb | ChannelOrder::Bgr => ChannelOrder::Rgb,
        };
        let normalization = Normalization { order, ..Normalization::UNIT };
        let to_unit = Preprocess { resize, crop: None, normalization, ..Preprocess::IMAGENET };
        let [low, high] = o.range;
        let photo = prepare_file(path, &to_unit)?;
        let values = photo.planes(session.network().input.channels).unwrap_or(&photo.data);
        o.start = Start::Image(values.iter().map(|v| low + v * (high - low)).collect());
    }
    Ok(o)
}

/// The result of an ascent as a picture.
pub fn picture(a: &Ascent) -> Result<RgbImage, CliError> {
    let [c, h, w] = a.shape;
    // A grey network's image is grey.
    let image = if c == 1 { a.image.repeat(3) } else { a.image.clone() };
    Ok(match a.shown {
        Rendering::Range([low, high]) => denormalize(&image, h, w, [-low / (high - low); 3], [1.0 / (high - low); 3])?,
        Rendering::Chollet1 => Standardize::CHOLLET1.picture(&image, h, w)?,
        Rendering::KerasIo => Standardize::KERAS_IO.picture(&image, h, w)?,
    })
}

/// The grid of the original recipes: eight columns, black margins, no text.
fn recipe_grid(pictures: &[RgbImage], order: Order) -> Result<RgbImage, CliError> {
    let columns = (pictures.len() as f64).sqrt().ceil() as usize;
    let columns = if pictures.len() > 64 { columns } else { columns.min(8) };
    Ok(tile(pictures, pictures.len().div_ceil(columns), columns, MARGIN, order)?)
}

/// The page of the pictures; `tried` is the number of ascents, if only the best are shown.
fn figure(session: &Session, title: &str, layer: LayerId, shown: usize, tried: Option<usize>, options: &Options) -> Figure {
    let network = session.network();
    let (unit, what) = if layer == network.output() { ("classes", "logit") } else { ("channels", "mean of the channel") };
    let all = network.channels(layer).unwrap_or(shown);
    let which = match tried {
        Some(tried) => format!("the best {shown} of {tried} {unit} tried, of {all}"),
        None if shown == all && all > 1 => format!("each of the {all} {unit}"),
        None => format!("{shown} of {all} {unit}"),
    };
    let from = if let Start::Image(_) = options.start { " · from an image" } else { "" };
    Figure::new(title)
        .subtitle(format!("images that maximise {which} · score: {what}"))
        .metadata(session.credit(&format!("seed {} · {} steps{from}", options.seed, options.steps)))
}

fn grid<'a>(session: &Session, layer: LayerId, results: &[Ascent], pictures: &'a [RgbImage]) -> Grid<'a> {
    let is_output = layer == session.network().output();
    let label = |c: usize| if is_output { session.class_name(c) } else { format!("#{c}") };
    let cells = results.iter().zip(pictures).map(|(a, p)| Cell {
        label: label(a.channel),
        value: (!a.dead).then_some(a.score),
        pixels: if a.dead { Pixels::Blank("dead") } else { Pixels::Picture(p) },
    });
    let mut grid = Grid::new(cells.collect());
    if results.len() <= 16 {
        grid.columns = Some(results.len().min(if results.len().is_multiple_of(5) { 5 } else { 4 }));
    }
    grid
}
