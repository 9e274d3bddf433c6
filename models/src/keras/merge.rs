//! The layers that join several inputs.

use super::fields::Spec;
use super::translate::{Translator, Value};
use crate::network::{LayerId, LayerKind};

impl Translator<'_> {
    /// `Add`, `Multiply` and `Concatenate`.
    pub fn merge(&mut self, spec: &Spec, inputs: &[&Value]) -> Result<Value, String> {
        let [first, ..] = inputs else { return Err(spec.error("reads no layer")) };
        let ids: Vec<LayerId> = inputs.iter().map(|x| x.id).collect();
        if spec.class == "Concatenate" {
            self.last_axis(spec, first)?;
            let id = self.net.layer(&spec.name, LayerKind::Concat, &ids);
            let maps = inputs.iter().flat_map(|x| x.maps.iter().copied()).collect();
            return Ok(Value { maps, ..Value::map(id) });
        }
        // Of vectors that were flattened in different ways, other values would meet here than in Keras.
        if inputs.iter().any(|x| x.maps != first.maps) {
            return Err(spec.error("joins vectors that were flattened from different maps"));
        }
        let kind = if spec.class == "Add" { LayerKind::Add } else { LayerKind::Multiply };
        let id = self.net.layer(&spec.name, kind, &ids);
        Ok(Value { maps: first.maps.clone(), ..Value::map(id) })
    }
}
