//! Layers with several inputs.

use super::fields::KerasSpec;
use super::translate::{KerasTranslator, KerasValue};
use crate::formats::import::joined;
use crate::network::{LayerId, LayerKind, ScopeKind};
use convscope_engine::Unary;

impl KerasTranslator {
    /// `Add`, `Subtract`, `Multiply`, `Average` and `Concatenate`.
    pub fn merge(&mut self, spec: &KerasSpec, inputs: &[&KerasValue]) -> Result<KerasValue, String> {
        let [first, ..] = inputs else { return Err(spec.error("reads no layer")) };
        let ids: Vec<LayerId> = inputs.iter().map(|x| x.id).collect();
        if spec.class == "Concatenate" {
            self.channel_axis(spec, first.id)?;
            let id = self.net.layer(&spec.name, LayerKind::Concat, &ids);
            let maps = joined(inputs.iter().map(|x| x.maps.as_slice())).map_err(|reason| spec.error(reason))?;
            return Ok(KerasValue { maps, ..KerasValue::map(id) });
        }
        // Vectors flattened in different orders would pair other values than Keras does.
        if inputs.iter().any(|x| x.maps != first.maps) {
            return Err(spec.error("joins vectors that were flattened from different maps"));
        }
        let number = |factor: f64| LayerKind::Activation(Unary::Affine(factor, 0.0));
        let id = match (spec.class.as_str(), &ids[..]) {
            ("Multiply", _) => self.net.layer(&spec.name, LayerKind::Multiply, &ids),
            ("Subtract", &[from, what]) => self.net.scope(ScopeKind::Sequence, &spec.name, from, |net, from| {
                let minus = net.layer("minus", number(-1.0), &[what]);
                net.add("add", &[from, minus])
            }),
            ("Subtract", _) => return Err(spec.error(format!("subtracts {} layers, expects two", ids.len()))),
            ("Average", _) => self.net.scope(ScopeKind::Sequence, &spec.name, first.id, |net, _| {
                let sum = net.add("add", &ids);
                net.layer("divide", number(1.0 / ids.len() as f64), &[sum])
            }),
            _ => self.net.layer(&spec.name, LayerKind::Add, &ids),
        };
        Ok(KerasValue { maps: first.maps.clone(), ..KerasValue::map(id) })
    }
}
