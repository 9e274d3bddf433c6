//! VGG (Simonyan & Zisserman 2014, arXiv:1409.1556, table 1), as in torchvision.
//!
//! Five blocks of 3x3 convolutions, each block closed by a 2x2 max pooling, then three dense
//! layers. The batch-norm variants (torchvision's) keep the convolutions' biases.

use super::sized;
use crate::network::{
    Builder, Classes, Conv2d, LayerId, NEXT, Network, NetworkError, OutputActivation, Pool2d, Preprocess, ScopeKind,
};

/// Channels of the first block.
pub(super) const WIDTH: usize = 64;

/// Channels of the five blocks, in multiples of the first block's.
pub(super) const WIDTHS: [usize; 5] = [1, 2, 4, 8, 8];

/// VGG of 11, 13, 16 or 19 weight layers, with or without batch-norm; `width` channels in the first block, 64 in
/// the paper.
///
/// # Errors
/// For another depth, no width or no classes.
pub fn vgg(depth: usize, batch_norm: bool, width: usize, classes: Classes) -> Result<Network, NetworkError> {
    let name = sized(format!("vgg{depth}{}", if batch_norm { "_bn" } else { "" }), width, WIDTH);
    let Some(convs) = convs(depth) else {
        let reason = format!("VGG has 11, 13, 16 or 19 layers, not {depth}");
        return Err(NetworkError::Config { network: name, reason });
    };
    let mut net = Builder::new(&name, [3, 224, 224]);
    let x = net.scope(ScopeKind::Sequence, "features", LayerId::INPUT, |net, mut x| {
        for (convs, times) in convs.into_iter().zip(WIDTHS) {
            for _ in 0..convs {
                x = net.conv(NEXT, x, Conv2d::new(times * width, 3).padding(1));
                if batch_norm {
                    x = net.batch_norm(NEXT, x);
                }
                x = net.relu(NEXT, x);
            }
            x = net.max_pool(NEXT, x, Pool2d::new(2, 2, 0));
        }
        x
    });
    // The identity at 224x224. At other sizes it gives the dense layers their input size.
    let x = net.adaptive_avg_pool("avgpool", x, [7, 7]);
    let x = net.flatten("flatten", x);
    net.scope(ScopeKind::Sequence, "classifier", x, |net, mut x| {
        for _ in 0..2 {
            x = net.linear(NEXT, x, 4096);
            x = net.relu(NEXT, x);
            x = net.dropout(NEXT, x, 0.5);
        }
        net.linear(NEXT, x, classes.len())
    });
    net.finish(classes, OutputActivation::Softmax, Preprocess::IMAGENET)
}

/// Convolutions in each block: configurations A, B, D and E of the paper.
pub(super) fn convs(depth: usize) -> Option<[usize; 5]> {
    Some(match depth {
        11 => [1, 1, 2, 2, 2],
        13 => [2, 2, 2, 2, 2],
        16 => [2, 2, 3, 3, 3],
        19 => [2, 2, 4, 4, 4],
        _ => return None,
    })
}
