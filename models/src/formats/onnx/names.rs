//! Layer names: those of the modules in the framework that exported the graph.

use super::node::OnnxNode;
use crate::network::{LayerKind, Network, Scope, ScopeKind};
use crate::text::one_line;
use std::collections::{HashMap, HashSet};

/// Maximum nesting of modules.
const DEEPEST: usize = 32;

/// Module and name of a node in its framework.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Origin {
    /// Dotted name of the enclosing module; empty for the model itself.
    module: String,
    /// Name of the node within the module.
    label: String,
}

/// Unique names of layers.
///
/// A node that is alone in its module has the module's name (`layer1.0.conv1`); a node beside others has the module's name and
/// its own label (`layer1.0.add`). The module is the first of these that is available:
/// 1. the module of its weight (`layer1.0.conv1.weight`), as PyTorch and Keras name them;
/// 2. the module that newer PyTorch exporters store with the node;
/// 3. the node's name, a path (`/layer1/layer1.0/relu/Relu`, `model/block1_conv1/Conv2D`).
#[derive(Debug)]
pub(super) struct LayerNames {
    origins: Vec<Origin>,
    /// Modules that contain others.
    containers: HashSet<String>,
    taken: HashSet<String>,
    uses: HashMap<String, usize>,
}

impl LayerNames {
    pub fn new(nodes: &[OnnxNode]) -> Self {
        let mut origins: Vec<Origin> = nodes.iter().map(origin).collect();
        drop_common(&mut origins);
        let mut containers = HashSet::from([String::new()]);
        for origin in &origins {
            let parents = origin.module.match_indices('.').map(|(end, _)| origin.module[..end].to_string());
            containers.extend(parents.take(DEEPEST));
        }
        Self { origins, containers, taken: HashSet::from(["input".to_string()]), uses: HashMap::new() }
    }

    /// The name of a node's layer, or of the first of several.
    pub fn take(&mut self, node: usize) -> String {
        let Origin { module, label } = &self.origins[node];
        let name = match (module.is_empty(), self.containers.contains(module)) {
            (true, _) => label.clone(),
            (_, true) => format!("{module}.{label}"),
            (_, false) => module.clone(),
        };
        let count = self.uses.entry(name.clone()).or_insert(0);
        loop {
            let candidate = if *count == 0 { name.clone() } else { format!("{name}_{count}") };
            *count += 1;
            if self.taken.insert(candidate.clone()) {
                return candidate;
            }
        }
    }
}

fn origin(node: &OnnxNode) -> Origin {
    let label = snake(&node.op);
    if let Some(module) = node.inputs.iter().skip(1).find_map(|input| owner(input)) {
        return Origin { module, label };
    }
    if let Some(path) = node.scopes.as_deref().map(listed).filter(|path| path.len() > 1) {
        let module = path.iter().rev().nth(1).map(|module| dotted([module.as_str()])).unwrap_or_default();
        // `relu_1` is the second in the whole model; here the index counts within its module.
        let own = path.last().map(|own| clean(own.trim_end_matches(|c: char| c.is_ascii_digit()).trim_end_matches('_')));
        return Origin { module, label: own.filter(|own| !own.is_empty()).unwrap_or(label) };
    }
    // TensorFlow's suffix `:0` is the index of an operator's output.
    let name = node.name.trim_end_matches(|c: char| c.is_ascii_digit());
    let name = name.strip_suffix(':').unwrap_or(&node.name);
    let mut parts: Vec<&str> = name.split('/').filter(|part| !part.is_empty()).take(DEEPEST).collect();
    match parts.pop() {
        None => Origin { module: String::new(), label },
        // The last part is the operator: `Relu_1`, `BiasAdd`.
        Some(_) if !parts.is_empty() || name.starts_with('/') => Origin { module: dotted(parts), label },
        Some(own) => Origin { module: String::new(), label: clean(own) },
    }
}

/// The module of a weight with this name.
fn owner(weight: &str) -> Option<String> {
    let (module, own) = weight.rsplit_once('.')?;
    matches!(own, "weight" | "kernel" | "gamma" | "scale").then(|| dotted([module])).filter(|module| !module.is_empty())
}

/// The strings of a list in Python's notation.
fn listed(text: &str) -> Vec<String> {
    let inner = text.trim().trim_start_matches('[').trim_end_matches(']');
    inner.split(',').take(DEEPEST).map(|item| item.trim().trim_matches(['\'', '"']).to_string()).collect()
}

/// A path as a dotted name. A part may repeat the one before it (`layer1/layer1.0`).
fn dotted<'a>(parts: impl IntoIterator<Item = &'a str>) -> String {
    let mut name: Vec<String> = Vec::new();
    for part in parts {
        if let Some(before) = name.last()
            && part.strip_prefix(before.as_str()).is_some_and(|rest| rest.starts_with('.'))
        {
            name.pop();
        }
        name.push(part.to_string());
    }
    let parts = name.iter().flat_map(|part| part.split('.')).map(clean).filter(|part| !part.is_empty());
    parts.take(DEEPEST).collect::<Vec<_>>().join(".")
}

/// A part of a name, without characters that have a meaning in layer selections or file names.
fn clean(part: &str) -> String {
    let safe = |c: char| if c.is_alphanumeric() || "-_".contains(c) { c } else { '_' };
    one_line(part).chars().take(80).map(safe).collect()
}

/// `GlobalAveragePool` as `global_average_pool`.
fn snake(op: &str) -> String {
    let mut name = String::new();
    let mut lower = false;
    for c in clean(op).chars() {
        if c.is_uppercase() && lower {
            name.push('_');
        }
        lower = c.is_lowercase();
        name.extend(c.to_lowercase());
    }
    name
}

/// Removes the common prefix of all modules, such as the name of the model.
fn drop_common(origins: &mut [Origin]) {
    loop {
        let first = origins.first().and_then(|origin| origin.module.split_once('.')).map(|(first, _)| format!("{first}."));
        let Some(first) = first.filter(|first| origins.iter().all(|origin| origin.module.starts_with(first.as_str()))) else {
            return;
        };
        origins.iter_mut().for_each(|origin| origin.module.drain(..first.len()).for_each(drop));
    }
}

/// Scopes from the dots in layer names, for layers that are adjacent.
///
/// A scope that ends in a sum, or in the activation of one, is a residual block; adjacent blocks form a stage; `downsample` and
/// `shortcut` are shortcuts.
pub(super) fn scopes(network: &Network) -> Vec<Scope> {
    // First layer, last layer, number of layers.
    let mut found: Vec<(String, usize, usize, usize)> = Vec::new();
    let mut indices: HashMap<&str, usize> = HashMap::new();
    for (id, layer) in network.ids() {
        for (end, _) in layer.name.match_indices('.').take(DEEPEST) {
            let name = &layer.name[..end];
            let index = *indices.entry(name).or_insert_with(|| {
                found.push((name.to_string(), id.0, id.0, 0));
                found.len() - 1
            });
            found[index].2 = id.0;
            found[index].3 += 1;
        }
    }
    let names: HashSet<&str> = network.layers.iter().map(|layer| layer.name.as_str()).collect();
    found.retain(|(name, first, last, count)| last - first + 1 == *count && !names.contains(name.as_str()));
    // Outer scopes first: by start, then by decreasing length.
    found.sort_by_key(|(_, first, last, _)| (*first, std::cmp::Reverse(*last)));
    let mut scopes: Vec<Scope> = Vec::new();
    for (name, first, last, _) in found {
        let output = crate::network::LayerId(last);
        let own = name.rsplit('.').next().unwrap_or_default();
        let kind = match own {
            "downsample" | "shortcut" => ScopeKind::Shortcut,
            _ if is_sum(network, last) => ScopeKind::Block,
            _ => ScopeKind::Sequence,
        };
        scopes.push(Scope { name, kind, layers: first..last + 1, output });
    }
    // Direct children of each scope: its layers, and whether all are in blocks.
    let mut within: HashMap<String, (usize, bool)> = HashMap::new();
    for scope in &scopes {
        if let Some((parent, _)) = scope.name.rsplit_once('.') {
            let (layers, blocks) = within.entry(parent.to_string()).or_insert((0, true));
            *layers += scope.layers.len();
            *blocks &= scope.kind == ScopeKind::Block;
        }
    }
    for scope in &mut scopes {
        if within.get(&scope.name) == Some(&(scope.layers.len(), true)) {
            scope.kind = ScopeKind::Stage;
        }
    }
    scopes
}

/// Whether a layer is an addition, or the activation of one.
fn is_sum(network: &Network, index: usize) -> bool {
    let layer = &network.layers[index];
    match &layer.kind {
        LayerKind::Add => true,
        kind if kind.is_activation() => layer.inputs.iter().any(|input| network[*input].kind == LayerKind::Add),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(op: &str, name: &str, weight: &str, scopes: Option<&str>) -> OnnxNode {
        let proto = super::super::proto::Node {
            op_type: op.into(),
            name: name.into(),
            input: vec!["x".into(), weight.into()],
            ..Default::default()
        };
        let mut node = OnnxNode::new(proto).unwrap();
        node.scopes = scopes.map(String::from);
        node
    }

    fn names(nodes: &[OnnxNode]) -> Vec<String> {
        let mut names = LayerNames::new(nodes);
        (0..nodes.len()).map(|node| names.take(node)).collect()
    }

    #[test]
    fn as_the_first_exporter_of_pytorch_names_nodes() {
        let nodes = [
            node("Conv", "/conv1/Conv", "conv1.weight", None),
            node("Relu", "/relu/Relu", "", None),
            node("Conv", "/layer1/layer1.0/conv1/Conv", "onnx::Conv_193", None),
            node("Relu", "/layer1/layer1.0/relu/Relu", "", None),
            node("Relu", "/layer1/layer1.0/relu_1/Relu", "", None),
            node("Conv", "/layer1/layer1.0/downsample/downsample.0/Conv", "onnx::Conv_199", None),
            node("Add", "/layer1/layer1.0/Add", "", None),
            node("Flatten", "/Flatten", "", None),
            node("Gemm", "/fc/Gemm", "fc.weight", None),
        ];
        let wanted = ["conv1", "relu", "layer1.0.conv1", "layer1.0.relu", "layer1.0.relu_1", "layer1.0.downsample.0"];
        assert_eq!(names(&nodes), [&wanted[..], &["layer1.0.add", "flatten", "fc"]].concat());
    }

    #[test]
    fn as_the_second_exporter_of_pytorch_notes_modules() {
        let nodes = [
            node("Conv", "node_Conv_7", "conv1.weight", Some("['', 'bn1', '_native_batch_norm_legit_no_training']")),
            node("Relu", "node_relu", "", Some("['', 'layer1', 'layer1.0', 'layer1.0.relu', 'relu']")),
            node("Relu", "node_relu_1", "", Some("['', 'layer1', 'layer1.0', 'layer1.0.relu', 'relu_1']")),
            node("Add", "node_add", "", Some("['', 'layer1', 'layer1.0', 'add_13']")),
            node("Reshape", "node_view", "", Some("['', 'view']")),
        ];
        assert_eq!(names(&nodes), ["conv1", "layer1.0.relu", "layer1.0.relu_1", "layer1.0.add", "view"]);
    }

    #[test]
    fn paths_and_bare_names_and_none() {
        let nodes = [
            node("Conv", "StatefulPartitionedCall/vgg/block1_conv1/Conv2D:0", "", None),
            node("Relu", "StatefulPartitionedCall/vgg/block1_conv1/Relu", "", None),
            node("Conv", "StatefulPartitionedCall/vgg/a b,c:d/Conv2D", "", None),
        ];
        assert_eq!(names(&nodes), ["block1_conv1", "block1_conv1_1", "a_b_c_d"]);
        let nodes = [node("GlobalAveragePool", "", "", None), node("Relu", "input", "", None), node("Relu", "input", "", None)];
        assert_eq!(names(&nodes), ["global_average_pool", "input_1", "input_2"]);
    }
}
