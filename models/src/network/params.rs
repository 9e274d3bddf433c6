//! The tensors that a network needs, under the names that PyTorch saves them with.

use super::{LayerId, LayerKind, Network, product};

/// What a parameter is for; decides its initial value and whether training changes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ParamKind {
    /// Weight of a convolution or dense layer.
    Weight,
    /// Bias of a convolution or dense layer.
    Bias,
    /// Scale of a batch-norm.
    BnWeight,
    /// Shift of a batch-norm.
    BnBias,
    /// Slopes of a PReLU.
    Slope,
    /// Scale of a batch-norm that has none of its own: 1.
    FixedScale,
    /// Shift of a batch-norm that has none of its own: 0.
    FixedShift,
    /// Running mean of a batch-norm.
    RunningMean,
    /// Running variance of a batch-norm.
    RunningVar,
}

impl ParamKind {
    /// Whether an optimiser changes it; running statistics are only measured, and what is fixed stays.
    pub fn is_trained(self) -> bool {
        !self.is_fixed() && !matches!(self, Self::RunningMean | Self::RunningVar)
    }

    /// Whether it is the same in every file, and so is in none of Keras's.
    pub fn is_fixed(self) -> bool {
        matches!(self, Self::FixedScale | Self::FixedShift)
    }
}

/// One tensor of the network's state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Param {
    /// Name in PyTorch's `state_dict`, such as `layer1.0.bn1.running_mean`.
    pub name: String,
    /// Shape: `[out, in / groups, h, w]` of a convolution, `[out, in]` of a dense layer,
    /// `[channels]`.
    pub shape: Vec<usize>,
    /// What it is for.
    pub kind: ParamKind,
    /// The layer it belongs to.
    pub layer: LayerId,
    /// Products that make up one output of the layer (the same for weight and bias), as
    /// initialisers need it; 1 for a batch-norm.
    pub fan_in: usize,
}

impl Param {
    /// Number of values.
    #[expect(clippy::len_without_is_empty, reason = "no layer has an empty parameter")]
    pub fn len(&self) -> usize {
        product(&self.shape)
    }
}

impl Network {
    /// Every tensor of the network's state in the order and under the names of PyTorch's
    /// `state_dict`, without `num_batches_tracked`.
    pub fn params(&self) -> Vec<Param> {
        let mut params = Vec::new();
        for (index, layer) in self.layers.iter().enumerate() {
            let mut push = |suffix: &str, shape: &[usize], kind: ParamKind, fan_in: usize| {
                params.push(Param {
                    name: format!("{}.{suffix}", layer.name),
                    shape: shape.to_vec(),
                    kind,
                    layer: LayerId(index),
                    fan_in,
                });
            };
            match &layer.kind {
                LayerKind::Conv2d(conv) => {
                    let shape = conv.weight_shape();
                    let fan_in = product(&shape[1..]);
                    push("weight", &shape, ParamKind::Weight, fan_in);
                    if conv.bias {
                        push("bias", &[conv.out_channels], ParamKind::Bias, fan_in);
                    }
                }
                &LayerKind::Linear { in_features, out_features, bias } => {
                    push("weight", &[out_features, in_features], ParamKind::Weight, in_features);
                    if bias {
                        push("bias", &[out_features], ParamKind::Bias, in_features);
                    }
                }
                &LayerKind::BatchNorm2d { channels, scale, shift, .. } => {
                    push("weight", &[channels], if scale { ParamKind::BnWeight } else { ParamKind::FixedScale }, 1);
                    push("bias", &[channels], if shift { ParamKind::BnBias } else { ParamKind::FixedShift }, 1);
                    push("running_mean", &[channels], ParamKind::RunningMean, 1);
                    push("running_var", &[channels], ParamKind::RunningVar, 1);
                }
                &LayerKind::PRelu { channels } => push("weight", &[channels], ParamKind::Slope, 1),
                _ => {}
            }
        }
        params
    }

    /// Number of trained values: weights, biases, batch-norm scales and shifts. Running statistics
    /// are not counted, as in torchvision's and the papers' figures.
    pub fn parameter_count(&self) -> usize {
        self.params().iter().filter(|param| param.kind.is_trained()).map(Param::len).sum()
    }
}
