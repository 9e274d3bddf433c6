//! Layers that change shapes: flattening, reshaping, padding, cropping, up-sampling.

use super::fields::KerasSpec;
use super::translate::{KerasTranslator, KerasValue};
use crate::network::LayerKind;
use serde_json::Value as Json;

impl KerasTranslator {
    /// `Flatten`.
    pub fn flatten(&mut self, spec: &KerasSpec, x: &KerasValue) -> Result<KerasValue, String> {
        let Some([h, w]) = self.net.spatial(x.id) else { return Ok(x.clone()) };
        // With `channels_first`, Keras moves the channels last before flattening.
        match (spec.channels_first()?, self.state.channels_first) {
            (true, false) => return Err(spec.error("has data_format \"channels_first\", unlike the layers before it")),
            (false, true) => return Ok(self.flatten_as_it_lies(spec, x)),
            _ => {}
        }
        let channels = self.net.channels(x.id);
        let id = self.net.flatten(&spec.name, x.id);
        Ok(KerasValue { maps: vec![[channels, h, w]], ..KerasValue::map(id) })
    }

    /// A feature map with channels first as a vector of the same order.
    fn flatten_as_it_lies(&mut self, spec: &KerasSpec, x: &KerasValue) -> KerasValue {
        let id = self.net.flatten(&spec.name, x.id);
        KerasValue::vector(id, self.net.channels(id))
    }

    /// `Reshape` to a vector, or to a map whose values have the same order channel by channel as pixel by pixel.
    pub fn reshape(&mut self, spec: &KerasSpec, x: &KerasValue) -> Result<KerasValue, String> {
        let wrong = |what: &str| spec.error(format!("makes {what}, which no layer here does"));
        let target = spec.get("target_shape").and_then(Json::as_array).ok_or_else(|| spec.error("has no target_shape"))?;
        let old = match self.net.spatial(x.id) {
            Some([h, w]) => vec![[self.net.channels(x.id), h, w]],
            None => x.maps.clone(),
        };
        let total: usize = old.iter().map(|map| map.iter().product::<usize>()).sum();
        let known = |value: &Json| value.as_u64().and_then(|n| usize::try_from(n).ok()).filter(|n| *n > 0);
        let product = target.iter().filter_map(known).try_fold(1usize, |product, n| product.checked_mul(n));
        let product = product.filter(|n| *n <= total).ok_or_else(|| wrong("another number of values"))?;
        let extent = |value: &Json| if value.as_i64() == Some(-1) { Some(total / product) } else { known(value) };
        match target.iter().map(extent).collect::<Option<Vec<usize>>>().as_deref() {
            Some([_]) if self.net.spatial(x.id).is_none() => Ok(x.clone()),
            Some([_]) if self.state.channels_first => Ok(self.flatten_as_it_lies(spec, x)),
            Some([_]) => self.flatten(spec, x),
            Some(&[first, second, third]) => {
                let [c, h, w] = if self.state.channels_first { [first, second, third] } else { [third, first, second] };
                let old_pixels = old.iter().any(|[_, h, w]| h * w != 1);
                let fits = match self.state.channels_first {
                    true => self.net.spatial(x.id).is_some() || !old_pixels,
                    false => matches!(old[..], [[channels, ..]] if channels == c) || h * w == 1 && !old_pixels,
                };
                if !fits {
                    return Err(wrong("pixels of channels or channels of pixels"));
                }
                Ok(KerasValue::map(self.net.layer(&spec.name, LayerKind::Unflatten { shape: [c, h, w] }, &[x.id])))
            }
            _ => Err(wrong(&format!("the shape {}", crate::text::one_line(Json::Array(target.clone()))))),
        }
    }

    /// `ZeroPadding2D` and `Cropping2D`.
    pub fn edge(&mut self, spec: &KerasSpec, x: &KerasValue) -> Result<KerasValue, String> {
        self.map_size(spec, x)?;
        let kind = match spec.class.as_str() {
            "Cropping2D" => LayerKind::Crop2d(spec.sides("cropping")?),
            _ => LayerKind::ZeroPad2d(spec.sides("padding")?),
        };
        Ok(KerasValue::map(self.net.layer(&spec.name, kind, &[x.id])))
    }

    /// `UpSampling2D`.
    pub fn up_sampling(&mut self, spec: &KerasSpec, x: &KerasValue) -> Result<KerasValue, String> {
        self.map_size(spec, x)?;
        let factors = spec.pair_or("size", [2; 2])?;
        let kind = match spec.word_or("interpolation", "nearest")? {
            "nearest" => LayerKind::UpsampleNearest2d(factors),
            "bilinear" => LayerKind::UpsampleBilinear2d(factors),
            other => return Err(spec.error(format!("has the interpolation {other:?}; nearest and bilinear are known"))),
        };
        Ok(KerasValue::map(self.net.layer(&spec.name, kind, &[x.id])))
    }
}
