//! Sums and products, of values or of a value with a constant; batch-norm, concatenation.

use super::super::constant::axis;
use super::super::node::{OnnxNode, short};
use super::super::translate::{OnnxTranslator, OnnxValue};
use crate::formats::import::joined;
use crate::network::{LayerId, LayerKind};
use convscope_engine::Unary;

impl OnnxTranslator<'_> {
    /// `Add`, `Sum`, `Sub`, `Mul` and `Div`.
    pub(super) fn combine(&mut self, index: usize, node: &OnnxNode) -> Result<OnnxValue, String> {
        if node.inputs.len() == 1 {
            return self.value(node, 0);
        }
        if let [left, right] = [0, 1].map(|i| self.constant(node, i).ok().flatten().cloned())
            && let Some(constant) = left.as_ref().or(right.as_ref())
            && node.inputs.len() == 2
        {
            let x = self.value(node, usize::from(left.is_some()))?;
            let values = self.per_channel(constant, &x).ok_or_else(|| {
                let shape = short(constant.shape());
                node.error(format!(
                    "has a constant of the shape {shape}, expects one number for each of {} channels",
                    x.channels()
                ))
            })?;
            let one = |factor: f32| vec![factor; values.len()];
            let (scale, shift) = match (node.op.as_str(), left.is_some()) {
                ("Add" | "Sum", _) => (one(1.0), values.clone()),
                ("Mul", _) => (values.clone(), one(0.0)),
                ("Sub", false) => (one(1.0), values.iter().map(|v| -v).collect()),
                ("Sub", true) => (one(-1.0), values.clone()),
                ("Div", false) => (values.iter().map(|v| 1.0 / v).collect(), one(0.0)),
                _ => return Err(node.error("divides a constant by a value of the image, which no layer here does")),
            };
            let [scale, shift] = [scale, shift].map(|list| list.into_iter().map(f64::from).collect());
            let name = self.name(index);
            let id = self.scale_and_shift(&name, x.id, scale, shift);
            return Ok(OnnxValue { id, pixel: None, ..x });
        }
        let mut values = Vec::new();
        for i in 0..node.inputs.len() {
            values.push(self.value(node, i)?);
        }
        // The largest input gives the shape. A sum spreads an input of one pixel per channel, such as a squeeze-and-excitation
        // gate, over the others; a product broadcasts by itself.
        let length = |v: &&OnnxValue| v.dims.iter().product::<usize>();
        let Some(first) = values.iter().rev().max_by_key(length).cloned() else { return Err(node.error("joins nothing")) };
        let name = self.name(index);
        for value in &mut values {
            if let (Some([c, h, w]), Some([channels, 1, 1])) = (first.extents(), value.extents())
                && (c == channels && first.dims != value.dims)
                && (first.last == value.last || c == 1)
            {
                let id = match node.op.as_str() {
                    "Mul" => value.id,
                    _ => self.net.layer(&format!("{name}.spread"), LayerKind::UpsampleNearest2d([h, w]), &[value.id]),
                };
                *value = OnnxValue { id, ..first.clone() };
            }
        }
        // Vectors flattened in different orders would pair other values than the file does.
        if let Some(other) = values.iter().find(|v| v.dims != first.dims || v.last != first.last || v.maps != first.maps) {
            return Err(node.error(format!("joins the shapes {:?} and {:?}; equal ones are read", first.dims, other.dims)));
        }
        let mut ids: Vec<LayerId> = values.iter().map(|v| v.id).collect();
        let id = match node.op.as_str() {
            "Mul" => self.net.layer(&name, LayerKind::Multiply, &ids),
            "Sub" => {
                let negative = LayerKind::Activation(Unary::Affine(-1.0, 0.0));
                ids[1] = self.net.layer(&format!("{name}.negative"), negative, &[ids[1]]);
                self.net.add(&format!("{name}.add"), &ids)
            }
            "Div" => return Err(node.error("divides two values of the image, which no layer here does")),
            _ => self.net.add(&name, &ids),
        };
        Ok(OnnxValue { id, pixel: None, ..first })
    }

    pub(super) fn batch_norm(&mut self, index: usize, node: &OnnxNode) -> Result<OnnxValue, String> {
        let x = self.value(node, 0)?;
        if x.last || node.int_or("training_mode", 0) != 0 || node.int_or("spatial", 1) == 0 {
            return Err(node.error("is read as in use, along the channels of a map; export the model in evaluation mode"));
        }
        let (eps, momentum) = (node.float_or("epsilon", 1e-5)?, 1.0 - node.float_or("momentum", 0.9)?);
        let channels = x.channels();
        let mut constants = Vec::new();
        for (i, param) in ["weight", "bias", "running_mean", "running_var"].into_iter().enumerate() {
            let constant = self.needed(node, i + 1)?.clone();
            if constant.shape() != [channels] {
                let shape = short(constant.shape());
                return Err(node.error(format!("has an input {} of the shape {shape} for {channels} channels", i + 1)));
            }
            constants.push((param, constant));
        }
        let value = self.elementwise(index, &x, LayerKind::BatchNorm2d { channels, eps, momentum, scale: true, shift: true });
        for (param, constant) in constants {
            self.stored(value.id, param, &constant, vec![channels]);
        }
        Ok(value)
    }

    pub(super) fn concat(&mut self, index: usize, node: &OnnxNode) -> Result<OnnxValue, String> {
        let mut values = Vec::new();
        for i in 0..node.inputs.len() {
            values.push(self.value(node, i)?);
        }
        let Some(first) = values.first().cloned() else { return Err(node.error("joins nothing")) };
        let along = axis(node.int_or("axis", 1), first.dims.len() + 1).map_err(|reason| node.error(reason))?;
        let unlike = |v: &OnnxValue| v.dims.len() != first.dims.len() || v.last != first.last;
        if along != first.channel_axis() || values.iter().any(unlike) {
            return Err(node.error(format!("joins along axis {along} of the shape {:?}; channels are read", first.dims)));
        }
        let ids: Vec<LayerId> = values.iter().map(|v| v.id).collect();
        let name = self.name(index);
        let id = self.net.concat(&name, &ids);
        self.check()?;
        Ok(match first.extents() {
            Some([_, h, w]) => OnnxValue::map(id, [self.net.channels(id), h, w], first.last),
            None => {
                let maps = joined(values.iter().map(|v| v.maps.as_slice())).map_err(|reason| node.error(reason))?;
                OnnxValue { maps, ..OnnxValue::vector(id, self.net.channels(id)) }
            }
        })
    }
}
