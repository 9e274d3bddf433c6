//! One operator of ONNX to one or more layers of a network.
//!
//! | file | holds |
//! |---|---|
//! | `windows` | convolution, pooling, padding, cropping, up-sampling |
//! | `dense` | matrix products |
//! | `pointwise` | activations |
//! | `combine` | sums and products, of values or of a value with a constant; batch-norm, concatenation |
//! | `view` | changes of shape |

mod combine;
mod dense;
mod pointwise;
mod view;
mod windows;

use super::node::OnnxNode;
use super::translate::{Translator, Value};
use crate::network::LayerKind;

impl Translator<'_> {
    /// Adds the translation of the node at index `place`.
    pub fn layer(&mut self, place: usize, node: &OnnxNode) -> Result<Value, String> {
        match node.op.as_str() {
            "Conv" => self.conv(place, node),
            "MaxPool" | "AveragePool" => self.pool(place, node),
            "GlobalAveragePool" | "GlobalMaxPool" => self.global_pool(place, node),
            "Pad" => self.pad(place, node),
            "Slice" => self.slice(place, node),
            "Upsample" | "Resize" => self.resize(place, node),
            "ReduceMean" | "ReduceMax" => self.reduce(place, node),
            "Gemm" => self.gemm(place, node),
            "MatMul" => self.mat_mul(place, node),
            "BatchNormalization" => self.batch_norm(place, node),
            "Add" | "Sub" | "Mul" | "Div" | "Sum" => self.combine(place, node),
            "Concat" => self.concat(place, node),
            "Softmax" | "LogSoftmax" => self.softmax(place, node),
            "PRelu" => self.prelu(place, node),
            "Dropout" => {
                let x = self.value(node, 0)?;
                let p = match self.constant(node, 1)? {
                    Some(ratio) => ratio.scalar().map_err(|reason| node.error(reason))?,
                    None => node.float_or("ratio", 0.5)?,
                };
                let name = self.name(place);
                let id = self.net.layer(&name, LayerKind::Dropout { p: p.clamp(0.0, 1.0) }, &[x.id]);
                Ok(Value { id, ..x })
            }
            "Identity" | "Cast" | "CastLike" => self.value(node, 0),
            "Flatten" | "Reshape" | "Squeeze" | "Unsqueeze" => self.reshape(place, node),
            "Transpose" => self.transpose(node),
            _ => {
                if let Some(function) = self.function(node)? {
                    return self.activation(place, node, function);
                }
                Err(node.error("is an operator that is not known here"))
            }
        }
    }

    /// An elementwise layer.
    fn elementwise(&mut self, place: usize, x: &Value, kind: LayerKind) -> Value {
        let name = self.name(place);
        let id = self.net.layer(&name, kind, &[x.id]);
        Value { id, pixel: None, ..x.clone() }
    }
}
