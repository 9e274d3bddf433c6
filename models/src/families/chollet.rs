//! The convnet for cats and dogs of Chollet's "Deep Learning with Python" (2017, section 5.2, listing 5.5 with the dropout of 5.13).
//!
//! | layer | Keras' name | output |
//! |---|---|---|
//! | 3x3 convolution of 32, ReLU | `conv2d` | 148x148x32 |
//! | 2x2 max pooling | `max_pooling2d` | 74x74x32 |
//! | 3x3 convolution of 64, ReLU | `conv2d_1` | 72x72x64 |
//! | 2x2 max pooling | `max_pooling2d_1` | 36x36x64 |
//! | 3x3 convolution of 128, ReLU | `conv2d_2` | 34x34x128 |
//! | 2x2 max pooling | `max_pooling2d_2` | 17x17x128 |
//! | 3x3 convolution of 128, ReLU | `conv2d_3` | 15x15x128 |
//! | 2x2 max pooling | `max_pooling2d_3` | 7x7x128 |
//! | one vector, dropout of half | `flatten`, `dropout` | 6272 |
//! | dense, ReLU | `dense` | 512 |
//! | dense, sigmoid | `dense_1` | 1 |

use super::sized;
use crate::image::{Normalization, Resize};
use crate::network::{
    Builder, Classes, Conv2d, LayerId, LayerKind, NEXT, Network, NetworkError, OutputActivation, Pool2d, Preprocess, ScopeKind,
};

/// Filters of the first convolution.
pub(super) const WIDTH: usize = 32;

/// Channels of the four convolutions, in multiples of the first one's.
const FILTERS: [usize; 4] = [1, 2, 4, 4];

/// Features of the hidden dense layer, in multiples of the first convolution's channels.
const DENSE: usize = 16;

/// Height and width of the input.
const SIDE: usize = 150;

/// The book's convnet with `width` filters in the first convolution, 32 in the book. As in the book, two classes share one
/// sigmoid output; any other number of classes gets a softmax.
///
/// # Errors
/// For no width or no classes.
pub fn chollet_convnet(width: usize, classes: Classes) -> Result<Network, NetworkError> {
    let mut net = Builder::new(&sized("chollet-convnet".into(), width, WIDTH), [3, SIDE, SIDE]);
    let x = net.scope(ScopeKind::Sequence, "features", LayerId::INPUT, |net, mut x| {
        for times in FILTERS {
            x = net.conv(NEXT, x, Conv2d::new(times * width, 3));
            x = net.relu(NEXT, x);
            x = net.max_pool(NEXT, x, Pool2d::new(2, 2, 0));
        }
        x
    });
    // The identity at 150x150. At other sizes it gives the dense layers their input size.
    let x = net.adaptive_avg_pool("avgpool", x, [7, 7]);
    let x = net.flatten("flatten", x);
    let output_activation = if classes.len() == 2 { OutputActivation::Sigmoid } else { OutputActivation::Softmax };
    net.scope(ScopeKind::Sequence, "classifier", x, |net, x| {
        let x = net.dropout(NEXT, x, 0.5);
        let x = net.linear(NEXT, x, DENSE * width);
        let x = net.relu(NEXT, x);
        match output_activation {
            OutputActivation::Softmax => net.linear(NEXT, x, classes.len()),
            OutputActivation::Sigmoid => {
                let x = net.linear(NEXT, x, 1);
                net.layer(NEXT, LayerKind::BinaryLogits, &[x])
            }
        }
    });
    // As Keras' `image_dataset_from_directory`: the whole photo resized to a square, without its aspect ratio.
    let resize = Resize::Exact { h: SIDE, w: SIDE };
    net.finish(
        classes,
        output_activation,
        Preprocess { resize, crop: None, normalization: Normalization::UNIT, ..Preprocess::IMAGENET },
    )
}
