//! Xception (Chollet 2016, arXiv:1610.02357, figure 5), as in Keras.
//!
//! Two or three depthwise separable convolutions a block; the shortcut is the identity or a 1x1 convolution at stride 2. No
//! activation separates the depthwise and the pointwise convolution.

use super::{DEFAULT_EPS, TF, builder, depthwise, global_avg_pool, squeezed};
use crate::network::{Builder, Classes, Conv2d, LayerId, Network, NetworkError, OutputActivation, Pool2d, ScopeKind};

/// Channels of the stem.
pub(in crate::families) const WIDTH: usize = 32;

/// Xception with `width` channels in the stem, 32 in the paper.
///
/// # Errors
/// For no width or no classes.
pub fn keras_xception(width: usize, classes: Classes) -> Result<Network, NetworkError> {
    let mut net = builder("keras-xception".into(), width, WIDTH, 299, DEFAULT_EPS);
    let of = |channels: usize| (channels * width).div_ceil(WIDTH);
    let mut x = LayerId::INPUT;
    for (name, conv) in [("block1_conv1", Conv2d::new(of(32), 3).stride(2)), ("block1_conv2", Conv2d::new(of(64), 3))] {
        x = net.conv(name, x, conv.without_bias());
        x = net.batch_norm(&format!("{name}_bn"), x);
        x = net.relu(&format!("{name}_act"), x);
    }
    // Entry flow.
    x = halving(&mut net, 2, x, [of(128); 2], false);
    x = halving(&mut net, 3, x, [of(256); 2], true);
    x = halving(&mut net, 4, x, [of(728); 2], true);
    // Middle flow.
    for block in 5..=12 {
        x = net.group(ScopeKind::Block, &format!("block{block}"), x, |net, entry| {
            let mut x = entry;
            for conv in 1..=3 {
                x = act_separable(net, &format!("block{block}_sepconv{conv}"), x, of(728));
            }
            net.add("add", &[x, entry])
        });
    }
    // Exit flow.
    x = halving(&mut net, 13, x, [of(728), of(1024)], true);
    for (name, channels) in [("block14_sepconv1", of(1536)), ("block14_sepconv2", of(2048))] {
        x = separable(&mut net, name, x, channels);
        x = net.relu(&format!("{name}_act"), x);
    }
    let x = global_avg_pool(&mut net, "avg_pool", x);
    net.linear("predictions", x, classes.len());
    net.finish(classes, OutputActivation::Softmax, squeezed(299, TF))
}

/// A block that halves the resolution, with a 1x1 projection as shortcut. The first block's input already has a ReLU.
fn halving(net: &mut Builder, block: usize, x: LayerId, channels: [usize; 2], rectifies: bool) -> LayerId {
    net.group(ScopeKind::Block, &format!("block{block}"), x, |net, entry| {
        let shortcut = net.group(ScopeKind::Shortcut, &format!("block{block}_shortcut"), entry, |net, x| {
            let x = net.conv("conv2d", x, Conv2d::new(channels[1], 1).stride(2).same().without_bias());
            net.batch_norm("batch_normalization", x)
        });
        let [first, second] = [1, 2].map(|conv| format!("block{block}_sepconv{conv}"));
        let x = match rectifies {
            true => act_separable(net, &first, entry, channels[0]),
            false => separable(net, &first, entry, channels[0]),
        };
        let x = act_separable(net, &second, x, channels[1]);
        let x = net.max_pool(&format!("block{block}_pool"), x, Pool2d::new(3, 2, 0).same());
        net.add("add", &[x, shortcut])
    })
}

fn act_separable(net: &mut Builder, name: &str, x: LayerId, channels: usize) -> LayerId {
    let x = net.relu(&format!("{name}_act"), x);
    separable(net, name, x, channels)
}

/// `SeparableConv2D` and its batch-norm.
fn separable(net: &mut Builder, name: &str, x: LayerId, channels: usize) -> LayerId {
    let x = net.scope(ScopeKind::Sequence, name, x, |net, x| {
        let x = net.conv("depthwise", x, depthwise(net, x, 3).same());
        net.conv("pointwise", x, Conv2d::new(channels, 1).without_bias())
    });
    net.batch_norm(&format!("{name}_bn"), x)
}
