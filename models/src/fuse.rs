//! Fusing for inference: a convolution with the batch-norm, addition and ReLU that follow it becomes one operation.
//!
//! Batch-norm by running statistics is `x * scale + shift` per channel, so it goes into the weight and bias; the addition of a
//! residual block and the ReLU are done while the sums of the convolution are still in registers. The network stays as it is:
//! the last layer of such a run computes what all of them did, and the others are left out of a pass.

use crate::model::Model;
use crate::network::{LayerId, LayerKind, Network};
use convscope_engine::kernels::{Buffer, DType};
use convscope_engine::{Result, Tensor};
use rayon::prelude::*;

/// A convolution and the layers after it that become one operation.
#[derive(Debug, Clone)]
pub struct FusedRun {
    /// The convolution.
    pub conv: LayerId,
    /// The batch-norm after it and its `eps`, if there is one.
    pub norm: Option<(LayerId, f64)>,
    /// What the convolution reads, then what is added, if anything.
    pub inputs: Vec<LayerId>,
    /// Whether a ReLU ends the run.
    pub relu: bool,
    /// The last layer: the run computes its output.
    pub end: LayerId,
}

/// The runs of layers that inference fuses. The values of layers within a run are not computed any more, except those of
/// `keep`, which end their runs.
pub fn fused_runs(network: &Network, keep: &[LayerId]) -> Vec<FusedRun> {
    let layers = &network.layers;
    let mut taken = vec![false; layers.len()];
    let mut runs = Vec::new();
    for (id, layer) in network.ids() {
        if !matches!(layer.kind, LayerKind::Conv2d(_)) {
            continue;
        }
        let mut run = FusedRun { conv: id, norm: None, inputs: layer.inputs.clone(), relu: false, end: id };
        while let Some(next) = only_reader(network, run.end) {
            let after = &layers[next.0];
            match after.kind {
                _ if keep.contains(&run.end) || taken[next.0] || run.relu => break,
                LayerKind::BatchNorm2d { eps, .. } if run.norm.is_none() && run.inputs.len() == 1 => run.norm = Some((next, eps)),
                LayerKind::Add if after.inputs.len() == 2 && run.inputs.len() == 1 => {
                    run.inputs.extend(after.inputs.iter().filter(|i| **i != run.end));
                }
                LayerKind::Relu => run.relu = true,
                _ => break,
            }
            taken[next.0] = true;
            run.end = next;
        }
        if run.end != id {
            runs.push(run);
        }
    }
    runs
}

/// The layer that reads `id`, if it is the only one and reads it once.
fn only_reader(network: &Network, id: LayerId) -> Option<LayerId> {
    let mut readers = network.ids().flat_map(|(r, layer)| layer.inputs.iter().filter(move |i| **i == id).map(move |_| r));
    let first = readers.next()?;
    readers.next().is_none().then_some(first)
}

/// What the last layer of a fused run computes.
#[derive(Debug, Clone)]
pub(crate) struct Fused {
    pub run: FusedRun,
    /// Weight and bias with the batch-norm in them; `None` if they are made in each pass.
    pub weights: Option<(Tensor, Option<Tensor>)>,
}

impl Model {
    /// The same model for inference, with runs of layers fused as [`fused_runs`] says.
    ///
    /// Numbers differ by rounding from the unfused model's. A model of `f64` (for checks) is left as it is.
    pub fn fused(&self, keep: &[LayerId]) -> Result<Model> {
        let mut model = self.fused_once(keep);
        for fused in model.fused.iter_mut().flatten() {
            fused.weights = Some(self.with_norm(&fused.run)?);
        }
        Ok(model)
    }

    /// As [`Model::fused`], for a single pass: what is made of a layer's weight (the batch-norm in it, what kernels prepare) is
    /// given up when the layer is done. The next layer finds its memory, where fresh pages would cost more than the work itself.
    pub fn fused_once(&self, keep: &[LayerId]) -> Model {
        let mut model = self.clone();
        if self.params.iter().all(|p| p.dtype() == DType::F32) {
            for run in fused_runs(&self.network, keep) {
                let end = run.end.0;
                model.fused[end] = Some(Fused { run, weights: None });
            }
        }
        model
    }

    /// Weight and bias of a run's convolution with those of its batch-norm.
    pub(crate) fn with_norm(&self, run: &FusedRun) -> Result<(Tensor, Option<Tensor>)> {
        let (weight, bias) = match self.layer_params(run.conv) {
            [weight, rest @ ..] => (weight, rest.first()),
            [] => unreachable!("a convolution has a weight"),
        };
        let Some((norm, eps)) = run.norm else {
            return Ok((weight.clone(), bias.cloned()));
        };
        let [gamma, beta, mean, var] = [0, 1, 2, 3].map(|i| self.layer_params(norm)[i].f32());
        let scales: Vec<f64> = gamma.iter().zip(var).map(|(g, v)| f64::from(*g) / (f64::from(*v) + eps).sqrt()).collect();
        let each = weight.len() / scales.len().max(1);
        let mut scaled = Buffer::new(DType::F32, weight.len());
        let channels = scaled.as_mut_slice::<f32>().par_chunks_exact_mut(each.max(1));
        channels.zip(weight.f32().par_chunks_exact(each.max(1))).zip(&scales).for_each(|((to, w), s)| {
            to.iter_mut().zip(w).for_each(|(to, v)| *to = (f64::from(*v) * s) as f32);
        });
        let shift = |c: usize| {
            let bias = bias.map_or(0.0, |b| f64::from(b.f32()[c]));
            ((bias - f64::from(mean[c])) * scales[c] + f64::from(beta[c])) as f32
        };
        let shifts: Vec<f32> = (0..scales.len()).map(shift).collect();
        Ok((Tensor::new(weight.shape().clone(), scaled)?, Some(Tensor::from_slice([shifts.len()], &shifts)?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Source, families, fill, load};
    use convscope_engine::{Rules, Tape};

    fn close(what: &str, got: &Tensor, want: &Tensor) {
        let largest = want.f32().iter().fold(0.0f32, |m, v| m.max(v.abs()));
        let off = got.f32().iter().zip(want.f32()).fold(0.0f32, |m, (a, b)| m.max((a - b).abs()));
        assert!(off <= 1e-4 * largest && largest > 0.0, "{what}: off by {off:e} of {largest:e}");
    }

    /// Logits, a kept layer and the input gradient of networks with and without batch-norm and shortcuts.
    #[test]
    fn a_fused_model_computes_the_same() {
        for name in ["resnet18", "resnet50", "vgg11_bn", "vgg11", "resnet20-cifar", "mobilenetv1_100"] {
            let network = families::build(name, Some(10)).unwrap();
            let model = load(network, &Source::Random).unwrap();
            let [h, w] = model.network.input.min_size.map(|m| m.max(32));
            let kept = model.network.last_conv().unwrap();
            let fused = model.fused(&[kept]).unwrap();
            assert!(fused.fused.iter().any(Option::is_some), "{name}: nothing was fused");
            let pass = |model: &Model| {
                let mut tape = Tape::new();
                let image = Tensor::from_slice([2, 3, h, w], &fill::fill_image("fuse", 2, 3, h, w)).unwrap();
                let run = model.forward(&mut tape, image).unwrap();
                let nodes = tape.nodes().len();
                let input = tape.find(&model.network[LayerId::INPUT].name).unwrap();
                let grads = tape.backward(run.output(), None, &[input], &Rules::default()).unwrap();
                let layer = tape.value(run.layer(kept).unwrap()).unwrap().clone();
                (tape.value(run.output()).unwrap().clone(), layer, grads.of(input).unwrap().clone(), nodes)
            };
            let (plain, short) = (pass(&model), pass(&fused));
            let once = pass(&model.fused_once(&[kept]));
            assert_eq!((once.0.f32(), once.2.f32()), (short.0.f32(), short.2.f32()), "{name} once");
            close(&format!("{name} logits"), &short.0, &plain.0);
            close(&format!("{name} {}", model.network[kept].name), &short.1, &plain.1);
            close(&format!("{name} dx"), &short.2, &plain.2);
            assert!(short.3 < plain.3, "{name}: {} nodes instead of {}", short.3, plain.3);
        }
    }

    #[test]
    fn a_fused_model_is_not_trained() {
        let model = load(families::build("resnet20-cifar", None).unwrap(), &Source::Random).unwrap().fused(&[]).unwrap();
        let mut tape = Tape::new();
        let x = tape.leaf(Tensor::zeros([1, 3, 32, 32], DType::F32), "input");
        let mode = crate::Mode::Training { seed: 0 };
        let error = model.run(&mut tape, LayerId::INPUT, x, model.network.output(), mode).unwrap_err().to_string();
        assert!(error.contains("fused"), "{error}");
    }
}
