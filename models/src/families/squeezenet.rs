//! SqueezeNet 1.0 and 1.1 (Iandola et al. 2016, arXiv:1602.07360, table 1), as in torchvision.
//!
//! Eight fire modules: a 1x1 squeeze, then a 1x1 and a 3x3 expansion in parallel. The logits are the global averages of a last
//! 1x1 convolution; there is no dense layer. Version 1.1 has a smaller stem and earlier poolings.

use super::sized;
use crate::network::{
    Builder, Classes, Conv2d, LayerId, NEXT, Network, NetworkError, OutputActivation, Pool2d, Preprocess, ScopeKind,
};

/// Version of the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SqueezeNet {
    /// The paper's version.
    V1_0,
    /// The authors' later version, with 2.4 times fewer multiply-adds.
    V1_1,
}

/// Squeeze channels of the fire modules; each expansion has four times as many.
const SQUEEZE: [usize; 8] = [16, 16, 32, 32, 48, 48, 64, 64];

impl SqueezeNet {
    /// Channels and kernel of the stem.
    const fn stem(self) -> (usize, usize) {
        match self {
            Self::V1_0 => (96, 7),
            Self::V1_1 => (64, 3),
        }
    }

    /// Channels of the stem.
    pub(super) const fn width(self) -> usize {
        self.stem().0
    }

    /// Indices of the fire modules that follow a pooling, without the stem's pooling.
    const fn pooled(self) -> [usize; 2] {
        match self {
            Self::V1_0 => [3, 7],
            Self::V1_1 => [2, 4],
        }
    }
}

/// SqueezeNet with `width` channels in the stem; 96 or 64 in the papers.
///
/// # Errors
/// For a width that does not leave whole channels, or no classes.
pub fn squeezenet(version: SqueezeNet, width: usize, classes: Classes) -> Result<Network, NetworkError> {
    let name = if version == SqueezeNet::V1_0 { "squeezenet1_0" } else { "squeezenet1_1" };
    let (usual, kernel) = version.stem();
    let mut net = Builder::new(&sized(name.into(), width, usual), [3, 224, 224]);
    // Rounded up: a fire module keeps at least one channel.
    let scaled = |channels: usize| (channels * width).div_ceil(usual);
    let pool = Pool2d { ceil: true, ..Pool2d::new(3, 2, 0) };
    let x = net.scope(ScopeKind::Sequence, "features", LayerId::INPUT, |net, mut x| {
        x = net.conv(NEXT, x, Conv2d::new(width, kernel).stride(2));
        x = net.relu(NEXT, x);
        x = net.max_pool(NEXT, x, pool.clone());
        for (index, squeeze) in SQUEEZE.into_iter().enumerate() {
            if version.pooled().contains(&index) {
                x = net.max_pool(NEXT, x, pool.clone());
            }
            x = net.scope(ScopeKind::Sequence, NEXT, x, |net, x| fire(net, x, scaled(squeeze), scaled(4 * squeeze)));
        }
        x
    });
    let x = net.scope(ScopeKind::Sequence, "classifier", x, |net, x| {
        let x = net.dropout(NEXT, x, 0.5);
        let x = net.conv(NEXT, x, Conv2d::new(classes.len(), 1));
        let x = net.relu(NEXT, x);
        net.global_avg_pool(NEXT, x)
    });
    net.flatten("flatten", x);
    net.finish(classes, OutputActivation::Softmax, Preprocess::IMAGENET)
}

/// A 1x1 squeeze; a 1x1 and a 3x3 expansion of `expand` channels each.
fn fire(net: &mut Builder, x: LayerId, squeeze: usize, expand: usize) -> LayerId {
    let mut conv = |name: &str, x: LayerId, conv: Conv2d| {
        let x = net.conv(name, x, conv);
        net.relu(&format!("{name}_activation"), x)
    };
    let x = conv("squeeze", x, Conv2d::new(squeeze, 1));
    let narrow = conv("expand1x1", x, Conv2d::new(expand, 1));
    let wide = conv("expand3x3", x, Conv2d::new(expand, 3).padding(1));
    net.concat("cat", &[narrow, wide])
}
