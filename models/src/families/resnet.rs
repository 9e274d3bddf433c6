//! ResNet for ImageNet (He et al. 2015, arXiv:1512.03385, table 1), as in torchvision.
//!
//! A 7x7 stem, four stages of residual blocks, global average pooling, one dense layer. The first block of a stage widens the
//! feature maps and, but for stage 1, halves the resolution. Its shortcut is a projection ("option B").
//!
//! ResNeXt (Xie et al. 2016, arXiv:1611.05431, table 1) has grouped, wider 3x3 convolutions in its bottlenecks.

use super::sized;
use crate::network::{
    Builder, Classes, Conv2d, LayerId, NEXT, Network, NetworkError, OutputActivation, Pool2d, Preprocess, ScopeKind,
};

/// Channels of the stem and the first stage.
pub(super) const WIDTH: usize = 64;

/// Groups of ResNeXt's 3x3 convolutions ("cardinality").
const GROUPS: usize = 32;

/// Output channels of a bottleneck block, in multiples of its middle channels.
const EXPANSION: usize = 4;

/// ResNet of 18, 34 (basic blocks), 50, 101 or 152 (bottleneck blocks) layers; `width` channels in the stem, 64 in the
/// paper.
///
/// # Errors
/// For another depth, no width or no classes.
pub fn resnet(depth: usize, width: usize, classes: Classes) -> Result<Network, NetworkError> {
    let name = sized(format!("resnet{depth}"), width, WIDTH);
    let Some(blocks) = blocks(depth) else {
        let reason = format!("ResNet has 18, 34, 50, 101 or 152 layers, not {depth}");
        return Err(NetworkError::Config { network: name, reason });
    };
    let block: &Block = if depth < 50 { &basic } else { &dense };
    network(name, width, classes, block, blocks)
}

/// ResNeXt of 50 or 101 layers. At the usual `width` of 64, 3x3 convolutions have 32 groups of `channels` channels in the first
/// stage, twice as many in each stage after it; another `width` scales the number of groups.
///
/// # Errors
/// For another depth, no width, no channels or no classes.
pub fn resnext(depth: usize, channels: usize, width: usize, classes: Classes) -> Result<Network, NetworkError> {
    let name = sized(format!("resnext{depth}_{GROUPS}x{channels}d"), width, WIDTH);
    let Some(blocks) = blocks(depth).filter(|_| [50, 101].contains(&depth)) else {
        let reason = format!("ResNeXt has 50 or 101 layers, not {depth}");
        return Err(NetworkError::Config { network: name, reason });
    };
    let groups = (GROUPS * width / WIDTH).max(1);
    let grouped = move |net: &mut Builder, entry: LayerId, wide: usize, stride: usize| {
        let middle = Conv2d { groups, ..conv3x3(groups * channels * wide / width) };
        bottleneck(net, entry, wide, middle.stride(stride))
    };
    network(name, width, classes, &grouped, blocks)
}

/// Blocks in each stage of a ResNet of this depth: basic ones below 50 layers, bottlenecks from there on.
pub(super) fn blocks(depth: usize) -> Option<[usize; 4]> {
    Some(match depth {
        18 => [2, 2, 2, 2],
        34 | 50 => [3, 4, 6, 3],
        101 => [3, 4, 23, 3],
        152 => [3, 8, 36, 3],
        _ => return None,
    })
}

/// A network of four stages with these numbers of blocks.
fn network(name: String, width: usize, classes: Classes, block: &Block, blocks: [usize; 4]) -> Result<Network, NetworkError> {
    let mut net = Builder::new(&name, [3, 224, 224]);
    let x = net.conv("conv1", LayerId::INPUT, Conv2d::new(width, 7).stride(2).padding(3).without_bias());
    let x = net.batch_norm("bn1", x);
    let x = net.relu("relu", x);
    let x = net.max_pool("maxpool", x, Pool2d::new(3, 2, 1));
    let x = stages(&mut net, x, width, block, &blocks);
    let x = net.global_avg_pool("avgpool", x);
    let x = net.flatten("flatten", x);
    net.linear("fc", x, classes.len());
    net.finish(classes, OutputActivation::Softmax, Preprocess::IMAGENET)
}

/// Stages with these numbers of blocks. Each is twice as wide as the one before and, but for the first, has half its resolution.
pub(super) fn stages(net: &mut Builder, mut x: LayerId, width: usize, block: &Block, blocks: &[usize]) -> LayerId {
    for (stage, &blocks) in blocks.iter().enumerate() {
        x = net.scope(ScopeKind::Stage, &format!("layer{}", stage + 1), x, |net, mut x| {
            for index in 0..blocks {
                let stride = if stage > 0 && index == 0 { 2 } else { 1 };
                x = net.scope(ScopeKind::Block, NEXT, x, |net, x| block(net, x, width << stage, stride));
            }
            x
        });
    }
    x
}

/// Adds a block of `width` whose 3x3 convolution has `stride`.
pub(super) type Block = dyn Fn(&mut Builder, LayerId, usize, usize) -> LayerId;

/// A basic block with a projection shortcut.
fn basic(net: &mut Builder, entry: LayerId, width: usize, stride: usize) -> LayerId {
    let x = two_convs(net, entry, width, stride);
    close(net, entry, x, stride)
}

/// The residual of a basic block: two 3x3 convolutions.
pub(super) fn two_convs(net: &mut Builder, entry: LayerId, width: usize, stride: usize) -> LayerId {
    let x = net.conv("conv1", entry, conv3x3(width).stride(stride));
    let x = net.batch_norm("bn1", x);
    let x = net.relu("relu", x);
    let x = net.conv("conv2", x, conv3x3(width));
    net.batch_norm("bn2", x)
}

/// A bottleneck without groups whose middle has the block's width.
fn dense(net: &mut Builder, entry: LayerId, width: usize, stride: usize) -> LayerId {
    bottleneck(net, entry, width, conv3x3(width).stride(stride))
}

/// 1x1 to `middle` channels, 3x3, 1x1 to four times the width. The stride is on the 3x3 ("v1.5", torchvision and NVIDIA); the
/// paper has it on the first 1x1.
fn bottleneck(net: &mut Builder, entry: LayerId, width: usize, middle: Conv2d) -> LayerId {
    let stride = middle.stride[0];
    let x = net.conv("conv1", entry, conv1x1(middle.out_channels));
    let x = net.batch_norm("bn1", x);
    let x = net.relu("relu", x);
    let x = net.conv("conv2", x, middle);
    let x = net.batch_norm("bn2", x);
    let x = net.relu("relu", x);
    let x = net.conv("conv3", x, conv1x1(EXPANSION * width));
    let x = net.batch_norm("bn3", x);
    close(net, entry, x, stride)
}

/// Adds the shortcut to the residual `x`: the identity, or a projection if the shapes differ.
fn close(net: &mut Builder, entry: LayerId, x: LayerId, stride: usize) -> LayerId {
    let width = net.channels(x);
    let shortcut = match stride == 1 && net.channels(entry) == width {
        true => entry,
        false => net.scope(ScopeKind::Shortcut, "downsample", entry, |net, entry| {
            let x = net.conv(NEXT, entry, conv1x1(width).stride(stride));
            net.batch_norm(NEXT, x)
        }),
    };
    let x = net.add("add", &[x, shortcut]);
    net.relu("relu", x)
}

fn conv1x1(width: usize) -> Conv2d {
    Conv2d::new(width, 1).without_bias()
}

pub(super) fn conv3x3(width: usize) -> Conv2d {
    Conv2d::new(width, 3).padding(1).without_bias()
}
