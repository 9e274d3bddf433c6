//! MobileNet v1 (Howard et al. 2017, arXiv:1704.04861, table 1) at width 1.0, with timm's layer names.
//!
//! A 3x3 stem, thirteen depthwise separable convolutions (a depthwise 3x3, then a 1x1), global average pooling, one dense layer.
//! The first separable convolution of a stage halves the resolution. Batch-norm and ReLU6 follow each convolution, as in the
//! authors' code; the paper has ReLU.

use super::sized;
use crate::image::{Filter, Normalization};
use crate::network::{Builder, Classes, Conv2d, LayerId, NEXT, Network, NetworkError, OutputActivation, Preprocess, ScopeKind};
use convscope_engine::Unary;

/// Channels of the stem.
pub(super) const WIDTH: usize = 32;

/// Separable convolutions of each stage, and their output channels in multiples of the stem's.
pub(super) const STAGES: [(usize, usize); 5] = [(1, 2), (2, 4), (2, 8), (6, 16), (2, 32)];

/// MobileNet v1 with `width` channels in the stem, 32 in the paper.
///
/// # Errors
/// For no width or no classes.
pub fn mobilenet_v1(width: usize, classes: Classes) -> Result<Network, NetworkError> {
    let mut net = Builder::new(&sized("mobilenetv1_100".into(), width, WIDTH), [3, 224, 224]);
    let x = net.conv("conv_stem", LayerId::INPUT, Conv2d::new(width, 3).stride(2).padding(1).without_bias());
    let x = norm_act(&mut net, "bn1", x);
    let x = net.scope(ScopeKind::Sequence, "blocks", x, |net, mut x| {
        for (stage, (convs, times)) in STAGES.into_iter().enumerate() {
            x = net.scope(ScopeKind::Stage, NEXT, x, |net, mut x| {
                for index in 0..convs {
                    let stride = if stage > 0 && index == 0 { 2 } else { 1 };
                    x = net.scope(ScopeKind::Sequence, NEXT, x, |net, x| separable(net, x, times * width, stride));
                }
                x
            });
        }
        x
    });
    let x = net.global_avg_pool("global_pool", x);
    let x = net.flatten("flatten", x);
    net.linear("classifier", x, classes.len());
    // Normalisation of timm's weights.
    let normalization = Normalization { mean: [0.5; 3], std: [0.5; 3], ..Normalization::UNIT };
    net.finish(classes, OutputActivation::Softmax, Preprocess { filter: Filter::Bicubic, normalization, ..Preprocess::IMAGENET })
}

/// A depthwise 3x3 convolution and a 1x1 convolution.
fn separable(net: &mut Builder, x: LayerId, width: usize, stride: usize) -> LayerId {
    let channels = net.channels(x);
    let depthwise = Conv2d { groups: channels, ..Conv2d::new(channels, 3) };
    let x = net.conv("conv_dw", x, depthwise.stride(stride).padding(1).without_bias());
    let x = norm_act(net, "bn1", x);
    let x = net.conv("conv_pw", x, Conv2d::new(width, 1).without_bias());
    norm_act(net, "bn2", x)
}

/// A batch-norm with its activation, one module in timm.
fn norm_act(net: &mut Builder, name: &str, x: LayerId) -> LayerId {
    let x = net.batch_norm(name, x);
    net.activation(&format!("{name}_act"), x, Unary::Relu6)
}
