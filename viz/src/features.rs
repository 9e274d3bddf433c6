//! Feature maps: what each channel of a layer answers to an image.

use crate::error::VizError;
use crate::predict::{Prediction, finite, predictions};
use convscope_models::Model;
use convscope_models::engine::{Tape, Tensor};
use convscope_models::network::LayerId;

/// The output of one layer for one image.
#[derive(Debug, Clone)]
pub struct Features {
    /// The layer.
    pub layer: LayerId,
    /// `[1,c,h,w]`, or `[1,k]` of a dense layer.
    pub values: Tensor,
}

impl Features {
    /// Channels, height, width; a dense layer's units are channels of one pixel.
    pub fn size(&self) -> [usize; 3] {
        match self.values.shape()[..] {
            [_, c, h, w] => [c, h, w],
            _ => [self.values.len(), 1, 1],
        }
    }

    /// One slice of `h * w` numbers a channel.
    pub fn channels(&self) -> impl ExactSizeIterator<Item = &[f32]> {
        let [_, h, w] = self.size();
        self.values.f32().chunks_exact((h * w).max(1))
    }

    /// Mean of each channel.
    pub fn means(&self) -> Vec<f64> {
        self.channels().map(|map| map.iter().map(|v| f64::from(*v)).sum::<f64>() / map.len() as f64).collect()
    }
}

/// The outputs of `layers` for an image `[1,c,h,w]`; with the prediction if the network has classes and had to be run to
/// its end anyway.
pub fn features(model: &Model, image: &Tensor, layers: &[LayerId]) -> Result<(Vec<Features>, Option<Prediction>), VizError> {
    let mut tape = Tape::new();
    let deepest = layers.iter().copied().max().unwrap_or(LayerId::INPUT);
    let end = model.network.output();
    let x = tape.leaf(image.clone(), &model.network[LayerId::INPUT].name);
    // Layers of parallel branches are all read by something deeper, except in the branch of the deepest one: run to the end then.
    let mut run = model.run(&mut tape, LayerId::INPUT, x, deepest, convscope_models::Mode::Inference)?;
    if layers.iter().any(|id| run.layer(*id).is_none()) {
        run = model.run(&mut tape, LayerId::INPUT, x, end, convscope_models::Mode::Inference)?;
    }
    let found = layers
        .iter()
        .filter_map(|id| run.layer(*id).map(|var| (*id, var)))
        .map(|(layer, var)| {
            let values = tape.value(var)?.clone();
            finite(&format!("the output of {}", model.network[layer].name), values.f32())?;
            Ok(Features { layer, values })
        })
        .collect::<Result<Vec<_>, VizError>>()?;
    let predicts = run.layer(end).is_some() && model.network.class_count().is_ok();
    let prediction = if predicts { predictions(model, &tape, &run)?.pop() } else { None };
    Ok((found, prediction))
}
