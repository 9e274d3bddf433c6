//! Keras models: the architecture that a file describes becomes a network as data, its weights take PyTorch's layout.
//!
//! | file | holds |
//! |---|---|
//! | `graph` | the JSON of a Sequential or Functional model as a list of calls of layers and what each reads |
//! | `fields` | the settings of one layer, typed, with errors that name it |
//! | `legacy` | Keras 1's names for what later versions call otherwise |
//! | `layers` | one Keras layer to one layer or a few of a [`Network`] |
//! | `activations` | activations, by name and as layers |
//! | `shapes` | layers that move values: flattening, reshaping, padding, cropping, up-sampling |
//! | `merge` | the layers that join several inputs |
//! | `translate` | the walk over the graph, and the layers that share their variables |
//! | `weights` | which variable of a file fills which parameter, and the names that Keras has given to variables |
//! | `in_order` | files of weights without an architecture |
//! | `archive` | the tensors of a `.keras` file |
//!
//! Layers keep their Keras names. One that is several here, such as a convolution with its activation or a separable convolution, is a
//! scope of that name, which stands for its output as in Keras; so is a model within the model. A layer that is called several times
//! is as many layers here, which [share](crate::network::Layer::shares) their parameters.
//!
//! Known are `Conv2D`, `DepthwiseConv2D`, `SeparableConv2D`, `Dense`, `BatchNormalization`, `Normalization`, `Rescaling`, the poolings
//! and their global forms, `Activation` with the functions of Keras, `ReLU`, `LeakyReLU`, `ELU`, `PReLU` (one slope a channel),
//! `ThresholdedReLU`, `Softmax` along the channels, `Add`, `Subtract`, `Multiply`, `Average`, `Concatenate`, `ZeroPadding2D`, `Cropping2D`,
//! `UpSampling2D` (nearest and bilinear), `Flatten`, `Reshape`, models as layers, and what does something in training only. Channels come last,
//! or first in all layers.
//!
//! What depends on a layer that is not known is left out: the network ends before it, has no classes ([`Classes::None`](crate::network::Classes::None)), and
//! everything that needs none works on it.
//!
//! A file does not tell how photos are prepared, unless its first layer is a `Rescaling`. Without one, values from 0 to 1 are
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

/// How often a model may use the weights of its file, which each time are brought into PyTorch's layout anew.
const MOST_USES: usize = 64;
/// Values of a model that may stand in the settings of its layers.
const MOST_MADE: usize = 1 << 20;

/// The model whose architecture is in the metadata of `checkpoint`; `None` if there is none. Files of any format do that are made
/// from Keras's, so that a converted one still works.
///
/// # Errors
/// [`WeightsError::Format`] with the first layer that does not fit its inputs or has no weights in the file.
pub fn read(checkpoint: &Checkpoint) -> Result<Option<ImportedModel>, WeightsError> {
    checkpoint.metadata().get(KERAS_CONFIG).map(|text| with(checkpoint, checkpoint.path(), text)).transpose()
}

/// The model whose architecture is `text`, which `model.to_json()` of Keras gave and `file` holds, with the weights of another
/// file.
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

/// The network of an architecture alone: `text` is what `model.to_json()` of Keras gave and `file` holds.
///
/// # Errors
/// [`WeightsError::Format`] where there is no network in it.
pub fn network(file: &Path, text: &str) -> Result<Network, WeightsError> {
    Ok(imported(file, text)?.network)
}

fn imported(file: &Path, text: &str) -> Result<Imported<Stored>, WeightsError> {
    let fail = |reason: String| WeightsError::format(file, reason);
    let graph = graph::Graph::parse(text).map_err(|e| fail(format!("its Keras architecture {e}")))?;
    translate::translate(&graph).map_err(|e| fail(format!("Keras model {}: {e}", graph.name)))
}
