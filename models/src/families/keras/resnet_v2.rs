//! ResNet v2 (He et al. 2016, arXiv:1603.05027), as in Keras: batch-norm and ReLU precede each convolution, so the identity path
//! has no activation. The last block of a stage, not the first, halves the resolution.

use super::resnet::blocks;
use super::{EPS, TF, builder, global_avg_pool, squeezed, zero_pad};
use crate::families::resnet::WIDTH;
use crate::network::{Builder, Classes, Conv2d, LayerId, Network, NetworkError, OutputActivation, Pool2d, ScopeKind};

/// ResNet v2 of 50, 101 or 152 layers; `width` channels in the stem, 64 in the paper.
///
/// # Errors
/// For another depth, no width or no classes.
pub fn keras_resnet_v2(depth: usize, width: usize, classes: Classes) -> Result<Network, NetworkError> {
    let name = format!("keras-resnet{depth}v2");
    let blocks = blocks(&name, depth)?;
    let mut net = builder(name, width, WIDTH, 224, EPS);
    let x = zero_pad(&mut net, "conv1_pad", LayerId::INPUT, [3; 4]);
    let x = net.conv("conv1_conv", x, Conv2d::new(width, 7).stride(2));
    // No ReLU precedes this pooling, so padded zeros take part in the maximum.
    let x = zero_pad(&mut net, "pool1_pad", x, [1; 4]);
    let mut x = net.max_pool("pool1_pool", x, Pool2d::new(3, 2, 0));
    for (stage, blocks) in blocks.into_iter().enumerate() {
        let (name, width) = (format!("conv{}", stage + 2), width << stage);
        x = net.group(ScopeKind::Stage, &name, x, |net, mut x| {
            for index in 1..=blocks {
                let stride = if stage < 3 && index == blocks { 2 } else { 1 };
                let name = format!("{name}_block{index}");
                x = net.group(ScopeKind::Block, &name, x, |net, x| block(net, &name, x, width, stride, index == 1));
            }
            x
        });
    }
    let x = net.batch_norm("post_bn", x);
    let x = net.relu("post_relu", x);
    let x = global_avg_pool(&mut net, "avg_pool", x);
    net.linear("predictions", x, classes.len());
    net.finish(classes, OutputActivation::Softmax, squeezed(224, TF))
}

/// Batch-norm and ReLU, then 1x1, 3x3, 1x1 to four times the width, and the shortcut: a projection of the first ReLU's output, a
/// subsampling at stride 2, or the identity.
fn block(net: &mut Builder, name: &str, entry: LayerId, width: usize, stride: usize, projects: bool) -> LayerId {
    let x = net.batch_norm(&format!("{name}_preact_bn"), entry);
    let preact = net.relu(&format!("{name}_preact_relu"), x);
    let shortcut = match (projects, stride) {
        (true, _) => net.group(ScopeKind::Shortcut, &format!("{name}_0"), preact, |net, x| {
            net.conv(&format!("{name}_0_conv"), x, Conv2d::new(4 * width, 1).stride(stride))
        }),
        (false, 1) => entry,
        (false, _) => net.group(ScopeKind::Shortcut, &format!("{name}_0"), entry, |net, x| {
            net.max_pool("max_pooling2d", x, Pool2d::new(1, stride, 0))
        }),
    };
    let x = net.conv(&format!("{name}_1_conv"), preact, Conv2d::new(width, 1).without_bias());
    let x = net.batch_norm(&format!("{name}_1_bn"), x);
    let x = net.relu(&format!("{name}_1_relu"), x);
    let x = zero_pad(net, &format!("{name}_2_pad"), x, [1; 4]);
    let x = net.conv(&format!("{name}_2_conv"), x, Conv2d::new(width, 3).stride(stride).without_bias());
    let x = net.batch_norm(&format!("{name}_2_bn"), x);
    let x = net.relu(&format!("{name}_2_relu"), x);
    let x = net.conv(&format!("{name}_3_conv"), x, Conv2d::new(4 * width, 1));
    net.add(&format!("{name}_out"), &[shortcut, x])
}
