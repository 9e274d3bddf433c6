//! Keras models: the architecture that a file describes becomes a network as data, its weights take PyTorch's layout.
//!
//! | file | holds |
//! |---|---|
//! | `graph` | the JSON of a Sequential or Functional model as a list of layers and what each reads |
//! | `fields` | the settings of one layer, typed, with errors that name it |
//! | `layers` | one Keras layer to one layer or a few of a [`Network`] |
//! | `merge` | the layers that join several inputs |
//! | `translate` | the walk over the graph: values, weights, the head |
//!
//! Layers keep their Keras names. One that is several here, such as a convolution with its activation or a separable convolution, is a
//! scope of that name, which stands for its output as in Keras.
//!
//! A file does not tell how photos are prepared, unless its first layer is a `Rescaling`. Without one, values from 0 to 1 are
//! assumed ([`KerasModel::assumed_preprocess`]).

mod fields;
mod graph;
mod layers;
mod merge;
mod translate;

use crate::network::{Network, NetworkError};
use crate::weights::{Checkpoint, KERAS_CONFIG, WeightsError};

/// What a file says of a network whose layers it describes.
#[derive(Debug)]
pub struct KerasModel {
    /// The layers.
    pub network: Network,
    /// The weights under the network's names and in its layout.
    pub checkpoint: Checkpoint,
    /// Whether the file leaves open how photos are prepared.
    pub assumed_preprocess: bool,
}

impl KerasModel {
    /// The model whose architecture is in the metadata of `checkpoint`; `None` if there is none. Files of any format do that are made
    /// from Keras's, so that a converted one still works.
    ///
    /// # Errors
    /// [`WeightsError::Format`] with the first layer that is unknown, has settings that are not supported, does not fit its inputs or
    /// has no weights in the file.
    pub fn read(checkpoint: &Checkpoint) -> Result<Option<Self>, WeightsError> {
        let Some(text) = checkpoint.metadata().get(KERAS_CONFIG) else { return Ok(None) };
        let fail = |reason: String| WeightsError::format(checkpoint.path(), reason);
        let graph = graph::Graph::parse(text).map_err(|e| fail(format!("its Keras architecture {e}")))?;
        let plan = translate::translate(&graph).map_err(|e| fail(format!("Keras model {}: {e}", graph.name)))?;
        let mut tensors = Vec::new();
        for weight in &plan.weights {
            let name = |variable: &&str| format!("{}.{variable}", weight.keras_layer);
            let found = weight.variables.iter().find_map(|variable| checkpoint.get(&name(variable)));
            let stored = found.ok_or_else(|| {
                let wanted: Vec<String> = weight.variables.iter().map(name).collect();
                fail(format!("it has no weights {} for its layer {:?}", wanted.join(" or "), weight.keras_layer))
            })?;
            let name = format!("{}.{}", plan.network[weight.layer].name, weight.param);
            tensors.push(stored.rearranged(name, weight.layout.clone())?);
        }
        let checkpoint = checkpoint.with_tensors(tensors);
        Ok(Some(Self { network: plan.network, checkpoint, assumed_preprocess: plan.assumed_preprocess }))
    }
}

/// A network's error as the reason why a file cannot be used.
fn reason(error: NetworkError) -> String {
    match error {
        NetworkError::Layer { layer, kind, reason, .. } => format!("layer {layer} ({kind}) {reason}"),
        NetworkError::Config { reason, .. } => reason,
        other => other.to_string(),
    }
}
