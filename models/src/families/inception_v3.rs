//! Inception-v3 (Szegedy et al. 2015, arXiv:1512.00567, table 1), as in torchvision.
//!
//! Large kernels are factorised: 5x5 into two 3x3, 7x7 into 1x7 and 7x1, the last modules' 3x3 into a 1x3 and a 3x1 in parallel.
//! The auxiliary classifier exists for training only and is left out.

use super::googlenet::basic;
use super::sized;
use crate::image::{Normalization, Resize};
use crate::network::{
    Builder, Classes, Conv2d, LayerId, Network, NetworkError, OutputActivation, Padding, Pool2d, Preprocess, ScopeKind,
};

/// Channels of the stem.
pub(super) const WIDTH: usize = 32;

/// Inception-v3 with `width` channels in the stem, 32 in the paper.
///
/// # Errors
/// For no width or no classes.
pub fn inception_v3(width: usize, classes: Classes) -> Result<Network, NetworkError> {
    let mut net = Builder::new(&sized("inception_v3".into(), width, WIDTH), [3, 299, 299]).batch_norm_eps(1e-3);
    let of = |channels: usize, kernel: [usize; 2]| conv((channels * width).div_ceil(WIDTH), kernel);
    let x = basic(&mut net, "Conv2d_1a_3x3", LayerId::INPUT, of(32, [3, 3]).stride(2).padding(0));
    let x = basic(&mut net, "Conv2d_2a_3x3", x, of(32, [3, 3]).padding(0));
    let x = basic(&mut net, "Conv2d_2b_3x3", x, of(64, [3, 3]));
    let x = net.max_pool("maxpool1", x, Pool2d::new(3, 2, 0));
    let x = basic(&mut net, "Conv2d_3b_1x1", x, of(80, [1, 1]));
    let x = basic(&mut net, "Conv2d_4a_3x3", x, of(192, [3, 3]).padding(0));
    let mut x = net.max_pool("maxpool2", x, Pool2d::new(3, 2, 0));
    let module = |net: &mut Builder, name: &str, x, build: &dyn Fn(&mut Module) -> Vec<LayerId>| {
        net.scope(ScopeKind::Sequence, name, x, |net, x| {
            let branches = build(&mut Module { net, x, width });
            net.concat("cat", &branches)
        })
    };
    for (name, pooled) in [("Mixed_5b", 32), ("Mixed_5c", 64), ("Mixed_5d", 64)] {
        x = module(&mut net, name, x, &|m| {
            vec![
                m.branch(&[("branch1x1", 64, [1, 1])]),
                m.branch(&[("branch5x5_1", 48, [1, 1]), ("branch5x5_2", 64, [5, 5])]),
                m.branch(&[("branch3x3dbl_1", 64, [1, 1]), ("branch3x3dbl_2", 96, [3, 3]), ("branch3x3dbl_3", 96, [3, 3])]),
                m.pooled(pooled),
            ]
        });
    }
    x = module(&mut net, "Mixed_6a", x, &|m| {
        vec![
            m.halving(&[("branch3x3", 384, [3, 3])]),
            m.halving(&[("branch3x3dbl_1", 64, [1, 1]), ("branch3x3dbl_2", 96, [3, 3]), ("branch3x3dbl_3", 96, [3, 3])]),
            m.net.max_pool("max_pool2d", m.x, Pool2d::new(3, 2, 0)),
        ]
    });
    for (name, c) in [("Mixed_6b", 128), ("Mixed_6c", 160), ("Mixed_6d", 160), ("Mixed_6e", 192)] {
        x = module(&mut net, name, x, &|m| {
            vec![
                m.branch(&[("branch1x1", 192, [1, 1])]),
                m.branch(&[("branch7x7_1", c, [1, 1]), ("branch7x7_2", c, [1, 7]), ("branch7x7_3", 192, [7, 1])]),
                m.branch(&[
                    ("branch7x7dbl_1", c, [1, 1]),
                    ("branch7x7dbl_2", c, [7, 1]),
                    ("branch7x7dbl_3", c, [1, 7]),
                    ("branch7x7dbl_4", c, [7, 1]),
                    ("branch7x7dbl_5", 192, [1, 7]),
                ]),
                m.pooled(192),
            ]
        });
    }
    x = module(&mut net, "Mixed_7a", x, &|m| {
        vec![
            m.halving(&[("branch3x3_1", 192, [1, 1]), ("branch3x3_2", 320, [3, 3])]),
            m.halving(&[
                ("branch7x7x3_1", 192, [1, 1]),
                ("branch7x7x3_2", 192, [1, 7]),
                ("branch7x7x3_3", 192, [7, 1]),
                ("branch7x7x3_4", 192, [3, 3]),
            ]),
            m.net.max_pool("max_pool2d", m.x, Pool2d::new(3, 2, 0)),
        ]
    });
    for name in ["Mixed_7b", "Mixed_7c"] {
        x = module(&mut net, name, x, &|m| {
            let one = m.branch(&[("branch1x1", 320, [1, 1])]);
            let three = m.branch(&[("branch3x3_1", 384, [1, 1])]);
            let three = m.split("branch3x3_2", three);
            let double = m.branch(&[("branch3x3dbl_1", 448, [1, 1]), ("branch3x3dbl_2", 384, [3, 3])]);
            let double = m.split("branch3x3dbl_3", double);
            vec![one, three, double, m.pooled(192)]
        });
    }
    let x = net.global_avg_pool("avgpool", x);
    let x = net.dropout("dropout", x, 0.5);
    let x = net.flatten("flatten", x);
    net.linear("fc", x, classes.len());
    // torchvision's weights come from TensorFlow. torchvision's `transform_input` converts ImageNet's normalisation to this one.
    let normalization = Normalization { mean: [0.5; 3], std: [0.5; 3], ..Normalization::UNIT };
    let (resize, crop) = (Resize::ShortSide(342), Some((299, 299)));
    net.finish(classes, OutputActivation::Softmax, Preprocess { resize, crop, normalization, ..Preprocess::IMAGENET })
}

/// A module's convolutions: name, channels, kernel.
type Path<'a> = &'a [(&'a str, usize, [usize; 2])];

/// An inception module under construction.
struct Module<'a> {
    net: &'a mut Builder,
    x: LayerId,
    width: usize,
}

impl Module<'_> {
    /// Convolutions in sequence that keep the resolution.
    fn branch(&mut self, path: Path) -> LayerId {
        path.iter().fold(self.x, |x, (name, channels, kernel)| self.basic(name, x, *channels, *kernel))
    }

    /// Convolutions in sequence, the last of which halves the resolution.
    fn halving(&mut self, path: Path) -> LayerId {
        let Some(((name, channels, kernel), before)) = path.split_last() else { return self.x };
        let x = self.branch(before);
        let conv = conv(self.scaled(*channels), *kernel).stride(2).padding(0);
        basic(self.net, name, x, conv)
    }

    /// A 1x3 and a 3x1 convolution in parallel.
    fn split(&mut self, name: &str, x: LayerId) -> LayerId {
        let a = self.basic(&format!("{name}a"), x, 384, [1, 3]);
        let b = self.basic(&format!("{name}b"), x, 384, [3, 1]);
        self.net.concat("cat", &[a, b])
    }

    /// A 3x3 average pooling that counts padding, and a 1x1 convolution.
    fn pooled(&mut self, channels: usize) -> LayerId {
        let x = self.net.avg_pool("avg_pool2d", self.x, Pool2d::new(3, 1, 1));
        self.basic("branch_pool", x, channels, [1, 1])
    }

    fn basic(&mut self, name: &str, x: LayerId, channels: usize, kernel: [usize; 2]) -> LayerId {
        let conv = conv(self.scaled(channels), kernel);
        basic(self.net, name, x, conv)
    }

    fn scaled(&self, channels: usize) -> usize {
        (channels * self.width).div_ceil(WIDTH)
    }
}

/// A convolution that keeps the resolution.
fn conv(channels: usize, kernel: [usize; 2]) -> Conv2d {
    let [v, h] = kernel.map(|k| k / 2);
    Conv2d { kernel, padding: Padding::Sides([v, v, h, h]), ..Conv2d::new(channels, 1) }
}
