//! The JSON of a model as a list of layers and what each reads.

use super::fields::Spec;
use serde_json::{Map, Value};
use std::collections::HashMap;

/// Networks have hundreds of layers; what claims more is damage.
const MOST_LAYERS: usize = 10_000;

/// The layers that lead from the one input to the one output, each after those that it reads.
#[derive(Debug)]
pub(super) struct Graph {
    /// Name of the model, of letters that a file may be called by.
    pub name: String,
    /// The first is an `InputLayer`, the last the output.
    pub layers: Vec<Spec>,
}

impl Graph {
    /// # Errors
    /// What is wrong with the description, to be read after "its Keras architecture".
    pub fn parse(text: &str) -> Result<Self, String> {
        let json: Value = serde_json::from_str(text).map_err(|e| format!("is no JSON: {e}"))?;
        let config = json.get("config").unwrap_or(&Value::Null);
        // Keras 1 and early 2 wrote a Sequential model's layers where its settings are now.
        let list = config.get("layers").unwrap_or(config);
        let list = list.as_array().ok_or("has no list of layers")?;
        if list.is_empty() || list.len() > MOST_LAYERS {
            return Err(format!("has {} layers: wants 1 to {MOST_LAYERS}", list.len()));
        }
        let name = config.get("name").and_then(Value::as_str).unwrap_or("keras_model");
        let safe = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '_' };
        let name = crate::text::one_line(name).chars().map(safe).collect();
        let layers = match json.get("class_name").and_then(Value::as_str) {
            Some("Sequential") => sequential(config, list)?,
            Some("Functional" | "Model") => functional(config, list)?,
            other => {
                let kind = crate::text::one_line(other.unwrap_or("unknown"));
                return Err(format!("is of the kind {kind:?}: Sequential and Functional models are read"));
            }
        };
        Ok(Self { name, layers })
    }
}

/// One element of the list of layers, without what it reads.
fn spec(index: usize, json: &Value) -> Result<Spec, String> {
    let class = json.get("class_name").and_then(Value::as_str);
    let config = json.get("config").and_then(Value::as_object);
    let (Some(class), Some(config)) = (class, config) else {
        return Err(format!("is damaged: layer {index} has no class_name or config"));
    };
    let name = json.get("name").or(config.get("name")).and_then(Value::as_str);
    let name = name.filter(|name| !name.is_empty()).ok_or_else(|| format!("is damaged: layer {index} has no name"))?;
    Ok(Spec {
        class: crate::text::one_line(class),
        name: crate::text::one_line(name),
        inputs: Vec::new(),
        config: config.clone(),
    })
}

fn sequential(config: &Value, list: &[Value]) -> Result<Vec<Spec>, String> {
    let mut layers = list.iter().enumerate().map(|(i, json)| spec(i, json)).collect::<Result<Vec<_>, _>>()?;
    if layers[0].class != "InputLayer" {
        // Without a layer of its own, the input's shape stands in the first layer.
        let mut settings: Map<String, Value> = layers[0].config.clone();
        // Keras 3 keeps the shape that the model was first called with.
        settings.extend(config.get("build_input_shape").map(|shape| ("build_input_shape".to_string(), shape.clone())));
        let input = Spec { class: "InputLayer".into(), name: "input".into(), inputs: Vec::new(), config: settings };
        layers.insert(0, input);
    }
    for (i, layer) in layers.iter_mut().enumerate().skip(1) {
        layer.inputs = vec![i - 1];
    }
    Ok(layers)
}

fn functional(config: &Value, list: &[Value]) -> Result<Vec<Spec>, String> {
    let mut layers = list.iter().enumerate().map(|(i, json)| spec(i, json)).collect::<Result<Vec<_>, _>>()?;
    let mut places = HashMap::new();
    for (i, layer) in layers.iter().enumerate() {
        if places.insert(layer.name.clone(), i).is_some() {
            return Err(format!("is damaged: two layers are called {:?}", layer.name));
        }
    }
    let place = |name: &str| {
        let name = crate::text::one_line(name);
        places.get(&name).copied().ok_or_else(|| format!("is damaged: it has no layer {name:?}, which is read"))
    };
    for (i, json) in list.iter().enumerate() {
        let nodes = json.get("inbound_nodes").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        if nodes.len() > 1 {
            return Err(format!("uses layer {:?} {} times; only once is read", layers[i].name, nodes.len()));
        }
        let mut names = Vec::new();
        nodes.iter().for_each(|node| read_names(node, &mut names));
        layers[i].inputs = names.into_iter().map(place).collect::<Result<_, _>>()?;
    }
    let end = |key: &str| {
        let mut names = Vec::new();
        read_names(config.get(key).unwrap_or(&Value::Null), &mut names);
        match names[..] {
            [name] => place(name),
            _ => Err(format!("has {} in its {key}; one is read", names.len())),
        }
    };
    let (input, output) = (end("input_layers")?, end("output_layers")?);
    sorted(layers, input, output)
}

/// The names of the layers in a node: `["name", 0, 0, {}]` of Keras 2 (lists of them, nested), or `keras_history` of Keras 3.
fn read_names<'a>(node: &'a Value, names: &mut Vec<&'a str>) {
    match node {
        Value::Array(items) => match items.as_slice() {
            [Value::String(name), Value::Number(_), ..] => names.push(name),
            items => items.iter().for_each(|item| read_names(item, names)),
        },
        Value::Object(fields) => match fields.get("keras_history") {
            Some(history) => read_names(history, names),
            None => fields.values().for_each(|field| read_names(field, names)),
        },
        _ => {}
    }
}

/// What `output` needs, in the file's order as far as each layer comes after those that it reads.
fn sorted(layers: Vec<Spec>, input: usize, output: usize) -> Result<Vec<Spec>, String> {
    let mut needed = vec![false; layers.len()];
    let mut waiting = vec![output];
    while let Some(i) = waiting.pop() {
        if !std::mem::replace(&mut needed[i], true) {
            waiting.extend(&layers[i].inputs);
        }
    }
    if !needed[input] {
        return Err(format!("does not lead from {:?} to {:?}", layers[input].name, layers[output].name));
    }
    let mut order = vec![input];
    let mut done = vec![None; layers.len()];
    done[input] = Some(0);
    loop {
        let before = order.len();
        for (i, layer) in layers.iter().enumerate().filter(|(i, _)| needed[*i]) {
            let ready = !layer.inputs.is_empty() && layer.inputs.iter().all(|&read| done[read].is_some());
            if done[i].is_none() && ready {
                done[i] = Some(order.len());
                order.push(i);
            }
        }
        if order.len() == before {
            break;
        }
    }
    if let Some(i) = (0..layers.len()).find(|&i| needed[i] && done[i].is_none()) {
        return Err(format!("has layer {:?}, which its input does not lead to", layers[i].name));
    }
    let moved = |i: usize| {
        let mut layer = layers[i].clone();
        layer.inputs = layer.inputs.iter().filter_map(|&read| done[read]).collect();
        layer
    };
    Ok(order.into_iter().map(moved).collect())
}
