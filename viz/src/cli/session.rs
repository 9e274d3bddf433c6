//! From arguments to a network, its weights, its classes and a photo: a thin layer over [`convscope_models`] and [`Photo`].

use super::args::{Common, ImageArgs};
use super::device::DeviceChoice;
use super::error::CliError;
use super::invocation::Invocation;
use super::memory::{PassKind, check_memory};
use super::terminal;
use convscope_models::image::{Preprocess, Resize};
use convscope_models::keras;
use convscope_models::labels::Labels;
use convscope_models::network::{Classes, LayerShape, Network, Selection, ShapedNetwork};
use convscope_models::weights::DownloadProgress;
use convscope_models::weights::KERAS_LAYERS;
use convscope_models::{
    LoadError, Model, WeightsSource, builtin, described_network, families, find_weights, guess_network, load,
};
use convscope_viz::Photo;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Map, Value, json};
use std::path::Path;

/// Common state of most commands.
pub struct Session {
    pub model: Model,
    pub labels: Labels,
    /// The weights argument.
    pub weights: String,
    pub device: DeviceChoice,
    seed: u64,
}

/// A photo with the layer shapes at its size.
pub struct PhotoInput {
    pub photo: Photo,
    shapes: Vec<LayerShape>,
}

impl PhotoInput {
    /// `network` at the size of the photo. `network` is that of the session.
    pub fn at<'n>(&self, network: &'n Network) -> ShapedNetwork<'n> {
        ShapedNetwork { network, size: self.photo.size(), shapes: self.shapes.clone() }
    }
}

/// `--classes`: a number, or a file with one name per line.
fn classes(common: &Common) -> Result<(Option<usize>, Option<Vec<String>>), CliError> {
    let Some(text) = &common.classes else { return Ok((None, None)) };
    if let Ok(n) = text.parse::<usize>() {
        return if n > 0 { Ok((Some(n), None)) } else { Err(CliError::usage("--classes 0: a network has at least one class")) };
    }
    let lines = std::fs::read_to_string(text)
        .map_err(|e| CliError::failure(format!("--classes {text}: neither a number nor a readable file ({e})")))?;
    let names: Vec<String> = lines.lines().map(str::trim).filter(|l| !l.is_empty()).map(String::from).collect();
    if names.is_empty() {
        return Err(CliError::failure(format!("--classes {text}: the file has no lines")));
    }
    Ok((Some(names.len()), Some(names)))
}

/// The network of a command, with the weights that were given:
///
/// 1. `-m NAME`: that network. Weights with a description of the same network also give its classes and image preparation.
/// 2. Weights only: the network that the file describes, or the known network with the file's tensors.
/// 3. Neither, or `-m builtin`: the bundled network.
pub fn network_and_weights(common: &Common) -> Result<(Network, Option<WeightsSource>), CliError> {
    let name = common.model.as_ref().filter(|name| *name != builtin::NAME);
    let weights = common.weights.as_deref().or(name.is_none().then_some(builtin::NAME));
    let given = weights.map(|w| WeightsSource::parse(w, &mut Download::new(common.quiet))).transpose()?;
    if let Some(file) = name.filter(|name| name.ends_with(".json")) {
        return architecture(Path::new(file), given, common);
    }
    let (count, names) = classes(common)?;
    let described = given.as_ref().map_or(Ok(None), described_network)?;
    let mut network = match (name, &given, described) {
        (None, _, Some(network)) => network,
        (Some(name), _, described) => {
            let named = families::build(name, count)?;
            described.filter(|d| d.name == named.name && count.is_none_or(|n| n == d.classes.len())).unwrap_or(named)
        }
        (None, Some(source), None) => {
            let network = guess_network(source, count)?;
            // Each Keras network has its own image preparation, which its files do not describe.
            let keras = source.checkpoint().is_some_and(|file| file.metadata().contains_key(KERAS_LAYERS));
            if keras && !common.quiet {
                terminal::note(format_args!("{source} is recognised as {}; photos: {}", network.name, network.preprocess));
            }
            network
        }
        (None, None, None) => return Err(LoadError::NoNetwork.into()),
    };
    if let Some(names) = names {
        network.classes = Classes::Named(names);
    }
    Ok((network, given))
}

/// The network of a Keras architecture file, with its weights.
fn architecture(
    file: &Path,
    given: Option<WeightsSource>,
    common: &Common,
) -> Result<(Network, Option<WeightsSource>), CliError> {
    if common.classes.is_some() {
        return Err(CliError::usage("--classes: an architecture has the classes that it has"));
    }
    let text = std::fs::read_to_string(file).map_err(|e| CliError::failure(format!("cannot read {}: {e}", file.display())))?;
    Ok(match given {
        Some(WeightsSource::File(checkpoint)) => {
            let model = keras::with(&checkpoint, file, &text)?;
            (model.network.clone(), Some(WeightsSource::Imported(Box::new(model))))
        }
        Some(WeightsSource::Imported(_)) => {
            let weights = common.weights.as_deref().unwrap_or_default();
            return Err(CliError::usage(format!("{weights} has an architecture of its own: leave out -m {}", file.display())));
        }
        other => (keras::network(file, &text)?, other),
    })
}

/// The weights of `-w`, or the bundled ones, for the command `what`, which reads the file without a network.
pub fn weights(common: &Common, what: &str) -> Result<WeightsSource, CliError> {
    if common.model.is_some() || common.classes.is_some() {
        return Err(CliError::usage(format!(
            "{what} takes the file as it is, independent of the network: leave out -m and --classes"
        )));
    }
    Ok(WeightsSource::parse(common.weights.as_deref().unwrap_or(builtin::NAME), &mut Download::new(common.quiet))?)
}

/// The network of a command.
pub fn network(common: &Common) -> Result<Network, CliError> {
    Ok(network_and_weights(common)?.0)
}

impl Session {
    pub fn open(invocation: &Invocation) -> Result<Self, CliError> {
        let common = invocation.common;
        let (network, given) = network_and_weights(common)?;
        let source = match given {
            Some(source) => source,
            None => find_weights(&network)?,
        };
        let labels = Labels::of(&network.classes);
        let weights = source.to_string();
        let mut model = load(network, &source)?;
        let left_out = source.left_out();
        if !left_out.is_empty() && !common.quiet {
            terminal::note(format_args!("{} of {weights} only serves training and is left out", left_out.join(", ")));
        }
        if let WeightsSource::Imported(file) = &source
            && !common.quiet
        {
            file.notes(&weights).into_iter().for_each(terminal::note);
        }
        let device = invocation.device.clone();
        model.context = invocation.kernels.clone();
        Ok(Session { model, labels, weights, device, seed: common.seed })
    }

    pub fn network(&self) -> &Network {
        &self.model.network
    }

    /// A photo, prepared for the network or at `--size`, after a memory check of the pass.
    pub fn photo(&mut self, path: &Path, args: &ImageArgs, pass: PassKind) -> Result<PhotoInput, CliError> {
        let preprocess = self.preprocess(args)?;
        let photo = Photo::prepare(path, self.network(), &preprocess)?;
        let shaped = at(&self.model.network, path, photo.size())?;
        check_memory(&mut self.device, &shaped, 1, pass)?;
        self.model.context = self.model.context.clone().with_device(self.device.device);
        Ok(PhotoInput { photo, shapes: shaped.shapes })
    }

    /// Checks that a pass over `images` images of `h` x `w` fits into memory; see [`check_memory`].
    pub fn check_memory(&mut self, [h, w]: [usize; 2], images: usize, pass: PassKind) -> Result<(), CliError> {
        check_memory(&mut self.device, &self.model.network.at(h, w)?, images, pass)?;
        self.model.context = self.model.context.clone().with_device(self.device.device);
        Ok(())
    }

    pub fn preprocess(&self, args: &ImageArgs) -> Result<Preprocess, CliError> {
        let standard = self.network().preprocess;
        let Some(text) = &args.size else { return Ok(standard) };
        let resize = match text.as_str() {
            "own" => Resize::None,
            other => match parse_size(other)? {
                Size::Side(n) => Resize::ShortSide(n),
                Size::Exact(h, w) => Resize::Exact { h, w },
            },
        };
        Ok(Preprocess { resize, crop: None, ..standard })
    }

    /// A class by index or name.
    pub fn class(&self, text: &str) -> Result<usize, CliError> {
        self.network().class_count()?;
        Ok(self.labels.find(text)?)
    }

    /// Comma-separated classes.
    pub fn classes(&self, text: &str) -> Result<Vec<usize>, CliError> {
        self.network().class_count()?;
        Ok(self.labels.find_all(text)?)
    }

    pub fn class_name(&self, class: usize) -> String {
        self.labels.name(class).map_or_else(|| format!("class {class}"), String::from)
    }

    /// A class's name with its index, unless the name contains it.
    pub fn numbered_class(&self, class: usize) -> String {
        match self.is_numbered() {
            true => self.class_name(class),
            false => format!("{} ({class})", self.class_name(class)),
        }
    }

    /// Whether classes have indices only, no names.
    pub fn is_numbered(&self) -> bool {
        matches!(self.network().classes, Classes::Count(_))
    }

    pub fn select(&self, text: &str) -> Result<Selection, CliError> {
        Ok(self.network().select(text)?)
    }

    /// Metadata of every picture of this session.
    pub fn metadata(&self, more: &[(&str, Value)]) -> Map<String, Value> {
        let common = [("model", json!(self.network().name)), ("weights", json!(self.weights)), ("seed", json!(self.seed))];
        super::output::metadata(&common.into_iter().chain(more.iter().cloned()).collect::<Vec<_>>())
    }

    /// The bottom line of a picture.
    pub fn credit(&self, more: &str) -> String {
        credit(&self.weights, more)
    }
}

/// `network` at the size of the photo in `path`; the error for one that is too small names the file and the layer.
pub fn at<'n>(network: &'n Network, path: &Path, [h, w]: [usize; 2]) -> Result<ShapedNetwork<'n>, CliError> {
    network.at(h, w).map_err(|e| CliError::failure(format!("{}: {e}", path.display())))
}

/// The bottom line of a picture of these weights.
pub fn credit(weights: &str, more: &str) -> String {
    let weights = weights.rsplit('/').next().unwrap_or_default();
    let more = if more.is_empty() { String::new() } else { format!(" · {more}") };
    format!("weights {weights}{more} · {}", convscope_viz::draw::png::SOFTWARE)
}

/// Whether top-5 accuracy is meaningful for this number of classes.
pub fn tells_top5(classes: usize) -> bool {
    classes > 5
}

/// A size argument.
enum Size {
    Side(usize),
    Exact(usize, usize),
}

/// Parses `N` or `HxW`, within bounds.
fn parse_size(text: &str) -> Result<Size, CliError> {
    let wrong = || CliError::usage(format!("--size {text}: expects a number or HxW from 1 to 8192, for example 320 or 240x320"));
    let side = |t: &str| t.trim().parse::<usize>().ok().filter(|n| (1..=8192).contains(n)).ok_or_else(wrong);
    match text.split_once('x') {
        Some((h, w)) => Ok(Size::Exact(side(h)?, side(w)?)),
        None => Ok(Size::Side(side(text)?)),
    }
}

/// Height and width of a size argument; `N` is a square.
pub fn side_lengths(text: &str) -> Result<[usize; 2], CliError> {
    Ok(match parse_size(text)? {
        Size::Side(n) => [n, n],
        Size::Exact(h, w) => [h, w],
    })
}

/// A progress bar on the terminal.
pub fn progress(len: u64, what: &str, quiet: bool) -> ProgressBar {
    let bar = if quiet { ProgressBar::hidden() } else { ProgressBar::new(len) };
    let style = ProgressStyle::with_template("{prefix} {bar:30} {pos}/{len} {msg} {eta}").unwrap_or(ProgressStyle::default_bar());
    bar.with_style(style).with_prefix(terminal::one_line(what))
}

/// A progress bar for a download from the hub.
pub struct Download {
    bar: Option<ProgressBar>,
    quiet: bool,
}

impl Download {
    pub fn new(quiet: bool) -> Self {
        Download { bar: None, quiet }
    }
}

impl DownloadProgress for Download {
    fn init(&mut self, file: &str, total: u64) {
        let template = "{prefix} {bar:30} {bytes}/{total_bytes} {bytes_per_sec} {eta}";
        let style = ProgressStyle::with_template(template).unwrap_or(ProgressStyle::default_bar());
        let bar = if self.quiet { ProgressBar::hidden() } else { ProgressBar::new(total) };
        self.bar = Some(bar.with_style(style).with_prefix(terminal::one_line(file)));
    }
    fn advance(&mut self, bytes: u64) {
        self.bar.iter().for_each(|b| b.inc(bytes));
    }
    fn finish(&mut self) {
        self.bar.iter().for_each(ProgressBar::finish_and_clear);
    }
}
