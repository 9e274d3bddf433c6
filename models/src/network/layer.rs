//! Kinds of layers, their hyperparameters and output shapes.

use convscope_engine::Unary;
use serde::{Deserialize, Serialize};
use std::fmt;

use super::{LayerShape, Padding, product};

/// A two-dimensional convolution (cross-correlation, as everywhere in deep learning).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conv2d {
    /// Input channels. [`Builder::conv`](super::Builder::conv) infers them.
    pub in_channels: usize,
    /// Number of filters, and so of output channels.
    pub out_channels: usize,
    /// `[height, width]` of a filter.
    pub kernel: [usize; 2],
    /// `[vertical, horizontal]` stride.
    pub stride: [usize; 2],
    /// Padding with zeros.
    pub padding: Padding,
    /// `[vertical, horizontal]` dilation; 1 is dense.
    pub dilation: [usize; 2],
    /// Groups of channels without connections between them; 1 is an ordinary convolution.
    pub groups: usize,
    /// Whether a bias is added to each output channel.
    pub bias: bool,
}

impl Conv2d {
    /// A dense `kernel` x `kernel` convolution to `out_channels` with stride 1, no padding and a bias.
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

    /// Sets the stride of both directions.
    pub fn stride(self, stride: usize) -> Self {
        Self { stride: [stride; 2], ..self }
    }

    /// Sets the padding of all four sides.
    pub fn padding(self, padding: usize) -> Self {
        Self { padding: Padding::Sides([padding; 4]), ..self }
    }

    /// Sets TensorFlow's padding: see [`Padding::Same`].
    pub fn same(self) -> Self {
        Self { padding: Padding::Same, ..self }
    }

    /// Padding at `[top, bottom, left, right]` of an input of `[height, width]`.
    pub fn sides(&self, size: [usize; 2]) -> [usize; 4] {
        self.padding.sides(size, self.kernel, self.stride, self.dilation)
    }

    /// Removes the bias, for a convolution before a batch-norm.
    pub fn without_bias(self) -> Self {
        Self { bias: false, ..self }
    }

    /// Shape of the weight, `[out_channels, in_channels / groups, height, width]`.
    pub fn weight_shape(&self) -> [usize; 4] {
        [self.out_channels, self.in_channels / self.groups.max(1), self.kernel[0], self.kernel[1]]
    }
}

/// Windows of a pooling layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pool2d {
    /// `[height, width]` of a window.
    pub kernel: [usize; 2],
    /// `[vertical, horizontal]` stride.
    pub stride: [usize; 2],
    /// Padding around the input; a maximum ignores it.
    pub padding: Padding,
    /// Whether a last window may extend beyond the bottom or right (PyTorch's `ceil_mode`).
    pub ceil: bool,
}

impl Pool2d {
    /// Square windows without `ceil_mode`.
    pub fn new(kernel: usize, stride: usize, padding: usize) -> Self {
        Self { kernel: [kernel; 2], stride: [stride; 2], padding: Padding::Sides([padding; 4]), ceil: false }
    }

    /// Sets TensorFlow's padding: see [`Padding::Same`].
    pub fn same(self) -> Self {
        Self { padding: Padding::Same, ..self }
    }

    /// Padding at `[top, bottom, left, right]` of an input of `[height, width]`.
    pub fn sides(&self, size: [usize; 2]) -> [usize; 4] {
        self.padding.sides(size, self.kernel, self.stride, [1; 2])
    }
}

/// The kind of a layer with its hyperparameters. Pairs are `[vertical, horizontal]`, paddings `[top, bottom, left, right]`.
/// [`Network::params`](super::Network::params) lists the weights.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LayerKind {
    /// The image batch; layer 0 only.
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
        /// Whether it has a scale; otherwise the scale is 1.
        scale: bool,
        /// Whether it has a shift; otherwise the shift is 0.
        shift: bool,
    },
    /// Batch normalisation with fixed statistics, scale and shift, as torchvision's layer of this name. Also a fixed scale and
    /// shift per channel.
    FrozenBatchNorm2d {
        /// Channels.
        channels: usize,
        /// Added to the variance.
        eps: f64,
        /// Whether the statistics are weights, measured on a data set (Keras' adapted `Normalization`), rather than
        /// hyperparameters.
        measured: bool,
    },
    /// An elementwise function, such as ReLU.
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
    /// Average pooling to a fixed output size, for any input size.
    AdaptiveAvgPool2d {
        /// `[height, width]` of the output.
        output: [usize; 2],
    },
    /// Maximum pooling over the windows of [`LayerKind::AdaptiveAvgPool2d`].
    AdaptiveMaxPool2d {
        /// `[height, width]` of the output.
        output: [usize; 2],
    },
    /// Padding with zeros at `[top, bottom, left, right]`.
    ZeroPad2d([usize; 4]),
    /// Cropping by `[top, bottom, left, right]` rows and columns.
    Crop2d([usize; 4]),
    /// Nearest-neighbour upsampling by `[vertical, horizontal]` factors.
    UpsampleNearest2d([usize; 2]),
    /// Bilinear upsampling by `[vertical, horizontal]` factors, between pixel centres.
    UpsampleBilinear2d([usize; 2]),
    /// Reshape of a vector, or of a map with as many values, to a map.
    Unflatten {
        /// `[channels, height, width]` of the output.
        shape: [usize; 3],
    },
    /// A map as one vector, in the order channel, row, column.
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
    /// Concatenation along the channels.
    Concat,
    /// Shortcut "option A" of He et al. 2015 (section 4.2): every `stride`-th row and column, with `(out_channels - in_channels)
    /// / 2` zero channels before and after. No weights.
    PadShortcut {
        /// Stride of both directions.
        stride: usize,
        /// Channels of the output.
        out_channels: usize,
    },
}

impl LayerKind {
    /// PyTorch's name of the kind, such as `Conv2d`.
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

    /// Whether this is an elementwise non-linearity, which `:pre` steps over.
    pub fn is_activation(&self) -> bool {
        match self {
            Self::Activation(function) => !matches!(function, Unary::Affine(..)),
            Self::PRelu { .. } | Self::Softmax => true,
            _ => false,
        }
    }

    /// Multiply-adds (MACs) of one image's `output`: convolutions and dense layers without their biases, 0 for others.
    /// torchvision's `_ops` and the papers count the same; torchinfo adds biases and batch-norms.
    pub fn multiply_adds(&self, output: &LayerShape) -> usize {
        match self {
            Self::Conv2d(conv) => product(&[output.len(), product(&conv.weight_shape()[1..])]),
            Self::Linear { in_features, .. } => product(&[output.len(), *in_features]),
            _ => 0,
        }
    }

    /// Number of values of the layer's weight, without its bias.
    pub(super) fn weight_len(&self) -> usize {
        match self {
            Self::Conv2d(conv) => product(&conv.weight_shape()),
            Self::Linear { in_features, out_features, .. } => product(&[*in_features, *out_features]),
            _ => 0,
        }
    }
}

/// `Conv2d 64, 3x3, pad 1`: type and main hyperparameters, for tables and messages.
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
