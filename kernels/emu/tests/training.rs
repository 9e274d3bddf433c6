//! A step of training stays on the device: parameters, gradients, statistics, the optimiser's memory and the moving average.
#![cfg(emulated)]

use convscope_emu::take_downloads;
use convscope_kernels::Context;
use convscope_models::families;
use convscope_models::image::{Preprocess, Resize};
use convscope_models::network::LayerId;
use convscope_models::train::{Images, Photos, Recipe, Trainer, draw};
use std::path::Path;

const CLASSES: usize = 2;
const BATCH: usize = 2;

/// One photo under several classes.
fn photos(count: usize) -> Photos {
    let photo = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/builtin/coffee.jpg");
    let (photos, broken) = Photos::read((0..count).map(|i| (photo.clone(), i % CLASSES)).collect(), 16, usize::MAX, &|| {});
    assert!(broken.is_empty(), "{broken:?}");
    photos
}

#[test]
fn a_step_downloads_its_loss_and_its_logits() {
    let Some(device) = convscope_emu::device() else { return };
    let images = Images { train: photos(3 * BATCH), val: photos(1) };
    let network = families::build("resnet20-cifar-w8", Some(CLASSES)).unwrap();
    let network =
        network.with_preprocess(Preprocess { resize: Resize::ShortSide(16), crop: Some((16, 16)), ..Preprocess::CIFAR });
    // Every gradient is clipped.
    let recipe = Recipe { epochs: 1, batch: BATCH, size: 16, start_size: 16, clip: 1e-3, ema: 0.9, ..Recipe::default() };
    let mut trainer = Trainer::new(draw(network, 1).unwrap(), recipe, LayerId::INPUT);
    trainer.set_context(&Context::default().with_device(device));
    take_downloads();
    let mut steps = Vec::new();
    trainer.epoch(&images, 1, &mut |_| steps.push(take_downloads())).unwrap();
    // Accuracy is counted from the logits.
    let (loss, logits) = (4, 4 * BATCH * CLASSES);
    assert_eq!(steps, [[loss, logits]; 3], "bytes of each download of each step");
}
