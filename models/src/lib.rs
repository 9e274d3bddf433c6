//! Networks as plain data, their weights, and what goes into them.
//!
//! | room | holds |
//! |---|---|
//! | [`network`], [`families`] | the list of layers, and builders that read like the papers' tables |
//! | [`model`], [`fuse`], `head` | a network with its weights, running it, fusing it for inference; what its outputs mean |
//! | [`weights`], [`load`] | files and hub addresses to named tensors, named tensors to a model |
//! | [`inspect`] | what a file of weights holds, known network or not |
//! | [`keras`], [`onnx`], [`Described`] | models as Keras saves them and ONNX models, architecture and all, to networks |
//! | [`builtin`] | a trained network and photos to try things on, within the program |
//! | [`preprocess`], [`labels`] | photos to tensors as Pillow and torchvision do it; class names |
//! | [`train`] | image folders, augmentation, the loop, checkpoints |
//! | [`files`], [`text`] | files written whole or not at all; nearest names and foreign text in messages |
//! | [`fill`] | closed-form weights, for tests and for trying things without a download |

pub mod builtin;
mod described;
pub mod families;
pub mod files;
pub mod fill;
pub mod fuse;
mod head;
pub mod inspect;
pub mod keras;
pub mod labels;
mod load;
pub mod model;
pub mod network;
pub mod onnx;
mod open;
pub mod preprocess;
pub mod text;
pub mod train;
pub mod weights;

pub use convscope_engine as engine;
pub use described::Described;
pub use load::{LoadError, Source, described_network, find_weights, guess_network, load};
pub use model::{Mode, Model, Run};
