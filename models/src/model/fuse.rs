//! Fusion of adjacent layers into one operation.
//!
//! At inference, a convolution takes in the batch-norm, addition and ReLU after it. A batch-norm by running statistics is `x *
//! scale + shift` per channel, so it folds into weight and bias; the residual addition and the ReLU are the epilogue of the
//! convolution. In training, a batch-norm needs the statistics of a whole batch first, so it takes in the addition and ReLU after
//! it. The network stays the same: the last layer of a [`Chain`] computes the fused operation, and a pass skips the others.

use crate::model::Model;
use crate::network::{LayerId, LayerKind, Network};
use convscope_engine::kernels::{Buffer, DType};
use convscope_engine::{Result, Tensor, Unary};
use rayon::prelude::*;

/// Adjacent layers, each the only reader of the one before it.
#[derive(Debug, Clone)]
pub struct Chain {
    /// The first layer: a convolution or a batch-norm.
    pub first: LayerId,
    /// A batch-norm after a convolution.
    pub norm: Option<LayerId>,
    /// Input of the first layer, then the other addend if there is an addition.
    pub inputs: Vec<LayerId>,
    /// Whether a ReLU is last.
    pub relu: bool,
}

/// An inference chain, which begins with a convolution.
#[derive(Debug, Clone)]
pub(crate) struct Fused {
    pub chain: Chain,
    /// Weight and bias with the batch-norm folded in; `None` if each pass folds it anew.
    pub weights: Option<(Tensor, Option<Tensor>)>,
}

impl Network {
    /// For each layer, the chain that ends there, if it has more than one layer. Chains begin with layers that satisfy `first`. A
    /// layer of `keep` can only be the last of a chain.
    pub fn chains(&self, first: fn(&LayerKind) -> bool, keep: &[LayerId]) -> Vec<Option<Chain>> {
        let mut chains = vec![None; self.layers.len()];
        let mut taken = vec![false; self.layers.len()];
        for (id, layer) in self.ids().filter(|(_, layer)| first(&layer.kind)) {
            let is_conv = matches!(layer.kind, LayerKind::Conv2d(_));
            let mut chain = Chain { first: id, norm: None, inputs: layer.inputs.clone(), relu: false };
            let mut end = id;
            while let Some(next) = self.only_reader(end) {
                let after = &self[next];
                let alone = chain.inputs.len() == 1;
                match after.kind {
                    _ if keep.contains(&end) || taken[next.0] || chain.relu => break,
                    LayerKind::BatchNorm2d { .. } | LayerKind::FrozenBatchNorm2d { .. } if end == id && is_conv => {
                        chain.norm = Some(next);
                    }
                    LayerKind::Add if after.inputs.len() == 2 && alone => {
                        chain.inputs.extend(after.inputs.iter().filter(|i| **i != end));
                    }
                    LayerKind::Activation(Unary::Relu) => chain.relu = true,
                    _ => break,
                }
                taken[next.0] = true;
                end = next;
            }
            if end != id {
                chains[end.0] = Some(chain);
            }
        }
        chains
    }

    /// The only reader of `id`, if it reads it once.
    fn only_reader(&self, id: LayerId) -> Option<LayerId> {
        let mut readers = self.ids().flat_map(|(r, layer)| layer.inputs.iter().filter(move |i| **i == id).map(move |_| r));
        let first = readers.next()?;
        readers.next().is_none().then_some(first)
    }
}

impl Model {
    /// This model for inference, with fused chains. Values inside a fused chain are not available afterwards. A layer listed in
    /// `keep` ends its chain, so its value is.
    ///
    /// Results differ from the unfused model's by rounding. A model of `f64` is not fused.
    ///
    /// # Errors
    /// An [engine error](convscope_engine::Error) if a folded weight cannot be allocated.
    pub fn fused(&self, keep: &[LayerId]) -> Result<Model> {
        let mut model = self.fused_once(keep);
        for fused in model.fused.iter_mut().flatten() {
            fused.weights = Some(self.with_norm(&fused.chain)?);
        }
        Ok(model)
    }

    /// As [`Model::fused`], for a single pass. Folded and transformed weights are freed after their layer, so the next layer
    /// reuses their memory; fresh pages would cost more than the folding.
    pub fn fused_once(&self, keep: &[LayerId]) -> Model {
        let mut model = self.clone();
        if self.params.iter().all(|p| p.dtype() == DType::F32) {
            let chains = self.network.chains(|kind| matches!(kind, LayerKind::Conv2d(_)), keep);
            for (fused, chain) in model.fused.iter_mut().zip(chains) {
                *fused = chain.map(|chain| Fused { chain, weights: None });
            }
        }
        model
    }

    /// Weight and bias of a convolution with the following batch-norm folded in.
    pub(crate) fn with_norm(&self, chain: &Chain) -> Result<(Tensor, Option<Tensor>)> {
        let (weight, bias) = match self.layer_params(chain.first) {
            [weight, rest @ ..] => (weight, rest.first()),
            [] => unreachable!("a convolution has a weight"),
        };
        let Some(norm) = chain.norm else {
            return Ok((weight.clone(), bias.cloned()));
        };
        let (LayerKind::BatchNorm2d { eps, .. } | LayerKind::FrozenBatchNorm2d { eps, .. }) = self.network[norm].kind else {
            unreachable!("chains said so")
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
    use crate::model::init::fill_image;
    use crate::{WeightsSource, families, load};
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
            let model = load(network, &WeightsSource::Random).unwrap();
            let [h, w] = model.network.input.min_size.map(|m| m.max(32));
            let kept = model.network.last_conv().unwrap();
            let fused = model.fused(&[kept]).unwrap();
            assert!(fused.fused.iter().any(Option::is_some), "{name}: nothing was fused");
            let pass = |model: &Model| {
                let mut tape = Tape::new();
                let image = Tensor::from_slice([2, 3, h, w], &fill_image("fuse", 2, 3, h, w)).unwrap();
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

    /// Loss, gradients of all parameters and new running statistics of a training step with and without fusing.
    #[test]
    fn a_training_step_fused_is_the_same() {
        for name in ["resnet20-cifar", "resnet18"] {
            let model = load(families::build(name, Some(10)).unwrap(), &WeightsSource::Random).unwrap().cast(DType::F64);
            let step = |fused: bool| {
                let [h, w] = model.network.input.min_size.map(|m| m.max(32));
                let image: Vec<f64> = fill_image("train", 2, 3, h, w).into_iter().map(f64::from).collect();
                let mut tape = Tape::new();
                let x = tape.leaf(Tensor::from_slice([2, 3, h, w], &image).unwrap(), "");
                let target = tape.leaf(Tensor::full([2, 10], DType::F64, 0.1), "");
                let (until, mode) = (model.network.output(), crate::Mode::Training { seed: 0 });
                let run = match fused {
                    true => model.run(&mut tape, LayerId::INPUT, x, until, mode),
                    false => model.run_chains(&mut tape, LayerId::INPUT, x, until, mode, &vec![None; model.network.layers.len()]),
                }
                .unwrap();
                let (loss, trained) = (tape.cross_entropy(run.output(), target).unwrap(), model.trained());
                let wants: Vec<_> = trained.iter().map(|i| run.params()[*i].unwrap()).collect();
                let grads = tape.backward(loss, None, &wants, &Rules::default()).unwrap();
                let mut after = model.clone();
                after.update_statistics(&tape, &run).unwrap();
                let grads = grads.iter().map(|(_, grad)| grad.clone());
                let numbers: Vec<_> = [tape.value(loss).unwrap().clone()].into_iter().chain(grads).chain(after.params).collect();
                (numbers, tape.nodes().iter().filter(|n| n.operation().is_some()).count())
            };
            let (fused, plain) = (step(true), step(false));
            let norms = model.network.layers.iter().filter(|l| matches!(l.kind, LayerKind::BatchNorm2d { .. })).count();
            assert!(fused.1 + norms / 2 < plain.1, "{name}: {} nodes instead of {}", fused.1, plain.1);
            for (i, (got, want)) in fused.0.iter().zip(&plain.0).enumerate() {
                close(&format!("{name} {i}"), &got.cast(DType::F32), &want.cast(DType::F32));
            }
        }
    }

    /// A layer inside a chain is available as the end or the start of a run.
    #[test]
    fn a_training_run_begins_and_ends_within_chains() {
        let model = load(families::build("resnet20-cifar", None).unwrap(), &WeightsSource::Random).unwrap();
        let id = |name: &str| model.network.find(name).unwrap();
        let mode = crate::Mode::Training { seed: 0 };
        let mut tape = Tape::new();
        let x = tape.leaf(Tensor::from_slice([2, 3, 32, 32], &fill_image("ends", 2, 3, 32, 32)).unwrap(), "");
        let norm = model.run(&mut tape, LayerId::INPUT, x, id("bn1"), mode).unwrap();
        assert!(tape.value(norm.output()).unwrap().f32().iter().any(|v| *v < 0.0), "no ReLU yet");
        let rest = model.run(&mut tape, id("bn1"), norm.output(), id("layer1.0.bn1"), mode).unwrap();
        let whole = model.run(&mut tape, LayerId::INPUT, x, id("layer1.0.bn1"), mode).unwrap();
        let value = |run: &crate::Run| tape.value(run.output()).unwrap().clone();
        close("the end", &value(&rest), &value(&whole));
        assert!(whole.layer(id("bn1")).is_none() && whole.layer(id("relu")).is_some());
    }

    #[test]
    fn a_fused_model_is_not_trained() {
        let model = load(families::build("resnet20-cifar", None).unwrap(), &WeightsSource::Random).unwrap().fused(&[]).unwrap();
        let mut tape = Tape::new();
        let x = tape.leaf(Tensor::zeros([1, 3, 32, 32], DType::F32), "input");
        let mode = crate::Mode::Training { seed: 0 };
        let error = model.run(&mut tape, LayerId::INPUT, x, model.network.output(), mode).unwrap_err().to_string();
        assert!(error.contains("fused"), "{error}");
    }
}
