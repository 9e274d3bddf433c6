//! A configurable small plain CNN: convolutions with poolings between them, then dense layers.

use crate::image::{Normalization, Resize};
use crate::network::{
    Builder, Classes, Conv2d, LayerId, NEXT, Network, NetworkError, OutputActivation, Pool2d, Preprocess, ScopeKind,
};

/// Largest number of input channels. Hyperspectral cameras have some hundreds.
const MOST_CHANNELS: usize = 4096;

/// Hyperparameters of a small CNN.
#[derive(Debug, Clone, PartialEq)]
pub struct SmallConfig {
    /// `[channels, height, width]` of the input.
    pub input: [usize; 3],
    /// Output channels of each convolution; a ReLU and a 2x2 max pooling follow each.
    pub channels: Vec<usize>,
    /// Height and width of the kernels.
    pub kernel: usize,
    /// Padding on every side.
    pub padding: usize,
    /// Whether a batch-norm follows each convolution, which then has no bias.
    pub batch_norm: bool,
    /// Features of each hidden dense layer; a ReLU follows each.
    pub dense: Vec<usize>,
    /// Dropout before the last dense layer; 0 leaves it out.
    pub dropout: f64,
    /// Classes of the outputs.
    pub classes: Classes,
    /// Softmax for exclusive classes, sigmoid for independent ones. The network ends in logits with either.
    pub output_activation: OutputActivation,
}

/// 3x64x64 images, four 3x3 convolutions of 32, 64, 128 and 128 channels with batch-norm, one dense
/// layer of 256, dropout 0.5, ten classes, softmax.
impl Default for SmallConfig {
    fn default() -> Self {
        Self {
            input: [3, 64, 64],
            channels: vec![32, 64, 128, 128],
            kernel: 3,
            padding: 1,
            batch_norm: true,
            dense: vec![256],
            dropout: 0.5,
            classes: Classes::Count(10),
            output_activation: OutputActivation::Softmax,
        }
    }
}

/// A small CNN: `features`, an average pooling that is the identity at the configured size, and `classifier`. RGB images get
/// ImageNet's normalisation, others -1..1.
///
/// # Errors
/// For a layer that does not fit, an input too small for its poolings, or a dropout outside 0..1.
pub fn small(config: &SmallConfig) -> Result<Network, NetworkError> {
    if !(0.0..1.0).contains(&config.dropout) {
        let reason = format!("dropout must be at least 0 and below 1, not {}", config.dropout);
        return Err(NetworkError::Config { network: "small".into(), reason });
    }
    let [channels, height, width] = config.input;
    if !(1..=MOST_CHANNELS).contains(&channels) {
        let reason = format!("images have 1 to {MOST_CHANNELS} channels, not {channels}");
        return Err(NetworkError::Config { network: "small".into(), reason });
    }
    let mut net = Builder::new("small", config.input);
    let x = net.scope(ScopeKind::Sequence, "features", LayerId::INPUT, |net, mut x| {
        for &channels in &config.channels {
            let conv = Conv2d::new(channels, config.kernel).padding(config.padding);
            x = match config.batch_norm {
                true => {
                    let x = net.conv(NEXT, x, conv.without_bias());
                    net.batch_norm(NEXT, x)
                }
                false => net.conv(NEXT, x, conv),
            };
            x = net.relu(NEXT, x);
            x = net.max_pool(NEXT, x, Pool2d::new(2, 2, 0));
        }
        x
    });
    let x = match net.spatial(x) {
        Some(size) => net.adaptive_avg_pool("avgpool", x, size),
        None => x,
    };
    let x = net.flatten("flatten", x);
    net.scope(ScopeKind::Sequence, "classifier", x, |net, mut x| {
        for &features in &config.dense {
            x = net.linear(NEXT, x, features);
            x = net.relu(NEXT, x);
        }
        if config.dropout > 0.0 {
            x = net.dropout(NEXT, x, config.dropout);
        }
        net.linear(NEXT, x, config.classes.len())
    });
    let normalization = match channels {
        3 => Normalization::IMAGENET,
        _ => Normalization { mean: [0.5; 3], std: [0.5; 3], ..Normalization::UNIT },
    };
    let resize = Resize::Exact { h: height, w: width };
    let preprocess = Preprocess { resize, crop: None, normalization, ..Preprocess::IMAGENET };
    net.finish(config.classes.clone(), config.output_activation, preprocess)
}
