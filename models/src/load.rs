//! From a file, a hub address or random initialisation to a model.

use crate::builtin;
use crate::formats::ImportedModel;
use crate::formats::keras::in_order;
use crate::formats::{keras, onnx};
use crate::model::Model;
use crate::model::init::{Kind, fill_value};
use crate::network::{Network, NetworkError, Param, ParamKind};
use crate::weights::{
    Checkpoint, DownloadProgress, Expected, Format, HubAddress, HubOptions, Mismatch, WeightsError, fetch, match_tensors,
    training_only,
};
use crate::{engine, families};
use convscope_engine::Tensor;
use convscope_engine::kernels::{Buffer, DType};
use std::collections::HashSet;
use std::fmt;
use std::path::PathBuf;

/// Source of weights.
#[derive(Debug)]
pub enum WeightsSource {
    /// An open file.
    File(Checkpoint),
    /// A file that describes its network layer by layer.
    Imported(Box<ImportedModel>),
    /// Deterministic initialisation ([`crate::model::init`]): an untrained network, the same on every machine.
    Random,
}

impl fmt::Display for WeightsSource {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self.checkpoint() {
            Some(c) => write!(f, "{}", c.path().display()),
            None => f.write_str("random"),
        }
    }
}

impl WeightsSource {
    /// Parses `random`, `builtin`, `hf:owner/repo[@revision][/file]` (downloaded if the cache lacks it) or a path.
    ///
    /// # Errors
    /// [`LoadError`] if the file cannot be downloaded or read.
    pub fn parse(text: &str, progress: &mut dyn DownloadProgress) -> Result<Self, LoadError> {
        if text == "random" {
            return Ok(WeightsSource::Random);
        }
        if text == builtin::NAME {
            return Self::builtin();
        }
        let path = if text.starts_with(HubAddress::SCHEME) {
            fetch(&text.parse()?, &HubOptions::from_env(), progress)?
        } else {
            PathBuf::from(text)
        };
        let checkpoint = Checkpoint::open(path)?;
        let imported = match checkpoint.format() {
            Format::Onnx => onnx::read(&checkpoint)?,
            _ => keras::read(&checkpoint)?,
        };
        Ok(match imported {
            Some(imported) => WeightsSource::Imported(Box::new(imported)),
            None => WeightsSource::File(checkpoint),
        })
    }

    /// The bundled weights.
    ///
    /// # Errors
    /// [`LoadError`] if the binary is damaged.
    pub fn builtin() -> Result<Self, LoadError> {
        Ok(WeightsSource::File(Checkpoint::included(builtin::NAME, builtin::WEIGHTS)?))
    }

    /// The file, if there is one. An imported model's file has the tensors of the network.
    pub fn checkpoint(&self) -> Option<&Checkpoint> {
        match self {
            WeightsSource::File(checkpoint) => Some(checkpoint),
            WeightsSource::Imported(file) => Some(&file.checkpoint),
            WeightsSource::Random => None,
        }
    }

    /// Scopes of the file's training-only tensors, such as `AuxLogits`, which networks here lack.
    pub fn left_out(&self) -> Vec<&'static str> {
        let Some(checkpoint) = self.checkpoint() else { return Vec::new() };
        let mut scopes: Vec<_> = checkpoint.tensors().iter().filter_map(|t| training_only(&t.name)).collect();
        scopes.sort_unstable();
        scopes.dedup();
        scopes
    }
}

/// A failure to load a model.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// An error of the weights.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// An error of the network.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// An error of the tensors.
    #[error(transparent)]
    Engine(#[from] engine::Error),
    /// No weights were given, and none are in the usual download folders.
    #[error("{0}")]
    NoWeights(String),
    /// No known network has the file's tensors.
    #[error(
        "{file} fits no known network: `convscope inspect {file}` says what it holds, and with -m NAME one sees what differs from a network"
    )]
    Unknown {
        /// The file.
        file: String,
    },
    /// Random weights need the name of a network.
    #[error(
        "which network? random weights fit any, so give one with -m, for example -m resnet50 (`convscope models` lists them)"
    )]
    NoNetwork,
}

impl LoadError {
    /// Whether the arguments are at fault, rather than a file.
    pub fn is_usage(&self) -> bool {
        matches!(self, LoadError::NoNetwork | LoadError::Network(_) | LoadError::Weights(WeightsError::HubAddress { .. }))
    }
}

/// The tensors of a network.
pub(crate) fn expected(network: &Network) -> Vec<Expected> {
    network.params().into_iter().map(|p| Expected { name: p.name, shape: p.shape }).collect()
}

/// The network in the file's metadata ([`Network::metadata`]) or graph ([`ImportedModel`]); `None` without a description.
///
/// # Errors
/// [`LoadError`] if the description is damaged.
pub fn described_network(source: &WeightsSource) -> Result<Option<Network>, LoadError> {
    match source {
        WeightsSource::File(checkpoint) => Ok(Network::from_metadata(checkpoint.metadata())?),
        WeightsSource::Imported(file) => Ok(Some(file.network.clone())),
        WeightsSource::Random => Ok(None),
    }
}

/// The first known network with exactly the tensors of `source`, at any width. The number of classes is `classes`, or by default
/// that of the file's last layer.
///
/// # Errors
/// [`LoadError`] if no network matches.
pub fn guess_network(source: &WeightsSource, classes: Option<usize>) -> Result<Network, LoadError> {
    let Some(checkpoint) = source.checkpoint() else { return Err(LoadError::NoNetwork) };
    let counts = |t: &&crate::weights::StoredTensor| t.dtype.is_float() && training_only(&t.name).is_none();
    // The reason for a mismatch; `None` if the numbers of tensors differ. The full explanation of a mismatch is slow.
    let misfit = |network: &Network| {
        let ordered = in_order(network, checkpoint);
        let checkpoint = ordered.as_ref().unwrap_or(checkpoint);
        if checkpoint.tensors().iter().filter(counts).count() != network.params().len() {
            return Err(None);
        }
        match_tensors(&network.name, &expected(network), checkpoint).map(drop).map_err(Some)
    };
    for name in families::names() {
        let network = families::build(name, classes)?;
        let Err(error) = misfit(&network) else { return Ok(network) };
        let Some(WeightsError::Mismatch(mismatch)) = error else { continue };
        if let Some(other) = resized(name, &network, &mismatch, classes)
            && misfit(&other).is_ok()
        {
            return Ok(other);
        }
    }
    Err(LoadError::Unknown { file: checkpoint.path().display().to_string() })
}

/// Maximum classes of a guessed network; more mean a damaged file.
const MOST_CLASSES: usize = 1 << 20;

/// The network at the width and number of classes of a file that differs only in shapes: of the first convolution and of the last
/// layer.
fn resized(name: &str, network: &Network, mismatch: &Mismatch, classes: Option<usize>) -> Option<Network> {
    if !mismatch.missing.is_empty() || !mismatch.unexpected.is_empty() {
        return None;
    }
    let params = network.params();
    let outputs = |param: &Param| mismatch.misshapen.iter().find(|m| m.name == param.name)?.stored.first().copied();
    let width = outputs(params.iter().find(|p| p.shape.len() == 4)?);
    let classes = classes.or_else(|| outputs(params.last()?).filter(|n| (1..=MOST_CLASSES).contains(n)));
    families::build(&width.map_or_else(|| name.to_string(), |w| format!("{name}-w{w}")), classes).ok()
}

/// Weights that PyTorch, the hub or Keras downloaded earlier; otherwise an error with their source.
///
/// # Errors
/// [`LoadError::NoWeights`] if they are absent, or not published.
pub fn find_weights(network: &Network) -> Result<WeightsSource, LoadError> {
    let Some(known) = families::pretrained(&network.name)? else {
        let name = &network.name;
        return Err(LoadError::NoWeights(format!("nobody published weights for {name}: give a file with -w, or `-w random`")));
    };
    let path = known.cache.folder().join(&known.file);
    if path.is_file() {
        return Ok(WeightsSource::File(Checkpoint::open(path)?));
    }
    let hub = known.hub.map(|h| format!(", or -w hf:{h} to download them")).unwrap_or_default();
    let (name, file, url, path) = (&network.name, &known.file, &known.url, path.display());
    Err(LoadError::NoWeights(format!(
        "{name} has no weights here: get {file} from {url} and put it at {path}, or give a file with -w{hub} (`-w random` needs none)"
    )))
}

/// A network with the weights of `source`.
///
/// f32 weights of a safetensors file stay in the memory-mapped file, without a copy.
///
/// ```
/// use convscope_models::{WeightsSource, families, load};
///
/// let network = families::build("resnet20-cifar", Some(3))?;
/// let model = load(network, &WeightsSource::Random)?;
/// assert_eq!(model.network.classes.len(), 3);
/// assert_eq!(model.params[0].shape()[..], [16, 3, 3, 3]);
/// # Ok::<(), convscope_models::LoadError>(())
/// ```
///
/// # Errors
/// [`LoadError`] if tensors are missing, of another shape, unreadable or not finite.
pub fn load(network: Network, source: &WeightsSource) -> Result<Model, LoadError> {
    let params = match source.checkpoint() {
        None => random(&network)?,
        Some(checkpoint) => {
            let expected = expected(&network);
            let ordered = in_order(&network, checkpoint);
            let matched = match_tensors(&network.name, &expected, ordered.as_ref().unwrap_or(checkpoint))?;
            matched
                .iter()
                .map(|m| {
                    let shape = m.expected.shape.clone();
                    if let Some((map, range)) = m.stored.mapped()
                        && let Some(buffer) = Buffer::from_shared(DType::F32, range.len() / 4, map, range.start)
                    {
                        m.stored.check_finite()?;
                        return Ok(Tensor::new(shape, buffer)?);
                    }
                    Ok(Tensor::from_slice(shape, &m.stored.to_f32_checked()?)?)
                })
                .collect::<Result<Vec<_>, LoadError>>()?
        }
    };
    Ok(Model::new(network, params)?)
}

fn random(network: &Network) -> Result<Vec<Tensor>, LoadError> {
    let params = network.params();
    let names: HashSet<&str> = params.iter().map(|p| p.name.as_str()).collect();
    let tensor = |p: &crate::network::Param| {
        let kind = Kind::of(&p.name, &p.shape, |name| names.contains(name));
        let values = match p.kind {
            ParamKind::FixedScale | ParamKind::FixedVar => vec![1.0; p.len()],
            ParamKind::FixedShift | ParamKind::FixedMean => vec![0.0; p.len()],
            _ => fill_value(&p.name, kind, p.fan_in, p.len()),
        };
        Ok(Tensor::from_slice(p.shape.clone(), &values)?)
    };
    params.iter().map(tensor).collect()
}
