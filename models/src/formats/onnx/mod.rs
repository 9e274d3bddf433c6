//! ONNX models: the graph that a file describes becomes a network as data.
//!
//! | file | holds |
//! |---|---|
//! | `proto` | the messages of an ONNX file |
//! | `graph`, `node` | the operators that lead from the image to the output; one of them, its attributes typed |
//! | `constant` | weights, and the small numbers that exporters compute shapes with |
//! | `names` | what layers and scopes are called: as in the framework that the graph was exported from |
//! | `tensors` | the tensors of a file, and of those beside it |
//! | `translate` | the walk over the graph: its named values, and what is computed of constants |
//! | `ops` | one operator to one layer or a few of a network |
//!
//! What depends on an operator that is not known is left out, as of Keras models ([`keras`](crate::formats::keras)).
//!
//! Values stay in the file, mapped, until they are asked for.
//!
//! Three things follow from what ONNX files are:
//! - Sizes that a graph has computed from the image's (`Shape` and what follows it, `SAME_LOWER` padding) are those of the size in the
//!   file; at other sizes the network is still one, but with these numbers. So is the map over which one pixel a channel is spread
//!   before it is added.
//! - A file does not tell how photos are prepared. With the 1000 classes of ImageNet, torchvision's way is assumed, else values from 0
//!   to 1 ([`ImportedModel::assumed_preprocess`]).
//! - What multiplies or shifts whole channels by constants is a batch-norm of mean 0 and variance 1 here.

mod constant;
mod graph;
mod names;
mod node;
mod ops;
pub(super) mod proto;
pub(super) mod tensors;
mod translate;

use super::import::plain_name;
use super::{Checkpoint, ImportedModel, StoredTensor, WeightsError};
use std::collections::HashSet;

/// The model of an ONNX file; `None` if `checkpoint` is of another format.
///
/// # Errors
/// [`WeightsError::Format`] where there is no graph from one image to one output, or with the first node that does not fit its inputs.
pub fn read(checkpoint: &Checkpoint) -> Result<Option<ImportedModel>, WeightsError> {
    let Some(file) = checkpoint.onnx() else { return Ok(None) };
    let fail = |reason: String| WeightsError::format(checkpoint.path(), reason);
    let (model, graph) = tensors::model(file).map_err(fail)?;
    let constants: HashSet<&str> = checkpoint.tensors().iter().map(|t| t.name.as_str()).collect();
    let wrong = |reason: String| fail(format!("its ONNX graph: {reason}"));
    let graph = graph::Graph::new(&model, &graph, &constants).map_err(wrong)?;
    let stem = checkpoint.path().file_stem().unwrap_or_default().to_string_lossy();
    let name = plain_name(&stem.chars().take(80).collect::<String>());
    let imported = translate::translate(&graph, &name, checkpoint).map_err(wrong)?;
    imported.model(checkpoint, |tensor, name| Ok(StoredTensor { name, ..tensor })).map(Some)
}
