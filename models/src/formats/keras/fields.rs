//! The settings of one layer, typed.

use super::graph::KerasGraph;
use crate::formats::import::LARGEST;
use serde_json::{Map, Value};

/// A layer in the file.
#[derive(Debug)]
pub(super) struct KerasSpec {
    /// Keras's class, such as `Conv2D`.
    pub class: String,
    /// Name within the model.
    pub name: String,
    /// Constructor arguments.
    pub config: Map<String, Value>,
    /// Dotted path in the weights files of Keras 3: `layers.conv2d_1`.
    pub path: String,
    /// The enclosing layer of the outermost model, for a layer of a nested model.
    pub group: Option<String>,
    /// Its layers, for a nested model.
    pub model: Option<KerasGraph>,
}

impl KerasSpec {
    /// An input layer, for a model without one.
    pub fn input(config: Map<String, Value>) -> Self {
        Self { class: "InputLayer".into(), name: "input".into(), config, path: String::new(), group: None, model: None }
    }

    /// An error message about this layer.
    pub fn error(&self, reason: impl std::fmt::Display) -> String {
        format!("layer {:?} ({}) {reason}", self.name, self.class)
    }

    fn wrong(&self, key: &str, value: &Value, wanted: &str) -> String {
        self.error(format!("has {key} {}, expects {wanted}", crate::text::one_line(value)))
    }

    /// The setting, unless it is absent or null.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.config.get(key).filter(|value| !value.is_null())
    }

    /// An integer setting.
    pub fn count(&self, key: &str) -> Result<usize, String> {
        let value = self.get(key).ok_or_else(|| self.error(format!("has no {key}")))?;
        size(value).ok_or_else(|| self.wrong(key, value, "a whole number"))
    }

    /// An integer setting; `default` if absent.
    pub fn count_or(&self, key: &str, default: usize) -> Result<usize, String> {
        self.get(key).map_or(Ok(default), |_| self.count(key))
    }

    /// Two integers, or one for both; `default` if absent.
    pub fn pair_or(&self, key: &str, default: [usize; 2]) -> Result<[usize; 2], String> {
        let Some(value) = self.get(key) else { return Ok(default) };
        pair(value).ok_or_else(|| self.wrong(key, value, "one or two whole numbers"))
    }

    /// `[top, bottom, left, right]`, from one number, two (vertical, horizontal) or two pairs.
    pub fn sides(&self, key: &str) -> Result<[usize; 4], String> {
        let value = self.get(key).ok_or_else(|| self.error(format!("has no {key}")))?;
        let pairs = match value.as_array().map(Vec::as_slice) {
            Some([vertical, horizontal]) => pair(vertical).zip(pair(horizontal)),
            _ => size(value).map(|n| ([n, n], [n, n])),
        };
        let ([top, bottom], [left, right]) = pairs.ok_or_else(|| self.wrong(key, value, "one number, two, or two pairs"))?;
        Ok([top, bottom, left, right])
    }

    /// A finite number; `default` if absent.
    pub fn real_or(&self, key: &str, default: f64) -> Result<f64, String> {
        let Some(value) = self.get(key) else { return Ok(default) };
        // Keras 3 may store a number as a NumPy scalar.
        let number = value.get("config").and_then(|config| config.get("value")).unwrap_or(value);
        number.as_f64().filter(|n| n.is_finite()).ok_or_else(|| self.wrong(key, value, "a number"))
    }

    /// One number per channel, stored as `count` values or as one; `None` if absent.
    pub fn reals(&self, key: &str, count: usize) -> Result<Option<Vec<f64>>, String> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let mut values = Vec::new();
        numbers(value, &mut values);
        match values.len() {
            1 => Ok(Some(vec![values[0]; count])),
            n if n == count => Ok(Some(values)),
            _ => Err(self.wrong(key, value, &format!("one number or {count}"))),
        }
    }

    /// A boolean; `default` if absent.
    pub fn flag_or(&self, key: &str, default: bool) -> Result<bool, String> {
        let Some(value) = self.get(key) else { return Ok(default) };
        value.as_bool().ok_or_else(|| self.wrong(key, value, "true or false"))
    }

    /// A string; `default` if absent.
    pub fn word_or<'a>(&'a self, key: &str, default: &'a str) -> Result<&'a str, String> {
        let Some(value) = self.get(key) else { return Ok(default) };
        value.as_str().ok_or_else(|| self.wrong(key, value, "a word"))
    }

    /// Whether the layer's input has its channels first.
    pub fn channels_first(&self) -> Result<bool, String> {
        match self.word_or("data_format", "channels_last")? {
            "channels_last" => Ok(false),
            "channels_first" => Ok(true),
            other => Err(self.error(format!("has data_format {other:?}, expects channels_last or channels_first"))),
        }
    }
}

/// The finite numbers of a nested list: Keras stores arrays of shape `[1, 1, 1, channels]`.
fn numbers(value: &Value, found: &mut Vec<f64>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| numbers(item, found)),
        Value::Object(fields) => fields.get("config").and_then(|c| c.get("value")).into_iter().for_each(|v| numbers(v, found)),
        _ => found.extend(value.as_f64().filter(|v| v.is_finite())),
    }
}

fn size(value: &Value) -> Option<usize> {
    value.as_u64().and_then(|n| usize::try_from(n).ok()).filter(|&n| n <= LARGEST)
}

fn pair(value: &Value) -> Option<[usize; 2]> {
    match value.as_array().map(Vec::as_slice) {
        Some([vertical, horizontal]) => Some([size(vertical)?, size(horizontal)?]),
        Some(_) => None,
        None => size(value).map(|n| [n; 2]),
    }
}

/// `[height, width]` and channels of a shape with a batch dimension; an open extent is `None`.
pub(super) fn image_shape(value: &Value, channels_first: bool) -> Option<([Option<usize>; 2], usize)> {
    let (height, width, channels) = match (value.as_array()?.as_slice(), channels_first) {
        ([_, channels, height, width], true) | ([_, height, width, channels], false) => (height, width, channels),
        _ => return None,
    };
    let side = |value: &Value| if value.is_null() { Some(None) } else { size(value).map(Some) };
    Some(([side(height)?, side(width)?], size(channels)?))
}
