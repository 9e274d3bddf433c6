//! File formats: the named tensors of a checkpoint, and the networks that some files describe.
//!
//! | file | holds |
//! |---|---|
//! | `checkpoint` | one file of named tensors, with its format detected from the content: safetensors, PyTorch, HDF5, Keras, ONNX
//! |
//! | `stored`, `layout` | one tensor, still in its file; conversion of its layout to PyTorch's |
//! | `safetensors`, `pytorch`, `hdf5` | the tensors of a file of that format |
//! | `import` | the part that all importers of models share: the network so far, its parameters, its end |
//! | [`keras`], [`onnx`] | architecture and weights of Keras and ONNX models: their graphs, and tables of operators and layers |
//! | `metadata` | the network in the metadata of a safetensors file |
//! | `wrapper` | prefixes of tensor names from training scripts |
//! | `error` | [`WeightsError`] |

mod checkpoint;
mod error;
mod hdf5;
mod import;
pub mod keras;
mod layout;
mod metadata;
pub mod onnx;
mod pytorch;
mod safetensors;
mod stored;
mod wrapper;

pub use checkpoint::{Checkpoint, Format};
pub use error::{Mismatch, Misshapen, Unmatched, WeightsError};
pub use hdf5::{KERAS_CONFIG, KERAS_LAYERS};
pub use import::ImportedModel;
pub use layout::Layout;
pub use metadata::METADATA;
pub use stored::{FileBytes, StoredTensor, StoredType};
