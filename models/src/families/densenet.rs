//! DenseNet (Huang et al. 2016, arXiv:1608.06993, table 1), as in torchvision.
//!
//! A 7x7 stem and four dense blocks. Each layer of a block reads the block's input and the outputs of all layers before it, and
//! adds `width / 2` channels (the growth rate): batch-norm and ReLU, a 1x1 convolution to four times the growth rate, batch-norm
//! and ReLU, a 3x3 convolution. Between blocks a transition halves channels and resolution.

use super::sized;
use crate::network::{Builder, Classes, Conv2d, LayerId, Network, NetworkError, OutputActivation, Pool2d, Preprocess, ScopeKind};

/// Channels of the stem: twice the growth rate.
pub(super) const WIDTH: usize = 64;

/// Bottleneck channels of a layer, in multiples of the growth rate.
pub(super) const BOTTLENECK: usize = 4;

/// DenseNet of 121, 169 or 201 layers with `width` channels in the stem, 64 in the paper.
///
/// # Errors
/// For another depth, a width below 2 or no classes.
pub fn densenet(depth: usize, width: usize, classes: Classes) -> Result<Network, NetworkError> {
    let name = sized(format!("densenet{depth}"), width, WIDTH);
    let blocks = blocks(&name, depth)?;
    let mut net = Builder::new(&name, [3, 224, 224]);
    let x = net.scope(ScopeKind::Sequence, "features", LayerId::INPUT, |net, x| {
        let x = net.conv("conv0", x, Conv2d::new(width, 7).stride(2).padding(3).without_bias());
        let x = net.batch_norm("norm0", x);
        let x = net.relu("relu0", x);
        let mut x = net.max_pool("pool0", x, Pool2d::new(3, 2, 1));
        for (block, layers) in (1..).zip(blocks) {
            x = net.scope(ScopeKind::Stage, &format!("denseblock{block}"), x, |net, x| dense_block(net, x, layers, width / 2));
            if block < blocks.len() {
                x = net.scope(ScopeKind::Sequence, &format!("transition{block}"), x, transition);
            }
        }
        net.batch_norm("norm5", x)
    });
    let x = net.relu("relu", x);
    let x = net.global_avg_pool("adaptive_avg_pool2d", x);
    let x = net.flatten("flatten", x);
    net.linear("classifier", x, classes.len());
    net.finish(classes, OutputActivation::Softmax, Preprocess::IMAGENET)
}

/// Layers in each block of a DenseNet of this depth.
pub(super) fn blocks(name: &str, depth: usize) -> Result<[usize; 4], NetworkError> {
    match depth {
        121 => Ok([6, 12, 24, 16]),
        169 => Ok([6, 12, 32, 32]),
        201 => Ok([6, 12, 48, 32]),
        _ => {
            let reason = format!("DenseNet has 121, 169 or 201 layers, not {depth}");
            Err(NetworkError::Config { network: name.to_owned(), reason })
        }
    }
}

/// `layers` layers of `growth` channels, each of which reads all layers before it.
fn dense_block(net: &mut Builder, x: LayerId, layers: usize, growth: usize) -> LayerId {
    let mut made = vec![x];
    for layer in 1..=layers {
        let x = net.scope(ScopeKind::Sequence, &format!("denselayer{layer}"), x, |net, _| {
            let x = net.concat("cat", &made);
            let x = net.batch_norm("norm1", x);
            let x = net.relu("relu1", x);
            let x = net.conv("conv1", x, Conv2d::new(BOTTLENECK * growth, 1).without_bias());
            let x = net.batch_norm("norm2", x);
            let x = net.relu("relu2", x);
            net.conv("conv2", x, Conv2d::new(growth, 3).padding(1).without_bias())
        });
        made.push(x);
    }
    net.concat("cat", &made)
}

/// Halves the channels, then the resolution.
fn transition(net: &mut Builder, x: LayerId) -> LayerId {
    let channels = net.channels(x) / 2;
    let x = net.batch_norm("norm", x);
    let x = net.relu("relu", x);
    let x = net.conv("conv", x, Conv2d::new(channels, 1).without_bias());
    net.avg_pool("pool", x, Pool2d::new(2, 2, 0))
}
