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
use super::translate::{OnnxTranslator, OnnxValue};
use crate::network::LayerKind;

impl OnnxTranslator<'_> {
    /// Adds the translation of node `index`.
    pub fn layer(&mut self, index: usize, node: &OnnxNode) -> Result<OnnxValue, String> {
        match node.op.as_str() {
            "Conv" => self.conv(index, node),
            "MaxPool" | "AveragePool" => self.pool(index, node),
            "GlobalAveragePool" | "GlobalMaxPool" => self.global_pool(index, node),
            "Pad" => self.pad(index, node),
            "Slice" => self.slice(index, node),
            "Upsample" | "Resize" => self.resize(index, node),
            "ReduceMean" | "ReduceMax" => self.reduce(index, node),
            "Gemm" => self.gemm(index, node),
            "MatMul" => self.mat_mul(index, node),
            "BatchNormalization" => self.batch_norm(index, node),
            "Add" | "Sub" | "Mul" | "Div" | "Sum" => self.combine(index, node),
            "Concat" => self.concat(index, node),
            "Softmax" | "LogSoftmax" => self.softmax(index, node),
            "PRelu" => self.prelu(index, node),
            "Dropout" => {
                let x = self.value(node, 0)?;
                let p = match self.constant(node, 1)? {
                    Some(ratio) => ratio.scalar().map_err(|reason| node.error(reason))?,
                    None => node.float_or("ratio", 0.5)?,
                };
                let name = self.name(index);
                let id = self.net.layer(&name, LayerKind::Dropout { p: p.clamp(0.0, 1.0) }, &[x.id]);
                Ok(OnnxValue { id, ..x })
            }
            "Identity" | "Cast" | "CastLike" => self.value(node, 0),
            "Flatten" | "Reshape" | "Squeeze" | "Unsqueeze" => self.reshape(index, node),
            "Transpose" => self.transpose(node),
            _ => {
                if let Some(function) = self.function(node)? {
                    return self.activation(index, node, function);
                }
                Err(node.error("is an operator that is not known here"))
            }
        }
    }

    /// An elementwise layer.
    fn elementwise(&mut self, index: usize, x: &OnnxValue, kind: LayerKind) -> OnnxValue {
        let name = self.name(index);
        let id = self.net.layer(&name, kind, &[x.id]);
        OnnxValue { id, pixel: None, ..x.clone() }
    }
}
