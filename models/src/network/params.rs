//! The tensors of a network, under PyTorch's names.

use super::{LayerId, LayerKind, Network, product};

/// Role of a parameter; gives its initial value and whether training changes it.
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
    /// Fixed scale of a batch-norm without its own: 1, unless the model sets another.
    FixedScale,
    /// Fixed shift of a batch-norm without its own: 0, unless the model sets another.
    FixedShift,
    /// Fixed mean, a hyperparameter of the model.
    FixedMean,
    /// Fixed variance, a hyperparameter of the model.
    FixedVar,
    /// Running mean of a batch-norm.
    RunningMean,
    /// Running variance of a batch-norm.
    RunningVar,
}

impl ParamKind {
    /// Whether an optimiser changes it. Running statistics and fixed values are not trained.
    pub fn is_trained(self) -> bool {
        !self.is_fixed() && !matches!(self, Self::RunningMean | Self::RunningVar)
    }

    /// Whether it is a constant of the model, which Keras' weight files lack, rather than a weight.
    pub fn is_fixed(self) -> bool {
        matches!(self, Self::FixedScale | Self::FixedShift | Self::FixedMean | Self::FixedVar)
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
    /// Role.
    pub kind: ParamKind,
    /// Layer of the parameter.
    pub layer: LayerId,
    /// Fan-in of the layer (the same for weight and bias), for initialisation; 1 for a batch-norm.
    pub fan_in: usize,
}

impl Param {
    /// Number of values.
    #[expect(clippy::len_without_is_empty, reason = "no layer has an empty parameter")]
    pub fn len(&self) -> usize {
        product(&self.shape)
    }
}

impl LayerKind {
    /// The tensors of a layer of this kind: last part of the name, shape, role and fan-in.
    pub(super) fn tensors(&self) -> Vec<(&'static str, Vec<usize>, ParamKind, usize)> {
        let of_channels = |channels: usize, kinds: [ParamKind; 4]| {
            let names = ["weight", "bias", "running_mean", "running_var"];
            names.into_iter().zip(kinds).map(|(name, kind)| (name, vec![channels], kind, 1)).collect()
        };
        let with_bias = |weight: Vec<usize>, bias: bool| {
            let (outputs, fan_in) = (weight[0], product(&weight[1..]));
            let bias = bias.then(|| ("bias", vec![outputs], ParamKind::Bias, fan_in));
            [("weight", weight, ParamKind::Weight, fan_in)].into_iter().chain(bias).collect()
        };
        match self {
            Self::Conv2d(conv) => with_bias(conv.weight_shape().to_vec(), conv.bias),
            &Self::Linear { in_features, out_features, bias } => with_bias(vec![out_features, in_features], bias),
            &Self::BatchNorm2d { channels, scale, shift, .. } => {
                let scale = if scale { ParamKind::BnWeight } else { ParamKind::FixedScale };
                let shift = if shift { ParamKind::BnBias } else { ParamKind::FixedShift };
                of_channels(channels, [scale, shift, ParamKind::RunningMean, ParamKind::RunningVar])
            }
            &Self::FrozenBatchNorm2d { channels, measured, .. } => {
                let [mean, var] = match measured {
                    true => [ParamKind::RunningMean, ParamKind::RunningVar],
                    false => [ParamKind::FixedMean, ParamKind::FixedVar],
                };
                of_channels(channels, [ParamKind::FixedScale, ParamKind::FixedShift, mean, var])
            }
            &Self::PRelu { channels } => vec![("weight", vec![channels], ParamKind::Slope, 1)],
            _ => Vec::new(),
        }
    }
}

impl Network {
    /// Every tensor of the network's state, in the order and under the names of PyTorch's `state_dict`, without
    /// `num_batches_tracked`. Tensors of [shared](super::Layer::shares) layers occur once.
    pub fn params(&self) -> Vec<Param> {
        let owners = self.ids().filter(|(_, layer)| layer.shares.is_none());
        let params = owners.flat_map(|(id, layer)| {
            layer.kind.tensors().into_iter().map(move |(suffix, shape, kind, fan_in)| {
                let name = format!("{}.{suffix}", layer.name);
                Param { name, shape, kind, layer: id, fan_in }
            })
        });
        params.collect()
    }

    /// Whether a layer that [shares](super::Layer::shares) parameters has an owner of matching shapes.
    pub(crate) fn shares_well(&self, id: LayerId) -> bool {
        let Some(owner) = self[id].shares else { return true };
        owner < id && self[owner].shares.is_none() && self[owner].kind.tensors() == self[id].kind.tensors()
    }

    /// Number of trained values: weights, biases, batch-norm scales and shifts. Running statistics do not count, as in
    /// torchvision and the papers.
    pub fn parameter_count(&self) -> usize {
        self.params().iter().filter(|param| param.kind.is_trained()).map(Param::len).sum()
    }
}
