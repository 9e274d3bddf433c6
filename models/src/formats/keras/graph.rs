//! The JSON of a model as a list of layers, each with the layers it reads.

use super::fields::KerasSpec;
use super::legacy;
use crate::formats::import::plain_name;
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::rc::Rc;

/// Maximum layers. Networks have hundreds; a file that claims more is damaged.
pub(super) const MOST_LAYERS: usize = 10_000;
/// Maximum nesting of models.
const DEEPEST: usize = 16;

/// The layer calls on the path from the one input to the one output, in topological order.
#[derive(Debug)]
pub(super) struct KerasGraph {
    /// Name of the model, in characters that are valid in file names.
    pub name: String,
    /// Calls; the first is an `InputLayer`.
    pub calls: Vec<LayerCall>,
    /// Index of the output's call.
    pub output: usize,
}

/// One call of a layer.
#[derive(Debug, Clone)]
pub(super) struct LayerCall {
    /// The layer. Several calls may share it.
    pub spec: Rc<KerasSpec>,
    /// Indices of the calls that it reads.
    pub inputs: Vec<usize>,
}

/// Location of a model's weights in a file.
#[derive(Debug, Clone, Default)]
struct Home {
    /// Path of the model in a `.weights.h5`, ending in a dot; empty for the outermost model.
    path: String,
    /// Enclosing layer of the outermost model.
    group: Option<String>,
    depth: usize,
}

impl KerasGraph {
    /// # Errors
    /// A message about the defect, to be read after "its Keras architecture".
    pub fn parse(text: &str) -> Result<Self, String> {
        let json: Value = serde_json::from_str(text).map_err(|e| format!("is no JSON: {e}"))?;
        Self::model(&json, &Home::default())
    }

    /// Whether channels come first, by the first layer that works on feature maps. `Flatten` permutes by its own setting.
    pub fn channels_first(&self) -> Option<bool> {
        self.calls.iter().find_map(|call| match &call.spec.model {
            Some(model) => model.channels_first(),
            None if call.spec.class == "Flatten" => None,
            None => call.spec.get("data_format").map(|format| format == "channels_first"),
        })
    }

    fn model(json: &Value, home: &Home) -> Result<Self, String> {
        if home.depth > DEEPEST {
            return Err(format!("has models within models, more than {DEEPEST} deep"));
        }
        let config = json.get("config").unwrap_or(&Value::Null);
        // Keras 1 and early 2 store a Sequential model's layers in place of its settings.
        let list = config.get("layers").unwrap_or(config);
        let list = list.as_array().ok_or("has no list of layers")?;
        if list.is_empty() || list.len() > MOST_LAYERS {
            return Err(format!("has {} layers: expects 1 to {MOST_LAYERS}", list.len()));
        }
        let name = config.get("name").and_then(Value::as_str).unwrap_or("keras_model");
        let name = plain_name(&crate::text::one_line(name));
        let mut used = HashMap::new();
        let layers = list.iter().enumerate().map(|(i, json)| spec(i, json, home, &mut used)).collect::<Result<Vec<_>, _>>()?;
        let (calls, output) = match json.get("class_name").and_then(Value::as_str) {
            Some("Sequential") => sequential(config, layers),
            Some("Functional" | "Model") => functional(config, list, layers)?,
            other => {
                let kind = crate::text::one_line(other.unwrap_or("unknown"));
                return Err(format!("is of the kind {kind:?}: Sequential and Functional models are read"));
            }
        };
        Ok(Self { name, calls, output })
    }
}

/// One entry of the layer list. `used` counts the layers of each class so far.
fn spec(index: usize, json: &Value, home: &Home, used: &mut HashMap<String, usize>) -> Result<KerasSpec, String> {
    let class = json.get("class_name").and_then(Value::as_str);
    let config = json.get("config");
    let (Some(class), Some(config)) = (class, config) else {
        return Err(format!("is damaged: layer {index} has no class_name or config"));
    };
    let name = json.get("name").or(config.get("name")).and_then(Value::as_str);
    let name = name.filter(|name| !name.is_empty()).ok_or_else(|| format!("is damaged: layer {index} has no name"))?;
    let (class, name) = (crate::text::one_line(class), crate::text::one_line(name));
    let snake = snake_case(&class);
    let count = used.entry(snake.clone()).and_modify(|count| *count += 1).or_insert(0);
    let path = match *count {
        0 => format!("{}layers.{snake}", home.path),
        count => format!("{}layers.{snake}_{count}", home.path),
    };
    let model = match class.as_str() {
        "Sequential" | "Functional" | "Model" => {
            let group = home.group.clone().or_else(|| Some(name.clone()));
            Some(KerasGraph::model(json, &Home { path: format!("{path}."), group, depth: home.depth + 1 })?)
        }
        _ => None,
    };
    let settings = config.as_object().cloned().unwrap_or_default();
    let (class, config) = legacy::modern(&class, settings);
    Ok(KerasSpec { class, name, config, path, group: home.group.clone(), model })
}

/// `max_pooling2d` of `MaxPooling2D`: Keras 3's name for a class in weights files.
fn snake_case(class: &str) -> String {
    let letters: Vec<char> = class.chars().filter(|c| c.is_alphanumeric() || *c == '_').collect();
    let mut snake = String::new();
    for (i, c) in letters.iter().enumerate() {
        let before = i.checked_sub(1).map(|i| letters[i]);
        let begins = letters.get(i + 1).is_some_and(char::is_ascii_lowercase) || before.is_some_and(|b| b.is_ascii_lowercase());
        if c.is_ascii_uppercase() && before.is_some() && begins {
            snake.push('_');
        }
        snake.extend(c.to_lowercase());
    }
    snake
}

fn sequential(config: &Value, mut layers: Vec<KerasSpec>) -> (Vec<LayerCall>, usize) {
    if layers[0].class != "InputLayer" {
        // Without an input layer, the first layer holds the input's shape.
        let mut settings: Map<String, Value> = layers[0].config.clone();
        // Keras 3 stores the shape of the first call.
        settings.extend(config.get("build_input_shape").map(|shape| ("build_input_shape".to_string(), shape.clone())));
        layers.insert(0, KerasSpec::input(settings));
    }
    let calls: Vec<LayerCall> = layers
        .into_iter()
        .enumerate()
        .map(|(i, spec)| LayerCall { spec: Rc::new(spec), inputs: i.checked_sub(1).into_iter().collect() })
        .collect();
    let output = calls.len() - 1;
    (calls, output)
}

fn functional(config: &Value, list: &[Value], layers: Vec<KerasSpec>) -> Result<(Vec<LayerCall>, usize), String> {
    let nodes_of = |json: &'_ Value| json.get("inbound_nodes").and_then(Value::as_array).cloned().unwrap_or_default();
    // The first call of each layer in the list of calls, and its number of calls. An input has one call.
    let (mut ranges, mut total) = (HashMap::new(), 0usize);
    for (layer, json) in layers.iter().zip(list) {
        let count = nodes_of(json).len().max(1);
        if ranges.insert(layer.name.clone(), (total, count)).is_some() {
            return Err(format!("is damaged: two layers are called {:?}", layer.name));
        }
        total = total.saturating_add(count);
        if total > MOST_LAYERS {
            return Err(format!("has more than {MOST_LAYERS} layers"));
        }
    }
    let index_of = |read: &Read| -> Result<usize, String> {
        let name = crate::text::one_line(read.name);
        let (first, count) = ranges.get(&name).ok_or_else(|| format!("is damaged: it has no layer {name:?}, which is read"))?;
        if read.output > 0 {
            return Err(format!("reads output {} of layer {name:?}; layers with one output are read", read.output));
        }
        // Keras 2 counts the construction of a nested model as a call.
        let call = if *count == 1 { 0 } else { read.call };
        match call < *count {
            true => Ok(first + call),
            false => Err(format!("is damaged: layer {name:?} is called {count} times, and call {call} is read")),
        }
    };
    let mut calls = Vec::with_capacity(total);
    for (spec, json) in layers.into_iter().zip(list) {
        let spec = Rc::new(spec);
        let nodes = nodes_of(json);
        if nodes.is_empty() {
            calls.push(LayerCall { spec: Rc::clone(&spec), inputs: Vec::new() });
        }
        for node in &nodes {
            let mut reads = Vec::new();
            find_reads(node, &mut reads);
            calls.push(LayerCall { spec: Rc::clone(&spec), inputs: reads.iter().map(index_of).collect::<Result<_, _>>()? });
        }
    }
    let end = |key: &str| {
        let mut reads = Vec::new();
        find_reads(config.get(key).unwrap_or(&Value::Null), &mut reads);
        match &reads[..] {
            [read] => index_of(read),
            _ => Err(format!("has {} in its {key}; networks here have one", reads.len())),
        }
    };
    let (input, output) = (end("input_layers")?, end("output_layers")?);
    sorted(&calls, input, output)
}

/// A layer output that a node reads.
struct Read<'a> {
    name: &'a str,
    /// Index of the call.
    call: usize,
    /// Index of the output.
    output: usize,
}

/// The inputs of a node: `["name", 0, 0, {}]` in Keras 2 (nested lists of them), or `keras_history` in Keras 3.
fn find_reads<'a>(node: &'a Value, reads: &mut Vec<Read<'a>>) {
    match node {
        Value::Array(items) => match items.as_slice() {
            [Value::String(name), Value::Number(call), rest @ ..] => {
                let index = |n: Option<u64>| n.and_then(|n| usize::try_from(n).ok()).unwrap_or(usize::MAX);
                let output = rest.first().map_or(0, |output| index(output.as_u64()));
                reads.push(Read { name, call: index(call.as_u64()), output });
            }
            items => items.iter().for_each(|item| find_reads(item, reads)),
        },
        Value::Object(fields) => match fields.get("keras_history") {
            Some(history) => find_reads(history, reads),
            None => fields.values().for_each(|field| find_reads(field, reads)),
        },
        _ => {}
    }
}

/// The calls that `output` depends on, in topological order, otherwise in file order.
fn sorted(calls: &[LayerCall], input: usize, output: usize) -> Result<(Vec<LayerCall>, usize), String> {
    let name = |i: usize| &calls[i].spec.name;
    let mut needed = vec![false; calls.len()];
    let mut waiting = vec![output];
    while let Some(i) = waiting.pop() {
        if !std::mem::replace(&mut needed[i], true) {
            waiting.extend(&calls[i].inputs);
        }
    }
    if !needed[input] {
        return Err(format!("does not lead from {:?} to {:?}", name(input), name(output)));
    }
    let mut order = vec![input];
    let mut done = vec![None; calls.len()];
    done[input] = Some(0);
    loop {
        let before = order.len();
        for (i, call) in calls.iter().enumerate().filter(|(i, _)| needed[*i]) {
            let ready = !call.inputs.is_empty() && call.inputs.iter().all(|&read| done[read].is_some());
            if done[i].is_none() && ready {
                done[i] = Some(order.len());
                order.push(i);
            }
        }
        if order.len() == before {
            break;
        }
    }
    if let Some(i) = (0..calls.len()).find(|&i| needed[i] && done[i].is_none()) {
        return Err(format!("has layer {:?}, which its input does not lead to", name(i)));
    }
    let moved = |i: usize| LayerCall {
        spec: Rc::clone(&calls[i].spec),
        inputs: calls[i].inputs.iter().filter_map(|&read| done[read]).collect(),
    };
    Ok((order.into_iter().map(moved).collect(), done[output].unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::snake_case;

    #[test]
    fn names_of_classes_in_weights_files() {
        let names = [
            ("Conv2D", "conv2d"),
            ("MaxPooling2D", "max_pooling2d"),
            ("DepthwiseConv2D", "depthwise_conv2d"),
            ("BatchNormalization", "batch_normalization"),
            ("PReLU", "p_re_lu"),
            ("Functional", "functional"),
        ];
        names.iter().for_each(|(class, snake)| assert_eq!(snake_case(class), *snake));
    }
}
