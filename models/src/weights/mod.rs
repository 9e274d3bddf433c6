//! Weights: from a file or a hub address to the parameters of a network, and back to a file.
//!
//! ```text
//! hf:owner/repo ── fetch ──> file ── Checkpoint::open ──> stored tensors ── match_tensors ──> one for each parameter
//!                                                                                │
//!                            file <── write_safetensors ── named f32 values <────┘ to_f32_checked
//! ```
//! The content decides a file's format, never its extension. Nothing in a file is executed. Memory allocations are bounded by the
//! file's size.

mod aliases;
mod convert;
mod matching;
mod names;

pub use crate::formats::{
    Checkpoint, FileBytes, Format, KERAS_CONFIG, KERAS_LAYERS, Layout, Mismatch, Misshapen, StoredTensor, StoredType, Unmatched,
    WeightsError,
};
pub use crate::hub::{DownloadProgress, HubAddress, HubOptions, fetch};
pub use convert::{SaveType, TensorToSave, write_safetensors};
pub use matching::{Expected, Matched, match_tensors, training_only};
