//! The walk over the graph, and layers that share variables.

use super::fields::{KerasSpec, image_shape};
use super::graph::{KerasGraph, LayerCall, MOST_LAYERS};
use super::weights::{Stored, Variable};
use crate::formats::Layout;
use crate::formats::import::{GraphOutput, Import, Imported, Values, Weight};
use crate::network::{Builder, LayerId, LayerKind, ScopeKind};
use std::collections::HashMap;
use std::rc::Rc;

/// The output of a Keras layer.
#[derive(Debug, Clone)]
pub(super) struct KerasValue {
    /// The layer of the network that computes it.
    pub id: LayerId,
    /// The feature maps `[channels, height, width]` behind a flattened vector, which the file orders pixel by pixel; empty for a
    /// map.
    pub maps: Vec<[usize; 3]>,
}

impl KerasValue {
    /// A feature map.
    pub fn map(id: LayerId) -> Self {
        Self { id, maps: Vec::new() }
    }

    /// A vector that is not a flattened map.
    pub fn vector(id: LayerId, features: usize) -> Self {
        Self { id, maps: vec![[features, 1, 1]] }
    }
}

/// The layer under translation, and its position.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Position {
    /// Whether it is the first layer, and the only reader of the input.
    pub leads: bool,
    /// Whether its output is the model's output.
    pub ends: bool,
}

/// The importer of Keras models.
pub(super) type KerasTranslator = Import<KerasState, Stored>;

/// State of the walk over a Keras model.
#[derive(Debug, Default)]
pub(super) struct KerasState {
    /// Position of the current layer.
    pub position: Position,
    /// Whether the file is of Keras 3.
    pub keras_3: bool,
    /// Whether feature maps have their channels first in the file, as in the network.
    pub channels_first: bool,
    /// Calls so far. Nested calls grow exponentially, so they are bounded.
    calls: usize,
}

impl KerasTranslator {
    /// Records the variable of a parameter: its possible names, and its index in the layer.
    pub fn weight(
        &mut self,
        call: &LayerCall,
        layer: LayerId,
        param: &'static str,
        (names, index): (&'static [&'static str], usize),
        layout: Layout,
    ) {
        let stored = Stored { call: call.clone(), variable: Variable { names, index }, layout };
        self.fill(layer, param, Values::Stored(stored));
    }

    /// Adds layers in sequence: a single one under the Keras layer's name, several in a scope of that name. Returns their ids.
    pub fn chain(&mut self, spec: &KerasSpec, x: LayerId, kinds: Vec<(&str, LayerKind)>) -> Vec<LayerId> {
        if let [(_, kind)] = &kinds[..] {
            return vec![self.net.layer(&spec.name, kind.clone(), &[x])];
        }
        let mut ids = Vec::new();
        self.net.scope(ScopeKind::Sequence, &spec.name, x, |net, mut x| {
            for (name, kind) in kinds {
                x = net.layer(name, kind, &[x]);
                ids.push(x);
            }
            x
        });
        ids
    }

    /// The model's output for `input`; `None` if it depends on an unknown layer.
    fn walk(&mut self, graph: &KerasGraph, input: KerasValue, position: Position) -> Result<Option<KerasValue>, String> {
        let mut values = vec![Some(input)];
        for (index, call) in graph.calls.iter().enumerate().skip(1) {
            self.state.calls += 1;
            if self.state.calls > MOST_LAYERS {
                return Err(format!("has more than {MOST_LAYERS} layers"));
            }
            let inputs: Option<Vec<&KerasValue>> = call.inputs.iter().map(|&read| values[read].as_ref()).collect();
            let Some(inputs) = inputs else {
                values.push(None);
                continue;
            };
            let (before, after) = graph.calls.split_at(index + 1);
            let chained = before.iter().enumerate().skip(1).all(|(i, call)| call.inputs == [i - 1]);
            let separate = after.iter().all(|call| call.inputs.iter().all(|&read| read >= index));
            let position =
                Position { leads: position.leads && chained && separate, ends: position.ends && index == graph.output };
            let value = match (&call.spec.model, &inputs[..]) {
                (Some(model), [x]) => {
                    let scope = self.net.open(ScopeKind::Sequence, &call.spec.name, x.id);
                    let value = self.walk(model, (*x).clone(), position)?;
                    let output = value.as_ref().map_or(x.id, |value| value.id);
                    self.net.close(scope, output);
                    value
                }
                _ => {
                    self.state.position = position;
                    let value = self.layer(call, &inputs);
                    let count = graph.calls.len() - 1;
                    value
                        .map_err(|reason| self.stop(&reason, format_args!("it is layer {index} of {count} after the input")))
                        .ok()
                }
            };
            self.check()?;
            values.push(value);
        }
        Ok(values.swap_remove(graph.output))
    }
}

/// Lets layers with the same variables in the same order share one set of parameters; Keras counts and trains them once. Returns
/// the weights of the remaining layers.
///
/// A dense layer on flattened maps of different shapes has inputs in different orders here, and keeps two sets.
fn share(net: &mut Builder, weights: Vec<Weight<Stored>>) -> Vec<Weight<Stored>> {
    let mut kept: Vec<Weight<Stored>> = Vec::with_capacity(weights.len());
    // First index of each Keras layer's weights.
    let mut owners: HashMap<*const KerasSpec, Vec<usize>> = HashMap::new();
    let mut weights = weights.into_iter().peekable();
    while let Some(layer) = weights.peek().map(|weight| weight.layer) {
        let own: Vec<Weight<Stored>> = std::iter::from_fn(|| weights.next_if(|weight| weight.layer == layer)).collect();
        let spec = |weight: &Weight<Stored>| match &weight.values {
            Values::Stored(stored) => Some(Rc::as_ptr(&stored.call.spec)),
            Values::Given(_) => None,
        };
        let Some(spec) = own.iter().find_map(spec) else {
            kept.extend(own);
            continue;
        };
        let known = owners.entry(spec).or_default();
        let same = |start: usize| {
            kept[start..].iter().zip(&own).filter(|(a, b)| a.param == b.param && a.values == b.values).count() == own.len()
        };
        if !known.iter().any(|&start| same(start) && net.share(layer, kept[start].layer)) {
            known.push(kept.len());
            kept.extend(own);
        }
    }
    kept
}

/// The network of a graph, up to the first unknown layer.
pub(super) fn translate(graph: &KerasGraph) -> Result<Imported<Stored>, String> {
    let input = Rc::clone(&graph.calls[0].spec);
    let shape = ["batch_input_shape", "batch_shape", "build_input_shape"].iter().find_map(|key| input.get(key));
    let shape = shape.ok_or_else(|| input.error("does not give the shape of the input"))?;
    let channels_first = graph.channels_first().unwrap_or(false);
    let (sides, channels) = image_shape(shape, channels_first).ok_or_else(|| {
        let shape = crate::text::one_line(shape);
        let wanted = if channels_first { "channels, height, width" } else { "height, width, channels" };
        input.error(format!("takes the shape {shape}; images of [batch, {wanted}] are read"))
    })?;
    let state = KerasState { keras_3: input.get("batch_shape").is_some(), channels_first, ..KerasState::default() };
    let mut translator = KerasTranslator::new(&graph.name, channels, sides, state)?;
    let output = translator.walk(graph, KerasValue::map(LayerId::INPUT), Position { leads: true, ends: true })?;
    translator.weights = share(&mut translator.net, std::mem::take(&mut translator.weights));
    let output = match output.map(|value| (value.id, translator.net.spatial(value.id))) {
        None => GraphOutput::Unknown,
        Some((_, Some([h, w]))) => GraphOutput::Map(format!("{h}x{w}")),
        Some((id, None)) => GraphOutput::Vector(id),
    };
    let mut imported = translator.finish(output, false)?;
    if imported.network.find(&input.name).is_none() {
        imported.network.layers[0].name = input.name.clone();
    }
    Ok(imported)
}
