//! Times of a pass by operation, from its tape.

use super::VizError;
use super::predict::{one_hot, predictions};
use convscope_engine::tape::Node;
use convscope_engine::{Rules, Tape, Tensor};
use convscope_kernels::Call;
use convscope_models::Model;
use convscope_models::network::LayerId;

/// One operation of a pass.
#[derive(Debug, Clone, PartialEq)]
pub struct LayerTime {
    /// The layer, or the last layer of a fused chain.
    pub layer: String,
    /// The operation, such as `Conv2d`.
    pub op: &'static str,
    /// The forward kernels, such as `direct_avx512`.
    pub kernels: Vec<&'static str>,
    /// Forward time in microseconds.
    pub forward: f64,
    /// Backward time to the image in microseconds, without parameter gradients.
    pub backward: f64,
    /// Forward operations of the direct algorithm: two per multiply-add.
    pub flops: u64,
}

impl LayerTime {
    /// Forward rate in GFLOP/s; `None` without multiply-adds.
    pub fn rate(&self) -> Option<f64> {
        (self.flops > 0 && self.forward > 0.0).then(|| self.flops as f64 / self.forward / 1e3)
    }
}

/// The tape of a pass over images `[n,c,h,w]`; with `backward`, also from each image's best logit to the images.
///
/// # Errors
/// [`VizError`] if the image does not suit the network, or a value is not finite.
pub fn record(model: &Model, images: &Tensor, backward: bool) -> Result<Tape, VizError> {
    let mut tape = Tape::new();
    let run = model.forward(&mut tape, images.clone())?;
    if backward {
        let chosen: Vec<usize> = predictions(model, &tape, &run)?.iter().map(|p| p.best()).collect();
        let upstream = one_hot(&tape, &run, &chosen)?;
        let input = tape.find(&model.network[LayerId::INPUT].name)?;
        tape.backward(run.output(), Some(upstream), &[input], &Rules::default())?;
    }
    Ok(tape)
}

/// Times of each operation forward and backward: medians of `passes` passes after a warm-up pass, which packs weights and faults
/// in memory. A device is synchronised after each kernel.
///
/// ```
/// use convscope_viz::timings::layer_times;
/// let model = convscope_models::Model::builtin()?;
/// let photo = convscope_viz::Photo::open("sample:cat", &model.network)?;
/// let times = layer_times(&model, &photo.input, 1)?;
/// assert!(times.iter().any(|t| t.op == "Conv2d" && t.rate().is_some()));
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`VizError`] if the image does not suit the network, or a value is not finite.
pub fn layer_times(model: &Model, images: &Tensor, passes: usize) -> Result<Vec<LayerTime>, VizError> {
    drop(record(model, images, true)?);
    let model = &model.with_context(model.context.clone().with_blocking(true));
    let tapes = (0..passes.max(1)).map(|_| record(model, images, true)).collect::<Result<Vec<_>, _>>()?;
    let micros = |calls: &[Call]| calls.iter().map(|c| c.micros).sum::<f64>() + 0.0; // an empty sum of floats is -0
    let times = tapes[0].nodes().iter().enumerate().filter_map(|(i, node)| {
        let op = node.operation()?;
        let over = |part: fn(&Node) -> &Vec<Call>| median(tapes.iter().map(|tape| micros(part(&tape.nodes()[i]))).collect());
        let mut kernels: Vec<&'static str> = Vec::new();
        for call in &node.forward {
            if !kernels.contains(&call.kernel) {
                kernels.push(call.kernel);
            }
        }
        Some(LayerTime {
            layer: node.label.clone(),
            op,
            kernels,
            forward: over(|n| &n.forward),
            backward: over(|n| &n.backward),
            flops: node.forward.iter().map(|c| c.flops).sum(),
        })
    });
    Ok(times.collect())
}

/// The median, the lower of two; 0 without values.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len().saturating_sub(1) / 2).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_convolution_is_timed_both_ways() {
        let network = convscope_models::families::build("small", Some(3)).unwrap();
        let model = convscope_models::load(network, &convscope_models::WeightsSource::Random).unwrap();
        let image = Tensor::from_slice([1, 3, 64, 64], &vec![0.5f32; 3 * 64 * 64]).unwrap();
        let times = layer_times(&model, &image, 2).unwrap();
        let convs: Vec<_> = times.iter().filter(|t| t.op == "Conv2d").collect();
        assert_eq!(convs.len(), 4, "{times:#?}");
        for t in convs {
            assert!(t.forward > 0.0 && t.backward > 0.0 && t.flops > 0 && t.rate().is_some() && t.kernels.len() == 1, "{t:?}");
        }
        assert_eq!([median(vec![3.0, 1.0, 2.0]), median(vec![2.0, 1.0]), median(vec![])], [2.0, 1.0, 0.0]);
    }
}
