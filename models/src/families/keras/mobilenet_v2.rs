//! MobileNet v2 (Sandler et al. 2018, arXiv:1801.04381, table 2), as in Keras. Keras' `alpha` is the width here: 32 channels in
//! the stem are `alpha` 1.0.

use super::{DEFAULT_EPS, TF, builder, depthwise, global_avg_pool, squeezed};
use crate::families::mobilenet_v2::{LAST, ROWS, WIDTH, in_eights};
use crate::network::{Builder, Classes, Conv2d, LayerId, Network, NetworkError, OutputActivation, ScopeKind};
use convscope_engine::Unary;

/// MobileNet v2 with `width` channels in the stem, 32 in the paper; all channels are multiples of 8.
///
/// # Errors
/// For no width or no classes.
pub fn keras_mobilenet_v2(width: usize, classes: Classes) -> Result<Network, NetworkError> {
    let mut net = builder("keras-mobilenet_v2".into(), width, WIDTH, 224, DEFAULT_EPS).batch_norm_momentum(1e-3);
    let x = net.conv("Conv1", LayerId::INPUT, Conv2d::new(width, 3).stride(2).same().without_bias());
    let x = net.batch_norm("bn_Conv1", x);
    let mut x = net.activation("Conv1_relu", x, Unary::Relu6);
    let mut block = 0;
    for (expansion, channels, blocks, first) in ROWS {
        let channels = in_eights(channels * width, WIDTH);
        for index in 0..blocks {
            let name = if block == 0 { "expanded_conv".to_owned() } else { format!("block_{block}") };
            let stride = if index == 0 { first } else { 1 };
            let same = stride == 1 && net.channels(x) == channels;
            let kind = if same { ScopeKind::Block } else { ScopeKind::Sequence };
            x = net.group(kind, &name, x, |net, entry| {
                let x = residual(net, &name, entry, expansion, channels, stride);
                if same { net.add(&format!("{name}_add"), &[entry, x]) } else { x }
            });
            block += 1;
        }
    }
    let last = in_eights(LAST * width.max(WIDTH), WIDTH);
    let x = net.conv("Conv_1", x, Conv2d::new(last, 1).without_bias());
    let x = net.batch_norm("Conv_1_bn", x);
    let x = net.activation("out_relu", x, Unary::Relu6);
    let x = global_avg_pool(&mut net, "global_average_pooling2d", x);
    net.linear("predictions", x, classes.len());
    net.finish(classes, OutputActivation::Softmax, squeezed(224, TF))
}

/// Inverted residual: a 1x1 expansion, a depthwise 3x3, a linear 1x1 projection.
fn residual(net: &mut Builder, name: &str, mut x: LayerId, expansion: usize, channels: usize, stride: usize) -> LayerId {
    if expansion > 1 {
        x = net.conv(&format!("{name}_expand"), x, Conv2d::new(expansion * net.channels(x), 1).without_bias());
        x = net.batch_norm(&format!("{name}_expand_BN"), x);
        x = net.activation(&format!("{name}_expand_relu"), x, Unary::Relu6);
    }
    // At stride 2 Keras pads in a layer of its own, by the amount of `same`.
    let x = net.conv(&format!("{name}_depthwise"), x, depthwise(net, x, 3).stride(stride).same());
    let x = net.batch_norm(&format!("{name}_depthwise_BN"), x);
    let x = net.activation(&format!("{name}_depthwise_relu"), x, Unary::Relu6);
    let x = net.conv(&format!("{name}_project"), x, Conv2d::new(channels, 1).without_bias());
    net.batch_norm(&format!("{name}_project_BN"), x)
}
