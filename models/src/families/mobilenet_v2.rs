//! MobileNet v2 (Sandler et al. 2018, arXiv:1801.04381, table 2), as in torchvision.
//!
//! Inverted residuals: a 1x1 expansion to six times the channels, a depthwise 3x3, a 1x1 projection without activation ("linear
//! bottleneck"). Blocks of equal input and output shape add their input.

use super::sized;
use crate::network::{Builder, Classes, Conv2d, LayerId, NEXT, Network, NetworkError, OutputActivation, Preprocess, ScopeKind};
use convscope_engine::Unary;

/// Channels of the stem.
pub(super) const WIDTH: usize = 32;

/// Rows of table 2: expansion, channels, blocks, stride of the first block.
pub(super) const ROWS: [(usize, usize, usize, usize); 7] =
    [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)];

/// Blocks of each row.
pub(crate) const BLOCKS: [usize; 7] = [ROWS[0].2, ROWS[1].2, ROWS[2].2, ROWS[3].2, ROWS[4].2, ROWS[5].2, ROWS[6].2];

/// Minimum number of channels before the global pooling, at any width.
pub(super) const LAST: usize = 1280;

/// MobileNet v2 with `width` channels in the stem, 32 in the paper; all channels are multiples of 8.
///
/// # Errors
/// For no width or no classes.
pub fn mobilenet_v2(width: usize, classes: Classes) -> Result<Network, NetworkError> {
    let mut net = Builder::new(&sized("mobilenet_v2".into(), width, WIDTH), [3, 224, 224]);
    let scaled = |channels: usize| in_eights(channels * width, WIDTH);
    let x = net.scope(ScopeKind::Sequence, "features", LayerId::INPUT, |net, x| {
        let stem = Conv2d::new(width, 3).stride(2);
        let mut x = net.scope(ScopeKind::Sequence, NEXT, x, |net, x| conv_norm_act(net, x, stem.padding(1)));
        for (expansion, channels, blocks, first) in ROWS {
            for index in 0..blocks {
                let (channels, stride) = (scaled(channels), if index == 0 { first } else { 1 });
                let same = stride == 1 && net.channels(x) == channels;
                let kind = if same { ScopeKind::Block } else { ScopeKind::Sequence };
                x = net.scope(kind, NEXT, x, |net, entry| {
                    let x = net.scope(ScopeKind::Sequence, "conv", entry, |net, x| residual(net, x, expansion, channels, stride));
                    if same { net.add("add", &[entry, x]) } else { x }
                });
            }
        }
        let last = in_eights(LAST * width.max(WIDTH), WIDTH);
        net.scope(ScopeKind::Sequence, NEXT, x, |net, x| conv_norm_act(net, x, Conv2d::new(last, 1)))
    });
    let x = net.global_avg_pool("adaptive_avg_pool2d", x);
    let x = net.flatten("flatten", x);
    net.scope(ScopeKind::Sequence, "classifier", x, |net, x| {
        let x = net.dropout(NEXT, x, 0.2);
        net.linear(NEXT, x, classes.len())
    });
    net.finish(classes, OutputActivation::Softmax, Preprocess::IMAGENET)
}

/// An inverted residual block.
fn residual(net: &mut Builder, mut x: LayerId, expansion: usize, channels: usize, stride: usize) -> LayerId {
    let middle = expansion * net.channels(x);
    if expansion > 1 {
        x = net.scope(ScopeKind::Sequence, NEXT, x, |net, x| conv_norm_act(net, x, Conv2d::new(middle, 1)));
    }
    let depthwise = Conv2d { groups: middle, ..Conv2d::new(middle, 3) }.stride(stride).padding(1);
    let x = net.scope(ScopeKind::Sequence, NEXT, x, |net, x| conv_norm_act(net, x, depthwise));
    let x = net.conv(NEXT, x, Conv2d::new(channels, 1).without_bias());
    net.batch_norm(NEXT, x)
}

fn conv_norm_act(net: &mut Builder, x: LayerId, conv: Conv2d) -> LayerId {
    let x = net.conv(NEXT, x, conv.without_bias());
    let x = net.batch_norm(NEXT, x);
    net.activation(NEXT, x, Unary::Relu6)
}

/// `channels / unit` to the nearest multiple of 8, but not less than nine tenths of it, and at least 8.
pub(super) fn in_eights(channels: usize, unit: usize) -> usize {
    let rounded = ((channels + 4 * unit) / (8 * unit) * 8).max(8);
    if 10 * rounded * unit < 9 * channels { rounded + 8 } else { rounded }
}
