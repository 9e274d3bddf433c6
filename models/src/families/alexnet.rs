//! AlexNet (Krizhevsky 2014, "One weird trick", arXiv:1404.5997), as in torchvision: the one-column network without local
//! response normalisation.
//!
//! Five convolutions with three overlapping max poolings between them, then three dense layers.

use super::sized;
use crate::network::{
    Builder, Classes, Conv2d, LayerId, NEXT, Network, NetworkError, OutputActivation, Pool2d, Preprocess, ScopeKind,
};

/// Channels of the first convolution.
pub(super) const WIDTH: usize = 64;

/// Channels, kernel, stride, padding of each convolution, and whether a pooling follows.
const CONVS: [(usize, usize, usize, usize, bool); 5] =
    [(64, 11, 4, 2, true), (192, 5, 1, 2, true), (384, 3, 1, 1, false), (256, 3, 1, 1, false), (256, 3, 1, 1, true)];

/// AlexNet with `width` channels in the first convolution, 64 in the paper.
///
/// # Errors
/// For no width or no classes.
pub fn alexnet(width: usize, classes: Classes) -> Result<Network, NetworkError> {
    let mut net = Builder::new(&sized("alexnet".into(), width, WIDTH), [3, 224, 224]);
    let x = net.scope(ScopeKind::Sequence, "features", LayerId::INPUT, |net, mut x| {
        for (channels, kernel, stride, padding, pooled) in CONVS {
            let conv = Conv2d::new(channels / WIDTH * width, kernel);
            x = net.conv(NEXT, x, conv.stride(stride).padding(padding));
            x = net.relu(NEXT, x);
            if pooled {
                x = net.max_pool(NEXT, x, Pool2d::new(3, 2, 0));
            }
        }
        x
    });
    // The identity at 224x224. At other sizes it gives the dense layers their input size.
    let x = net.adaptive_avg_pool("avgpool", x, [6, 6]);
    let x = net.flatten("flatten", x);
    net.scope(ScopeKind::Sequence, "classifier", x, |net, mut x| {
        for _ in 0..2 {
            x = net.dropout(NEXT, x, 0.5);
            x = net.linear(NEXT, x, 4096);
            x = net.relu(NEXT, x);
        }
        net.linear(NEXT, x, classes.len())
    });
    net.finish(classes, OutputActivation::Softmax, Preprocess::IMAGENET)
}
