//! The walk over the graph.

use super::fields::{Spec, image_shape};
use super::graph::{Call, Graph, MOST_LAYERS};
use super::reason;
use super::weights::{From, Variable, Weight};
use crate::formats::Layout;
use crate::image::{ChannelOrder, Normalization, Resize};
use crate::network::{Builder, Classes, Head, LayerId, LayerKind, Network, Preprocess, ScopeKind};
use std::collections::HashMap;
use std::rc::Rc;

/// Side of the input where a file leaves it open: that of the networks for ImageNet.
const SIDE: usize = 224;

/// A model that was understood, at least its beginning.
#[derive(Debug)]
pub(super) struct Plan {
    pub network: Network,
    pub weights: Vec<Weight>,
    pub assumed_preprocess: Option<&'static str>,
    /// The first layer that was not.
    pub unknown: Option<String>,
}

/// What a Keras layer puts out.
#[derive(Debug, Clone)]
pub(super) struct Value {
    /// The layer here that computes it.
    pub id: LayerId,
    /// The maps `[channels, height, width]` that a vector was flattened from, which in the file lie pixel by pixel; empty for a map.
    pub maps: Vec<[usize; 3]>,
}

impl Value {
    /// A map.
    pub fn map(id: LayerId) -> Self {
        Self { id, maps: Vec::new() }
    }

    /// A vector of features that were never a map.
    pub fn vector(id: LayerId, features: usize) -> Self {
        Self { id, maps: vec![[features, 1, 1]] }
    }
}

/// The layer that is being translated, and where it stands.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Place {
    /// Whether nothing but the input comes before it, and nothing after it reads that.
    pub leads: bool,
    /// Whether its output is the model's.
    pub ends: bool,
}

/// What has been built so far.
pub(super) struct Translator {
    pub net: Builder,
    pub weights: Vec<Weight>,
    /// What the last layer's activation says.
    pub head: Option<Head>,
    /// What a leading `Rescaling` says.
    pub normalization: Option<Normalization>,
    /// Where the layer at hand stands.
    pub place: Place,
    /// Whether the file is of Keras 3.
    pub keras_3: bool,
    /// Whether maps have their channels first in the file, as they have here.
    pub channels_first: bool,
    /// The first layer that cannot be translated, and why.
    unknown: Option<String>,
    /// Calls so far: models that are called several times within each other soon are many.
    calls: usize,
}

impl Translator {
    /// Notes which variable of a layer fills a parameter: one of these names, and the `index`-th of the layer.
    pub fn weight(
        &mut self,
        call: &Call,
        layer: LayerId,
        param: &'static str,
        (names, index): (&'static [&'static str], usize),
        layout: Layout,
    ) {
        self.weights.push(Weight { layer, param, from: From::Variable(call.clone(), Variable { names, index }, layout) });
    }

    /// Adds layers, each reading the one before: a single one under the Keras layer's name, several in a scope of that name.
    /// Returns their places.
    pub fn chain(&mut self, spec: &Spec, x: LayerId, kinds: Vec<(&str, LayerKind)>) -> Vec<LayerId> {
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

    /// The model's output for `input`; `None` if that depends on a layer that is not known.
    fn walk(&mut self, graph: &Graph, input: Value, place: Place) -> Result<Option<Value>, String> {
        let mut values = vec![Some(input)];
        for (index, call) in graph.calls.iter().enumerate().skip(1) {
            self.calls += 1;
            if self.calls > MOST_LAYERS {
                return Err(format!("has more than {MOST_LAYERS} layers"));
            }
            let inputs: Option<Vec<&Value>> = call.inputs.iter().map(|&read| values[read].as_ref()).collect();
            let Some(inputs) = inputs else {
                values.push(None);
                continue;
            };
            let (before, after) = graph.calls.split_at(index + 1);
            let chained = before.iter().enumerate().skip(1).all(|(i, call)| call.inputs == [i - 1]);
            let apart = after.iter().all(|call| call.inputs.iter().all(|&read| read >= index));
            let place = Place { leads: place.leads && chained && apart, ends: place.ends && index == graph.output };
            let value = match (&call.spec.model, &inputs[..]) {
                (Some(model), [x]) => {
                    let scope = self.net.open(ScopeKind::Sequence, &call.spec.name, x.id);
                    let value = self.walk(model, (*x).clone(), place)?;
                    let output = value.as_ref().map_or(x.id, |value| value.id);
                    self.net.close(scope, output);
                    value
                }
                _ => {
                    self.place = place;
                    let value = self.layer(call, &inputs);
                    let at = format!("it is layer {index} of {} after the input", graph.calls.len() - 1);
                    value.map_err(|reason| self.unknown.get_or_insert(format!("{reason}; {at}")).clone()).ok()
                }
            };
            self.net.check().map_err(reason)?;
            values.push(value);
        }
        Ok(values.swap_remove(graph.output))
    }
}

/// Has layers that the same variables fill in the same order use one set of parameters: Keras counts and trains it once. Returns what
/// fills those that are left.
///
/// A dense layer that is called on flattened maps of unlike shapes finds its inputs in unlike orders here, and keeps two.
fn share(net: &mut Builder, weights: Vec<Weight>) -> Vec<Weight> {
    let mut kept: Vec<Weight> = Vec::with_capacity(weights.len());
    // Where the weights begin of the layers that a layer of Keras was so far.
    let mut owners: HashMap<*const Spec, Vec<usize>> = HashMap::new();
    let mut weights = weights.into_iter().peekable();
    while let Some(layer) = weights.peek().map(|weight| weight.layer) {
        let own: Vec<Weight> = std::iter::from_fn(|| weights.next_if(|weight| weight.layer == layer)).collect();
        let Some(spec) = own.iter().find_map(|weight| weight.from.spec()) else {
            kept.extend(own);
            continue;
        };
        let known = owners.entry(spec).or_default();
        let same = |start: usize| kept[start..].iter().zip(&own).filter(|(a, b)| a.fills_as(b)).count() == own.len();
        if !known.iter().any(|&start| same(start) && net.share(layer, kept[start].layer)) {
            known.push(kept.len());
            kept.extend(own);
        }
    }
    kept
}

/// The network of a graph, up to the layers that are not known.
pub(super) fn translate(graph: &Graph) -> Result<Plan, String> {
    let input = Rc::clone(&graph.calls[0].spec);
    let shape = ["batch_input_shape", "batch_shape", "build_input_shape"].iter().find_map(|key| input.get(key));
    let shape = shape.ok_or_else(|| input.error("does not tell the shape of the input"))?;
    let channels_first = graph.channels_first().unwrap_or(false);
    let (sides, channels) = image_shape(shape, channels_first).ok_or_else(|| {
        let shape = crate::text::one_line(shape);
        let wanted = if channels_first { "channels, height, width" } else { "height, width, channels" };
        input.error(format!("takes the shape {shape}; images of [batch, {wanted}] are read"))
    })?;
    let [height, width] = sides.map(|side| side.unwrap_or(SIDE));
    let net = Builder::new(&graph.name, [channels, height, width]);
    net.check().map_err(reason)?;
    let mut translator = Translator {
        net,
        weights: Vec::new(),
        head: None,
        normalization: None,
        place: Place::default(),
        keras_3: input.get("batch_shape").is_some(),
        channels_first,
        unknown: None,
        calls: 0,
    };
    let output = translator.walk(graph, Value::map(LayerId::INPUT), Place { leads: true, ends: true })?;
    let Translator { mut net, weights, head, normalization, unknown, .. } = translator;
    let weights = share(&mut net, weights);
    let (classes, head) = match output.map(|value| (value.id, net.spatial(value.id))) {
        None => {
            let unknown = unknown.clone().unwrap_or_default();
            if net.is_empty() {
                return Err(unknown);
            }
            (Classes::None(unknown), Head::Softmax)
        }
        Some((_, Some([h, w]))) => {
            (Classes::None(format!("its output is a map of {h}x{w}, not one vector of classes")), Head::Softmax)
        }
        Some((output, None)) => {
            let classes = net.channels(output);
            if classes == 1 {
                net.layer("two_sided", LayerKind::TwoSided, &[output]);
                (Classes::Count(2), Head::Sigmoid)
            } else {
                (Classes::Count(classes), head.unwrap_or(Head::Softmax))
            }
        }
    };
    let order = if channels == 1 { ChannelOrder::Grey } else { ChannelOrder::Rgb };
    let assumed_preprocess = normalization.is_none().then_some("pixels from 0 to 1 are assumed");
    let normalization = Normalization { order, ..normalization.unwrap_or(Normalization::UNIT) };
    let resize = Resize::Exact { h: height, w: width };
    let preprocess = Preprocess { resize, crop: None, normalization, ..Preprocess::IMAGENET };
    let mut network = net.finish(classes, head, preprocess).map_err(reason)?;
    if network.find(&input.name).is_none() {
        network.layers[0].name = input.name.clone();
    }
    Ok(Plan { network, weights, assumed_preprocess, unknown })
}
