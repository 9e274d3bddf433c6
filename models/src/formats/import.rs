//! The part that all importers of models share: the network so far, its parameters, its end.
//!
//! A format brings a walk over its graph, and a table from operators to layers. [`Import::stop`] records the first unknown
//! operator. Import ends before every layer that depends on it.

use super::{Checkpoint, StoredTensor, WeightsError};
use crate::image::{ChannelOrder, Normalization, Resize};
use crate::network::{Builder, Classes, LayerId, LayerKind, Network, NetworkError, OutputActivation, Preprocess};
use convscope_engine::Unary;

/// Height and width of the input if the file leaves them open: ImageNet's.
const SIDE: usize = 224;

/// Maximum feature maps behind a vector. A graph that concatenates a vector with itself doubles them each time.
const MOST_MAPS: usize = 1 << 12;

/// Upper bound of a width, height or hyperparameter: larger ones mean a damaged file. A product of two fits in an integer.
pub(super) const LARGEST: usize = 1 << 24;

/// An imported network with its weights.
#[derive(Debug)]
pub struct ImportedModel {
    /// The network.
    pub network: Network,
    /// The weights, under the network's names and in its layout.
    pub checkpoint: Checkpoint,
    /// The assumed image preparation, as a sentence, if the file does not give it.
    pub assumed_preprocess: Option<&'static str>,
    /// The first unknown layer. The network ends before the layers that depend on it.
    pub unknown: Option<String>,
}

impl ImportedModel {
    /// Notes for the user, one a line: missing layers and assumptions. `weights` is the name of the file.
    pub fn notes(&self, weights: &str) -> Vec<String> {
        let unknown = self.unknown.iter().map(|unknown| format!("{unknown}; the network ends before it"));
        let assumed = self.assumed_preprocess.iter();
        unknown.chain(assumed.map(|how| format!("{weights} does not describe how photos are prepared; {how}"))).collect()
    }
}

/// A network under construction from the graph of a file. `S` is the state of the format's walk, `V` its stored values.
pub(super) struct Import<S, V> {
    /// The layers so far.
    pub net: Builder,
    /// The parameters so far.
    pub weights: Vec<Weight<V>>,
    /// The output activation of the graph. The network itself ends in logits.
    pub output_activation: Option<OutputActivation>,
    /// The graph's normalisation of the input, from layers before the first convolution.
    pub normalization: Option<Normalization>,
    /// The format's own state.
    pub state: S,
    /// The first unknown operator, and the reason.
    unknown: Option<String>,
}

/// A parameter and its values.
#[derive(Debug)]
pub(super) struct Weight<V> {
    pub layer: LayerId,
    /// Last part of the parameter's name, such as `running_mean`.
    pub param: &'static str,
    pub values: Values<V>,
}

/// The values of a parameter.
#[derive(Debug, PartialEq)]
pub(super) enum Values<V> {
    /// Stored in the file.
    Stored(V),
    /// Computed, or a hyperparameter.
    Given(Vec<f64>),
}

/// The output of a graph.
pub(super) enum GraphOutput {
    /// A value that depends on an unknown operator.
    Unknown,
    /// A feature map of this size.
    Map(String),
    /// A vector.
    Vector(LayerId),
}

/// The known part of a network, and its parameters.
#[derive(Debug)]
pub(super) struct Imported<V> {
    pub network: Network,
    pub weights: Vec<Weight<V>>,
    pub assumed_preprocess: Option<&'static str>,
    pub unknown: Option<String>,
}

impl<S, V> Import<S, V> {
    /// A network of an input only. Open sides get ImageNet's size.
    ///
    /// # Errors
    /// A message if the size is invalid.
    pub fn new(name: &str, channels: usize, sides: [Option<usize>; 2], state: S) -> Result<Self, String> {
        let [height, width] = sides.map(|side| side.unwrap_or(SIDE));
        let net = Builder::new(name, [channels, height, width]);
        let import = Self { net, weights: Vec::new(), output_activation: None, normalization: None, state, unknown: None };
        import.check()?;
        Ok(import)
    }

    /// Checks that every layer so far fits its inputs.
    ///
    /// # Errors
    /// A message about the first that does not.
    pub fn check(&self) -> Result<(), String> {
        self.net.check().map_err(reason)
    }

    /// Records the reason for stopping at the operator at `position`. Only the first call counts.
    pub fn stop(&mut self, reason: &str, position: std::fmt::Arguments) {
        self.unknown.get_or_insert_with(|| format!("{reason}; {position}"));
    }

    /// Records the values of a parameter.
    pub fn fill(&mut self, layer: LayerId, param: &'static str, values: Values<V>) {
        self.weights.push(Weight { layer, param, values });
    }

    /// Records the values of several parameters that the file does not store.
    pub fn given<const N: usize>(&mut self, layer: LayerId, params: [(&'static str, Vec<f64>); N]) {
        for (param, values) in params {
            self.fill(layer, param, Values::Given(values));
        }
    }

    /// `scale x + shift` per channel: a batch-norm of mean 0 and variance 1, or a layer without weights if all channels are
    /// equal.
    pub fn scale_and_shift(&mut self, name: &str, x: LayerId, scale: Vec<f64>, shift: Vec<f64>) -> LayerId {
        if let Some((scale, shift)) = uniform(&scale).zip(uniform(&shift)) {
            return self.net.activation(name, x, Unary::Affine(scale, shift));
        }
        let channels = scale.len();
        let id = self.net.layer(name, LayerKind::FrozenBatchNorm2d { channels, eps: 0.0, measured: false }, &[x]);
        let (zeros, ones) = (vec![0.0; channels], vec![1.0; channels]);
        self.given(id, [("weight", scale), ("bias", shift), ("running_mean", zeros), ("running_var", ones)]);
        id
    }

    /// Whether an activation at the end of the model turns logits into probabilities. The network then ends in logits.
    pub fn is_output_activation(&mut self, kind: &LayerKind, ends: bool) -> bool {
        let output_activation = match kind {
            LayerKind::Softmax => OutputActivation::Softmax,
            LayerKind::Activation(Unary::Sigmoid) => OutputActivation::Sigmoid,
            _ => return false,
        };
        if ends {
            self.output_activation = Some(output_activation);
        }
        ends
    }

    /// The finished network. It has classes if the output is a vector. With `imagenet`, 1000 outputs for RGB images are
    /// ImageNet's classes.
    ///
    /// # Errors
    /// A message if no layer is known or a layer does not fit.
    pub fn finish(self, output: GraphOutput, imagenet: bool) -> Result<Imported<V>, String> {
        let Self { mut net, weights, output_activation, normalization, unknown, .. } = self;
        let channels = net.channels(LayerId::INPUT);
        let [h, w] = net.spatial(LayerId::INPUT).unwrap_or([SIDE; 2]);
        let (classes, output_activation) = match output {
            GraphOutput::Unknown if net.is_empty() => return Err(unknown.unwrap_or_default()),
            GraphOutput::Unknown => (Classes::None(unknown.clone().unwrap_or_default()), OutputActivation::Softmax),
            GraphOutput::Map(size) => {
                (Classes::None(format!("its output is a map of {size}, not one vector of classes")), OutputActivation::Softmax)
            }
            GraphOutput::Vector(logits) => match net.channels(logits) {
                1 => {
                    net.layer("two_sided", LayerKind::BinaryLogits, &[logits]);
                    (Classes::Count(2), OutputActivation::Sigmoid)
                }
                1000 if imagenet && channels == 3 => {
                    (Classes::ImageNet1k, output_activation.unwrap_or(OutputActivation::Softmax))
                }
                classes => (Classes::Count(classes), output_activation.unwrap_or(OutputActivation::Softmax)),
            },
        };
        let (preprocess, assumed) = if classes == Classes::ImageNet1k {
            // ImageNet's preparation: the shorter side is 8/7 of the crop.
            let resize = Resize::ShortSide(h.max(w) * 8 / 7);
            let recipe = Preprocess { resize, crop: Some((h, w)), ..Preprocess::IMAGENET };
            (recipe, "ImageNet's mean and deviation, as torchvision takes them, are assumed")
        } else {
            let order = if channels == 1 { ChannelOrder::Grey } else { ChannelOrder::Rgb };
            let normalization = Normalization { order, ..normalization.unwrap_or(Normalization::UNIT) };
            let resize = Resize::Exact { h, w };
            let recipe = Preprocess { resize, crop: None, normalization, ..Preprocess::IMAGENET };
            (recipe, "pixels from 0 to 1 are assumed")
        };
        let network = net.finish(classes, output_activation, preprocess).map_err(reason)?;
        Ok(Imported { network, weights, assumed_preprocess: normalization.is_none().then_some(assumed), unknown })
    }
}

impl<V> Imported<V> {
    /// The network with its weights; `stored` finds a parameter in the file.
    ///
    /// # Errors
    /// [`WeightsError`] if one is missing.
    pub fn model(
        self,
        checkpoint: &Checkpoint,
        mut stored: impl FnMut(V, String) -> Result<StoredTensor, WeightsError>,
    ) -> Result<ImportedModel, WeightsError> {
        let Self { network, weights, assumed_preprocess, unknown } = self;
        let tensor = |Weight { layer, param, values }| {
            let name = format!("{}.{param}", network[layer].name);
            match values {
                Values::Stored(value) => stored(value, name),
                Values::Given(values) => Ok(StoredTensor::of_values(name, &values, checkpoint.path())),
            }
        };
        let tensors = weights.into_iter().map(tensor).collect::<Result<Vec<_>, _>>()?;
        Ok(ImportedModel { checkpoint: checkpoint.with_tensors(tensors), network, assumed_preprocess, unknown })
    }
}

/// The common value of a list, if all are equal.
fn uniform(list: &[f64]) -> Option<f64> {
    list.first().copied().filter(|first| list.iter().all(|v| v == first))
}

/// The concatenated feature maps of several vectors.
///
/// # Errors
/// A message, to be read after the operator's name, if they are too many.
pub(super) fn joined<'a>(vectors: impl Iterator<Item = &'a [[usize; 3]]> + Clone) -> Result<Vec<[usize; 3]>, String> {
    match vectors.clone().map(<[_]>::len).sum::<usize>() > MOST_MAPS {
        true => Err(format!("joins more than {MOST_MAPS} flattened maps")),
        false => Ok(vectors.flatten().copied().collect()),
    }
}

/// A pooling over the whole map.
pub(super) fn global_pool(maximum: bool) -> LayerKind {
    match maximum {
        true => LayerKind::AdaptiveMaxPool2d { output: [1, 1] },
        false => LayerKind::AdaptiveAvgPool2d { output: [1, 1] },
    }
}

/// A foreign name in characters that are valid in file names.
pub(super) fn plain_name(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '_' }).collect()
}

/// A network error as the reason of a [`WeightsError`].
pub(super) fn reason(error: NetworkError) -> String {
    match error {
        NetworkError::Layer { layer, kind, reason, .. } => format!("layer {layer} ({kind}) {reason}"),
        NetworkError::Config { reason, .. } => reason,
        other => other.to_string(),
    }
}
