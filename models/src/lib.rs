//! Networks as plain data, their weights, and the preparation of photos for them.
//!
//! A [`Network`](network::Network) is a list of layers without weights: from a paper's table ([`families::build`]), from code
//! ([`network::Builder`]) or from a file. A [`Model`] is a network with weights, and runs on a tape of the engine. Weights come from
//! safetensors, PyTorch, Keras and ONNX files, the Hugging Face hub, a deterministic initialisation ([`model::init`]) or training
//! ([`train`]).
//!
//! ```
//! use convscope_engine::{Tape, Tensor};
//! use convscope_models::{Model, image::prepare_file, labels::Labels};
//!
//! let model = Model::builtin()?; // or Model::open("resnet50.safetensors")?
//! let photo = prepare_file("sample:cat".as_ref(), &model.network.preprocess)?;
//! let images = Tensor::from_slice([1, 3, photo.h, photo.w], &photo.data)?;
//! let mut tape = Tape::inference();
//! let run = model.forward(&mut tape, images)?;
//! let logits = tape.value(run.output())?.f32(); // [1, classes]
//! let best = (0..logits.len()).max_by(|a, b| logits[*a].total_cmp(&logits[*b])).unwrap();
//! assert_eq!(Labels::of(&model.network.classes).name(best), Some("cat"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Modules in the order of their dependencies; each imports only from those above it:
//!
//! | module | holds |
//! |---|---|
//! | [`text`], [`files`] | similar names and foreign text in messages; atomic file writes |
//! | [`builtin`] | the bundled network and sample photos |
//! | [`mod@image`] | decoding, resizing and normalising photos, bit-exact to Pillow and torchvision |
//! | [`network`] | layers as data: building, shapes, parameters, selection by name |
//! | [`families`] | the known networks, one file a family |
//! | [`model`] | a network with its weights: running, fusion for inference, output activation |
//! | [`formats`] | weight files; importers of Keras and ONNX models |
//! | [`hub`] | files of the Hugging Face hub, through its cache |
//! | [`weights`] | matching of named tensors to a network's parameters, and conversion to safetensors |
//! | [`load()`] | a model from a file, a hub address or a deterministic initialisation |
//! | [`inspect`], [`labels`] | analysis of weight files; class names |
//! | [`train`] | image folders, augmentation, the training loop, checkpoints |

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
