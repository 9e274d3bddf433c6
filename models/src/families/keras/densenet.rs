//! DenseNet (Huang et al. 2016, arXiv:1608.06993, table 1), as in Keras.

use super::{EPS, builder, global_avg_pool, squeezed, zero_pad};
use crate::families::densenet::{BOTTLENECK, WIDTH, blocks};
use crate::image::Normalization;
use crate::network::{Builder, Classes, Conv2d, LayerId, Network, NetworkError, OutputActivation, Pool2d, ScopeKind};

/// DenseNet of 121, 169 or 201 layers with `width` channels in the stem, 64 in the paper.
///
/// # Errors
/// For another depth, a width below 2 or no classes.
pub fn keras_densenet(depth: usize, width: usize, classes: Classes) -> Result<Network, NetworkError> {
    let name = format!("keras-densenet{depth}");
    let blocks = blocks(&name, depth)?;
    let mut net = builder(name, width, WIDTH, 224, EPS);
    let x = zero_pad(&mut net, "zero_padding2d", LayerId::INPUT, [3; 4]);
    let x = net.conv("conv1_conv", x, Conv2d::new(width, 7).stride(2).without_bias());
    let x = net.batch_norm("conv1_bn", x);
    let x = net.relu("conv1_relu", x);
    let x = zero_pad(&mut net, "zero_padding2d_1", x, [1; 4]);
    let mut x = net.max_pool("pool1", x, Pool2d::new(3, 2, 0));
    for (stage, layers) in (2..).zip(blocks) {
        x = net.group(ScopeKind::Stage, &format!("conv{stage}"), x, |net, mut x| {
            for layer in 1..=layers {
                x = dense_layer(net, &format!("conv{stage}_block{layer}"), x, width / 2);
            }
            x
        });
        if stage <= blocks.len() {
            let channels = net.channels(x) / 2;
            x = net.batch_norm(&format!("pool{stage}_bn"), x);
            x = net.relu(&format!("pool{stage}_relu"), x);
            x = net.conv(&format!("pool{stage}_conv"), x, Conv2d::new(channels, 1).without_bias());
            x = net.avg_pool(&format!("pool{stage}_pool"), x, Pool2d::new(2, 2, 0));
        }
    }
    let x = net.batch_norm("bn", x);
    let x = net.relu("relu", x);
    let x = global_avg_pool(&mut net, "avg_pool", x);
    net.linear("predictions", x, classes.len());
    net.finish(classes, OutputActivation::Softmax, squeezed(224, Normalization::IMAGENET))
}

/// Adds `growth` channels to the block's feature maps.
fn dense_layer(net: &mut Builder, name: &str, entry: LayerId, growth: usize) -> LayerId {
    let x = net.batch_norm(&format!("{name}_0_bn"), entry);
    let x = net.relu(&format!("{name}_0_relu"), x);
    let x = net.conv(&format!("{name}_1_conv"), x, Conv2d::new(BOTTLENECK * growth, 1).without_bias());
    let x = net.batch_norm(&format!("{name}_1_bn"), x);
    let x = net.relu(&format!("{name}_1_relu"), x);
    let x = net.conv(&format!("{name}_2_conv"), x, Conv2d::new(growth, 3).same().without_bias());
    net.concat(&format!("{name}_concat"), &[entry, x])
}
