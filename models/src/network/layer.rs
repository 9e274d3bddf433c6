//! What a layer is: its kind, its numbers, and the shape it makes of its inputs.

use convscope_engine::Unary;
use serde::{Deserialize, Serialize};
use std::fmt;

use super::{LayerShape, Padding, product};

/// A two-dimensional convolution (cross-correlation, as everywhere in deep learning).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conv2d {
    /// Channels of the input. [`Builder::conv`](super::Builder::conv) fills it in from the layer it
    /// reads.
    pub in_channels: usize,
    /// Filters, and so channels of the output.
    pub out_channels: usize,
    /// `[height, width]` of a filter.
    pub kernel: [usize; 2],
    /// `[vertical, horizontal]` step.
    pub stride: [usize; 2],
    /// Zeros around the input.
    pub padding: Padding,
    /// `[vertical, horizontal]` distance between a filter's taps; 1 is dense.
    pub dilation: [usize; 2],
    /// Groups of channels that do not see each other; 1 is an ordinary convolution.
    pub groups: usize,
    /// Whether a bias is added to each output channel.
    pub bias: bool,
}

impl Conv2d {
    /// A dense `kernel` x `kernel` convolution to `out_channels`: stride 1, no padding, with bias.
    pub fn new(out_channels: usize, kernel: usize) -> Self {
        Self {
            in_channels: 0,
            out_channels,
            kernel: [kernel; 2],
            stride: [1; 2],
            padding: Padding::NONE,
            dilation: [1; 2],
            groups: 1,
            bias: true,
        }
    }

    /// The same step in both directions.
    pub fn stride(self, stride: usize) -> Self {
        Self { stride: [stride; 2], ..self }
    }

    /// The same padding on all four sides.
    pub fn padding(self, padding: usize) -> Self {
        Self { padding: Padding::Sides([padding; 4]), ..self }
    }

    /// TensorFlow's padding: see [`Padding::Same`].
    pub fn same(self) -> Self {
        Self { padding: Padding::Same, ..self }
    }

    /// Zeros at `[top, bottom, left, right]` of an input of `[height, width]`.
    pub fn sides(&self, size: [usize; 2]) -> [usize; 4] {
        self.padding.sides(size, self.kernel, self.stride, self.dilation)
    }

    /// No bias: the batch-norm that follows has one.
    pub fn without_bias(self) -> Self {
        Self { bias: false, ..self }
    }

    /// Shape of the weight, `[out_channels, in_channels / groups, height, width]`.
    pub fn weight_shape(&self) -> [usize; 4] {
        [self.out_channels, self.in_channels / self.groups.max(1), self.kernel[0], self.kernel[1]]
    }
}

/// The windows of a pooling layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pool2d {
    /// `[height, width]` of a window.
    pub kernel: [usize; 2],
    /// `[vertical, horizontal]` step.
    pub stride: [usize; 2],
    /// Padding around the input; it never wins a maximum.
    pub padding: Padding,
    /// Keep a last window that sticks out at the bottom or right (PyTorch's `ceil_mode`).
    pub ceil: bool,
}

impl Pool2d {
    /// Square windows, floor mode.
    pub fn new(kernel: usize, stride: usize, padding: usize) -> Self {
        Self { kernel: [kernel; 2], stride: [stride; 2], padding: Padding::Sides([padding; 4]), ceil: false }
    }

    /// TensorFlow's padding: see [`Padding::Same`].
    pub fn same(self) -> Self {
        Self { padding: Padding::Same, ..self }
    }

    /// Padding at `[top, bottom, left, right]` of an input of `[height, width]`.
    pub fn sides(&self, size: [usize; 2]) -> [usize; 4] {
        self.padding.sides(size, self.kernel, self.stride, [1; 2])
    }
}

/// The kind of a layer with its hyperparameters. Pairs are `[vertical, horizontal]`, paddings
/// `[top, bottom, left, right]`. Weights are elsewhere: see
/// [`Network::params`](super::Network::params).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LayerKind {
    /// The image batch. Always and only layer 0.
    Input,
    /// Convolution.
    Conv2d(Conv2d),
    /// Batch normalisation over each channel (Ioffe & Szegedy 2015).
    BatchNorm2d {
        /// Channels.
        channels: usize,
        /// Added to the variance.
        eps: f64,
        /// Weight of the new batch in the running mean and variance, as in PyTorch.
        momentum: f64,
        /// Whether it has a scale of its own; without, it is 1.
        scale: bool,
        /// Whether it has a shift of its own; without, it is 0.
        shift: bool,
    },
    /// Batch normalisation by statistics that training leaves alone, as torchvision's layer of this name; scale and shift are constants
    /// too. Also what scales and shifts each channel by numbers of its own.
    FrozenBatchNorm2d {
        /// Channels.
        channels: usize,
        /// Added to the variance.
        eps: f64,
        /// Whether the statistics are weights, measured on a data set (Keras's adapted `Normalization`), rather than settings.
        measured: bool,
    },
    /// A function of one number on every value, such as ReLU.
    Activation(Unary),
    /// `x` where positive, a learned slope per channel times `x` elsewhere (He et al. 2015, "Delving deep into rectifiers").
    PRelu {
        /// Channels.
        channels: usize,
    },
    /// Softmax over the features of a vector, or over the channels of each pixel.
    Softmax,
    /// Maximum of each window.
    MaxPool2d(Pool2d),
    /// Mean of each window.
    AvgPool2d {
        /// The windows.
        pool: Pool2d,
        /// Whether padded zeros count in the divisor (PyTorch's default; Keras and TensorFlow do
        /// not).
        count_include_pad: bool,
    },
    /// Mean over windows chosen so that the output is `output`, whatever the input's size.
    AdaptiveAvgPool2d {
        /// `[height, width]` of the output.
        output: [usize; 2],
    },
    /// Maximum over windows chosen as those of [`LayerKind::AdaptiveAvgPool2d`] are.
    AdaptiveMaxPool2d {
        /// `[height, width]` of the output.
        output: [usize; 2],
    },
    /// Zeros around a map, at `[top, bottom, left, right]`.
    ZeroPad2d([usize; 4]),
    /// A map without its edge: rows and columns less at `[top, bottom, left, right]`.
    Crop2d([usize; 4]),
    /// Each pixel as a block of `[rows, columns]` of its value.
    UpsampleNearest2d([usize; 2]),
    /// A map of `[rows, columns]` as many pixels, interpolated between the centres of the old ones.
    UpsampleBilinear2d([usize; 2]),
    /// A vector, or a map of as many values, as a map of this shape.
    Unflatten {
        /// `[channels, height, width]` of the output.
        shape: [usize; 3],
    },
    /// A map as one vector, channel by channel, row by row.
    Flatten,
    /// Dense layer, `x W^T + b` with `W` of shape `[out_features, in_features]`.
    Linear {
        /// Length of the input vector.
        in_features: usize,
        /// Length of the output vector.
        out_features: usize,
        /// Whether a bias is added.
        bias: bool,
    },
    /// Logits `[-z, z]` of two classes from one logit `z`: `1 / (1 + exp(-z))` is the probability of the second. No weights.
    #[serde(rename = "two_sided")]
    BinaryLogits,
    /// In training, zeroes each value with probability `p` and scales the rest by `1 / (1 - p)`.
    Dropout {
        /// Probability of a zero.
        p: f64,
    },
    /// Elementwise sum of its inputs.
    Add,
    /// Elementwise product of its inputs; a map of one pixel multiplies each channel of the others.
    Multiply,
    /// Its inputs one after another along the channels.
    Concat,
    /// Shortcut "option A" of He et al. 2015 (section 4.2): every `stride`-th row and column, and
    /// `(out_channels - in_channels) / 2` channels of zeros before and after. No weights.
    PadShortcut {
        /// Step in both directions.
        stride: usize,
        /// Channels of the output.
        out_channels: usize,
    },
}

impl LayerKind {
    /// The kind's name as PyTorch spells it, such as `Conv2d`.
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Input => "Input",
            Self::Conv2d(_) => "Conv2d",
            Self::BatchNorm2d { .. } => "BatchNorm2d",
            Self::FrozenBatchNorm2d { .. } => "FrozenBatchNorm2d",
            Self::Activation(function) => function.name(),
            Self::PRelu { .. } => "PReLU",
            Self::Softmax => "Softmax",
            Self::MaxPool2d(_) => "MaxPool2d",
            Self::AvgPool2d { .. } => "AvgPool2d",
            Self::AdaptiveAvgPool2d { .. } => "AdaptiveAvgPool2d",
            Self::AdaptiveMaxPool2d { .. } => "AdaptiveMaxPool2d",
            Self::ZeroPad2d(_) => "ZeroPad2d",
            Self::Crop2d(_) => "Crop2d",
            Self::UpsampleNearest2d(_) => "UpsampleNearest2d",
            Self::UpsampleBilinear2d(_) => "UpsampleBilinear2d",
            Self::Unflatten { .. } => "Unflatten",
            Self::Flatten => "Flatten",
            Self::Linear { .. } => "Linear",
            Self::BinaryLogits => "BinaryLogits",
            Self::Dropout { .. } => "Dropout",
            Self::Add => "Add",
            Self::Multiply => "Multiply",
            Self::Concat => "Concat",
            Self::PadShortcut { .. } => "PadShortcut",
        }
    }

    /// Whether this is an elementwise non-linearity: the layer that `:pre` steps over.
    pub fn is_activation(&self) -> bool {
        match self {
            Self::Activation(function) => !matches!(function, Unary::Affine(..)),
            Self::PRelu { .. } | Self::Softmax => true,
            _ => false,
        }
    }

    /// Multiplications that each come with an addition (MACs) to make one image's `output`:
    /// convolutions and dense layers without their biases, nothing for the rest. This is what
    /// torchvision's `_ops` and the papers count; torchinfo adds a little for biases and
    /// batch-norms.
    pub fn multiply_adds(&self, output: &LayerShape) -> usize {
        match self {
            Self::Conv2d(conv) => product(&[output.len(), product(&conv.weight_shape()[1..])]),
            Self::Linear { in_features, .. } => product(&[output.len(), *in_features]),
            _ => 0,
        }
    }

    /// Values of the layer's weight, without its bias.
    pub(super) fn weight_len(&self) -> usize {
        match self {
            Self::Conv2d(conv) => product(&conv.weight_shape()),
            Self::Linear { in_features, out_features, .. } => product(&[*in_features, *out_features]),
            _ => 0,
        }
    }
}

/// `Conv2d 64, 3x3, pad 1`: the type and what sets it apart, for tables and messages.
impl fmt::Display for LayerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.type_name())?;
        match self {
            Self::Conv2d(conv) => {
                write!(f, " {}, {}", conv.out_channels, pair(conv.kernel))?;
                write_geometry(f, conv.stride, conv.padding)?;
                if conv.dilation != [1, 1] {
                    write!(f, ", dilation {}", pair(conv.dilation))?;
                }
                match conv.groups {
                    1 => Ok(()),
                    groups => write!(f, ", groups {groups}"),
                }
            }
            Self::MaxPool2d(pool) | Self::AvgPool2d { pool, .. } => {
                write!(f, " {}", pair(pool.kernel))?;
                write_geometry(f, pool.stride, pool.padding)?;
                f.write_str(if pool.ceil { ", ceil" } else { "" })
            }
            Self::AdaptiveAvgPool2d { output } | Self::AdaptiveMaxPool2d { output } => write!(f, " {}", pair(*output)),
            Self::ZeroPad2d(sides) | Self::Crop2d(sides) => write!(f, " {sides:?}"),
            Self::UpsampleNearest2d(factors) | Self::UpsampleBilinear2d(factors) => write!(f, " {}", pair(*factors)),
            Self::Unflatten { shape: [c, h, w] } => write!(f, " {c}x{h}x{w}"),
            Self::Activation(function) => match function.settings() {
                settings if settings.is_empty() => Ok(()),
                settings => write!(f, " {settings}"),
            },
            Self::Linear { out_features, .. } => write!(f, " {out_features}"),
            Self::Dropout { p } => write!(f, " {p}"),
            Self::PadShortcut { stride, out_channels } => write!(f, " {out_channels}, stride {stride}"),
            _ => Ok(()),
        }
    }
}

fn pair([vertical, horizontal]: [usize; 2]) -> String {
    format!("{vertical}x{horizontal}")
}

fn write_geometry(f: &mut fmt::Formatter<'_>, stride: [usize; 2], padding: Padding) -> fmt::Result {
    match stride {
        [1, 1] => {}
        [v, h] if v == h => write!(f, ", stride {v}")?,
        both => write!(f, ", stride {}", pair(both))?,
    }
    match padding {
        Padding::NONE => Ok(()),
        Padding::Sides([t, b, l, r]) if t == b && b == l && l == r => write!(f, ", pad {t}"),
        Padding::Sides(sides) => write!(f, ", pad {sides:?}"),
        Padding::Same => f.write_str(", pad same"),
    }
}
