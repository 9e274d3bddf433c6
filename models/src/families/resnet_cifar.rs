//! ResNet for CIFAR-10 (He et al. 2015, arXiv:1512.03385, section 4.2), with the parameter names of
//! akamaster/pytorch_resnet_cifar10, the usual published weights.
//!
//! A 3x3 stem, three stages of n basic blocks at 32, 16 and 8 pixels with 16, 32 and 64 channels (6n + 2 layers), global average
//! pooling, one dense layer. Shortcuts have no parameters ("option A").

use super::resnet::{conv3x3, stages, two_convs};
use super::sized;
use crate::network::{Builder, Classes, LayerId, LayerKind, Network, NetworkError, OutputActivation, Preprocess, ScopeKind};

/// Channels of the stem and the first stage.
pub(super) const WIDTH: usize = 16;

/// ResNet of 6n + 2 layers for 32x32 images (the paper has 20, 32, 44, 56 and 110); `width` channels in the first stage,
/// 16 in the paper.
///
/// # Errors
/// For a depth that is not 6n + 2 or exceeds 1202 (the paper's deepest), no width or no classes.
pub fn resnet_cifar(depth: usize, width: usize, classes: Classes) -> Result<Network, NetworkError> {
    let name = sized(format!("resnet{depth}-cifar"), width, WIDTH);
    let blocks = match depth {
        8..=1202 if depth % 6 == 2 => (depth - 2) / 6,
        _ => {
            let reason = format!("a CIFAR ResNet has 6n + 2 layers (20, 32, 44, 56, 110), not {depth}");
            return Err(NetworkError::Config { network: name, reason });
        }
    };
    let mut net = Builder::new(&name, [3, 32, 32]);
    let x = net.conv("conv1", LayerId::INPUT, conv3x3(width));
    let x = net.batch_norm("bn1", x);
    let x = net.relu("relu", x);
    let x = stages(&mut net, x, width, &basic, &[blocks; 3]);
    let x = net.global_avg_pool("avgpool", x);
    let x = net.flatten("flatten", x);
    net.linear("linear", x, classes.len());
    net.finish(classes, OutputActivation::Softmax, Preprocess::CIFAR)
}

/// A basic block with a parameter-free shortcut.
fn basic(net: &mut Builder, entry: LayerId, width: usize, stride: usize) -> LayerId {
    let x = two_convs(net, entry, width, stride);
    let shortcut = match net.channels(entry) == width {
        true => entry,
        false => net.scope(ScopeKind::Shortcut, "shortcut", entry, |net, entry| {
            net.layer("pad", LayerKind::PadShortcut { stride, out_channels: width }, &[entry])
        }),
    };
    let x = net.add("add", &[x, shortcut]);
    net.relu("relu", x)
}
