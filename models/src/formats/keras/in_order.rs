//! Weights without an architecture, as in `save_weights` and the downloads of keras.applications.
//!
//! Names in such a file depend on Keras' version and session (`block1_conv1_W_1`, `res2a_branch2a`, `conv2d_95`). Keras ignores
//! them and fills the layers that have weights in the order of `model.layers`. This module does the same for networks with Keras'
//! layers.

use super::weights::{BIAS, DEPTHWISE, KERNEL, MEAN, POINTWISE, SCALE, SHIFT, VARIANCE};
use crate::formats::{Checkpoint, KERAS_LAYERS, Layout, StoredTensor};
use crate::network::{LayerId, LayerKind, Network, Param, ParamKind};
use std::collections::HashMap;

/// The tensors of `checkpoint`, under the names of `network` and in PyTorch's layout. `None` if the file lists no layers, or if
/// its layers differ from the network's in number or variables. Shapes may differ, as for another width.
pub fn in_order(network: &Network, checkpoint: &Checkpoint) -> Option<Checkpoint> {
    let mut variables: HashMap<&str, usize> = HashMap::new();
    for (layer, _) in checkpoint.tensors().iter().filter_map(|tensor| tensor.name.rsplit_once('.')) {
        *variables.entry(layer).or_default() += 1;
    }
    let stored = checkpoint.metadata().get(KERAS_LAYERS)?.lines().filter(|layer| variables.contains_key(layer));
    let stored: Vec<&str> = stored.collect();
    let params = network.params();
    let mut expected: HashMap<&str, Vec<&Param>> = HashMap::new();
    for param in &params {
        expected.entry(keras_layer(network, param.layer)).or_default().push(param);
    }
    if stored.len() != expected.len() {
        return None;
    }
    let layers = order(network).into_iter().filter_map(|layer| expected.remove(layer));
    let mut tensors = Vec::with_capacity(params.len());
    for (stored, params) in stored.into_iter().zip(layers) {
        if variables[stored] != params.iter().filter(|param| !param.kind.is_fixed()).count() {
            return None;
        }
        let named = |names: &[&str]| names.iter().find_map(|name| checkpoint.get(&format!("{stored}.{name}")));
        for param in params {
            let names = names(network, param);
            let tensor = named(names)?;
            tensors.push(tensor.rearranged(param.name.clone(), layout(network, param, tensor)).ok()?);
        }
    }
    Some(checkpoint.with_tensors(tensors))
}

/// The Keras layer that a layer belongs to.
fn keras_layer(network: &Network, layer: LayerId) -> &str {
    let name = &network[layer].name;
    name.split_once('.').map_or(name, |(layer, _)| layer)
}

/// Layer names in the order of Keras' `model.layers`: by decreasing distance from the output, then by first visit of a walk back
/// from the output.
fn order(network: &Network) -> Vec<&str> {
    let name = |layer: usize| keras_layer(network, LayerId(layer));
    // The list is in topological order, so one backward sweep finds the longest paths.
    let mut depths: HashMap<&str, usize> = HashMap::new();
    for (reader, layer) in network.layers.iter().enumerate().rev() {
        let depth = *depths.entry(name(reader)).or_default();
        for input in layer.inputs.iter().map(|input| name(input.0)).filter(|input| *input != name(reader)) {
            let known = depths.entry(input).or_default();
            *known = (*known).max(depth + 1);
        }
    }
    let mut met = Vec::new();
    let mut seen = vec![false; network.layers.len()];
    let mut waiting = vec![network.output()];
    while let Some(layer) = waiting.pop() {
        if !std::mem::replace(&mut seen[layer.0], true) {
            met.push(name(layer.0));
            waiting.extend(network[layer].inputs.iter().rev());
        }
    }
    met.sort_by_key(|name| std::cmp::Reverse(depths[name]));
    met
}

/// Names of the variable of a parameter; for a fixed parameter, of another variable with its shape.
fn names(network: &Network, param: &Param) -> &'static [&'static str] {
    match (param.kind, &network[param.layer].kind) {
        (ParamKind::Weight, LayerKind::Conv2d(conv)) if conv.groups > 1 => DEPTHWISE,
        (ParamKind::Weight, _) if network[param.layer].name.ends_with(".pointwise") => POINTWISE,
        (ParamKind::Weight, _) => KERNEL,
        (ParamKind::Bias, _) => BIAS,
        (ParamKind::BnWeight, _) => SCALE,
        (ParamKind::BnBias, _) => SHIFT,
        (ParamKind::RunningVar, _) => VARIANCE,
        _ => MEAN,
    }
}

fn layout(network: &Network, param: &Param, stored: &StoredTensor) -> Layout {
    match (param.kind, &network[param.layer].kind, &stored.shape[..]) {
        (ParamKind::FixedScale, ..) => Layout::Filled(1.0),
        (ParamKind::FixedShift, ..) => Layout::Filled(0.0),
        (ParamKind::Weight, LayerKind::Conv2d(conv), [_, _, _, _]) if conv.groups > 1 => Layout::Hwcm,
        // A file may store a dense layer as a 1x1 convolution.
        (ParamKind::Weight, _, [_, _, _, _]) => Layout::Hwio,
        (ParamKind::Weight, _, &[inputs, _]) => {
            let map = flattened(network, param.layer).filter(|map| map.iter().product::<usize>() == inputs);
            Layout::Dense(vec![map.unwrap_or([inputs, 1, 1])])
        }
        _ => Layout::Same,
    }
}

/// The feature map `[channels, height, width]` that a dense layer reads.
fn flattened(network: &Network, dense: LayerId) -> Option<[usize; 3]> {
    let mut layer = *network[dense].inputs.first()?;
    while let LayerKind::Dropout { .. } = network[layer].kind {
        layer = *network[layer].inputs.first()?;
    }
    let LayerKind::Flatten = network[layer].kind else { return None };
    let map = *network[layer].inputs.first()?;
    let shapes = network.shapes(network.input.height, network.input.width).ok()?;
    shapes.get(map.0)?.dims().try_into().ok()
}
