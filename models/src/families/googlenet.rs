//! GoogLeNet (Szegedy et al. 2014, arXiv:1409.4842, table 1), as in torchvision: with batch-norm, and with 3x3 kernels in place
//! of the paper's 5x5. The two auxiliary classifiers exist for training only and are left out.

use super::sized;
use crate::image::Normalization;
use crate::network::{
    Builder, Classes, Conv2d, LayerId, NEXT, Network, NetworkError, OutputActivation, Padding, Pool2d, Preprocess, ScopeKind,
};

/// Channels of the stem.
pub(super) const WIDTH: usize = 64;

/// Channels of an inception module: 1x1; 3x3 reduction and 3x3; "5x5" reduction and "5x5"; 1x1 after the pooling.
type Channels = [usize; 6];

/// The modules between poolings, by the paper's names.
const STAGES: [&[(&str, Channels)]; 3] = [
    &[("3a", [64, 96, 128, 16, 32, 32]), ("3b", [128, 128, 192, 32, 96, 64])],
    &[
        ("4a", [192, 96, 208, 16, 48, 64]),
        ("4b", [160, 112, 224, 24, 64, 64]),
        ("4c", [128, 128, 256, 24, 64, 64]),
        ("4d", [112, 144, 288, 32, 64, 64]),
        ("4e", [256, 160, 320, 32, 128, 128]),
    ],
    &[("5a", [256, 160, 320, 32, 128, 128]), ("5b", [384, 192, 384, 48, 128, 128])],
];

/// GoogLeNet with `width` channels in the stem, 64 in the paper.
///
/// # Errors
/// For no width or no classes.
pub fn googlenet(width: usize, classes: Classes) -> Result<Network, NetworkError> {
    let mut net = Builder::new(&sized("googlenet".into(), width, WIDTH), [3, 224, 224]).batch_norm_eps(1e-3);
    let scaled = |channels: usize| (channels * width).div_ceil(WIDTH);
    let x = basic(&mut net, "conv1", LayerId::INPUT, Conv2d::new(width, 7).stride(2).padding(3));
    let x = net.max_pool("maxpool1", x, ceil(3, 2));
    let x = basic(&mut net, "conv2", x, Conv2d::new(width, 1));
    let x = basic(&mut net, "conv3", x, Conv2d::new(scaled(192), 3).padding(1));
    let mut x = net.max_pool("maxpool2", x, ceil(3, 2));
    for (stage, modules) in (3..).zip(STAGES) {
        for (name, channels) in modules {
            let channels = channels.map(scaled);
            x = net.scope(ScopeKind::Sequence, &format!("inception{name}"), x, |net, x| inception(net, x, channels));
        }
        x = match stage {
            3 => net.max_pool("maxpool3", x, ceil(3, 2)),
            4 => net.max_pool("maxpool4", x, ceil(2, 2)),
            _ => x,
        };
    }
    let x = net.global_avg_pool("avgpool", x);
    let x = net.flatten("flatten", x);
    let x = net.dropout("dropout", x, 0.2);
    net.linear("fc", x, classes.len());
    // torchvision's weights come from TensorFlow. torchvision's `transform_input` converts ImageNet's normalisation to this one.
    let normalization = Normalization { mean: [0.5; 3], std: [0.5; 3], ..Normalization::UNIT };
    net.finish(classes, OutputActivation::Softmax, Preprocess { normalization, ..Preprocess::IMAGENET })
}

/// Four branches side by side.
fn inception(net: &mut Builder, x: LayerId, [one, three_in, three, five_in, five, pooled]: Channels) -> LayerId {
    let conv3x3 = |channels| Conv2d::new(channels, 3).padding(1);
    let a = basic(net, "branch1", x, Conv2d::new(one, 1));
    let mut pair = |name: &str, reduced, whole| {
        net.scope(ScopeKind::Sequence, name, x, |net, x| {
            let x = basic(net, NEXT, x, Conv2d::new(reduced, 1));
            basic(net, NEXT, x, conv3x3(whole))
        })
    };
    let b = pair("branch2", three_in, three);
    let c = pair("branch3", five_in, five);
    let d = net.scope(ScopeKind::Sequence, "branch4", x, |net, x| {
        let x = net.max_pool(NEXT, x, Pool2d { padding: Padding::Sides([1; 4]), ..ceil(3, 1) });
        basic(net, NEXT, x, Conv2d::new(pooled, 1))
    });
    net.concat("cat", &[a, b, c, d])
}

/// torchvision's `BasicConv2d`.
pub(super) fn basic(net: &mut Builder, name: &str, x: LayerId, conv: Conv2d) -> LayerId {
    net.scope(ScopeKind::Sequence, name, x, |net, x| {
        let x = net.conv("conv", x, conv.without_bias());
        let x = net.batch_norm("bn", x);
        net.relu("relu", x)
    })
}

fn ceil(kernel: usize, stride: usize) -> Pool2d {
    Pool2d { ceil: true, ..Pool2d::new(kernel, stride, 0) }
}
