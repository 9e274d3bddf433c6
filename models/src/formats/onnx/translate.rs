//! The walk over the graph: values, weights, the head.

use super::constant::{Constant, fold, shape_of};
use super::graph::Graph;
use super::names::{Names, scopes};
use super::node::{Node, short};
use crate::formats::keras::reason;
use crate::formats::{Checkpoint, StoredTensor};
use crate::image::{ChannelOrder, Normalization, Resize};
use crate::network::{Builder, Classes, Head, LayerId, LayerKind, Network, Preprocess};
use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

/// Side of the input where a file leaves it open: that of the networks for ImageNet.
const SIDE: usize = 224;

/// The most channels for which numbers are made that the file has not.
const MOST_CHANNELS: usize = 1 << 20;

/// The most numbers that are computed for shapes and sizes, all together: a node of a few bytes may ask for many.
const MOST_COMPUTED: usize = 1 << 21;

/// A model that was understood.
#[derive(Debug)]
pub(super) struct Plan {
    pub network: Network,
    /// The weights under the network's names.
    pub tensors: Vec<StoredTensor>,
    /// How photos are assumed to be prepared.
    pub assumed_preprocess: &'static str,
    /// The first node that cannot be translated, and why.
    pub unknown: Option<String>,
}

/// What a node puts out that depends on the image.
#[derive(Debug, Clone)]
pub(super) struct Value {
    /// The layer that computes it.
    pub id: LayerId,
    /// Its extents as the file sees them, without the batch: three of a map, one of a vector.
    pub dims: Vec<usize>,
    /// Whether the file sees a map with its channels last, which here are first.
    pub last: bool,
    /// The maps `[channels, height, width]` that a vector was flattened from with their channels last; as `[n, 1, 1]` where the order
    /// is the one here.
    pub maps: Vec<[usize; 3]>,
    /// The map of one pixel that a vector was before.
    pub pixel: Option<LayerId>,
}

impl Value {
    /// A map of the same order as `like` but of another shape.
    pub fn map(id: LayerId, [channels, height, width]: [usize; 3], last: bool) -> Self {
        let dims = if last { vec![height, width, channels] } else { vec![channels, height, width] };
        Self { id, dims, last, maps: Vec::new(), pixel: None }
    }

    /// A vector of features.
    pub fn vector(id: LayerId, features: usize) -> Self {
        Self { id, dims: vec![features], last: false, maps: vec![[features, 1, 1]], pixel: None }
    }

    /// `[channels, height, width]` of a map.
    pub fn extents(&self) -> Option<[usize; 3]> {
        match (&self.dims[..], self.last) {
            (&[h, w, c], true) => Some([c, h, w]),
            (&[c, h, w], false) => Some([c, h, w]),
            _ => None,
        }
    }

    /// Channels of a map, features of a vector.
    pub fn channels(&self) -> usize {
        self.extents().map_or_else(|| self.dims.iter().product(), |[c, _, _]| c)
    }

    /// The axis of the channels, counting the batch.
    pub fn channel_axis(&self) -> usize {
        if self.last { 3 } else { 1 }
    }
}

/// What a name stands for.
#[derive(Debug, Clone)]
enum Named {
    Constant(Constant),
    Value(Value),
    /// What depends on a node that is not known.
    Unknown,
}

/// What has been built so far.
pub(super) struct Translator<'a> {
    pub graph: &'a Graph,
    pub net: Builder,
    path: Arc<Path>,
    weights: Vec<(LayerId, &'static str, StoredTensor)>,
    named: HashMap<String, Named>,
    names: Names,
    /// Numbers that were computed so far.
    numbers: usize,
    /// The first node that cannot be translated, and why.
    unknown: Option<String>,
    /// Nodes that were understood with the one before.
    merged: HashSet<usize>,
    /// What the last node's activation says.
    pub head: Option<Head>,
}

impl Translator<'_> {
    /// A constant input of a node.
    ///
    /// # Errors
    /// It depends on the image.
    pub fn constant(&self, node: &Node, place: usize) -> Result<Option<&Constant>, String> {
        match node.input(place).map(|name| self.named.get(name)) {
            None => Ok(None),
            Some(Some(Named::Constant(constant))) => Ok(Some(constant)),
            Some(_) => Err(node.error(format!("has an input {place} that depends on the image; a constant is read"))),
        }
    }

    /// A constant that must be there.
    pub fn needed(&self, node: &Node, place: usize) -> Result<&Constant, String> {
        self.constant(node, place)?.ok_or_else(|| node.error(format!("has no input {place}")))
    }

    /// The input of a node that depends on the image.
    pub fn value(&self, node: &Node, place: usize) -> Result<Value, String> {
        match node.input(place).and_then(|name| self.named.get(name)) {
            Some(Named::Value(value)) => Ok(value.clone()),
            _ => Err(node.error(format!("has an input {place} that does not depend on the image"))),
        }
    }

    /// A map with its channels first, as the operators of ONNX want them.
    pub fn map(&self, node: &Node, place: usize) -> Result<(Value, [usize; 3]), String> {
        let x = self.value(node, place)?;
        match x.extents() {
            Some(extents) if !x.last => Ok((x, extents)),
            _ => Err(node.error(format!("reads the shape {:?}, wants a map with its channels first", x.dims))),
        }
    }

    /// The file.
    pub fn path(&self) -> &Arc<Path> {
        &self.path
    }

    /// The name of the layer that node `place` becomes.
    pub fn name(&mut self, place: usize) -> String {
        self.names.take(place)
    }

    /// Adds layers, each reading the one before: a single one under `name`, several in a scope of that name.
    pub fn chain(&mut self, name: &str, x: LayerId, kinds: Vec<(&str, LayerKind)>) -> Vec<LayerId> {
        let several = kinds.len() > 1;
        let mut places = Vec::new();
        let mut x = x;
        for (own, kind) in kinds {
            let name = if several { format!("{name}.{own}") } else { name.to_string() };
            x = self.net.layer(&name, kind, &[x]);
            places.push(x);
        }
        places
    }

    /// Notes what fills a parameter.
    pub fn weight(&mut self, layer: LayerId, param: &'static str, tensor: StoredTensor) {
        self.weights.push((layer, param, tensor));
    }

    /// Notes that a constant of the file fills a parameter of `shape`.
    pub fn stored(&mut self, layer: LayerId, param: &'static str, constant: &Constant, shape: Vec<usize>) {
        let tensor = constant.tensor(&self.path, shape);
        self.weight(layer, param, tensor);
    }

    /// Notes that computed numbers fill a parameter.
    pub fn computed(&mut self, layer: LayerId, param: &'static str, values: &[f32]) {
        let values: Vec<f64> = values.iter().copied().map(f64::from).collect();
        self.weight(layer, param, StoredTensor::of_values(String::new(), &values, &self.path));
    }

    /// Counts numbers that are computed and not in the file.
    ///
    /// # Errors
    /// There are too many.
    pub fn count(&mut self, node: &Node, numbers: usize) -> Result<(), String> {
        self.numbers = self.numbers.saturating_add(numbers);
        match self.numbers > MOST_COMPUTED {
            true => Err(node.error(format!("and the nodes before it compute more than {MOST_COMPUTED} numbers"))),
            false => Ok(()),
        }
    }

    /// A constant that is combined with `x` elementwise, as one number for each channel; `None` if it differs within a channel.
    pub fn per_channel(&self, constant: &Constant, x: &Value) -> Option<Vec<f32>> {
        let channels = x.channels();
        if channels > MOST_CHANNELS {
            return None;
        }
        let values = match constant {
            Constant::Numbers { values, .. } => values.iter().map(|&v| v as f32).collect(),
            Constant::Stored(tensor) if tensor.shape.iter().product::<usize>() <= MOST_CHANNELS => tensor.to_f32().ok()?,
            Constant::Stored(_) => return None,
        };
        if values.len() == 1 {
            return Some(vec![values[0]; channels]);
        }
        // The axis of the channels, counted from the end, is the only one that may be longer than 1.
        let from_end = x.dims.len() + 1 - x.channel_axis();
        let place = constant.shape().len().checked_sub(from_end)?;
        (values.len() == channels && constant.shape().get(place) == Some(&channels)).then_some(values)
    }

    /// A constant that the node after `place` adds to its output, where nothing else reads that, as one number for each channel.
    pub fn bias_after(&mut self, place: usize, output: &Value) -> Option<Vec<f32>> {
        let graph = self.graph;
        let name = graph.nodes[place].outputs.first()?;
        let &[next] = graph.readers.get(name)?.as_slice() else { return None };
        let after = &graph.nodes[next];
        if after.op != "Add" || *name == graph.output {
            return None;
        }
        let other = after.inputs.iter().find(|input| *input != name)?;
        let Named::Constant(constant) = self.named.get(other)? else { return None };
        let bias = self.per_channel(constant, output)?;
        self.merged.insert(next);
        Some(bias)
    }

    fn node(&mut self, place: usize) -> Result<Named, String> {
        let graph = self.graph;
        let node = &graph.nodes[place];
        if let "Constant" = node.op.as_str()
            && let Some(Named::Constant(constant)) = node.outputs.first().and_then(|name| self.named.get(name))
        {
            return Ok(Named::Constant(constant.clone()));
        }
        let mut inputs = Vec::new();
        for name in &node.inputs {
            match self.named.get(name) {
                Some(Named::Constant(constant)) => inputs.push(Some(constant)),
                Some(Named::Value(_) | Named::Unknown) => break,
                None => inputs.push(None),
            }
        }
        // The second input of CastLike only tells a type.
        let constant = inputs.len() == node.inputs.len() || node.op == "CastLike" && !inputs.is_empty();
        if constant && let Some(constant) = fold(node, graph.opset, &inputs).map_err(|reason| node.error(reason))? {
            if let Constant::Numbers { values, .. } = &constant {
                let computed = values.len();
                self.count(node, computed)?;
            }
            return Ok(Named::Constant(constant));
        }
        if self.merged.contains(&place) {
            let value = node.inputs.iter().find_map(|name| match self.named.get(name) {
                Some(Named::Value(value)) => Some(value.clone()),
                _ => None,
            });
            return value.map(Named::Value).ok_or_else(|| node.error("reads nothing"));
        }
        if node.op == "Shape" {
            // One image at a time: what is computed from the shape holds for any number of them.
            let x = self.value(node, 0)?;
            let shape: Vec<usize> = std::iter::once(1).chain(x.dims).collect();
            return Ok(Named::Constant(shape_of(node, &shape)));
        }
        Ok(Named::Value(self.layer(place, node)?))
    }
}

/// The network of a graph, or the first thing in it that cannot be.
pub(super) fn translate(graph: &Graph, name: &str, checkpoint: &Checkpoint) -> Result<Plan, String> {
    let channels_last = reads_channels_last(graph);
    let (channels, sides) = match (&graph.input_shape[..], channels_last) {
        (&[Some(c), h, w], false) | (&[h, w, Some(c)], true) => (c, [h, w]),
        (shape, _) => {
            let shape: Vec<String> = shape.iter().map(|n| n.map_or("?".into(), |n| n.to_string())).collect();
            let shape = shape.join(", ");
            return Err(format!("takes an input of the shape [?, {shape}]; images of [batch, channels, height, width] are read"));
        }
    };
    let [height, width] = sides.map(|side| side.unwrap_or(SIDE));
    let net = Builder::new(name, [channels, height, width]);
    net.check().map_err(reason)?;
    let stored = checkpoint.tensors().iter().map(|t| (t.name.clone(), Named::Constant(Constant::Stored(t.clone()))));
    let mut named: HashMap<String, Named> = stored.collect();
    let input = Value::map(LayerId::INPUT, [channels, height, width], channels_last);
    named.insert(graph.input.clone(), Named::Value(input));
    let names = Names::new(&graph.nodes);
    let path: Arc<Path> = checkpoint.path().into();
    let (weights, merged) = (Vec::new(), HashSet::new());
    let mut translator = Translator { graph, net, path, weights, named, names, numbers: 0, unknown: None, merged, head: None };
    for (place, node) in graph.nodes.iter().enumerate() {
        let unknown = |name: &String| matches!(translator.named.get(name), Some(Named::Unknown));
        let made = match node.inputs.iter().any(unknown) {
            true => Named::Unknown,
            false => translator.node(place).unwrap_or_else(|reason| {
                translator.unknown.get_or_insert(format!("{reason}; it is node {} of {}", place + 1, graph.nodes.len()));
                Named::Unknown
            }),
        };
        translator.net.check().map_err(reason)?;
        if let Some(name) = node.outputs.first() {
            translator.named.insert(name.clone(), made);
        }
    }
    translator.finish(channels)
}

impl Translator<'_> {
    fn finish(mut self, channels: usize) -> Result<Plan, String> {
        let output = match self.named.get(&self.graph.output) {
            Some(Named::Value(value)) => Some(value.clone()),
            Some(Named::Unknown) if !self.net.is_empty() => None,
            Some(Named::Unknown) => return Err(self.unknown.unwrap_or_default()),
            _ => return Err("has an output that does not depend on the image".into()),
        };
        let pixels = |value: &Value| value.extents().is_some_and(|[_, h, w]| h * w > 1);
        let (classes, head) = match output {
            None => (Classes::None(self.unknown.clone().unwrap_or_default()), Head::Softmax),
            Some(map) if pixels(&map) => {
                let reason = format!("its output is a map of {}, not one vector of classes", short(&map.dims));
                (Classes::None(reason), Head::Softmax)
            }
            Some(mut output) => {
                if output.extents().is_some() {
                    output.id = self.net.flatten("flatten", output.id);
                }
                match self.net.channels(output.id) {
                    1 => {
                        self.net.layer("two_sided", LayerKind::TwoSided, &[output.id]);
                        (Classes::Count(2), Head::Sigmoid)
                    }
                    1000 if channels == 3 => (Classes::ImageNet1k, self.head.unwrap_or(Head::Softmax)),
                    classes => (Classes::Count(classes), self.head.unwrap_or(Head::Softmax)),
                }
            }
        };
        let Translator { net, weights, unknown, .. } = self;
        let [h, w] = net.spatial(LayerId::INPUT).unwrap_or([SIDE; 2]);
        let (preprocess, assumed_preprocess) = if classes == Classes::ImageNet1k {
            // ImageNet's recipe: the shorter side an eighth longer than what is cut out.
            let resize = Resize::ShortSide(h.max(w) * 8 / 7);
            let recipe = Preprocess { resize, crop: Some((h, w)), ..Preprocess::IMAGENET };
            (recipe, "ImageNet's mean and deviation, as torchvision takes them, are assumed")
        } else {
            let order = if channels == 1 { ChannelOrder::Grey } else { ChannelOrder::Rgb };
            let normalization = Normalization { order, ..Normalization::UNIT };
            let resize = Resize::Exact { h, w };
            let recipe = Preprocess { resize, crop: None, normalization, ..Preprocess::IMAGENET };
            (recipe, "pixels from 0 to 1 are assumed")
        };
        let mut network = net.finish(classes, head, preprocess).map_err(reason)?;
        network.scopes = scopes(&network);
        let named = |(layer, param, mut tensor): (LayerId, &str, StoredTensor)| {
            tensor.name = format!("{}.{param}", network[layer].name);
            tensor
        };
        let tensors = weights.into_iter().map(named).collect();
        Ok(Plan { network, tensors, assumed_preprocess, unknown })
    }
}

/// Whether the image has its channels last: where the first thing that is done to it is to bring them first, or where only the last
/// extent can be channels.
fn reads_channels_last(graph: &Graph) -> bool {
    let mut readers = graph.readers.get(&graph.input).into_iter().flatten().map(|&place| &graph.nodes[place]);
    if let (Some(only), None) = (readers.next(), readers.next())
        && only.op == "Transpose"
    {
        return only.ints("perm") == Some(&[0, 3, 1, 2]);
    }
    let few = |extent: Option<usize>| extent.is_some_and(|n| n <= 4);
    matches!(graph.input_shape[..], [first, _, last] if few(last) && !few(first))
}
