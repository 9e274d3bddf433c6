//! Grad-CAM (Selvaraju et al., "Grad-CAM: visual explanations from deep networks via gradient-based localization", ICCV 2017).
//!
//! `alpha_k = mean_ij dS_c/dA^k_ij`, `L = ReLU(sum_k alpha_k A^k)`, with `S_c` the logit of class `c` and `A^k` channel `k` of a
//! layer. One forward pass serves any number of classes.

use super::VizError;
use super::predict::{Prediction, finite, one_hot, predictions};
use crate::map::{Map, MapError};
use convscope_engine::{Rules, Tape, Tensor};
use convscope_models::Model;
use convscope_models::network::LayerId;

/// Grad-CAM of one class.
#[derive(Debug, Clone)]
pub struct GradCam {
    /// The class.
    pub class: usize,
    /// `ReLU(sum_k alpha_k A^k)` at the layer's resolution.
    pub map: Map,
    /// The map scaled to 0..1 and resized to the input's resolution, as for `show_cam_on_image` of the `grad-cam` package.
    pub heatmap: Map,
    /// Minimum and maximum before the ReLU. A maximum of at most 0 explains a blank map.
    pub signed: [f32; 2],
}

/// The explained classes.
#[derive(Debug, Clone, Copy)]
pub enum Targets<'a> {
    /// These classes.
    Classes(&'a [usize]),
    /// The classes with the largest logits: their number.
    Best(usize),
}

/// Grad-CAM of some classes at `layer`, for one image `[1,c,h,w]` of any size. All classes share one forward pass.
///
/// ```
/// use convscope_viz::gradcam::{Targets, grad_cam};
/// let model = convscope_models::Model::builtin()?;
/// let photo = convscope_viz::Photo::open("sample:cat", &model.network)?;
/// let layer = model.network.cam_layer().unwrap();
/// let (prediction, maps) = grad_cam(&model, &photo.input, layer, Targets::Best(2))?;
/// assert_eq!(maps[0].class, prediction.best());
/// assert_eq!((maps[0].map.size(), maps[0].heatmap.size()), ([6, 6], [176, 176]));
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`VizError::NotSpatial`] for a layer without height and width, [`VizError::NoSuchClass`], and as
/// [`predict`](crate::predict::predict).
pub fn grad_cam(model: &Model, image: &Tensor, layer: LayerId, targets: Targets) -> Result<(Prediction, Vec<GradCam>), VizError> {
    let mut tape = Tape::new();
    let run = model.forward(&mut tape, image.clone())?;
    let prediction = predictions(model, &tape, &run)?.remove(0);
    let not_spatial = |shape: String| VizError::NotSpatial {
        layer: model.network[layer].name.clone(),
        shape,
        example: model.network.cam_layer().map_or_else(String::new, |id| model.network[id].name.clone()),
    };
    let var = run.layer(layer).ok_or_else(|| not_spatial("not on the way to the output".to_string()))?;
    let activation = tape.value(var)?.clone();
    let Some([_, c, h, w]) = activation.shape().nchw() else { return Err(not_spatial(activation.shape().to_string())) };
    let classes = match targets {
        Targets::Classes(classes) => classes.to_vec(),
        Targets::Best(k) => prediction.top(k),
    };
    let mut maps = Vec::new();
    for class in classes {
        let upstream = one_hot(&tape, &run, &[class])?;
        let grads = tape.backward(run.output(), Some(upstream), &[var], &Rules::default())?;
        let gradient = grads.of(var).map_or(&[][..], Tensor::f32);
        finite("the gradient of the feature maps", gradient)?;
        let mut sum = vec![0.0f64; h * w];
        for (a, g) in activation.f32().chunks_exact(h * w).zip(gradient.chunks_exact(h * w)).take(c) {
            let alpha = g.iter().map(|v| f64::from(*v)).sum::<f64>() / (h * w) as f64;
            sum.iter_mut().zip(a).for_each(|(s, a)| *s += alpha * f64::from(*a));
        }
        let extreme = |f: fn(f64, f64) -> f64, start| sum.iter().copied().fold(start, f) as f32;
        let signed = [extreme(f64::min, f64::INFINITY), extreme(f64::max, f64::NEG_INFINITY)];
        let map = Map::new(sum.iter().map(|v| v.max(0.0) as f32).collect(), h, w)?;
        let [_, _, to_h, to_w] = image.shape().nchw().unwrap_or([1, c, h, w]);
        maps.push(GradCam { class, heatmap: heatmap(&map, to_h, to_w)?, map, signed });
    }
    Ok((prediction, maps))
}

/// Scales to 0..1, resizes bilinearly to the input's size, and scales again, as interpolation may miss the extremes.
fn heatmap(map: &Map, h: usize, w: usize) -> Result<Map, MapError> {
    Ok(unit(&*unit(map).resized(h, w)?))
}

/// Scales the minimum to 0 and the maximum to 1 (less 1e-7, as in the reference package); a flat map is zero.
fn unit(map: &Map) -> Map {
    let min = map.values().iter().copied().fold(f32::INFINITY, f32::min);
    let max = map.values().iter().map(|v| v - min).fold(0.0, f32::max);
    map.map(|v| (v - min) / (1e-7 + max))
}
