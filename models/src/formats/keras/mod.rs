//! Keras models: the architecture that a file describes becomes a network as data, its weights take PyTorch's layout.
//!
//! | file | holds |
//! |---|---|
//! | `graph` | the JSON of a Sequential or Functional model as a list of layer calls |
//! | `fields` | the settings of one layer, typed, with errors that name it |
//! | `legacy` | Keras 1's names for the classes and settings of later versions |
//! | `layers` | one Keras layer to one or more layers of a [`Network`] |
//! | `activations` | activations, by name and as layers |
//! | `shapes` | layers that move values: flattening, reshaping, padding, cropping, up-sampling |
//! | `merge` | layers with several inputs |
//! | `translate` | the walk over the graph, and layers that share variables |
//! | `weights` | the variable of each parameter, and Keras' names of variables |
//! | `in_order` | files of weights without an architecture |
//! | `archive` | the tensors of a `.keras` file |
//!
//! Layers keep their Keras names. A Keras layer that becomes several layers here, such as a convolution with its activation or a
//! separable convolution, is a scope of its name; the scope stands for its output, as in Keras. A nested model is a scope too. A
//! layer with several calls becomes one layer per call, and these [share](crate::network::Layer::shares) their parameters.
//!
//! Supported layers: `Conv2D`, `DepthwiseConv2D`, `SeparableConv2D`, `Dense`, `BatchNormalization`, `Normalization`, `Rescaling`,
//! the poolings and their global forms, `Activation` with the functions of Keras, `ReLU`, `LeakyReLU`, `ELU`, `PReLU` (one slope
//! a channel), `ThresholdedReLU`, `Softmax` along the channels, `Add`, `Subtract`, `Multiply`, `Average`, `Concatenate`,
//! `ZeroPadding2D`, `Cropping2D`, `UpSampling2D` (nearest and bilinear), `Flatten`, `Reshape`, nested models, and layers that act
//! in training only. Channels come last, or first in all layers.
//!
//! Import stops before the first unknown layer. The result has no classes ([`Classes::None`](crate::network::Classes::None));
//! commands that need none still work.
//!
//! A file does not describe the image preparation, unless its first layer is a `Rescaling`. Without one, values from 0 to 1 are
//! assumed ([`ImportedModel::assumed_preprocess`]).

mod activations;
pub(super) mod archive;
mod fields;
mod graph;
mod in_order;
mod layers;
mod legacy;
mod merge;
mod shapes;
mod translate;
mod weights;

pub use in_order::in_order;

use super::import::Imported;
use super::{Checkpoint, ImportedModel, KERAS_CONFIG, StoredTensor, WeightsError};
use crate::network::Network;
use std::path::Path;
use weights::Stored;

/// Maximum uses of a file's weights by calls. Each use is converted to PyTorch's layout anew.
const MOST_USES: usize = 64;
/// Maximum values in the settings of a model's layers.
const MOST_MADE: usize = 1 << 20;

/// The model whose architecture is in the metadata of `checkpoint`; `None` if there is none. The format does not matter: a
/// converted Keras file keeps the metadata.
///
/// # Errors
/// [`WeightsError::Format`] with the first layer that does not fit its inputs or has no weights in the file.
pub fn read(checkpoint: &Checkpoint) -> Result<Option<ImportedModel>, WeightsError> {
    checkpoint.metadata().get(KERAS_CONFIG).map(|text| with(checkpoint, checkpoint.path(), text)).transpose()
}

/// The model with the architecture `text`, the output of Keras' `model.to_json()` in `file`, and the weights of another file.
///
/// # Errors
/// As [`read`].
pub fn with(checkpoint: &Checkpoint, file: &Path, text: &str) -> Result<ImportedModel, WeightsError> {
    let fail = |reason: String| WeightsError::format(checkpoint.path(), reason);
    let model = imported(file, text)?.model(checkpoint, |Stored { call, variable, layout }, name| {
        variable.find(&call, checkpoint).map_err(fail)?.rearranged(name, layout)
    })?;
    let values = |tensors: &[StoredTensor]| {
        let length = |t: &StoredTensor| t.shape.iter().fold(1usize, |n, &extent| n.saturating_mul(extent));
        tensors.iter().map(length).fold(0, usize::saturating_add)
    };
    let most = values(checkpoint.tensors()).saturating_mul(MOST_USES).saturating_add(MOST_MADE);
    match values(model.checkpoint.tensors()) > most {
        true => Err(fail(format!("its layers use its weights more than {MOST_USES} times"))),
        false => Ok(model),
    }
}

/// The network of an architecture alone. `text` is the output of Keras' `model.to_json()`; `file` is its name for messages.
///
/// # Errors
/// [`WeightsError::Format`] if the text describes no network.
pub fn network(file: &Path, text: &str) -> Result<Network, WeightsError> {
    Ok(imported(file, text)?.network)
}

fn imported(file: &Path, text: &str) -> Result<Imported<Stored>, WeightsError> {
    let fail = |reason: String| WeightsError::format(file, reason);
    let graph = graph::KerasGraph::parse(text).map_err(|e| fail(format!("its Keras architecture {e}")))?;
    translate::translate(&graph).map_err(|e| fail(format!("Keras model {}: {e}", graph.name)))
}
