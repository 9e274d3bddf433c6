//! The walk over the graph.

use super::fields::{Spec, image_shape};
use super::graph::Graph;
use super::reason;
use crate::network::{Builder, Classes, Head, LayerId, LayerKind, Network, Preprocess};
use crate::preprocess::{ChannelOrder, Normalization, Resize};
use crate::weights::Layout;

/// Side of the input where a file leaves it open: that of the networks for ImageNet.
const SIDE: usize = 224;

/// A parameter of the network and the variable that fills it.
#[derive(Debug)]
pub(super) struct Weight {
    pub layer: LayerId,
    /// Last part of the parameter's name, such as `running_mean`.
    pub param: &'static str,
    pub keras_layer: String,
    /// The variable's names in the versions of Keras.
    pub variables: &'static [&'static str],
    pub layout: Layout,
}

/// A model that was understood.
#[derive(Debug)]
pub(super) struct Plan {
    pub network: Network,
    pub weights: Vec<Weight>,
    pub assumed_preprocess: bool,
}

/// What a Keras layer puts out.
#[derive(Debug, Clone)]
pub(super) struct Value {
    /// The layer here that computes it.
    pub id: LayerId,
    /// The maps `[channels, height, width]` that a vector was flattened from, in the file's order; empty for a map.
    pub maps: Vec<[usize; 3]>,
}

impl Value {
    /// A map.
    pub fn map(id: LayerId) -> Self {
        Self { id, maps: Vec::new() }
    }

    /// A vector of features that were never a map.
    pub fn vector(id: LayerId, features: usize) -> Self {
        Self { maps: vec![[features, 1, 1]], ..Self::map(id) }
    }
}

/// What has been built so far.
pub(super) struct Translator<'a> {
    pub graph: &'a Graph,
    pub net: Builder,
    pub weights: Vec<Weight>,
    /// What the last layer's activation says.
    pub head: Option<Head>,
    /// What a leading `Rescaling` says.
    pub normalization: Option<Normalization>,
}

impl Translator<'_> {
    /// Notes which variable of a layer fills a parameter.
    pub fn weight(
        &mut self,
        spec: &Spec,
        layer: LayerId,
        param: &'static str,
        variables: &'static [&'static str],
        layout: Layout,
    ) {
        self.weights.push(Weight { layer, param, keras_layer: spec.name.clone(), variables, layout });
    }

    /// Adds layers, each reading the one before: a single one under the Keras layer's name, several in a scope of that name.
    /// Returns their places.
    pub fn chain(&mut self, spec: &Spec, x: LayerId, kinds: Vec<(&str, LayerKind)>) -> Vec<LayerId> {
        use crate::network::ScopeKind;
        if let [(_, kind)] = &kinds[..] {
            return vec![self.net.layer(&spec.name, kind.clone(), &[x])];
        }
        let mut places = Vec::new();
        self.net.scope(ScopeKind::Sequence, &spec.name, x, |net, mut x| {
            for (name, kind) in kinds {
                x = net.layer(name, kind, &[x]);
                places.push(x);
            }
            x
        });
        places
    }
}

/// The network of a graph, or the first thing in it that cannot be.
pub(super) fn translate(graph: &Graph) -> Result<Plan, String> {
    let input = &graph.layers[0];
    let shape = ["batch_input_shape", "batch_shape", "build_input_shape"].iter().find_map(|key| input.get(key));
    let shape = shape.ok_or_else(|| input.error("does not tell the shape of the input"))?;
    let (sides, channels) = image_shape(shape).ok_or_else(|| {
        let shape = crate::text::one_line(shape);
        input.error(format!("takes the shape {shape}; images of [batch, height, width, channels] are read"))
    })?;
    let [height, width] = sides.map(|side| side.unwrap_or(SIDE));
    let net = Builder::new(&graph.name, [channels, height, width]);
    let mut translator = Translator { graph, net, weights: Vec::new(), head: None, normalization: None };
    translator.net.check().map_err(reason)?;
    let mut values = vec![Value::map(LayerId::INPUT)];
    for (place, spec) in graph.layers.iter().enumerate().skip(1) {
        let inputs: Vec<&Value> = spec.inputs.iter().map(|&read| &values[read]).collect();
        let value = translator.layer(place, spec, &inputs)?;
        translator.net.check().map_err(reason)?;
        values.push(value);
    }
    let (Some(output), Some(spec)) = (values.last(), graph.layers.last()) else { return Err("has no layers".into()) };
    let output = output.id;
    let Translator { mut net, weights, head, normalization, .. } = translator;
    if let Some([h, w]) = net.spatial(output) {
        return Err(spec.error(format!("is the output, a map of {h}x{w}; networks here end in one vector of classes")));
    }
    let classes = net.channels(output);
    let head = match classes {
        1 => Head::Sigmoid,
        _ => head.unwrap_or(Head::Softmax),
    };
    if classes == 1 {
        net.layer("two_sided", LayerKind::TwoSided, &[output]);
    }
    let order = if channels == 1 { ChannelOrder::Grey } else { ChannelOrder::Rgb };
    let assumed_preprocess = normalization.is_none();
    let normalization = Normalization { order, ..normalization.unwrap_or(Normalization::UNIT) };
    let resize = Resize::Exact { h: height, w: width };
    let preprocess = Preprocess { resize, crop: None, normalization, ..Preprocess::IMAGENET };
    let mut network = net.finish(Classes::Count(classes.max(2)), head, preprocess).map_err(reason)?;
    if network.find(&input.name).is_none() {
        network.layers[0].name = input.name.clone();
    }
    Ok(Plan { network, weights, assumed_preprocess })
}
