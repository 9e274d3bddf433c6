//! The nodes on the path from the image to the output, in topological order.

use super::node::{OnnxNode, size};
use super::proto::{self, part, parts};
use crate::text::one_line;
use bytes::Bytes;
use std::collections::{HashMap, HashSet};

/// Maximum nodes. Networks have hundreds, and up to a few thousand with shape computations; a file that claims more is damaged.
const MOST_NODES: usize = 20_000;

/// The oldest operator set with today's meanings, apart from the differences that `layers` handles.
const OLDEST_OPSET: i64 = 9;

/// A model's graph.
#[derive(Debug)]
pub(super) struct OnnxGraph {
    /// Version of ONNX's operator set.
    pub opset: i64,
    /// Name of the image batch.
    pub input: String,
    /// Extents of the image without the batch; an open one is `None`.
    pub input_shape: Vec<Option<usize>>,
    /// Name of the model's first output.
    pub output: String,
    /// The nodes that the output depends on, in topological order, otherwise in file order.
    pub nodes: Vec<OnnxNode>,
    /// Readers of each value.
    pub readers: HashMap<String, Vec<usize>>,
}

impl OnnxGraph {
    /// The graph of a model. `constants` are the names of the file's constants.
    ///
    /// # Errors
    /// A message about the defect, to be read after "its ONNX graph".
    pub fn new(model: &proto::Model, graph: &proto::Graph, constants: &HashSet<&str>) -> Result<Self, String> {
        let opset = opset(&model.opset_import)?;
        if graph.node.len() > MOST_NODES {
            return Err(format!("has {} nodes: expects {MOST_NODES} at most", graph.node.len()));
        }
        let nodes = parts::<proto::Node>(&graph.node).map(|n| OnnxNode::new(n?)).collect::<Result<Vec<_>, String>>()?;
        // Before version 4 of the format, constants are among the inputs.
        let mut inputs = Vec::new();
        for input in parts::<proto::ValueInfo>(&graph.input) {
            let input = input?;
            if !constants.contains(input.name.as_str()) {
                inputs.push(input);
            }
        }
        let [input] = &inputs[..] else {
            let names: Vec<_> = inputs.iter().take(8).map(|i| one_line(&i.name)).collect();
            return Err(format!("has {} inputs ({}); networks of one image are read", inputs.len(), names.join(", ")));
        };
        let Some(output) = graph.output.first() else { return Err("has no output".into()) };
        let output = part::<proto::ValueInfo>(output)?.name;
        let nodes = sorted(nodes, &input.name, &output, constants)?;
        let mut readers: HashMap<String, Vec<usize>> = HashMap::new();
        for (index, node) in nodes.iter().enumerate() {
            for name in &node.inputs {
                readers.entry(name.clone()).or_default().push(index);
            }
        }
        Ok(Self { opset, input: input.name.clone(), input_shape: shape(input)?, output, nodes, readers })
    }
}

fn opset(imports: &[Bytes]) -> Result<i64, String> {
    let mut version = None;
    for set in parts::<proto::OperatorSet>(imports) {
        let set = set?;
        if let "" | "ai.onnx" = set.domain.as_str() {
            version = Some(set.version);
        }
    }
    match version {
        Some(version) if version >= OLDEST_OPSET => Ok(version),
        Some(version) => Err(format!("is of operator set {version}: {OLDEST_OPSET} and later are read")),
        None => Err("does not give its version of ONNX's operators".into()),
    }
}

/// Extents of an input without the batch.
fn shape(input: &proto::ValueInfo) -> Result<Vec<Option<usize>>, String> {
    let dims = input.r#type.as_ref().and_then(|t| t.tensor_type.as_ref()?.shape.as_ref()).map_or(&[][..], |s| &s.dim);
    let name = one_line(&input.name);
    if dims.len() > 8 {
        return Err(format!("takes an input {name:?} of {} dimensions", dims.len()));
    }
    let extent = |dim: Result<proto::Dimension, String>| match dim?.dim_value {
        // Some exporters write -1 or 0 for an open extent.
        None | Some(..=0) => Ok(None),
        Some(n) => size(n).map(Some).ok_or_else(|| format!("takes an input {name:?} with an extent of {n}")),
    };
    parts(dims).skip(1).map(extent).collect()
}

/// The nodes that `output` depends on, in order.
fn sorted(nodes: Vec<OnnxNode>, input: &str, output: &str, constants: &HashSet<&str>) -> Result<Vec<OnnxNode>, String> {
    let mut maker: HashMap<&str, usize> = HashMap::new();
    for (index, node) in nodes.iter().enumerate() {
        for name in node.outputs.iter().filter(|name| !name.is_empty()) {
            if maker.insert(name, index).is_some() {
                return Err(format!("is damaged: two nodes make {:?}", one_line(name)));
            }
        }
    }
    let mut order = Vec::new();
    // 1: inputs are being visited, 2: done.
    let mut state = vec![0u8; nodes.len()];
    let mut waiting: Vec<usize> = maker.get(output).copied().into_iter().collect();
    if waiting.is_empty() {
        return Err(format!("has no node that makes its output {:?}", one_line(output)));
    }
    while let Some(&index) = waiting.last() {
        if state[index] != 0 {
            waiting.pop();
            if state[index] == 1 {
                state[index] = 2;
                order.push(index);
            }
            continue;
        }
        state[index] = 1;
        for name in nodes[index].inputs.iter().filter(|name| !name.is_empty()) {
            match maker.get(name.as_str()) {
                Some(&before) if state[before] == 0 => waiting.push(before),
                Some(&before) if state[before] == 1 => return Err(format!("runs in a circle through {:?}", one_line(name))),
                Some(_) => {}
                None if name == input || constants.contains(name.as_str()) => {}
                None => return Err(nodes[index].error(format!("reads {:?}, which nothing makes", one_line(name)))),
            }
        }
    }
    // The depth-first search detects cycles. The file's order, sorted by the standard, reads better.
    let in_order = |indices: &[usize]| {
        let mut made = HashSet::new();
        indices.iter().all(|&index| {
            made.insert(index);
            nodes[index].inputs.iter().all(|name| maker.get(name.as_str()).is_none_or(|before| made.contains(before)))
        })
    };
    let mut by_file = order.clone();
    by_file.sort_unstable();
    if in_order(&by_file) {
        order = by_file;
    }
    let mut nodes: Vec<Option<OnnxNode>> = nodes.into_iter().map(Some).collect();
    Ok(order.into_iter().filter_map(|index| nodes[index].take()).collect())
}
