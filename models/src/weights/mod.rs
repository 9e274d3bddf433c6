//! Weights in and out: from a file or a hub address to named tensors that fit a network, and back to a file.
//!
//! ```text
//! hf:owner/repo ── fetch ──> file ── Checkpoint::open ──> stored tensors ── match_tensors ──> one for each parameter
//!                                                                                │
//!                            file <── write_safetensors ── named f32 values <────┘ to_f32_checked
//! ```
//! The file's content decides its format, never its extension. Nothing stored in a file is executed, and no file
//! makes the reader reserve memory that its own size does not justify.

mod aliases;
mod checkpoint;
mod convert;
mod error;
mod hdf5;
mod hub;
mod hub_address;
mod hub_download;
mod keras_archive;
mod layout;
mod matching;
mod names;
mod onnx;
mod stored;
mod wrapper;

pub use checkpoint::{Checkpoint, Format};
pub use convert::{SaveType, TensorToSave, write_safetensors};
pub use error::WeightsError;
pub use hdf5::{KERAS_CONFIG, KERAS_LAYERS};
pub use hub::{DownloadProgress, HubOptions, fetch};
pub use hub_address::HubAddress;
pub use layout::Layout;
pub use matching::{Expected, Matched, Mismatch, Misshapen, Unmatched, match_tensors, training_only};
pub(crate) use onnx::model as onnx_model;
pub use stored::{FileBytes, StoredTensor, StoredType};
