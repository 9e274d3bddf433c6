//! The walk over the graph: its named values, and what is computed of constants.

use super::constant::{Constant, fold, shape_of};
use super::graph::Graph;
use super::names::{Names, scopes};
use super::node::{Node, short};
use crate::formats::import::{Import, Imported, Output, Values};
use crate::formats::{Checkpoint, StoredTensor};
use crate::network::LayerId;
use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

/// The most channels for which numbers are made that the file has not.
const MOST_CHANNELS: usize = 1 << 20;

/// The most numbers that are computed for shapes and sizes, all together: a node of a few bytes may ask for many.
const MOST_COMPUTED: usize = 1 << 21;

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

/// The importer of ONNX models.
pub(super) type Translator<'a> = Import<State<'a>, StoredTensor>;

/// What the walk over an ONNX graph knows.
pub(super) struct State<'a> {
    pub graph: &'a Graph,
    path: Arc<Path>,
    named: HashMap<String, Named>,
    names: Names,
    /// Numbers that were computed so far.
    numbers: usize,
    /// Nodes that were understood with the one before.
    merged: HashSet<usize>,
}

impl Translator<'_> {
    /// A constant input of a node.
    ///
    /// # Errors
    /// It depends on the image.
    pub fn constant(&self, node: &Node, place: usize) -> Result<Option<&Constant>, String> {
        match node.input(place).map(|name| self.state.named.get(name)) {
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
        match node.input(place).and_then(|name| self.state.named.get(name)) {
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
        &self.state.path
    }

    /// The name of the layer that node `place` becomes.
    pub fn name(&mut self, place: usize) -> String {
        self.state.names.take(place)
    }

    /// Notes that a constant of the file fills a parameter of `shape`.
    pub fn stored(&mut self, layer: LayerId, param: &'static str, constant: &Constant, shape: Vec<usize>) {
        let tensor = constant.tensor(&self.state.path, shape);
        self.fill(layer, param, Values::Stored(tensor));
    }

    /// Notes that computed numbers fill a parameter.
    pub fn computed(&mut self, layer: LayerId, param: &'static str, values: &[f32]) {
        self.fill(layer, param, Values::Given(values.iter().copied().map(f64::from).collect()));
    }

    /// Counts numbers that are computed and not in the file.
    ///
    /// # Errors
    /// There are too many.
    pub fn count(&mut self, node: &Node, numbers: usize) -> Result<(), String> {
        self.state.numbers = self.state.numbers.saturating_add(numbers);
        match self.state.numbers > MOST_COMPUTED {
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
        let graph = self.state.graph;
        let name = graph.nodes[place].outputs.first()?;
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

    fn node(&mut self, place: usize) -> Result<Named, String> {
        let graph = self.state.graph;
        let node = &graph.nodes[place];
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
        // The second input of CastLike only tells a type.
        let constant = inputs.len() == node.inputs.len() || node.op == "CastLike" && !inputs.is_empty();
        if constant && let Some(constant) = fold(node, graph.opset, &inputs).map_err(|reason| node.error(reason))? {
            if let Constant::Numbers { values, .. } = &constant {
                let computed = values.len();
                self.count(node, computed)?;
            }
            return Ok(Named::Constant(constant));
        }
        if self.state.merged.contains(&place) {
            let value = node.inputs.iter().find_map(|name| match self.state.named.get(name) {
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
pub(super) fn translate(graph: &Graph, name: &str, checkpoint: &Checkpoint) -> Result<Imported<StoredTensor>, String> {
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
    let (path, names) = (checkpoint.path().into(), Names::new(&graph.nodes));
    let state = State { graph, path, named: stored.collect(), names, numbers: 0, merged: HashSet::new() };
    let mut translator = Translator::new(name, channels, sides, state)?;
    let input = translator.seen(LayerId::INPUT, channels_last);
    translator.state.named.insert(graph.input.clone(), Named::Value(input));
    for (place, node) in graph.nodes.iter().enumerate() {
        let unknown = |name: &String| matches!(translator.state.named.get(name), Some(Named::Unknown));
        let made = match node.inputs.iter().any(unknown) {
            true => Named::Unknown,
            false => translator.node(place).unwrap_or_else(|reason| {
                translator.stop(&reason, format_args!("it is node {} of {}", place + 1, graph.nodes.len()));
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

impl Translator<'_> {
    /// What the graph puts out, as a vector where that is a map of one pixel.
    fn output(&mut self) -> Result<Output, String> {
        match self.state.named.get(&self.state.graph.output) {
            Some(Named::Value(value)) => Ok(match value.extents() {
                Some([_, h, w]) if h * w > 1 => Output::Map(short(&value.dims)),
                Some(_) => Output::Vector(self.net.flatten("flatten", value.id)),
                None => Output::Vector(value.id),
            }),
            Some(Named::Unknown) => Ok(Output::Unknown),
            _ => Err("has an output that does not depend on the image".into()),
        }
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
