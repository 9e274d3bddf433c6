//! One operator of a graph, its attributes typed.

use super::proto::{self, parts};
use crate::formats::import::LARGEST;
use crate::text::one_line;
use bytes::Bytes;
use std::collections::HashMap;

/// A node in the file.
#[derive(Debug, Clone)]
pub(super) struct OnnxNode {
    /// Name, possibly empty.
    pub name: String,
    /// The operator, such as `Conv`; with its domain if it is not ONNX's own.
    pub op: String,
    /// Names of the input values; an empty name is an absent input.
    pub inputs: Vec<String>,
    /// Names of the output values.
    pub outputs: Vec<String>,
    /// Enclosing modules, outermost first, as newer PyTorch exporters store them.
    pub scopes: Option<String>,
    attributes: HashMap<String, proto::Attribute>,
}

impl OnnxNode {
    /// # Errors
    /// A message if an attribute is damaged.
    pub fn new(node: proto::Node) -> Result<Self, String> {
        let mut attributes = HashMap::new();
        for attribute in parts::<proto::Attribute>(&node.attribute) {
            let attribute = attribute?;
            attributes.insert(attribute.name.clone(), attribute);
        }
        let mut scopes = None;
        for entry in parts::<proto::Entry>(&node.metadata_props) {
            let entry = entry?;
            if entry.key == "pkg.torch.onnx.name_scopes" {
                scopes = Some(entry.value);
            }
        }
        let op = match node.domain.as_str() {
            "" | "ai.onnx" => node.op_type,
            other => format!("{other}.{}", node.op_type),
        };
        Ok(Self { name: node.name, op, inputs: node.input, outputs: node.output, scopes, attributes })
    }

    /// An error message about this node; a node without a name goes by its output.
    pub fn error(&self, reason: impl std::fmt::Display) -> String {
        let name = if self.name.is_empty() { self.outputs.first().map_or("", String::as_str) } else { &self.name };
        format!("node {:?} ({}) {reason}", one_line(name), one_line(&self.op))
    }

    /// The name of an input, if present.
    pub fn input(&self, index: usize) -> Option<&str> {
        self.inputs.get(index).map(String::as_str).filter(|name| !name.is_empty())
    }

    /// Whether the attribute is present.
    pub fn has(&self, key: &str) -> bool {
        self.attributes.contains_key(key)
    }

    /// An integer; `default` if absent.
    pub fn int_or(&self, key: &str, default: i64) -> i64 {
        self.attributes.get(key).map_or(default, |a| a.i)
    }

    /// A finite number; `default` if absent.
    pub fn float_or(&self, key: &str, default: f64) -> Result<f64, String> {
        let Some(attribute) = self.attributes.get(key) else { return Ok(default) };
        let value = f64::from(attribute.f);
        if value.is_finite() { Ok(value) } else { Err(self.error(format!("has {key} {value}, expects a number"))) }
    }

    /// A list of integers, if present.
    pub fn ints(&self, key: &str) -> Option<&[i64]> {
        self.attributes.get(key).map(|a| a.ints.as_slice())
    }

    /// A list of numbers, if present.
    pub fn floats(&self, key: &str) -> Option<&[f32]> {
        self.attributes.get(key).map(|a| a.floats.as_slice())
    }

    /// The tensor of an attribute.
    pub fn tensor(&self, key: &str) -> Option<&Bytes> {
        self.attributes.get(key).map(|a| &a.t)
    }

    /// A string; `default` if absent.
    pub fn word_or(&self, key: &str, default: &str) -> String {
        self.attributes.get(key).map_or(default.to_string(), |a| one_line(String::from_utf8_lossy(&a.s)))
    }

    /// `N` non-negative integers; `default` if absent.
    pub fn sizes_or<const N: usize>(&self, key: &str, default: [usize; N]) -> Result<[usize; N], String> {
        let Some(list) = self.ints(key) else { return Ok(default) };
        sizes(list).ok_or_else(|| self.error(format!("has {key} {}, expects {N} whole numbers", short(list))))
    }
}

/// A list, shortened for messages.
pub(super) fn short(list: &[impl std::fmt::Debug]) -> String {
    one_line(format!("{list:?}"))
}

/// A number within the bounds.
pub(super) fn size(number: i64) -> Option<usize> {
    usize::try_from(number).ok().filter(|&n| n <= LARGEST)
}

/// Exactly `N` numbers within the bounds.
pub(super) fn sizes<const N: usize>(list: &[i64]) -> Option<[usize; N]> {
    let sizes: Vec<usize> = list.iter().map(|&n| size(n)).collect::<Option<_>>()?;
    sizes.try_into().ok()
}
