//! A tiny network learns two synthetic classes: `cargo run --release -p convscope-models --example train_tiny`.

use convscope_engine::kernels::random::normal;
use convscope_engine::optim::Optimizer;
use convscope_engine::{Tape, Tensor};
use convscope_models::image::Preprocess;
use convscope_models::network::{Builder, Classes, Conv2d, LayerId, Network, NetworkError, OutputActivation};
use convscope_models::train::{draw, gradients};
use std::error::Error;

/// Height and width of the images.
const SIDE: usize = 16;
/// Images of a batch.
const BATCH: usize = 16;

/// Runs the example.
pub fn main() -> Result<(), Box<dyn Error>> {
    // One convolution, the mean of each feature map, one dense layer: 246 parameters.
    let network = network()?;
    println!("{} parameters", network.parameter_count());
    let mut model = draw(network, 1)?;
    let trained = model.trained();
    let mut optimizer = Optimizer::sgd(0.1, 0.9, 0.0);

    for step in 0..60 {
        let (images, targets) = batch(step)?;
        // Forward, loss and backward; then the optimiser changes the parameters.
        let pass = gradients(&mut model, (LayerId::INPUT, images), targets, &trained, step)?;
        optimizer.step(model.at_mut(&trained).zip(&pass.grads))?;
        if step % 10 == 0 {
            println!("step {step:2}: loss {:.3}", pass.loss);
        }
    }

    // Validation on a new batch.
    let (images, targets) = batch(1000)?;
    let mut tape = Tape::inference();
    let run = model.forward(&mut tape, images)?;
    let correct = tape.value(run.output())?.f32().chunks(2).zip(targets.f32().chunks(2));
    let correct = correct.filter(|(logits, target)| (logits[1] > logits[0]) == (target[1] > target[0])).count();
    println!("validation: {correct} of {BATCH} correct");
    assert!(correct == BATCH, "{correct} of {BATCH} correct");
    Ok(())
}

fn network() -> Result<Network, NetworkError> {
    let mut net = Builder::new("tiny", [3, SIDE, SIDE]);
    let x = net.conv("conv", LayerId::INPUT, Conv2d::new(8, 3).padding(1));
    let x = net.relu("relu", x);
    let x = net.global_avg_pool("avgpool", x);
    let x = net.flatten("flatten", x);
    net.linear("fc", x, 2);
    let classes = Classes::Named(vec!["horizontal".into(), "vertical".into()]);
    net.finish(classes, OutputActivation::Softmax, Preprocess::CIFAR)
}

/// Images `[n, 3, h, w]` of noisy stripes, horizontal or vertical in turns, and target probabilities `[n, 2]`.
fn batch(seed: u64) -> convscope_engine::Result<(Tensor, Tensor)> {
    let stripe = |i: usize| {
        let (image, y, x) = (i / (3 * SIDE * SIDE), i / SIDE % SIDE, i % SIDE);
        let across = if image.is_multiple_of(2) { y } else { x };
        let phase = normal(seed, (1 << 20) + image as u64);
        (2.0 * across as f32 + 3.0 * phase).sin() + 0.3 * normal(seed, i as u64)
    };
    let images: Vec<f32> = (0..BATCH * 3 * SIDE * SIDE).map(stripe).collect();
    let targets: Vec<f32> = (0..BATCH).flat_map(|i| if i.is_multiple_of(2) { [1.0, 0.0] } else { [0.0, 1.0] }).collect();
    Ok((Tensor::from_slice([BATCH, 3, SIDE, SIDE], &images)?, Tensor::from_slice([BATCH, 2], &targets)?))
}
