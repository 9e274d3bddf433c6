//! Training: it learns, repeats to the bit on any number of threads, and goes on where it was cut off.

use convscope_models::image::{Preprocess, Resize};
use convscope_models::network::{Classes, LayerId, Network};
use convscope_models::train::{
    Augment, ImageFolder, Images, LAST, Method, Photos, Recipe, Resumed, STATE, TrainError, Trainer, draw, transfer,
};
use convscope_models::weights::Checkpoint;
use convscope_models::{WeightsSource, described_network, families, load};
use image::{Rgb, RgbImage};
use std::path::Path;

const CLASSES: [&str; 3] = ["across", "down", "slanting"];

/// Stripes of three directions, in colours that do not depend on the class.
fn write_stripes(dir: &Path) {
    for (class, name) in CLASSES.iter().enumerate() {
        std::fs::create_dir_all(dir.join(name)).unwrap();
        for i in 0..16u32 {
            let phase = (i * i) as f32 * 0.7;
            let picture = RgbImage::from_fn(40, 36, |x, y| {
                let along = [y as f32, x as f32, (x + y) as f32 * 0.7][class];
                let v = 127.0 + 100.0 * (along + phase).sin();
                Rgb([v as u8, (255.0 - v) as u8, (i * 15) as u8])
            });
            picture.save(dir.join(format!("{name}/{i}.png"))).unwrap();
        }
    }
}

fn images(dir: &Path) -> (ImageFolder, Images) {
    read(&ImageFolder::open(dir, 0.25, 0).unwrap())
}

fn read(folder: &ImageFolder) -> (ImageFolder, Images) {
    let read = |files: &[_], memory| Photos::read(files.to_vec(), 36, memory, &|| {}).0;
    // Not all fit into this memory.
    let images = Images { train: read(&folder.train, 40_000), val: read(&folder.val, usize::MAX) };
    (folder.clone(), images)
}

/// Two classes that share one output.
fn one_sigmoid() -> Network {
    let network = families::build("chollet-convnet-w2", Some(2)).unwrap();
    let preprocess = network.preprocess.square(64);
    network.with_preprocess(preprocess)
}

fn network(classes: usize) -> Network {
    let names = CLASSES[..classes].iter().map(|c| c.to_string()).collect();
    let network = families::build("resnet20-cifar-w8", Some(classes));
    let preprocess = Preprocess { resize: Resize::ShortSide(32), crop: Some((32, 32)), ..Preprocess::CIFAR };
    Network { classes: Classes::Named(names), ..network.unwrap() }.with_preprocess(preprocess)
}

fn recipe(method: Method) -> Recipe {
    Recipe {
        epochs: 4,
        batch: 9,
        size: 32,
        start_size: 16,
        method,
        lr: if method == Method::Sgd { 0.05 } else { 0.003 },
        warmup: 0.5,
        ema: 0.8,
        mixup: 0.2,
        cutmix: 0.5,
        augment: Augment { crop: 0.5, flip: true, jitter: 0.2, erase: 0.2 },
        ..Recipe::default()
    }
}

fn run(trainer: &mut Trainer, images: &Images, epochs: usize, workers: usize) {
    for _ in 0..epochs {
        trainer.epoch(images, workers, &mut |_| {}).unwrap();
    }
}

/// Names and bits of every tensor of a run's state.
fn bits(folder: &Path) -> Vec<(String, Vec<u32>)> {
    let file = Checkpoint::open(folder.join(STATE)).unwrap();
    let values = |t: &convscope_models::weights::StoredTensor| t.to_f32().unwrap().iter().map(|v| v.to_bits()).collect();
    file.tensors().iter().map(|t| (t.name.clone(), values(t))).collect()
}

/// Cut off after each epoch, on other numbers of threads, a run ends at the same bits.
#[test]
fn a_resumed_run_is_the_uninterrupted_run() {
    let dir = tempfile::tempdir().unwrap();
    write_stripes(dir.path());
    let (folder, images) = images(dir.path());
    let (_, two) = read(&folder.among(&[0, 1]));
    for (network, images, method) in [
        (network(3), &images, Method::Sgd),
        (network(3), &images, Method::AdamW),
        (one_sigmoid(), &two, Method::Sgd),
        (one_sigmoid(), &two, Method::AdamW),
    ] {
        let size = network.input.height;
        let recipe = || Recipe { size, start_size: size - 16, ..recipe(method) };
        let start = || Trainer::new(draw(network.clone(), 1).unwrap(), recipe(), LayerId::INPUT);
        let [whole, parts] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let mut trainer = start();
        run(&mut trainer, images, 4, 1);
        trainer.save(whole.path()).unwrap();
        start().save(parts.path()).unwrap();
        for threads in [1, 2, 3, 2] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let Resumed(mut trainer) = Resumed::open(parts.path()).unwrap();
                run(&mut trainer, images, 1, threads);
                trainer.save(parts.path()).unwrap();
            });
        }
        assert!(bits(whole.path()) == bits(parts.path()), "{} {method:?}", network.name);
        let Resumed(resumed) = Resumed::open(parts.path()).unwrap();
        assert!(resumed.is_done());
        for (a, b) in trainer.history.iter().zip(&resumed.history) {
            assert_eq!((a.train_loss, a.val_loss, a.val_top1, a.size), (b.train_loss, b.val_loss, b.val_top1, b.size));
        }
    }
}

#[test]
fn it_learns_and_its_file_is_enough() {
    let dir = tempfile::tempdir().unwrap();
    write_stripes(dir.path());
    let (folder, images) = images(dir.path());
    assert_eq!(folder.classes, CLASSES);
    let plain = Augment { crop: 0.7, flip: true, jitter: 0.1, erase: 0.0 };
    let recipe = Recipe { epochs: 30, start_size: 32, mixup: 0.0, cutmix: 0.0, augment: plain, ..recipe(Method::Sgd) };
    let mut trainer = Trainer::new(draw(network(3), 1).unwrap(), recipe, LayerId::INPUT);
    run(&mut trainer, &images, 30, 2);
    let last = trainer.history.last().unwrap();
    assert!(last.val_top1 >= 11.0 / 12.0, "{last:?}");
    trainer.save(dir.path()).unwrap();
    let source = WeightsSource::File(Checkpoint::open(dir.path().join(LAST)).unwrap());
    let described = described_network(&source).unwrap().unwrap();
    assert_eq!(described, network(3));
    load(described, &source).unwrap();

    // Two of the classes, from these weights. Frozen layers stay bit-equal, including batch-norms.
    let model = transfer(network(2), network(3), &source, 5).unwrap();
    let (before, frozen) = (model.params.clone(), model.network.select("layer2").unwrap().layer);
    let only = |photos: &[(std::path::PathBuf, usize)]| {
        let files = photos.iter().filter(|p| p.1 < 2).cloned().collect();
        Photos::read(files, 36, usize::MAX, &|| {}).0
    };
    let two = Images { train: only(&folder.train), val: only(&folder.val) };
    let mut trainer = Trainer::new(model, Recipe { epochs: 6, ..trainer.recipe.clone() }, frozen);
    run(&mut trainer, &two, 6, 1);
    let after = trainer.averaged().unwrap();
    for (param, (old, new)) in after.network.params().iter().zip(before.iter().zip(&after.params)) {
        assert_eq!(old.f32() == new.f32(), param.layer <= frozen, "{}", param.name);
    }
    assert!(trainer.history.last().unwrap().val_top1 >= 0.85);
}

/// Binary cross-entropy of one output, with smoothed and mixed targets.
#[test]
fn one_output_learns_two_classes() {
    let dir = tempfile::tempdir().unwrap();
    write_stripes(dir.path());
    let (_, images) = read(&images(dir.path()).0.among(&[0, 2]));
    let plain = Augment { crop: 0.7, flip: true, jitter: 0.1, erase: 0.0 };
    let recipe = Recipe { epochs: 40, size: 64, start_size: 64, cutmix: 0.0, augment: plain, ..recipe(Method::AdamW) };
    let network = families::build("chollet-convnet-w4", Some(2)).unwrap();
    let preprocess = network.preprocess.square(64);
    let mut trainer = Trainer::new(draw(network.with_preprocess(preprocess), 1).unwrap(), recipe, LayerId::INPUT);
    run(&mut trainer, &images, 40, 2);
    let last = trainer.history.last().unwrap();
    assert!(last.val_top1 >= 7.0 / 8.0 && last.val_loss < 0.5, "{last:?}");
    assert_eq!(last.val_top5, 1.0);
    // The second class is the sigmoid of the only output.
    let model = trainer.averaged().unwrap();
    assert_eq!(model.params.last().unwrap().shape()[..], [1]);
}

#[test]
fn what_cannot_go_on_says_why() {
    let dir = tempfile::tempdir().unwrap();
    write_stripes(dir.path());
    let (_, images) = images(dir.path());
    let wild = Recipe { lr: 1e30, clip: 0.0, warmup: 0.0, ..recipe(Method::Sgd) };
    let mut trainer = Trainer::new(draw(network(3), 1).unwrap(), wild, LayerId::INPUT);
    let error = (0..4).find_map(|_| trainer.epoch(&images, 1, &mut |_| {}).err()).unwrap();
    assert!(matches!(error, TrainError::Diverged { epoch: 1, .. }), "{error}");
    let empty = tempfile::tempdir().unwrap();
    assert!(Resumed::open(empty.path()).unwrap_err().to_string().contains(STATE));
    std::fs::write(empty.path().join(STATE), [0; 100]).unwrap();
    assert_eq!(Resumed::open(empty.path()).unwrap_err().to_string().lines().count(), 1);
}
