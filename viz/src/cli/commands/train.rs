//! `convscope train`: training on an image folder.

use crate::cli::args::{Common, TrainArgs, TrainMethod};
use crate::cli::commands::RunCommand;
use crate::cli::error::CliError;
use crate::cli::invocation::Invocation;
use crate::cli::memory::{PassKind, check_memory, system_bytes};
use crate::cli::output::{OutputFiles, metadata};
use crate::cli::session::{network_and_weights, progress, tells_top5};
use crate::cli::terminal::{self, print, print_json};
use convscope_models::image::Resize;
use convscope_models::labels::Labels;
use convscope_models::network::{Classes, LayerId, Network, Selection};
use convscope_models::train::{
    BEST, Epoch, ImageFolder, Images, Method, Photos, Recipe, Resumed, STATE, Trainer, draw, transfer,
};
use convscope_models::{WeightsSource, families};
use convscope_viz::draw::png::SOFTWARE;
use convscope_viz::draw::{Block, BlockRow, Chart, Figure, Series, Theme};
use serde_json::json;
use std::path::PathBuf;
use std::time::Instant;

/// Memory for photos in bytes if the system does not report its free memory.
const KEPT: usize = 2 << 30;

impl RunCommand for TrainArgs {
    const NAME: &'static str = "train";
    const NUMBERS: bool = false;

    fn run(&self, invocation: &Invocation) -> Result<(), CliError> {
        let (common, options) = (invocation.common, self);
        let quiet = common.quiet || common.json;
        let state = common.out.join(STATE);
        let mut folder = ImageFolder::open(&options.dir, options.validation_split, common.seed)?;
        if let Some(text) = &options.among {
            let classes = Labels::new(folder.classes.iter().cloned()).find_all(text)?;
            folder = folder.among(&classes);
        }
        let mut trainer = if options.resume {
            resume(common, options, &folder)?
        } else if state.is_file() {
            return Err(CliError::usage(format!(
                "{} holds a run: continue with --resume, or choose another -o",
                common.out.display()
            )));
        } else {
            start(common, options, &folder)?
        };
        let Recipe { size, start_size, batch, .. } = trainer.recipe;
        let mut choice = invocation.device.clone();
        for side in [start_size, size] {
            check_memory(&mut choice, &trainer.network().at(side, side)?, batch, PassKind::Training)?;
        }
        trainer.set_context(&invocation.kernels.clone().with_device(choice.device));
        let network = trainer.network();
        std::fs::create_dir_all(&common.out)
            .map_err(|e| CliError::failure(format!("cannot make the folder {}: {e}", common.out.display())))?;
        let images = read(&folder, network, size, quiet)?;
        while !trainer.is_done() {
            let epoch = epoch(&mut trainer, &images, options.workers, quiet)?;
            trainer.save(&common.out)?;
            curves(&trainer, common)?;
            if !quiet {
                terminal::status(line(&epoch, &trainer));
            }
        }
        if common.json {
            return print_json(json!(trainer.history));
        }
        let best = trainer.history.iter().max_by(|a, b| a.val_top1.total_cmp(&b.val_top1).then(b.epoch.cmp(&a.epoch)));
        let best = best.ok_or_else(|| CliError::usage("no epochs"))?;
        let path = common.out.join(BEST);
        print(format!("wrote {}: epoch {}, {}", path.display(), best.epoch, accuracy(best, trainer.network())))
    }
}

/// A new run.
fn start(common: &Common, options: &TrainArgs, folder: &ImageFolder) -> Result<Trainer, CliError> {
    let count = folder.classes.len();
    if count < 2 {
        return Err(CliError::usage(format!("{} has one class only: nothing to distinguish", options.dir.display())));
    }
    let given = match &common.weights {
        Some(_) => Some(network_and_weights(&Common { classes: None, ..common.clone() })?),
        None => None,
    };
    let name = given.as_ref().map(|(network, _)| &network.name).or(common.model.as_ref());
    let name = name.ok_or_else(|| CliError::usage("which network? give one with -m, for example -m resnet18-w32"))?;
    let network = families::build(name, Some(count))?;
    let usual = Recipe { seed: common.seed, size: network.input.height, ..Recipe::default() };
    let adam = Recipe { lr: 1e-3, weight_decay: 0.05, ..usual.clone() };
    let usual = if options.method == Some(TrainMethod::AdamW) { adam } else { usual };
    let recipe = changed(&Recipe { start_size: options.size.unwrap_or(usual.size), ..usual }, options);
    let side = options.eval_size.unwrap_or(recipe.size * 5 / 4);
    let preprocess = network.preprocess.square(side);
    let network = Network { classes: Classes::Named(folder.classes.clone()), ..network }.with_preprocess(preprocess);
    let smallest = recipe.start_size.min(recipe.size);
    network.at(smallest, smallest)?;
    let frozen = match &options.freeze {
        None => LayerId::INPUT,
        Some(text) => match network.select(text)? {
            Selection { layer, .. } if Some(layer) < network.classifier() => layer,
            _ => return Err(CliError::usage(format!("--freeze {text}: nothing would be left to train"))),
        },
    };
    let model = match given {
        Some((trained, Some(source @ (WeightsSource::File(_) | WeightsSource::Imported(_))))) => {
            transfer(network, trained, &source, common.seed)?
        }
        _ => draw(network, common.seed)?,
    };
    Ok(Trainer::new(model, recipe, frozen))
}

/// A resumed run.
fn resume(common: &Common, options: &TrainArgs, folder: &ImageFolder) -> Result<Trainer, CliError> {
    let Resumed(mut trainer) = Resumed::open(&common.out)?;
    let recipe = changed(&trainer.recipe, options);
    // A resumed run may have another number of epochs: its schedules stretch.
    trainer.recipe.epochs = recipe.epochs;
    if recipe != trainer.recipe {
        let reason = "goes on with the recipe it began with (see log.json), but for --epochs: leave out what differs";
        return Err(CliError::usage(format!("--resume: the run in {} {reason}", common.out.display())));
    }
    if trainer.network().classes != Classes::Named(folder.classes.clone()) {
        let (dir, out) = (options.dir.display(), common.out.display());
        return Err(CliError::failure(format!("--resume: {dir} has other classes than the run in {out}")));
    }
    Ok(trainer)
}

/// The recipe, changed by the arguments.
fn changed(recipe: &Recipe, options: &TrainArgs) -> Recipe {
    let mut new = recipe.clone();
    fn set<T, U: Copy + Into<T>>(value: &mut T, typed: Option<U>) {
        if let Some(typed) = typed {
            *value = typed.into();
        }
    }
    set(&mut new.epochs, options.epochs);
    set(&mut new.batch, options.batch);
    set(&mut new.size, options.size);
    set(&mut new.start_size, options.start_size);
    let method = |m| if m == TrainMethod::Sgd { Method::Sgd } else { Method::AdamW };
    set(&mut new.method, options.method.map(method));
    set(&mut new.lr, options.lr);
    set(&mut new.weight_decay, options.weight_decay);
    set(&mut new.warmup, options.warmup);
    set(&mut new.clip, options.clip);
    set(&mut new.ema, options.ema);
    set(&mut new.smoothing, options.smoothing);
    set(&mut new.mixup, options.mixup);
    set(&mut new.cutmix, options.cutmix);
    set(&mut new.augment.crop, options.crop);
    set(&mut new.augment.flip, options.flip);
    set(&mut new.augment.jitter, options.jitter);
    set(&mut new.augment.erase, options.erase);
    new
}

/// All photos, shrunk to the size of training.
fn read(folder: &ImageFolder, network: &Network, size: usize, quiet: bool) -> Result<Images, CliError> {
    let needed = match network.preprocess.resize {
        Resize::ShortSide(side) | Resize::Exact { h: side, .. } => side.max(size),
        Resize::None => size,
    };
    let bar = progress((folder.train.len() + folder.val.len()) as u64, "reading", quiet);
    let mut free = system_bytes("/proc/meminfo", "MemAvailable").map_or(KEPT, |free| free / 2);
    let mut read = |files: &[(PathBuf, usize)]| {
        let (photos, broken) = Photos::read(files.to_vec(), needed, free, &|| bar.inc(1));
        free = free.saturating_sub(photos.bytes());
        // A broken file is reported and skipped.
        broken.iter().for_each(|e| bar.suspend(|| terminal::status(format_args!("skipped: {e}"))));
        photos
    };
    let images = Images { val: read(&folder.val), train: read(&folder.train) };
    bar.finish_and_clear();
    match images.train.is_empty() || images.val.is_empty() {
        true => Err(CliError::failure("no image is left to train or to measure with")),
        false => Ok(images),
    }
}

/// One epoch with a progress bar.
fn epoch(trainer: &mut Trainer, images: &Images, workers: usize, quiet: bool) -> Result<Epoch, CliError> {
    let number = trainer.history.len() + 1;
    let bar = progress(0, &format!("epoch {number}/{}", trainer.recipe.epochs), quiet);
    let start = Instant::now();
    let epoch = trainer.epoch(images, workers, &mut |step| {
        bar.set_length(step.of as u64);
        let rate = (step.done * step.images) as f64 / start.elapsed().as_secs_f64();
        bar.set_message(format!("loss {:.3}, top-1 {:.1} %, {rate:.0} images/s", step.loss, 100.0 * step.top1));
        bar.set_position(step.done as u64);
    });
    bar.finish_and_clear();
    Ok(epoch?)
}

/// Loss and accuracy curves as a picture.
fn curves(trainer: &Trainer, common: &Common) -> Result<(), CliError> {
    let series = |name: &str, value: fn(&Epoch) -> f64| Series {
        name: name.to_string(),
        values: trainer.history.iter().map(|e| value(e) as f32).collect(),
    };
    let loss = vec![series("training", |e| e.train_loss), series("validation", |e| e.val_loss)];
    let mut right = vec![series("training", |e| 100.0 * e.train_top1), series("validation", |e| 100.0 * e.val_top1)];
    if tells_top5(trainer.network().classes.len()) {
        right.push(series("validation, top-5", |e| 100.0 * e.val_top5));
    }
    let charts = [Chart::new("Loss", "epoch", loss)?, Chart::new("Accuracy, %", "epoch", right)?];
    let title = format!("Training · {}", trainer.network().name);
    let Recipe { epochs, batch, seed, .. } = trainer.recipe;
    let page = Figure::new(&title)
        .subtitle("training images are changed, mixed and smoothed: their loss is higher and their accuracy lower than it seems")
        .metadata(format!("{epochs} epochs, batch {batch}, seed {seed} · {SOFTWARE}"))
        .theme(if common.dark { Theme::dark() } else { Theme::light() })
        .stack(&[&BlockRow { blocks: charts.iter().map(|c| c as &dyn Block).collect(), gap: 24 }])?;
    let mut output =
        OutputFiles::new(&Common { quiet: true, ..common.clone() }, metadata(&[("recipe", json!(trainer.recipe))])).fixed();
    output.picture(&["curves"], &title, &page, &[])?;
    output.finish().map(drop)
}

fn line(e: &Epoch, trainer: &Trainer) -> String {
    let Epoch { epoch, size, seconds, train_loss, val_loss, .. } = e;
    let (of, top1, accuracy) = (trainer.recipe.epochs, 100.0 * e.train_top1, accuracy(e, trainer.network()));
    format!(
        "epoch {epoch}/{of}, {size} px, {seconds:.1} s: loss {train_loss:.3}, top-1 {top1:.1} %; validation: loss {val_loss:.3}, {accuracy}"
    )
}

/// Accuracy on the validation split.
fn accuracy(e: &Epoch, network: &Network) -> String {
    let top1 = format!("top-1 {:.2} %", 100.0 * e.val_top1);
    match tells_top5(network.classes.len()) {
        true => format!("{top1}, top-5 {:.2} %", 100.0 * e.val_top5),
        false => top1,
    }
}
