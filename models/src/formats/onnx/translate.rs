//! The walk over the graph: its named values, and constant folding.

use super::constant::{Constant, fold, shape_of};
use super::graph::OnnxGraph;
use super::names::{LayerNames, scopes};
use super::node::{OnnxNode, short};
use crate::formats::import::{GraphOutput, Import, Imported, Values};
use crate::formats::{Checkpoint, StoredTensor};
use crate::network::LayerId;
use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

/// Maximum channels of a parameter that the file does not store.
const MOST_CHANNELS: usize = 1 << 20;

/// Maximum values of all folded constants together: a node of a few bytes may request many.
const MOST_COMPUTED: usize = 1 << 21;

/// A node output that depends on the image.
#[derive(Debug, Clone)]
pub(super) struct OnnxValue {
    /// The layer that computes it.
    pub id: LayerId,
    /// Extents in the file, without the batch: three for a map, one for a vector.
    pub dims: Vec<usize>,
    /// Whether the file has the map's channels last; the network has them first.
    pub last: bool,
    /// The channels-last maps `[channels, height, width]` behind a flattened vector; `[n, 1, 1]` if the order is the network's.
    pub maps: Vec<[usize; 3]>,
    /// The one-pixel map behind a vector.
    pub pixel: Option<LayerId>,
}

impl OnnxValue {
    /// A map in the order of `like`, with another shape.
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

    /// The axis of the channels, with the batch counted.
    pub fn channel_axis(&self) -> usize {
        if self.last { 3 } else { 1 }
    }
}

/// The meaning of a name.
#[derive(Debug, Clone)]
enum Named {
    Constant(Constant),
    Value(OnnxValue),
    /// A value that depends on an unknown node.
    Unknown,
}

/// The importer of ONNX models.
pub(super) type OnnxTranslator<'a> = Import<OnnxState<'a>, StoredTensor>;

/// State of the walk over an ONNX graph.
pub(super) struct OnnxState<'a> {
    pub graph: &'a OnnxGraph,
    path: Arc<Path>,
    named: HashMap<String, Named>,
    names: LayerNames,
    /// Number of folded values so far.
    numbers: usize,
    /// Nodes that were translated together with the one before.
    merged: HashSet<usize>,
}

impl OnnxTranslator<'_> {
    /// A constant input of a node.
    ///
    /// # Errors
    /// A message if it depends on the image.
    pub fn constant(&self, node: &OnnxNode, index: usize) -> Result<Option<&Constant>, String> {
        match node.input(index).map(|name| self.state.named.get(name)) {
            None => Ok(None),
            Some(Some(Named::Constant(constant))) => Ok(Some(constant)),
            Some(_) => Err(node.error(format!("has an input {index} that depends on the image; a constant is read"))),
        }
    }

    /// A constant input that must be present.
    pub fn needed(&self, node: &OnnxNode, index: usize) -> Result<&Constant, String> {
        self.constant(node, index)?.ok_or_else(|| node.error(format!("has no input {index}")))
    }

    /// An input that depends on the image.
    pub fn value(&self, node: &OnnxNode, index: usize) -> Result<OnnxValue, String> {
        match node.input(index).and_then(|name| self.state.named.get(name)) {
            Some(Named::Value(value)) => Ok(value.clone()),
            _ => Err(node.error(format!("has an input {index} that does not depend on the image"))),
        }
    }

    /// A map with channels first, as ONNX's operators read it.
    pub fn map(&self, node: &OnnxNode, index: usize) -> Result<(OnnxValue, [usize; 3]), String> {
        let x = self.value(node, index)?;
        match x.extents() {
            Some(extents) if !x.last => Ok((x, extents)),
            _ => Err(node.error(format!("reads the shape {:?}, expects a map with its channels first", x.dims))),
        }
    }

    /// Path of the file.
    pub fn path(&self) -> &Arc<Path> {
        &self.state.path
    }

    /// The layer name of node `index`.
    pub fn name(&mut self, index: usize) -> String {
        self.state.names.take(index)
    }

    /// Records a constant of the file as a parameter of `shape`.
    pub fn stored(&mut self, layer: LayerId, param: &'static str, constant: &Constant, shape: Vec<usize>) {
        let tensor = constant.tensor(&self.state.path, shape);
        self.fill(layer, param, Values::Stored(tensor));
    }

    /// Records computed values as a parameter.
    pub fn computed(&mut self, layer: LayerId, param: &'static str, values: &[f32]) {
        self.fill(layer, param, Values::Given(values.iter().copied().map(f64::from).collect()));
    }

    /// Counts values that are computed instead of stored.
    ///
    /// # Errors
    /// A message if there are too many.
    pub fn count(&mut self, node: &OnnxNode, numbers: usize) -> Result<(), String> {
        self.state.numbers = self.state.numbers.saturating_add(numbers);
        match self.state.numbers > MOST_COMPUTED {
            true => Err(node.error(format!("and the nodes before it compute more than {MOST_COMPUTED} numbers"))),
            false => Ok(()),
        }
    }

    /// A constant operand of `x` as one value per channel; `None` if it varies within a channel.
    pub fn per_channel(&self, constant: &Constant, x: &OnnxValue) -> Option<Vec<f32>> {
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
        // Only the channel axis, counted from the end, may be longer than 1.
        let from_end = x.dims.len() + 1 - x.channel_axis();
        let index = constant.shape().len().checked_sub(from_end)?;
        (values.len() == channels && constant.shape().get(index) == Some(&channels)).then_some(values)
    }

    /// The constant that the next node adds to the output of `index`, as one value per channel, if nothing else reads that
    /// output.
    pub fn bias_after(&mut self, index: usize, output: &OnnxValue) -> Option<Vec<f32>> {
        let graph = self.state.graph;
        let name = graph.nodes[index].outputs.first()?;
        let &[next] = graph.readers.get(name)?.as_slice() else { return None };
        let after = &graph.nodes[next];
        if after.op != "Add" || *name == graph.output {
            return None;
        }
        let other = after.inputs.iter().find(|input| *input != name)?;
        let Named::Constant(constant) = self.state.named.get(other)? else { return None };
        let bias = self.per_channel(constant, output)?;
        self.state.merged.insert(next);
        Some(bias)
    }

    fn node(&mut self, index: usize) -> Result<Named, String> {
        let graph = self.state.graph;
        let node = &graph.nodes[index];
        if let "Constant" = node.op.as_str()
            && let Some(Named::Constant(constant)) = node.outputs.first().and_then(|name| self.state.named.get(name))
        {
            return Ok(Named::Constant(constant.clone()));
        }
        let mut inputs = Vec::new();
        for name in &node.inputs {
            match self.state.named.get(name) {
                Some(Named::Constant(constant)) => inputs.push(Some(constant)),
                Some(Named::Value(_) | Named::Unknown) => break,
                None => inputs.push(None),
            }
        }
        // The second input of CastLike only gives a type.
        let constant = inputs.len() == node.inputs.len() || node.op == "CastLike" && !inputs.is_empty();
        if constant && let Some(constant) = fold(node, graph.opset, &inputs).map_err(|reason| node.error(reason))? {
            if let Constant::Numbers { values, .. } = &constant {
                let computed = values.len();
                self.count(node, computed)?;
            }
            return Ok(Named::Constant(constant));
        }
        if self.state.merged.contains(&index) {
            let value = node.inputs.iter().find_map(|name| match self.state.named.get(name) {
                Some(Named::Value(value)) => Some(value.clone()),
                _ => None,
            });
            return value.map(Named::Value).ok_or_else(|| node.error("reads nothing"));
        }
        if node.op == "Shape" {
            // A batch of one: shape computations hold for any batch.
            let x = self.value(node, 0)?;
            let shape: Vec<usize> = std::iter::once(1).chain(x.dims).collect();
            return Ok(Named::Constant(shape_of(node, &shape)));
        }
        Ok(Named::Value(self.layer(index, node)?))
    }
}

/// The network of a graph, or the first defect.
pub(super) fn translate(graph: &OnnxGraph, name: &str, checkpoint: &Checkpoint) -> Result<Imported<StoredTensor>, String> {
    let channels_last = reads_channels_last(graph);
    let (channels, sides) = match (&graph.input_shape[..], channels_last) {
        (&[Some(c), h, w], false) | (&[h, w, Some(c)], true) => (c, [h, w]),
        (shape, _) => {
            let shape: Vec<String> = shape.iter().map(|n| n.map_or("?".into(), |n| n.to_string())).collect();
            let shape = shape.join(", ");
            return Err(format!("takes an input of the shape [?, {shape}]; images of [batch, channels, height, width] are read"));
        }
    };
    let stored = checkpoint.tensors().iter().map(|t| (t.name.clone(), Named::Constant(Constant::Stored(t.clone()))));
    let (path, names) = (checkpoint.path().into(), LayerNames::new(&graph.nodes));
    let state = OnnxState { graph, path, named: stored.collect(), names, numbers: 0, merged: HashSet::new() };
    let mut translator = OnnxTranslator::new(name, channels, sides, state)?;
    let input = translator.seen(LayerId::INPUT, channels_last);
    translator.state.named.insert(graph.input.clone(), Named::Value(input));
    for (index, node) in graph.nodes.iter().enumerate() {
        let unknown = |name: &String| matches!(translator.state.named.get(name), Some(Named::Unknown));
        let made = match node.inputs.iter().any(unknown) {
            true => Named::Unknown,
            false => translator.node(index).unwrap_or_else(|reason| {
                translator.stop(&reason, format_args!("it is node {} of {}", index + 1, graph.nodes.len()));
                Named::Unknown
            }),
        };
        translator.check()?;
        if let Some(name) = node.outputs.first() {
            translator.state.named.insert(name.clone(), made);
        }
    }
    let output = translator.output()?;
    let mut imported = translator.finish(output, true)?;
    imported.network.scopes = scopes(&imported.network);
    Ok(imported)
}

impl OnnxTranslator<'_> {
    /// The graph's output, as a vector if it is a one-pixel map.
    fn output(&mut self) -> Result<GraphOutput, String> {
        match self.state.named.get(&self.state.graph.output) {
            Some(Named::Value(value)) => Ok(match value.extents() {
                Some([_, h, w]) if h * w > 1 => GraphOutput::Map(short(&value.dims)),
                Some(_) => GraphOutput::Vector(self.net.flatten("flatten", value.id)),
                None => GraphOutput::Vector(value.id),
            }),
            Some(Named::Unknown) => Ok(GraphOutput::Unknown),
            _ => Err("has an output that does not depend on the image".into()),
        }
    }
}

/// Whether the image has its channels last: the first node transposes them to the front, or only the last extent can be channels.
fn reads_channels_last(graph: &OnnxGraph) -> bool {
    let mut readers = graph.readers.get(&graph.input).into_iter().flatten().map(|&index| &graph.nodes[index]);
    if let (Some(only), None) = (readers.next(), readers.next())
        && only.op == "Transpose"
    {
        return only.ints("perm") == Some(&[0, 3, 1, 2]);
    }
    let few = |extent: Option<usize>| extent.is_some_and(|n| n <= 4);
    matches!(graph.input_shape[..], [first, _, last] if few(last) && !few(first))
}
