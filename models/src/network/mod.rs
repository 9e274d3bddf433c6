//! A network as plain data: a list of named layers, each with the layers it reads.
//!
//! The list is in topological order and layer 0 is the input, so whoever runs, prints, cuts or
//! counts a network walks [`Network::layers`] once from front to back:
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
//! Layers have torchvision's names; operations that are not modules there (`layer1.0.add`,
//! `flatten`) have those that `torchvision.models.feature_extraction` gives them. The name of a
//! [`Scope`] (`layer3`, `features`) stands for the layer that is its output. Weights live
//! elsewhere, under the names of [`Network::params`].

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
pub use summary::{Counts, Row, Summary};

use shape::product;

/// Place of a layer in [`Network::layers`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LayerId(pub usize);

impl LayerId {
    /// The input.
    pub const INPUT: Self = Self(0);
}

/// One layer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Layer {
    /// Unique name, such as `layer1.0.conv1`.
    pub name: String,
    /// What it computes.
    pub kind: LayerKind,
    /// What it reads; always layers before it.
    pub inputs: Vec<LayerId>,
    /// The layer before it whose parameters it uses, where a model calls one layer several times; it has none of its own then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shares: Option<LayerId>,
}

/// What a scope stands for in its family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScopeKind {
    /// Blocks that work at one resolution, such as `layer3` of a ResNet (the paper's `conv4_x`).
    Stage,
    /// One residual block, such as `layer3.2`.
    Block,
    /// The path around a block where it is not the identity, such as `layer3.0.downsample`.
    Shortcut,
    /// A plain run of layers, such as `features` of a VGG.
    Sequence,
}

/// A named run of layers. Scopes nest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scope {
    /// Full name, such as `layer3.0.downsample`.
    pub name: String,
    /// What it stands for.
    pub kind: ScopeKind,
    /// Its layers, those of the scopes within it among them.
    pub layers: Range<usize>,
    /// The layer whose output is the scope's.
    pub output: LayerId,
}

/// The images that a network takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputSpec {
    /// Channels: 3 for RGB.
    pub channels: usize,
    /// Height it was designed for. Others work from [`Self::min_size`] on.
    pub height: usize,
    /// Width it was designed for.
    pub width: usize,
    /// Smallest `[height, width]` that leaves every layer an output.
    pub min_size: [usize; 2],
}

/// What the outputs stand for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Classes {
    /// The 1000 classes of ILSVRC 2012.
    ImageNet1k,
    /// The 10 classes of CIFAR-10.
    Cifar10,
    /// Cats and dogs.
    CatsDogs,
    /// Own classes, by name.
    Named(Vec<String>),
    /// Own classes without names.
    Count(usize),
    /// None, and why, as the end of a sentence: the network can be looked into, but does not classify.
    None(String),
}

impl Classes {
    /// How many there are; 0 of a network that has none.
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

/// How the raw outputs (logits) become probabilities. Networks end in logits, which is what
/// Grad-CAM and gradient ascent want; whoever prints probabilities applies this.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutputActivation {
    /// One class excludes the others: softmax.
    Softmax,
    /// Independent classes, or binary logits of one output ([`LayerKind::BinaryLogits`]): sigmoid.
    Sigmoid,
}

/// A network as plain data.
#[derive(Debug, Clone, PartialEq)]
pub struct Network {
    /// Name in the registry, such as `vgg16_bn`.
    pub name: String,
    /// Layers in topological order; layer 0 is [`LayerKind::Input`], the last one the output.
    pub layers: Vec<Layer>,
    /// Named runs of layers, outer ones before those within them.
    pub scopes: Vec<Scope>,
    /// The images it takes.
    pub input: InputSpec,
    /// What its outputs stand for.
    pub classes: Classes,
    /// How its outputs become probabilities.
    pub output_activation: OutputActivation,
    /// How a photo becomes its input; of a network for grey images the first plane counts.
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

    /// How many classes the network tells apart.
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

    /// The last layer with weights: the one that a network for other classes has of its own.
    pub fn classifier(&self) -> Option<LayerId> {
        self.params().last().map(|param| param.layer)
    }

    /// The layer that has the parameters of `id`: itself, unless it [shares](Layer::shares) them.
    pub fn owner(&self, id: LayerId) -> LayerId {
        self[id].shares.unwrap_or(id)
    }

    /// The layer of exactly this name. [`Network::select`] also takes scopes, aliases and numbers.
    pub fn find(&self, name: &str) -> Option<LayerId> {
        self.layers.iter().position(|layer| layer.name == name).map(LayerId)
    }

    /// Every layer with its place.
    pub fn ids(&self) -> impl Iterator<Item = (LayerId, &Layer)> {
        self.layers.iter().enumerate().map(|(index, layer)| (LayerId(index), layer))
    }

    /// The layers that read `id`.
    pub fn readers(&self, id: LayerId) -> impl Iterator<Item = LayerId> {
        self.ids().filter(move |(_, layer)| layer.inputs.contains(&id)).map(|(reader, _)| reader)
    }

    /// Whether the layer lies on the path around a residual block.
    pub fn in_shortcut(&self, id: LayerId) -> bool {
        let shortcuts = self.scopes.iter().filter(|scope| scope.kind == ScopeKind::Shortcut);
        shortcuts.into_iter().any(|scope| scope.layers.contains(&id.0))
    }

    /// The last convolution that is not in a shortcut (`last-conv` on the command line).
    pub fn last_conv(&self) -> Option<LayerId> {
        let convs = self.ids().filter(|(_, layer)| matches!(layer.kind, LayerKind::Conv2d(_)));
        convs.map(|(id, _)| id).filter(|&id| !self.in_shortcut(id)).last()
    }

    /// Grad-CAM's default layer: the deepest features that still have a place in the image.
    ///
    /// With stages it is the output of the last one (`layer4` of a ResNet, after its addition and
    /// ReLU: the target of pytorch-grad-cam and torch-cam). Without, it is the last convolution
    /// followed through its batch-norm and activation (`relu5_3` of VGG-16, `features.29`: the
    /// layer of the Grad-CAM paper; pytorch-grad-cam's example takes `features.30`, after a pooling
    /// that halves the map). `None` without a convolution.
    pub fn cam_layer(&self) -> Option<LayerId> {
        let mut stages = self.scopes.iter().filter(|scope| scope.kind == ScopeKind::Stage);
        match stages.next_back() {
            Some(stage) => Some(stage.output),
            None => self.last_conv().map(|conv| self.activated(conv)),
        }
    }

    /// `id` followed through the batch-norm and the activation that alone read it: what Keras calls
    /// the layer's output.
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
