//! Feature maps: the response of each channel of a layer to an image.

use super::VizError;
use super::predict::{Prediction, finite, predictions};
use convscope_engine::{Tape, Tensor};
use convscope_models::network::LayerId;
use convscope_models::{Model, Run};

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

    /// One slice of `h * w` values per channel.
    pub fn channels(&self) -> impl ExactSizeIterator<Item = &[f32]> {
        let [_, h, w] = self.size();
        self.values.f32().chunks_exact((h * w).max(1))
    }

    /// Mean of each channel.
    pub fn means(&self) -> Vec<f64> {
        self.channels().map(|map| map.iter().map(|v| f64::from(*v)).sum::<f64>() / map.len() as f64).collect()
    }
}

/// The outputs of `layers` for an image `[1,c,h,w]`. The result includes the prediction if the pass reaches the end of a network
/// with classes.
///
/// ```
/// use convscope_viz::features::features;
/// let model = convscope_models::Model::builtin()?;
/// let photo = convscope_viz::Photo::open("sample:cat", &model.network)?;
/// let layer = model.network.select("layer2")?.layer;
/// let (found, prediction) = features(&model, &photo.input, &[layer])?;
/// assert_eq!(found[0].size(), [64, 22, 22]);
/// assert_eq!(found[0].channels().len(), 64);
/// assert!(prediction.is_none(), "the pass ended at the layer");
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`VizError`] if the image does not suit the network, or a value is not finite.
pub fn features(model: &Model, image: &Tensor, layers: &[LayerId]) -> Result<(Vec<Features>, Option<Prediction>), VizError> {
    let mut tape = Tape::new();
    let deepest = layers.iter().copied().max().unwrap_or(LayerId::INPUT);
    let end = model.network.output();
    let x = tape.leaf(image.clone(), &model.network[LayerId::INPUT].name);
    // The deepest layer usually depends on the layers of parallel branches; if not, the pass runs to the end. In an incomplete
    // import, layers without a path to the end get a pass of their own.
    let mut until = |layer| model.run(&mut tape, LayerId::INPUT, x, layer, convscope_models::Mode::Inference);
    let mut runs = vec![until(deepest)?];
    let var = |runs: &[Run], layer| runs.iter().find_map(|run| run.layer(layer));
    for layer in layers {
        for end in [end, *layer] {
            if var(&runs, *layer).is_none() {
                runs.push(until(end)?);
            }
        }
    }
    let found = layers
        .iter()
        .filter_map(|id| var(&runs, *id).map(|var| (*id, var)))
        .map(|(layer, var)| {
            let values = tape.value(var)?.clone();
            finite(&format!("the output of {}", model.network[layer].name), values.f32())?;
            Ok(Features { layer, values })
        })
        .collect::<Result<Vec<_>, VizError>>()?;
    let whole = runs.iter().find(|run| run.layer(end).is_some()).filter(|_| model.network.class_count().is_ok());
    let prediction = whole.map(|run| predictions(model, &tape, run)).transpose()?.and_then(|mut all| all.pop());
    Ok((found, prediction))
}

#[cfg(test)]
mod tests {
    use super::*;
    use convscope_models::network::{Builder, Classes, Conv2d, OutputActivation, Preprocess};
    use convscope_models::{WeightsSource, load};

    /// A network that ends before the junction of its branches.
    #[test]
    fn branches_that_nothing_reads_are_seen() {
        let mut net = Builder::new("cut", [3, 8, 8]);
        let stem = net.conv("stem", LayerId::INPUT, Conv2d::new(4, 3));
        let [left, middle, right] = ["left", "middle", "right"].map(|name| net.conv(name, stem, Conv2d::new(2, 1)));
        let network = net.finish(Classes::None("it was cut".into()), OutputActivation::Softmax, Preprocess::CIFAR).unwrap();
        let model = load(network, &WeightsSource::Random).unwrap();
        let image = Tensor::from_slice([1, 3, 8, 8], &[0.5f32; 192]).unwrap();
        for layers in [&[stem, left, middle][..], &[left, right], &[middle, stem]] {
            let (found, prediction) = features(&model, &image, layers).unwrap();
            assert_eq!(found.iter().map(|f| f.layer).collect::<Vec<_>>(), layers);
            assert!(prediction.is_none());
        }
    }
}
