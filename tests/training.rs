//! The engine learns: a small network separates classes that differ only in convolution features, with the same bits each time.

use convscope_models::engine::Tensor;
use convscope_models::engine::kernels::random;
use convscope_models::engine::optim::Optimizer;
use convscope_models::families::{SmallConfig, small};
use convscope_models::network::{Classes, LayerId};
use convscope_models::train::gradients;
use convscope_models::{Model, WeightsSource, load};

const SIDE: usize = 12;

/// Stripes that run across, down or along the diagonal, with noise and a random phase: `[n,3,12,12]` and one-hot targets `[n,3]`.
fn batch(n: usize, seed: u64) -> (Tensor, Tensor, Vec<usize>) {
    let mut images = Vec::new();
    let (mut targets, mut classes) = (Vec::new(), Vec::new());
    for i in 0..n as u64 {
        let class = (random::philox(seed, i)[0] % 3) as usize;
        let phase = 6.3 * random::uniform(seed + 1, i);
        for c in 0..3u64 {
            for y in 0..SIDE {
                for x in 0..SIDE {
                    let along = [y as f32, x as f32, (x + y) as f32 * 0.7][class];
                    let at = ((i * 3 + c) * SIDE as u64 + y as u64) * SIDE as u64 + x as u64;
                    images.push((1.6 * along + phase).sin() + 0.3 * random::normal(seed + 2, at));
                }
            }
        }
        targets.extend((0..3).map(|k| if k == class { 1.0f32 } else { 0.0 }));
        classes.push(class);
    }
    let images = Tensor::from_slice([n, 3, SIDE, SIDE], &images).unwrap();
    (images, Tensor::from_slice([n, 3], &targets).unwrap(), classes)
}

fn train(steps: u64) -> (Model, f64) {
    let config = SmallConfig {
        input: [3, SIDE, SIDE],
        channels: vec![8, 16],
        dense: vec![16],
        classes: Classes::Count(3),
        ..SmallConfig::default()
    };
    let mut model = load(small(&config).unwrap(), &WeightsSource::Random).unwrap();
    let mut optimizer = Optimizer::sgd(0.05, 0.9, 1e-4);
    let trained = model.trained();
    let mut last = f64::INFINITY;
    for step in 0..steps {
        let (images, targets, _) = batch(16, 10 + 3 * step);
        let found = gradients(&mut model, (LayerId::INPUT, images), targets, &trained, step).unwrap();
        optimizer.step(model.at_mut(&trained).zip(&found.grads)).unwrap();
        last = found.loss;
    }
    (model, last)
}

#[test]
fn a_small_network_learns_stripes() {
    let (model, loss) = train(150);
    let (images, _, classes) = batch(200, 999_999);
    // Inference uses the running statistics that training gathered.
    let predictions = convscope_viz::predict::predict(&model, &images).unwrap();
    let right = predictions.iter().zip(&classes).filter(|(p, c)| p.best() == **c).count();
    println!("last loss {loss:.3}, {right} of 200 right");
    assert!(right >= 190, "{right} of 200 right, last loss {loss}");
}

#[test]
fn training_repeats_to_the_bit() {
    let bits = |m: &Model| m.params.iter().flat_map(|t| t.f32().iter().map(|v| v.to_bits())).collect::<Vec<u32>>();
    assert_eq!(bits(&train(3).0), bits(&train(3).0));
}
