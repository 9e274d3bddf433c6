//! Every parser of files that come from outside, each followed by what the program does with what it has read: tensors are read and
//! inspected, networks built, weights fitted, small networks run. The fuzz targets in `tests/fuzz` and the test `hostile` go through
//! the same functions.

use convscope_models::engine::{Tape, Tensor};
use convscope_models::formats::METADATA;
use convscope_models::inspect::{guess, inspect};
use convscope_models::network::{LayerId, Network};
use convscope_models::train::Resumed;
use convscope_models::{Model, WeightsSource, described_network, guess_network, image, keras, load};
use peak_alloc::PeakAlloc;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::{Path, PathBuf};

/// A kind of file.
#[derive(Debug)]
pub struct Parser {
    /// Name of its fuzz target, and of its folder in `tests/fuzz/corpus`.
    pub name: &'static str,
    /// Other valid files of this kind and folders of such, from the root of the repository.
    pub seeds: &'static [&'static str],
    /// How many bytes of memory one byte of a file may justify, see [`Parser::check`].
    pub factor: usize,
    /// Bytes of memory that any file may take.
    pub constant: usize,
    parse: fn(&[u8]) -> Result<(), String>,
}

/// All kinds.
pub const ALL: [&Parser; 11] =
    [&SAFETENSORS, &PTH, &LEGACY, &HDF5, &KERAS_ZIP, &KERAS_JSON, &ONNX, &NETWORK_METADATA, &TRAINING, &JPEG, &PNG];

/// A JSON header and raw values.
pub const SAFETENSORS: Parser = Parser { name: "safetensors", seeds: &[], factor: 64, constant: WEIGHTS, parse: any_network };
/// `torch.save` of today: a pickle and storages in a zip. Each byte of a pickle may be an object of 88 bytes in a list that doubles.
pub const PTH: Parser = Parser {
    name: "pth",
    seeds: &["models/tests/weights/fixtures/zip.pth", "models/tests/weights/fixtures/expanded.pth"],
    factor: OBJECT,
    constant: WEIGHTS,
    parse: weights,
};
/// `torch.save` of PyTorch before 1.6: pickles and storages, one after another.
pub const LEGACY: Parser = Parser {
    name: "legacy",
    seeds: &["models/tests/weights/fixtures/legacy.th"],
    factor: OBJECT,
    constant: WEIGHTS,
    parse: weights,
};
/// Whole Keras models, and weights alone.
pub const HDF5: Parser = Parser { name: "hdf5", seeds: &["tests/goldens/keras"], factor: 64, constant: WEIGHTS, parse: weights };
/// Keras 3's archive: an architecture and HDF5 in a zip, which may be compressed.
pub const KERAS_ZIP: Parser = Parser { name: "keras_zip", seeds: &[], factor: 512, constant: WEIGHTS, parse: weights };
/// A graph and its initializers in Protocol Buffers.
pub const ONNX: Parser = Parser { name: "onnx", seeds: &[], factor: 512, constant: WEIGHTS, parse: weights };
/// The architecture within a Keras file.
pub const KERAS_JSON: Parser = Parser { name: "keras_json", seeds: &[], factor: 512, constant: CONSTANT, parse: keras_json };
/// A safetensors file's description of its network.
pub const NETWORK_METADATA: Parser =
    Parser { name: "network_metadata", seeds: &[], factor: 64, constant: CONSTANT, parse: network_metadata };
/// The state that a training run goes on from.
pub const TRAINING: Parser = Parser { name: "training", seeds: &[], factor: 64, constant: WEIGHTS, parse: training };
/// A block of 8 x 8 pixels may take one bit, and stand among four that pad a narrow picture: 128 bytes of coefficients and 64 of samples
/// each, and pixels.
pub const JPEG: Parser =
    Parser { name: "jpeg", seeds: &["tests/goldens/jpeg"], factor: 12 * 1024, constant: CONSTANT, parse: image };
/// Deflate makes 1032 bytes of one, a byte may be eight pixels, a pixel four bytes, and then three more.
pub const PNG: Parser =
    Parser { name: "png", seeds: &["tests/goldens/png"], factor: 1032 * 8 * 7, constant: CONSTANT, parse: image };

/// Memory that any file may take: tables of a decoder, the known networks that a file is compared with, a small network's run.
const CONSTANT: usize = 48 << 20;

/// An object of a pickle, while a list of such is moved to where it has room for twice as many.
const OBJECT: usize = 88 * 3;

/// The same for files of weights: whatever its name, such a file may be a pickle. What a pickle remembers it may use again and again; the
/// reader copies it, up to 64 MiB, and has tables of what it copied.
const WEIGHTS: usize = CONSTANT + (96 << 20);

impl Parser {
    /// Parses a file; `memory` is the program's allocator. The error is what the program would say.
    ///
    /// # Errors
    /// The file is damaged or of no use.
    ///
    /// # Panics
    /// A parser panicked, said more or less than one clear line, or took more memory than `factor` times the file's length and a constant.
    pub fn check(&self, file: &[u8], memory: &PeakAlloc) -> Result<(), String> {
        let before = memory.current_usage();
        memory.reset_peak_usage();
        forget_resident();
        let resident = most_resident();
        let result = (self.parse)(file);
        let taken = memory.peak_usage().saturating_sub(before).max(most_resident().saturating_sub(resident));
        let allowed = self.constant + self.factor * file.len();
        assert!(taken <= allowed, "{} took {taken} bytes of memory, of which {allowed} are allowed: {result:?}", self.name);
        if let Err(message) = &result {
            assert!(!message.is_empty() && !message.contains(char::is_control), "{}: not one line: {message:?}", self.name);
        }
        result
    }
}

/// Bytes that the process has had in memory at most since [`forget_resident`], where the system counts them: kernels map memory of
/// their own.
fn most_resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|l| l.split_whitespace().next()?.parse().ok()).map_or(0, |kib: usize| kib * 1024)
}

fn forget_resident() {
    // Where it cannot be reset it only stays higher: then there is no difference to see.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

/// A file of its own for each thread, since files are mapped. With `TMPDIR` in memory that costs little.
fn saved(name: &str, file: &[u8]) -> PathBuf {
    thread_local!(static FOLDER: tempfile::TempDir = tempfile::tempdir().expect("a temporary folder"));
    let path = FOLDER.with(|folder| folder.path().join(name));
    std::fs::write(&path, file).expect("a file in the temporary folder");
    path
}

/// The first line: a list of tensors that differ from a network's follows it.
fn text(error: impl Display) -> String {
    error.to_string().lines().next().unwrap_or_default().to_string()
}

/// `inspect`, and loading the network that the file describes.
fn weights(file: &[u8]) -> Result<(), String> {
    run_described(&inspected(file)?)
}

/// The same, and looking for a known network that the file may be of: by names and shapes, which are the same whatever the format.
fn any_network(file: &[u8]) -> Result<(), String> {
    let source = inspected(file)?;
    run_described(&source)?;
    match guess(&source).map_err(text)?.network {
        Some(_) => run(&load(guess_network(&source, None).map_err(text)?, &source).map_err(text)?),
        None => Ok(()),
    }
}

fn run_described(source: &WeightsSource) -> Result<(), String> {
    match described_network(source).map_err(text)? {
        Some(network) => run(&load(network, source).map_err(text)?),
        None => Ok(()),
    }
}

fn inspected(file: &[u8]) -> Result<WeightsSource, String> {
    let path = saved("weights", file);
    let source = WeightsSource::parse(&path.to_string_lossy(), &mut ()).map_err(text)?;
    let checkpoint = source.checkpoint().ok_or("no checkpoint")?;
    for tensor in checkpoint.tensors() {
        let _ = (tensor.check_finite(), tensor.mapped(), tensor.to_f32_checked());
    }
    inspect(checkpoint).map_err(text)?;
    Ok(source)
}

fn keras_json(file: &[u8]) -> Result<(), String> {
    let network = keras::network(Path::new("file"), &String::from_utf8_lossy(file)).map_err(text)?;
    describe(&network)?;
    // Only a file as large as its weights could bring them.
    let values: usize = network.params().iter().map(|p| p.len()).fold(0, usize::saturating_add);
    if values > SMALL {
        return Ok(());
    }
    run(&load(network, &WeightsSource::Random).map_err(text)?)
}

fn network_metadata(file: &[u8]) -> Result<(), String> {
    let metadata = BTreeMap::from([(METADATA.to_string(), String::from_utf8_lossy(file).into_owned())]);
    match Network::from_metadata(&metadata).map_err(text)? {
        Some(network) => describe(&network),
        None => Ok(()),
    }
}

fn training(file: &[u8]) -> Result<(), String> {
    let path = saved(convscope_models::train::STATE, file);
    let folder = path.parent().ok_or("no folder")?;
    Resumed::open(folder).map(drop).map_err(text)
}

fn image(file: &[u8]) -> Result<(), String> {
    image::decode(file, "image").map(drop).map_err(text)
}

/// Values and multiply-adds of a network that is run, so that a file takes milliseconds.
const SMALL: usize = 1 << 18;

/// The parts that `summary` and the pictures use, at the file's size.
fn describe(network: &Network) -> Result<(), String> {
    let summary = network.summary(network.input.height, network.input.width).map_err(text)?;
    let _ = (summary.to_text(), summary.to_json(), network.cam_layer(), network.last_conv());
    Ok(())
}

/// Runs a small network at its smallest size.
fn run(model: &Model) -> Result<(), String> {
    let network = &model.network;
    describe(network)?;
    let [h, w] = network.input.min_size;
    let summary = network.summary(h, w).map_err(text)?;
    if summary.activations.max(summary.multiply_adds) > SMALL {
        return Ok(());
    }
    let mut tape = Tape::inference();
    let image = Tensor::from_slice([1, network.input.channels, h, w], &vec![0.5f32; network.input.channels * h * w]);
    let run =
        model.forward(&mut tape, image.map_err(text)?).unwrap_or_else(|e| panic!("the shapes fit, but it does not run: {e}"));
    for (id, shape) in network.shapes(h, w).map_err(text)?.iter().enumerate() {
        let value = run.layer(LayerId(id)).and_then(|node| tape.value(node).ok());
        assert!(value.is_none_or(|v| v.shape()[1..] == shape.dims()[..]), "layer {id} is not of the shape {shape}");
    }
    Ok(())
}
