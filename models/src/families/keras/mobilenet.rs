//! MobileNet v1 (Howard et al. 2017, arXiv:1704.04861, table 1), as in Keras. Keras' `alpha` is the width here: 32 channels in
//! the stem are `alpha` 1.0, 8 are 0.25.

use super::{DEFAULT_EPS, TF, builder, depthwise, global_avg_pool, squeezed, zero_pad};
use crate::families::mobilenet::{STAGES, WIDTH};
use crate::network::{Builder, Classes, Conv2d, LayerId, Network, NetworkError, OutputActivation, ScopeKind};
use convscope_engine::Unary;

/// MobileNet v1 with `width` channels in the stem, 32 in the paper.
///
/// # Errors
/// For no width or no classes.
pub fn keras_mobilenet(width: usize, classes: Classes) -> Result<Network, NetworkError> {
    let mut net = builder("keras-mobilenet".into(), width, WIDTH, 224, DEFAULT_EPS);
    let x = net.conv("conv1", LayerId::INPUT, Conv2d::new(width, 3).stride(2).same().without_bias());
    let mut x = norm_act(&mut net, "conv1", x);
    let mut block = 0;
    for (stage, (convs, times)) in STAGES.into_iter().enumerate() {
        x = net.group(ScopeKind::Stage, &format!("stage{}", stage + 1), x, |net, mut x| {
            for index in 0..convs {
                block += 1;
                x = separable(net, block, x, times * width, stage > 0 && index == 0);
            }
            x
        });
    }
    let x = global_avg_pool(&mut net, "global_average_pooling2d", x);
    let x = net.dropout("dropout", x, 1e-3);
    // A 1x1 convolution after global pooling in Keras; a dense layer has the same weights.
    net.linear("conv_preds", x, classes.len());
    net.finish(classes, OutputActivation::Softmax, squeezed(224, TF))
}

/// A depthwise 3x3 convolution and a 1x1 convolution.
fn separable(net: &mut Builder, block: usize, mut x: LayerId, width: usize, halves: bool) -> LayerId {
    let mut conv = depthwise(net, x, 3).same();
    if halves {
        // Explicit padding of one row and column at the bottom right; `same` would pad both sides at odd sizes.
        x = zero_pad(net, &format!("conv_pad_{block}"), x, [0, 1, 0, 1]);
        conv = depthwise(net, x, 3).stride(2);
    }
    let name = format!("conv_dw_{block}");
    let x = net.conv(&name, x, conv);
    let x = norm_act(net, &name, x);
    let name = format!("conv_pw_{block}");
    let x = net.conv(&name, x, Conv2d::new(width, 1).without_bias());
    norm_act(net, &name, x)
}

fn norm_act(net: &mut Builder, name: &str, x: LayerId) -> LayerId {
    let x = net.batch_norm(&format!("{name}_bn"), x);
    net.activation(&format!("{name}_relu"), x, Unary::Relu6)
}
