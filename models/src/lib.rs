//! Networks as plain data, their weights, and what goes into them.
//!
//! Rooms in order: each imports only from those above it.
//!
//! | room | holds |
//! |---|---|
//! | [`text`], [`files`] | nearest names and foreign text in messages; files written whole or not at all |
//! | [`builtin`] | a trained network and photos to try things on, within the program |
//! | [`mod@image`] | photos to tensors as Pillow and torchvision do it |
//! | [`network`] | layers as data: building, shapes, parameters, selection by name |
//! | [`families`] | builders that read like the papers' tables |
//! | [`model`] | a network with its weights, running it, fusing it for inference; what its outputs mean |
//! | [`formats`] | files of weights; models as Keras saves them and ONNX models, architecture and all, to networks |
//! | [`hub`] | files of the Hugging Face hub, through its cache |
//! | [`weights`] | named tensors to the parameters of a network, and back to a file |
//! | `load` | from a file, a hub address or a rule to a model |
//! | [`inspect`], [`labels`] | a file of weights, known network or not; class names |
//! | [`train`] | image folders, augmentation, the loop, checkpoints |

pub mod builtin;
pub mod families;
pub mod files;
pub mod formats;
pub mod hub;
pub mod image;
pub mod inspect;
pub mod labels;
mod load;
pub mod model;
pub mod network;
mod open;
pub mod text;
pub mod train;
pub mod weights;

pub use convscope_engine as engine;
pub use formats::{ImportedModel, keras, onnx};
pub use load::{LoadError, WeightsSource, described_network, find_weights, guess_network, load};
pub use model::{Mode, Model, Run, fuse};
