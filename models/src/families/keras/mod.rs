//! The networks of [keras.applications](https://keras.io/api/applications/), with Keras's layer names.
//!
//! They share names with torchvision's networks but differ from them: convolutions before a batch-norm have biases (ResNet), the
//! stride is on another convolution, batch-norms have another epsilon or no scale, padding is one-sided at stride 2, and photos
//! are prepared in other ways. Layer names equal those of an import of the same architecture from a Keras file. A Keras layer
//! that becomes several layers here, such as a convolution with its ReLU, is a scope of its name.

mod densenet;
mod inception_v3;
mod mobilenet;
mod mobilenet_v2;
mod resnet;
mod resnet_v2;
mod vgg;
mod xception;

pub use densenet::keras_densenet;
pub use inception_v3::keras_inception_v3;
pub use mobilenet::keras_mobilenet;
pub use mobilenet_v2::keras_mobilenet_v2;
pub use resnet::keras_resnet;
pub use resnet_v2::keras_resnet_v2;
pub use vgg::keras_vgg;
pub(super) use xception::WIDTH as XCEPTION_WIDTH;
pub use xception::keras_xception;

use super::sized;
use crate::image::{Filter, Normalization, Resize};
use crate::network::{Builder, Conv2d, LayerId, LayerKind, Preprocess, ScopeKind};

/// Batch-norm epsilon of ResNets and DenseNets.
const EPS: f64 = 1.001e-5;

/// Keras' default batch-norm epsilon.
const DEFAULT_EPS: f64 = 1e-3;

/// Photos as `load_img(target_size=...)` reads them: resized to a square without their aspect ratio, nearest pixel.
fn squeezed(side: usize, normalization: Normalization) -> Preprocess {
    let resize = Resize::Exact { h: side, w: side };
    Preprocess { resize, crop: None, filter: Filter::Nearest, normalization }
}

/// `preprocess_input` in its mode "tf": -1 to 1.
const TF: Normalization = Normalization { scale: 127.5, mean: [1.0; 3], ..Normalization::UNIT };

/// A builder for a network on square RGB images, with Keras' batch-norm momentum.
fn builder(name: String, width: usize, usual: usize, side: usize, eps: f64) -> Builder {
    Builder::new(&sized(name, width, usual), [3, side, side]).batch_norm_eps(eps).batch_norm_momentum(0.01)
}

/// `Conv2D(..., activation="relu")`.
fn conv_relu(net: &mut Builder, name: &str, x: LayerId, conv: Conv2d) -> LayerId {
    net.scope(ScopeKind::Sequence, name, x, |net, x| {
        let x = net.conv("conv", x, conv);
        net.relu("relu", x)
    })
}

/// `Dense(..., activation="relu")`.
fn dense_relu(net: &mut Builder, name: &str, x: LayerId, units: usize) -> LayerId {
    net.scope(ScopeKind::Sequence, name, x, |net, x| {
        let x = net.linear("dense", x, units);
        net.relu("relu", x)
    })
}

/// `ZeroPadding2D` by `[top, bottom, left, right]`.
fn zero_pad(net: &mut Builder, name: &str, x: LayerId, sides: [usize; 4]) -> LayerId {
    net.layer(name, LayerKind::ZeroPad2d(sides), &[x])
}

/// `GlobalAveragePooling2D`.
fn global_avg_pool(net: &mut Builder, name: &str, x: LayerId) -> LayerId {
    net.scope(ScopeKind::Sequence, name, x, |net, x| {
        let x = net.global_avg_pool("pool", x);
        net.flatten("flatten", x)
    })
}

/// `DepthwiseConv2D`.
fn depthwise(net: &Builder, x: LayerId, kernel: usize) -> Conv2d {
    let channels = net.channels(x);
    Conv2d { groups: channels, ..Conv2d::new(channels, kernel) }.without_bias()
}
