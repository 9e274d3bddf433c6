//! Work that repeats is started as one, and gives the same bits.

use convscope_kernels::random::normal;
use convscope_kernels::{Context, cuda};
use convscope_models::engine::{Rules, Tape, Tensor};
use convscope_models::{Model, WeightsSource, families, load};

/// Logits and the image's gradient of the first logit.
fn pass(model: &Model, seed: u64, size: usize) -> [Vec<f32>; 2] {
    let values: Vec<f32> = (0..3 * size * size).map(|i| normal(seed, i as u64)).collect();
    let mut tape = Tape::new();
    let run = model.forward(&mut tape, Tensor::from_slice([1, 3, size, size], &values).unwrap()).unwrap();
    let logits = tape.value(run.output()).unwrap().f32().to_vec();
    let one_hot: Vec<f32> = (0..logits.len()).map(|i| if i == 0 { 1.0 } else { 0.0 }).collect();
    let upstream = Tensor::from_slice([1, logits.len()], &one_hot).unwrap();
    let image = tape.find("input").unwrap();
    let grads = tape.backward(run.output(), Some(upstream), &[image], &Rules::default()).unwrap();
    [logits, grads.iter().next().unwrap().1.f32().to_vec()]
}

#[test]
fn what_repeats_is_started_as_one_and_gives_the_same_bits() {
    let Some(device) = convscope_emu::device() else { return };
    let queue = cuda::queue(device).unwrap();
    let mut model = load(families::build("resnet20-cifar", None).unwrap(), &WeightsSource::Random).unwrap();
    model.context = Context::default().with_device(device);
    // Other numbers each time; then others of another size in between; then the first size again.
    let passes = [(1, 8), (2, 8), (3, 8), (4, 8), (5, 12), (6, 8)];
    let one_by_one = passes.map(|(seed, size)| pass(&model, seed, size));
    assert_eq!(queue.replays(), 0, "nothing repeats where nobody says so");

    let mut replays = Vec::new();
    let together = passes.map(|(seed, size)| {
        let found = cuda::capture(device, || pass(&model, seed, size));
        replays.push(queue.replays());
        found
    });
    assert!(together == one_by_one, "other bits");
    // The first pass is seen, and the pool reaches its order; then forward and backward are one each.
    assert!(replays[3] >= replays[2] + 2, "{replays:?}");
    assert_eq!(replays[4], replays[3], "another size is other work: {replays:?}");
    assert!(replays[5] >= replays[4] + 2, "what was done before is remembered: {replays:?}");
    println!("graphs started after each of {} passes: {replays:?}", passes.len());
    println!("skipped on a real GPU: graphs that the driver makes");
}
