//! Inception-v3 (Szegedy et al. 2015, arXiv:1512.00567, table 1), as in Keras: batch-norms have no scale, and layers are numbered
//! instead of named.

use super::{DEFAULT_EPS, TF, builder, global_avg_pool, squeezed};
use crate::families::inception_v3::WIDTH;
use crate::network::{Builder, Classes, Conv2d, LayerId, LayerKind, Network, NetworkError, OutputActivation, Pool2d, ScopeKind};

/// Inception-v3 with `width` channels in the stem, 32 in the paper.
///
/// # Errors
/// For no width or no classes.
pub fn keras_inception_v3(width: usize, classes: Classes) -> Result<Network, NetworkError> {
    let mut net = builder("keras-inception_v3".into(), width, WIDTH, 299, DEFAULT_EPS).batch_norm_without_scale();
    let (one, three) = ([1, 1], [3, 3]);
    let mut m = Modules { net: &mut net, width };
    let x = m.conv(LayerId::INPUT, 32, three, BranchStep::Halve);
    let x = m.conv(x, 32, three, BranchStep::Within);
    let x = m.conv(x, 64, three, BranchStep::Keep);
    let x = m.max_pool(x);
    let x = m.conv(x, 80, one, BranchStep::Within);
    let x = m.conv(x, 192, three, BranchStep::Within);
    let mut x = m.max_pool(x);
    // Feature maps of 35x35.
    x = m.stage("stage1", x, |m, mut x| {
        for (name, pooled) in [("mixed0", 32), ("mixed1", 64), ("mixed2", 64)] {
            let a = m.chain(x, &[(64, one)]);
            let b = m.chain(x, &[(48, one), (64, [5, 5])]);
            let c = m.chain(x, &[(64, one), (96, three), (96, three)]);
            let d = m.pooled(x, pooled);
            x = m.net.concat(name, &[a, b, c, d]);
        }
        x
    });
    // Feature maps of 17x17.
    x = m.stage("stage2", x, |m, x| {
        let a = m.conv(x, 384, three, BranchStep::Halve);
        let b = m.chain(x, &[(64, one), (96, three)]);
        let b = m.conv(b, 96, three, BranchStep::Halve);
        let c = m.max_pool(x);
        let mut x = m.net.concat("mixed3", &[a, b, c]);
        for (name, n) in [("mixed4", 128), ("mixed5", 160), ("mixed6", 160), ("mixed7", 192)] {
            let a = m.chain(x, &[(192, one)]);
            let b = m.chain(x, &[(n, one), (n, [1, 7]), (192, [7, 1])]);
            let c = m.chain(x, &[(n, one), (n, [7, 1]), (n, [1, 7]), (n, [7, 1]), (192, [1, 7])]);
            let d = m.pooled(x, 192);
            x = m.net.concat(name, &[a, b, c, d]);
        }
        x
    });
    // Feature maps of 8x8.
    x = m.stage("stage3", x, |m, x| {
        let a = m.chain(x, &[(192, one)]);
        let a = m.conv(a, 320, three, BranchStep::Halve);
        let b = m.chain(x, &[(192, one), (192, [1, 7]), (192, [7, 1])]);
        let b = m.conv(b, 192, three, BranchStep::Halve);
        let c = m.max_pool(x);
        let mut x = m.net.concat("mixed8", &[a, b, c]);
        for (name, fork) in [("mixed9", "mixed9_0"), ("mixed10", "mixed9_1")] {
            let a = m.chain(x, &[(320, one)]);
            let b = m.chain(x, &[(384, one)]);
            let b = m.fork(fork, b);
            let c = m.chain(x, &[(448, one), (384, three)]);
            let c = m.fork("concatenate", c);
            let d = m.pooled(x, 192);
            x = m.net.concat(name, &[a, b, c, d]);
        }
        x
    });
    let x = global_avg_pool(&mut net, "avg_pool", x);
    net.linear("predictions", x, classes.len());
    net.finish(classes, OutputActivation::Softmax, squeezed(299, TF))
}

/// Padding and stride of a convolution.
enum BranchStep {
    Keep,
    /// No padding.
    Within,
    /// No padding, stride 2.
    Halve,
}

/// Builder of the modules, with channels scaled to the width.
struct Modules<'a> {
    net: &'a mut Builder,
    width: usize,
}

impl Modules<'_> {
    fn stage(&mut self, name: &str, x: LayerId, build: impl FnOnce(&mut Modules, LayerId) -> LayerId) -> LayerId {
        let width = self.width;
        self.net.group(ScopeKind::Stage, name, x, |net, x| build(&mut Modules { net, width }, x))
    }

    fn conv(&mut self, x: LayerId, channels: usize, kernel: [usize; 2], step: BranchStep) -> LayerId {
        let conv = Conv2d { kernel, ..Conv2d::new((channels * self.width).div_ceil(WIDTH), 1) }.without_bias();
        let conv = match step {
            BranchStep::Keep => conv.same(),
            BranchStep::Within => conv,
            BranchStep::Halve => conv.stride(2),
        };
        let x = self.net.conv("conv2d", x, conv);
        let x = self.net.batch_norm("batch_normalization", x);
        self.net.relu("activation", x)
    }

    /// Convolutions in sequence that keep the resolution.
    fn chain(&mut self, x: LayerId, convs: &[(usize, [usize; 2])]) -> LayerId {
        convs.iter().fold(x, |x, &(channels, kernel)| self.conv(x, channels, kernel, BranchStep::Keep))
    }

    /// A 1x3 and a 3x1 convolution in parallel.
    fn fork(&mut self, name: &str, x: LayerId) -> LayerId {
        let branches = [[1, 3], [3, 1]].map(|kernel| self.conv(x, 384, kernel, BranchStep::Keep));
        self.net.concat(name, &branches)
    }

    fn max_pool(&mut self, x: LayerId) -> LayerId {
        self.net.max_pool("max_pooling2d", x, Pool2d::new(3, 2, 0))
    }

    /// An average pooling that does not count padding, and a 1x1 convolution.
    fn pooled(&mut self, x: LayerId, channels: usize) -> LayerId {
        let pool = LayerKind::AvgPool2d { pool: Pool2d::new(3, 1, 0).same(), count_include_pad: false };
        let x = self.net.layer("average_pooling2d", pool, &[x]);
        self.conv(x, channels, [1, 1], BranchStep::Keep)
    }
}
