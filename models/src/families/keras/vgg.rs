//! VGG (Simonyan & Zisserman 2014, arXiv:1409.1556, table 1, configurations D and E), as in Keras.

use super::{DEFAULT_EPS, builder, conv_relu, dense_relu, squeezed};
use crate::families::vgg::{WIDTH, WIDTHS, convs};
use crate::image::Normalization;
use crate::network::{Classes, Conv2d, LayerId, Network, NetworkError, OutputActivation, Pool2d};

/// VGG of 16 or 19 weight layers with `width` channels in the first block, 64 in the paper.
///
/// # Errors
/// For another depth, no width or no classes.
pub fn keras_vgg(depth: usize, width: usize, classes: Classes) -> Result<Network, NetworkError> {
    let name = format!("keras-vgg{depth}");
    let Some(convs) = convs(depth).filter(|_| depth >= 16) else {
        return Err(NetworkError::Config { network: name, reason: format!("has 16 or 19 layers, not {depth}") });
    };
    let mut net = builder(name, width, WIDTH, 224, DEFAULT_EPS);
    let mut x = LayerId::INPUT;
    for (block, (convs, times)) in (1..).zip(convs.into_iter().zip(WIDTHS)) {
        for conv in 1..=convs {
            x = conv_relu(&mut net, &format!("block{block}_conv{conv}"), x, Conv2d::new(times * width, 3).same());
        }
        x = net.max_pool(&format!("block{block}_pool"), x, Pool2d::new(2, 2, 0));
    }
    // The identity at 224x224, the only size of Keras' network. At other sizes it gives the dense layers their input size.
    let x = net.adaptive_avg_pool("avgpool", x, [7, 7]);
    let x = net.flatten("flatten", x);
    let x = dense_relu(&mut net, "fc1", x, 4096);
    let x = dense_relu(&mut net, "fc2", x, 4096);
    net.linear("predictions", x, classes.len());
    net.finish(classes, OutputActivation::Softmax, squeezed(224, Normalization::CAFFE))
}
