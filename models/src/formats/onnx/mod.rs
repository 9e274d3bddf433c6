//! ONNX models: the graph of a file becomes a network as data.
//!
//! | file | holds |
//! |---|---|
//! | `proto` | the messages of an ONNX file |
//! | `graph`, `node` | the operators on the path from the image to the output; one operator, its attributes typed |
//! | `constant` | constants, and the folding of shape computations |
//! | `names` | names of layers and scopes, as in the framework that exported the graph |
//! | `tensors` | tensors in the file and in files beside it |
//! | `translate` | the walk over the graph: its named values, and constant folding |
//! | `ops` | one operator to one or more layers of a network |
//!
//! Import stops before the first unknown operator, as for Keras models ([`keras`](crate::formats::keras)).
//!
//! Values stay in the mapped file until they are read.
//!
//! Three properties of ONNX files limit the import:
//! - A size that a graph computes from the image's (`Shape` and its readers, `SAME_LOWER` padding) is fixed at the size in the
//!   file.
//! - A file does not describe the image preparation. With ImageNet's 1000 classes, torchvision's is assumed, else values from 0
//!   to 1 ([`ImportedModel::assumed_preprocess`]).
//! - A product or sum of a whole channel with a constant is a batch-norm of mean 0 and variance 1.

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
/// [`WeightsError::Format`] if no path leads from one image to one output, or with the first node that does not fit its inputs.
pub fn read(checkpoint: &Checkpoint) -> Result<Option<ImportedModel>, WeightsError> {
    let Some(file) = checkpoint.onnx() else { return Ok(None) };
    let fail = |reason: String| WeightsError::format(checkpoint.path(), reason);
    let (model, graph) = tensors::model(file).map_err(fail)?;
    let constants: HashSet<&str> = checkpoint.tensors().iter().map(|t| t.name.as_str()).collect();
    let wrong = |reason: String| fail(format!("its ONNX graph: {reason}"));
    let graph = graph::OnnxGraph::new(&model, &graph, &constants).map_err(wrong)?;
    let stem = checkpoint.path().file_stem().unwrap_or_default().to_string_lossy();
    let name = plain_name(&stem.chars().take(80).collect::<String>());
    let imported = translate::translate(&graph, &name, checkpoint).map_err(wrong)?;
    imported.model(checkpoint, |tensor, name| Ok(StoredTensor { name, ..tensor })).map(Some)
}
