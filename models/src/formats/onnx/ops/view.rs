//! Changes of shape.

use super::super::constant::{axis, squeezed, target, unsqueezed};
use super::super::node::{OnnxNode, short};
use super::super::translate::{OnnxTranslator, OnnxValue};
use crate::network::{LayerId, LayerKind};

impl OnnxTranslator<'_> {
    /// `Flatten`, `Reshape`, `Squeeze` and `Unsqueeze`.
    pub(super) fn reshape(&mut self, index: usize, node: &OnnxNode) -> Result<OnnxValue, String> {
        let x = self.value(node, 0)?;
        let shape: Vec<usize> = std::iter::once(1).chain(x.dims.iter().copied()).collect();
        let given = match (node.ints("axes"), self.constant(node, 1)?) {
            (Some(axes), _) => Some(axes.to_vec()),
            (None, Some(constant)) => Some(constant.ints().map_err(|reason| node.error(reason))?),
            (None, None) => None,
        };
        let list = given.as_deref().unwrap_or_default();
        let made = match node.op.as_str() {
            "Flatten" => {
                let along = axis(node.int_or("axis", 1), shape.len() + 1).map_err(|reason| node.error(reason))?;
                Ok(vec![shape[..along].iter().product(), shape[along..].iter().product()])
            }
            "Squeeze" => squeezed(&shape, given.is_some(), list),
            "Unsqueeze" => unsqueezed(&shape, list),
            _ => target(&shape, list),
        };
        let made = made.map_err(|reason| node.error(reason))?;
        match made.split_first() {
            Some((1, dims)) => self.view(index, node, x, dims),
            _ => Err(node.error(format!("makes {} of one image; its batch must stay the first extent", short(&made)))),
        }
    }

    /// `x` as one image of extents `dims` with equally many values.
    fn view(&mut self, index: usize, node: &OnnxNode, x: OnnxValue, dims: &[usize]) -> Result<OnnxValue, String> {
        if x.dims == dims {
            return Ok(x);
        }
        match (x.extents(), dims) {
            (Some([c, h, w]), [_]) => {
                let name = self.name(index);
                let id = self.net.flatten(&name, x.id);
                let maps = if x.last { vec![[c, h, w]] } else { vec![[c * h * w, 1, 1]] };
                let pixel = (h * w == 1).then_some(x.id);
                Ok(OnnxValue { maps, pixel, ..OnnxValue::vector(id, c * h * w) })
            }
            // One pixel has the same order in both layouts.
            (Some([c, 1, 1]), &[channels, 1, 1]) if c == channels => Ok(OnnxValue::map(x.id, [c, 1, 1], false)),
            (Some([c, 1, 1]), &[1, 1, channels]) if c == channels => Ok(OnnxValue::map(x.id, [c, 1, 1], true)),
            (None, &[c, 1, 1] | &[1, 1, c]) if c == x.channels() => {
                let id = match x.pixel {
                    Some(pixel) => pixel,
                    None => self.unflatten(index, &x, [c, 1, 1]),
                };
                Ok(OnnxValue::map(id, [c, 1, 1], dims[0] == 1 && c != 1))
            }
            // A flattened channels-last map has another order here.
            (None, &[c, h, w]) if x.maps.iter().all(|&[_, h, w]| h * w == 1) => {
                Ok(OnnxValue::map(self.unflatten(index, &x, [c, h, w]), [c, h, w], false))
            }
            _ => Err(node.error(format!("makes the shape {} of {:?}, which no layer here does", short(dims), x.dims))),
        }
    }

    fn unflatten(&mut self, index: usize, x: &OnnxValue, shape: [usize; 3]) -> LayerId {
        let name = self.name(index);
        self.net.layer(&name, LayerKind::Unflatten { shape }, &[x.id])
    }

    /// Transposition of channels first or last, which changes only the view of a map.
    pub(super) fn transpose(&mut self, node: &OnnxNode) -> Result<OnnxValue, String> {
        let x = self.value(node, 0)?;
        let order = node.ints("perm").unwrap_or_default();
        match (x.extents(), order, x.last) {
            (Some(extents), [0, 3, 1, 2], true) => Ok(OnnxValue::map(x.id, extents, false)),
            (Some(extents), [0, 2, 3, 1], false) => Ok(OnnxValue::map(x.id, extents, true)),
            (Some(_), [0, 1, 2, 3], _) | (None, [0, 1], _) => Ok(x),
            _ => Err(node.error(format!("puts {:?} in the order {}; channels first or last are read", x.dims, short(order)))),
        }
    }
}
