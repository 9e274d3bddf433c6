//! Matrix products: `Gemm`, and `MatMul` with the addition after it.

use super::super::constant::Constant;
use super::super::node::{OnnxNode, short};
use super::super::translate::{OnnxTranslator, OnnxValue};
use crate::formats::import::Values;
use crate::formats::{Layout, StoredTensor};
use crate::network::{LayerId, LayerKind};

impl OnnxTranslator<'_> {
    pub(super) fn gemm(&mut self, index: usize, node: &OnnxNode) -> Result<OnnxValue, String> {
        if node.int_or("transA", 0) != 0 {
            return Err(node.error("turns the image's values (transA)"));
        }
        let (alpha, beta) = (node.float_or("alpha", 1.0)? as f32, node.float_or("beta", 1.0)? as f32);
        let bias = self.constant(node, 2)?.cloned();
        let transposed = node.int_or("transB", 0) != 0;
        let (id, output) = self.linear(index, node, transposed, alpha, bias.is_some())?;
        if let Some(bias) = bias {
            match bias.shape() == [output.channels()] && beta == 1.0 {
                true => self.stored(id, "bias", &bias, bias.shape().to_vec()),
                false => {
                    let values = self.per_channel(&bias, &output).ok_or_else(|| {
                        node.error(format!("adds the shape {} to {} features", short(bias.shape()), output.channels()))
                    })?;
                    let scaled: Vec<f32> = values.into_iter().map(|v| beta * v).collect();
                    self.computed(id, "bias", &scaled);
                }
            }
        }
        Ok(output)
    }

    pub(super) fn mat_mul(&mut self, index: usize, node: &OnnxNode) -> Result<OnnxValue, String> {
        let &[_, features] = self.needed(node, 1)?.shape() else {
            let shape = short(self.needed(node, 1)?.shape());
            return Err(node.error(format!("multiplies by the shape {shape}; matrices are read")));
        };
        let bias = self.bias_after(index, &OnnxValue::vector(LayerId::INPUT, features));
        let (id, output) = self.linear(index, node, false, 1.0, bias.is_some())?;
        if let Some(bias) = bias {
            self.computed(id, "bias", &bias);
        }
        Ok(output)
    }

    /// A dense layer without its bias. The constant is `[in, out]`, or `[out, in]` if transposed.
    fn linear(
        &mut self,
        index: usize,
        node: &OnnxNode,
        transposed: bool,
        alpha: f32,
        bias: bool,
    ) -> Result<(LayerId, OnnxValue), String> {
        let x = self.value(node, 0)?;
        if x.dims.len() != 1 {
            return Err(node.error(format!("reads the shape {:?}, expects a vector", x.dims)));
        }
        let weight = self.needed(node, 1)?.clone();
        let (in_features, out_features) = match (weight.shape(), transposed) {
            (&[i, o], false) | (&[o, i], true) => (i, o),
            (shape, _) => return Err(node.error(format!("multiplies by the shape {}; matrices are read", short(shape)))),
        };
        if in_features != x.channels() {
            return Err(node.error(format!("multiplies {} features by the shape {}", x.channels(), short(weight.shape()))));
        }
        let mut tensor = self.as_tensor(&weight);
        // A matrix already in PyTorch's layout stays in the file and is not copied.
        let in_order = x.maps.iter().all(|&[_, h, w]| h * w == 1);
        let lay = |tensor: StoredTensor, maps| tensor.rearranged(String::new(), Layout::Dense(maps)).map_err(|e| node.error(e));
        if !transposed {
            tensor = lay(tensor, x.maps)?;
        } else if !in_order {
            tensor = lay(lay(tensor, vec![[out_features, 1, 1]])?, x.maps)?;
        }
        if alpha != 1.0 {
            let scaled = tensor.to_f32().map_err(|e| node.error(e))?.into_iter().map(|v| f64::from(alpha * v));
            let scaled: Vec<f64> = scaled.collect();
            tensor = StoredTensor::of_values(String::new(), &scaled, self.path());
            tensor.shape = vec![out_features, in_features];
        }
        let name = self.name(index);
        let id = self.net.layer(&name, LayerKind::Linear { in_features, out_features, bias }, &[x.id]);
        self.fill(id, "weight", Values::Stored(tensor));
        Ok((id, OnnxValue::vector(id, out_features)))
    }

    fn as_tensor(&self, constant: &Constant) -> StoredTensor {
        constant.tensor(self.path(), constant.shape().to_vec())
    }
}
