//! ResNet for CIFAR-10 (He et al. 2015, arXiv:1512.03385, section 4.2), with the parameter names of
//! akamaster/pytorch_resnet_cifar10, whose weights are the ones in use.
//!
//! A 3x3 stem, three stages of n basic blocks at 32, 16 and 8 pixels with 16, 32 and 64 channels
//! (6n + 2 layers), a mean over the map, one dense layer. All shortcuts are free of parameters
//! ("option A").

use super::sized;
use crate::network::{Builder, Classes, Conv2d, Head, LayerId, LayerKind, NEXT, Network, NetworkError, Preprocess, ScopeKind};

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
    let mut x = net.relu("relu", x);
    for stage in 0..3 {
        let width = width << stage;
        x = net.scope(ScopeKind::Stage, &format!("layer{}", stage + 1), x, |net, mut x| {
            for index in 0..blocks {
                let stride = if stage > 0 && index == 0 { 2 } else { 1 };
                x = net.scope(ScopeKind::Block, NEXT, x, |net, x| basic(net, x, width, stride));
            }
            x
        });
    }
    let x = net.global_avg_pool("avgpool", x);
    let x = net.flatten("flatten", x);
    net.linear("linear", x, classes.len());
    net.finish(classes, Head::Softmax, Preprocess::CIFAR)
}

/// Two 3x3 convolutions, and the shortcut.
fn basic(net: &mut Builder, entry: LayerId, width: usize, stride: usize) -> LayerId {
    let x = net.conv("conv1", entry, conv3x3(width).stride(stride));
    let x = net.batch_norm("bn1", x);
    let x = net.relu("relu", x);
    let x = net.conv("conv2", x, conv3x3(width));
    let x = net.batch_norm("bn2", x);
    let shortcut = match net.channels(entry) == width {
        true => entry,
        false => net.scope(ScopeKind::Shortcut, "shortcut", entry, |net, entry| {
            net.layer("pad", LayerKind::PadShortcut { stride, out_channels: width }, &[entry])
        }),
    };
    let x = net.add("add", &[x, shortcut]);
    net.relu("relu", x)
}

fn conv3x3(width: usize) -> Conv2d {
    Conv2d::new(width, 3).padding(1).without_bias()
}
