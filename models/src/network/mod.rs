//! A network as plain data: a list of named layers, each with its inputs.
//!
//! The list is in topological order and layer 0 is the input, so one walk over [`Network::layers`] runs, prints, cuts or counts a
//! network:
//!
//! ```
//! use convscope_models::{families, network::LayerKind};
//!
//! let net = families::build("resnet18", None)?;
//! for (_, layer, shape) in net.at(224, 224)?.layers() {
//!     let read: Vec<&str> = layer.inputs.iter().map(|&input| net[input].name.as_str()).collect();
//!     if let LayerKind::Add = layer.kind {
//!         assert_eq!(read.len(), 2, "{} of {shape} adds {read:?}", layer.name);
//!     }
//! }
//! # Ok::<(), convscope_models::network::NetworkError>(())
//! ```
//!
//! Layers have torchvision's names. Operations that are not modules in torchvision (`layer1.0.add`, `flatten`) have their names
//! in `torchvision.models.feature_extraction`. The name of a [`Scope`] (`layer3`, `features`) stands for its output layer.
//! Weights are separate, under the names of [`Network::params`].

mod alias;
mod builder;
mod dot;
mod error;
mod infer;
mod layer;
mod padding;
mod params;
mod select;
mod shape;
mod summary;

use serde::{Deserialize, Serialize};
use std::ops::{Index, Range};

pub use crate::image::Preprocess;
use crate::image::Resize;
pub use builder::{Builder, NEXT};
pub use error::NetworkError;
pub use infer::ShapedNetwork;
pub use layer::{Conv2d, LayerKind, Pool2d};
pub use padding::Padding;
pub use params::{Param, ParamKind};
pub use select::Selection;
pub use shape::LayerShape;
pub use summary::{Counts, Summary, SummaryRow};

use shape::product;

/// Index of a layer in [`Network::layers`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LayerId(pub usize);

impl LayerId {
    /// The input layer.
    pub const INPUT: Self = Self(0);
}

/// One layer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Layer {
    /// Unique name, such as `layer1.0.conv1`.
    pub name: String,
    /// Operation with its hyperparameters.
    pub kind: LayerKind,
    /// Input layers; always earlier ones.
    pub inputs: Vec<LayerId>,
    /// The earlier layer whose parameters it uses, if the model calls one layer several times. It then has none of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shares: Option<LayerId>,
}

/// Role of a scope in its family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScopeKind {
    /// Blocks of one resolution, such as `layer3` of a ResNet (the paper's `conv4_x`).
    Stage,
    /// One residual block, such as `layer3.2`.
    Block,
    /// The shortcut of a block, unless it is the identity, such as `layer3.0.downsample`.
    Shortcut,
    /// A plain sequence of layers, such as `features` of a VGG.
    Sequence,
}

/// A named range of layers. Scopes nest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scope {
    /// Full name, such as `layer3.0.downsample`.
    pub name: String,
    /// Role of the scope.
    pub kind: ScopeKind,
    /// Its layers, including those of inner scopes.
    pub layers: Range<usize>,
    /// Output layer.
    pub output: LayerId,
}

/// Size of a network's input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputSpec {
    /// Channels; 3 for RGB.
    pub channels: usize,
    /// Default height. Any from [`Self::min_size`] on works.
    pub height: usize,
    /// Default width.
    pub width: usize,
    /// Smallest `[height, width]` at which every layer has an output.
    pub min_size: [usize; 2],
}

/// Classes of a network's outputs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Classes {
    /// The 1000 classes of ILSVRC 2012.
    ImageNet1k,
    /// The 10 classes of CIFAR-10.
    Cifar10,
    /// Cats and dogs.
    CatsDogs,
    /// Other classes, by name.
    Named(Vec<String>),
    /// Other classes without names: their number.
    Count(usize),
    /// No classes, with the reason as the end of a sentence. Commands that need no classes work.
    None(String),
}

impl Classes {
    /// Number of classes; 0 for a network without.
    #[expect(clippy::len_without_is_empty, reason = "no network is built for no class")]
    pub fn len(&self) -> usize {
        match self {
            Self::ImageNet1k => 1000,
            Self::Cifar10 => 10,
            Self::CatsDogs => 2,
            Self::Named(names) => names.len(),
            Self::Count(count) => *count,
            Self::None(_) => 0,
        }
    }
}

/// Conversion of logits to probabilities. A network itself ends in logits, the input of Grad-CAM and gradient ascent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutputActivation {
    /// Softmax, for exclusive classes.
    Softmax,
    /// Independent classes, or binary logits of one output ([`LayerKind::BinaryLogits`]): sigmoid.
    Sigmoid,
}

/// A network as plain data.
#[derive(Debug, Clone, PartialEq)]
pub struct Network {
    /// Name in the register, such as `vgg16_bn`.
    pub name: String,
    /// Layers in topological order; layer 0 is [`LayerKind::Input`], the last one the output.
    pub layers: Vec<Layer>,
    /// Named ranges of layers, outer ones before inner ones.
    pub scopes: Vec<Scope>,
    /// Size of its input.
    pub input: InputSpec,
    /// Classes of its outputs.
    pub classes: Classes,
    /// Conversion of its logits to probabilities.
    pub output_activation: OutputActivation,
    /// Preparation of photos. A grey network takes the first plane.
    pub preprocess: Preprocess,
}

impl Index<LayerId> for Network {
    type Output = Layer;

    /// # Panics
    /// If `id` is of another, longer network.
    fn index(&self, id: LayerId) -> &Layer {
        &self.layers[id.0]
    }
}

impl Network {
    /// The last layer, whose output is the logits.
    pub fn output(&self) -> LayerId {
        LayerId(self.layers.len().saturating_sub(1))
    }

    /// Number of classes.
    ///
    /// # Errors
    /// [`NetworkError::NoClasses`] if it does not classify: see [`Classes::None`].
    pub fn class_count(&self) -> Result<usize, NetworkError> {
        match &self.classes {
            Classes::None(reason) => Err(NetworkError::NoClasses { network: self.name.clone(), reason: reason.clone() }),
            classes => Ok(classes.len()),
        }
    }

    /// This network with another preparation of images; its input size follows the crop or the exact resize.
    pub fn with_preprocess(mut self, preprocess: Preprocess) -> Self {
        match preprocess {
            Preprocess { crop: Some((h, w)), .. } | Preprocess { resize: Resize::Exact { h, w }, .. } => {
                (self.input.height, self.input.width) = (h, w);
            }
            _ => {}
        }
        self.preprocess = preprocess;
        self
    }

    /// The last layer with weights, which transfer to other classes replaces.
    pub fn classifier(&self) -> Option<LayerId> {
        self.params().last().map(|param| param.layer)
    }

    /// The layer that owns the parameters of `id`: itself, unless it [shares](Layer::shares) another's.
    pub fn owner(&self, id: LayerId) -> LayerId {
        self[id].shares.unwrap_or(id)
    }

    /// The layer with exactly this name. [`Network::select`] also accepts scopes, aliases and indices.
    pub fn find(&self, name: &str) -> Option<LayerId> {
        self.layers.iter().position(|layer| layer.name == name).map(LayerId)
    }

    /// Every layer with its id.
    pub fn ids(&self) -> impl Iterator<Item = (LayerId, &Layer)> {
        self.layers.iter().enumerate().map(|(index, layer)| (LayerId(index), layer))
    }

    /// The layers that read `id`.
    pub fn readers(&self, id: LayerId) -> impl Iterator<Item = LayerId> {
        self.ids().filter(move |(_, layer)| layer.inputs.contains(&id)).map(|(reader, _)| reader)
    }

    /// Whether the layer is part of a residual block's shortcut.
    pub fn in_shortcut(&self, id: LayerId) -> bool {
        let shortcuts = self.scopes.iter().filter(|scope| scope.kind == ScopeKind::Shortcut);
        shortcuts.into_iter().any(|scope| scope.layers.contains(&id.0))
    }

    /// The last convolution that is not in a shortcut (`last-conv` on the command line).
    pub fn last_conv(&self) -> Option<LayerId> {
        let convs = self.ids().filter(|(_, layer)| matches!(layer.kind, LayerKind::Conv2d(_)));
        convs.map(|(id, _)| id).filter(|&id| !self.in_shortcut(id)).last()
    }

    /// Grad-CAM's default layer: the deepest feature maps with a spatial extent. With stages it is the output of the last one
    /// (`layer4` of a ResNet, after its addition and ReLU, as in pytorch-grad-cam and torch-cam). Without stages it is the last
    /// convolution after its batch-norm and activation (`relu5_3` of VGG-16, `features.29`, as in the Grad-CAM paper;
    /// pytorch-grad-cam's example takes `features.30`, after a pooling). `None` without a convolution.
    pub fn cam_layer(&self) -> Option<LayerId> {
        let mut stages = self.scopes.iter().filter(|scope| scope.kind == ScopeKind::Stage);
        match stages.next_back() {
            Some(stage) => Some(stage.output),
            None => self.last_conv().map(|conv| self.activated(conv)),
        }
    }

    /// The end of the batch-norm and activation after `id`, if each is the only reader of the one before: Keras' output of the
    /// layer.
    pub(crate) fn activated(&self, id: LayerId) -> LayerId {
        let mut readers = self.readers(id);
        match (readers.next(), readers.next()) {
            (Some(next), None) => match &self[next].kind {
                LayerKind::BatchNorm2d { .. } => self.activated(next),
                kind if kind.is_activation() => next,
                _ => id,
            },
            _ => id,
        }
    }
}
