//! ResNet (He et al. 2015, arXiv:1512.03385, table 1), as in Keras.
//!
//! As in the paper, the stride is on the first 1x1 convolution of a block. Convolutions have biases.

use super::{EPS, builder, global_avg_pool, squeezed, zero_pad};
use crate::families::resnet::{self, WIDTH};
use crate::image::Normalization;
use crate::network::{Builder, Classes, Conv2d, LayerId, Network, NetworkError, OutputActivation, Pool2d, ScopeKind};

/// Blocks in each stage, for the depths that Keras has.
pub(super) fn blocks(name: &str, depth: usize) -> Result<[usize; 4], NetworkError> {
    let reason = || format!("has 50, 101 or 152 layers, not {depth}");
    let known = resnet::blocks(depth).filter(|_| depth >= 50);
    known.ok_or_else(|| NetworkError::Config { network: name.to_owned(), reason: reason() })
}

/// ResNet of 50, 101 or 152 layers; `width` channels in the stem, 64 in the paper.
///
/// # Errors
/// For another depth, no width or no classes.
pub fn keras_resnet(depth: usize, width: usize, classes: Classes) -> Result<Network, NetworkError> {
    let name = format!("keras-resnet{depth}");
    let blocks = blocks(&name, depth)?;
    let mut net = builder(name, width, WIDTH, 224, EPS);
    let x = zero_pad(&mut net, "conv1_pad", LayerId::INPUT, [3; 4]);
    let x = net.conv("conv1_conv", x, Conv2d::new(width, 7).stride(2));
    let x = net.batch_norm("conv1_bn", x);
    let x = net.relu("conv1_relu", x);
    let x = zero_pad(&mut net, "pool1_pad", x, [1; 4]);
    let mut x = net.max_pool("pool1_pool", x, Pool2d::new(3, 2, 0));
    for (stage, blocks) in blocks.into_iter().enumerate() {
        let (name, width) = (format!("conv{}", stage + 2), width << stage);
        x = net.group(ScopeKind::Stage, &name, x, |net, mut x| {
            for index in 0..blocks {
                let stride = if stage > 0 && index == 0 { 2 } else { 1 };
                let name = format!("{name}_block{}", index + 1);
                x = net.group(ScopeKind::Block, &name, x, |net, x| block(net, &name, x, width, stride, index == 0));
            }
            x
        });
    }
    let x = global_avg_pool(&mut net, "avg_pool", x);
    net.linear("predictions", x, classes.len());
    net.finish(classes, OutputActivation::Softmax, squeezed(224, Normalization::CAFFE))
}

/// A bottleneck: 1x1 to `width` channels, 3x3, 1x1 to four times as many, and the shortcut.
fn block(net: &mut Builder, name: &str, entry: LayerId, width: usize, stride: usize, projects: bool) -> LayerId {
    let shortcut = match projects {
        false => entry,
        true => net.group(ScopeKind::Shortcut, &format!("{name}_0"), entry, |net, x| {
            let x = net.conv(&format!("{name}_0_conv"), x, Conv2d::new(4 * width, 1).stride(stride));
            net.batch_norm(&format!("{name}_0_bn"), x)
        }),
    };
    let mut x = entry;
    for (part, conv) in [(1, Conv2d::new(width, 1).stride(stride)), (2, Conv2d::new(width, 3).same())] {
        x = net.conv(&format!("{name}_{part}_conv"), x, conv);
        x = net.batch_norm(&format!("{name}_{part}_bn"), x);
        x = net.relu(&format!("{name}_{part}_relu"), x);
    }
    let x = net.conv(&format!("{name}_3_conv"), x, Conv2d::new(4 * width, 1));
    let x = net.batch_norm(&format!("{name}_3_bn"), x);
    let x = net.add(&format!("{name}_add"), &[shortcut, x]);
    net.relu(&format!("{name}_out"), x)
}
