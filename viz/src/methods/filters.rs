//! Filters: the weights of a convolution.

use super::VizError;
use convscope_models::Model;
use convscope_models::network::{LayerId, LayerKind};
use convscope_models::text::one_line;
use convscope_models::weights::StoredTensor;

/// The filters of a convolution, `[oc, c, kh, kw]`.
#[derive(Debug, Clone)]
pub struct Filters {
    /// `[filters, channels per group, height, width]`.
    pub size: [usize; 4],
    /// The weights.
    pub values: Vec<f32>,
}

impl Filters {
    /// The weights of each filter, `[c, kh, kw]`.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[f32]> {
        let [_, c, h, w] = self.size;
        self.values.chunks_exact((c * h * w).max(1))
    }

    /// Whether the filters read RGB and can be shown in colour.
    pub fn is_rgb(&self) -> bool {
        self.size[1] == 3
    }
}

/// The first convolution of a network.
pub fn first_conv(model: &Model) -> Option<LayerId> {
    model.network.ids().find(|(_, l)| matches!(l.kind, LayerKind::Conv2d(_))).map(|(id, _)| id)
}

/// The filters of a convolution.
///
/// ```
/// use convscope_viz::filters::{filters, first_conv};
/// let model = convscope_models::Model::builtin()?;
/// let first = filters(&model, first_conv(&model).unwrap())?;
/// assert_eq!(first.size, [32, 3, 7, 7]);
/// assert!(first.is_rgb() && first.iter().all(|filter| filter.len() == 147));
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`VizError::NoFilters`] if the layer is not a convolution.
pub fn filters(model: &Model, layer: LayerId) -> Result<Filters, VizError> {
    let weight = model.weight(layer).filter(|_| matches!(model.network[layer].kind, LayerKind::Conv2d(_)));
    let weight = weight.and_then(|t| t.shape().nchw().map(|size| (t, size)));
    let (weight, size) = weight.ok_or_else(|| VizError::NoFilters {
        layer: model.network[layer].name.clone(),
        kind: model.network[layer].kind.type_name().to_string(),
        example: first_conv(model).map_or_else(String::new, |id| model.network[id].name.clone()),
    })?;
    Ok(Filters { size, values: weight.f32().to_vec() })
}

/// A stored tensor as filters, of any network.
///
/// # Errors
/// [`VizError`] if it is not four-dimensional, unreadable, or holds NaN or infinity.
pub fn stored_filters(tensor: &StoredTensor) -> Result<Filters, VizError> {
    let size = tensor.shape[..]
        .try_into()
        .map_err(|_| VizError::NotFilters { tensor: one_line(&tensor.name), shape: tensor.shape.clone() })?;
    Ok(Filters { size, values: tensor.to_f32_checked()? })
}
