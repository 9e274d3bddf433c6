//! Initial weights.

use super::random::{Purpose, Stream};
use crate::load::{LoadError, WeightsSource, load};
use crate::model::Model;
use crate::model::init::Kind;
use crate::network::{Network, Param, ParamKind};
use convscope_engine::kernels::random::normal;
use convscope_engine::{Result, Tensor};
use std::collections::HashSet;

/// Standard deviation of the last dense layer's weights: all classes begin equally likely.
const HEAD: f32 = 0.01;

/// Factor on the first convolution's weights if a batch-norm follows, which cancels the factor. The shorter a filter, the faster
/// a step rotates it (van Laarhoven 2017); filters of full length may keep their initial noise to the end of a run.
const STEM: f32 = 0.25;

/// Initial weights of ResNets: normal with variance 2 / fan-in (He et al. 2015), biases 0, batch-norms 1. The last batch-norm of
/// each residual branch is 0, so that blocks begin as the identity (Goyal et al. 2017). Filters of the first convolution are a
/// quarter as long, if a batch-norm follows.
///
/// # Errors
/// [`Error`](convscope_engine::Error) if parameter sizes are inconsistent, which a built network rules out.
pub fn draw(network: Network, seed: u64) -> Result<Model> {
    let params = network.params();
    let names: HashSet<&str> = params.iter().map(|p| p.name.as_str()).collect();
    let head = network.classifier();
    let stem =
        params.first().zip(params.get(1)).filter(|(_, next)| next.kind == ParamKind::BnWeight).map(|(first, _)| first.layer);
    let value = |(i, p): (usize, &Param)| {
        let constant = |v: f32| vec![v; p.len()];
        let values = match p.kind {
            ParamKind::Weight => {
                let he = (2.0 / p.fan_in as f32).sqrt();
                let deviation = match Some(p.layer) {
                    layer if layer == stem => STEM * he,
                    layer if layer == head => HEAD,
                    _ => he,
                };
                let seed = Stream::new(seed, Purpose::Weights(i)).seed();
                (0..p.len() as u64).map(|at| deviation * normal(seed, at)).collect()
            }
            ParamKind::BnWeight if Kind::of(&p.name, &p.shape, |n| names.contains(n)) == Kind::LastNormWeight => constant(0.0),
            ParamKind::BnWeight | ParamKind::FixedScale | ParamKind::FixedVar | ParamKind::RunningVar => constant(1.0),
            // PyTorch's initialisation.
            ParamKind::Slope => constant(0.25),
            ParamKind::Bias | ParamKind::BnBias | ParamKind::FixedShift | ParamKind::FixedMean | ParamKind::RunningMean => {
                constant(0.0)
            }
        };
        Tensor::from_slice(p.shape.clone(), &values)
    };
    let values = params.iter().enumerate().map(value).collect::<Result<Vec<_>>>()?;
    Model::new(network, values)
}

/// `network` with the weights of `source`, whose network `trained` is the same but for its classes. The last layer is random if
/// the numbers of classes differ.
///
/// # Errors
/// [`LoadError`] if the weights do not fit `trained`.
pub fn transfer(network: Network, trained: Network, source: &WeightsSource, seed: u64) -> std::result::Result<Model, LoadError> {
    let same = network.classes.len() == trained.classes.len();
    let given = load(trained, source)?;
    let mut model = draw(network, seed)?;
    let head = model.network.classifier();
    let params = model.network.params();
    for ((param, new), old) in params.iter().zip(&mut model.params).zip(given.params) {
        if same || Some(param.layer) != head {
            *new = old;
        }
    }
    Ok(model)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::families;

    #[test]
    fn blocks_begin_as_the_identity() {
        let model = draw(families::build("resnet18-w8", Some(3)).unwrap(), 5).unwrap();
        let get = |name: &str| {
            let at = model.network.params().iter().position(|p| p.name == name).unwrap();
            model.params[at].f32().to_vec()
        };
        assert!(get("layer1.0.bn2.weight").iter().all(|v| *v == 0.0));
        assert!(get("layer2.0.downsample.1.weight").iter().all(|v| *v == 1.0));
        let stem = get("conv1.weight");
        let variance = stem.iter().map(|v| v * v).sum::<f32>() / stem.len() as f32;
        assert!((variance * 147.0 / 2.0 / (STEM * STEM) - 1.0).abs() < 0.1, "{variance}");
        assert_ne!(stem, draw(model.network.clone(), 6).unwrap().params[0].f32());
    }

    #[test]
    fn a_new_head_keeps_the_body() {
        let network = |classes| families::build("resnet20-cifar", Some(classes)).unwrap();
        let model = transfer(network(3), network(10), &WeightsSource::Random, 1).unwrap();
        let source = load(network(10), &WeightsSource::Random).unwrap();
        assert_eq!(model.params[0].f32(), source.params[0].f32());
        assert_eq!(model.params.last().unwrap().f32(), [0.0; 3]);
        let whole = transfer(network(10), network(10), &WeightsSource::Random, 1).unwrap();
        assert_eq!(whole.params.last().unwrap().f32(), source.params.last().unwrap().f32());
    }
}
