//! `convscope report`: one page about a network and a photo.
//!
//! Cost: one pass for the prediction and the feature maps, one with a backward pass per class of Grad-CAM, a few for the times,
//! and gradient ascent with `--steps` forward and backward passes for each of `--channels` channels per stage (up to that stage)
//! and for each class. The channels of a stage form a batch, as do the classes.

mod ascents;
mod heat;
mod maps;

use crate::cli::args::ReportArgs;
use crate::cli::commands::RunCommand;
use crate::cli::error::CliError;
use crate::cli::invocation::Invocation;
use crate::cli::memory::PassKind;
use crate::cli::output::{OutputFiles, command_line};
use crate::cli::session::{Session, progress};
use crate::cli::terminal::{self, print_json};
use convscope_engine::Tensor;
use convscope_models::builtin::SAMPLES;
use convscope_viz::ascent::{Options, Preset};
use convscope_viz::draw::png::SOFTWARE;
use convscope_viz::draw::resize::fit;
use convscope_viz::features::features;
use convscope_viz::predict::Prediction;
use convscope_viz::report::{Class, Picture, Report, Timings};
use convscope_viz::timings::layer_times;
use convscope_viz::{default_layers, features};
use image::RgbImage;
use serde_json::json;
use std::path::Path;

/// Number of classes in the prediction.
const TOP: usize = 5;
/// Number of timed passes.
const PASSES: usize = 5;
/// Maximum side of photos in pixels.
const PHOTO: u32 = 480;

impl RunCommand for ReportArgs {
    const NAME: &'static str = "report";
    const NUMBERS: bool = true;

    fn run(&self, invocation: &Invocation) -> Result<(), CliError> {
        let (common, args) = (invocation.common, self);
        let mut session = Session::open(invocation)?;
        let photographed = session.photo(&args.path, &args.image, PassKind::Recorded)?;
        let input = &photographed.photo;
        let network = session.network();
        let [h, w] = input.size();
        let path = args.path.to_string_lossy();
        let name = terminal::one_line(args.path.file_name().map_or_else(|| path.clone(), |name| name.to_string_lossy()));
        let photo = shown(&input.shown)?;
        let mut output = OutputFiles::new(common, session.metadata(&[("image", json!(path))]));

        let (prediction, heat) = heat::heat(&session, args, &input.input, &photo, &mut output)?;
        let classes: Vec<Class> = prediction.top(TOP).into_iter().map(|c| class(&session, &prediction, c)).collect();

        let shaped = photographed.at(network);
        let (stages, waypoints) = (default_layers::stages(&shaped), default_layers::waypoints(&shaped));
        let layers: Vec<_> = stages.iter().chain(waypoints.iter().filter(|id| !stages.contains(id))).copied().collect();
        let (found, _) = features(&session.model.fused_once(&layers), &input.input, &layers)?;
        let maps = waypoints.iter().filter_map(|id| found.iter().find(|f| f.layer == *id));
        let maps = maps.map(|f| maps::maps(&session, f, &name)).collect::<Result<Vec<_>, _>>()?;

        let options = Options { steps: args.steps, seed: common.seed, ..Preset::Default.options(network) };
        let together = options.batch.min(args.channels.max(heat.maps.len()));
        session.check_memory(options.size, together, PassKind::Recorded)?;
        let network = session.network();
        let chosen: Vec<(&features::Features, Vec<usize>)> = stages
            .iter()
            .filter_map(|id| found.iter().find(|f| f.layer == *id))
            .map(|f| (f, strongest(&f.means(), args.channels)))
            .collect();
        let pictures = heat.maps.len() + chosen.iter().map(|(_, channels)| channels.len()).sum::<usize>();
        let bar = progress((pictures * options.steps) as u64, "ascent", common.quiet || common.json);
        let mut runner = ascents::AscentRunner { session: &session, options: &options, bar: &bar, output: &mut output };
        let excited = runner.classes(&heat.maps)?;
        let stages = chosen.iter().map(|(f, channels)| runner.stage(f, channels, &name)).collect::<Result<Vec<_>, _>>()?;
        bar.finish_and_clear();

        let timings = match args.no_timings {
            true => None,
            false => {
                let layers = layer_times(&session.model.fused(&[])?, &input.input, PASSES)?;
                Some(Timings { layers, passes: PASSES, threads: rayon::current_num_threads() })
            }
        };
        let page = Report {
            network: network.name.clone(),
            weights: session.weights.clone(),
            image: name.clone(),
            command: terminal::one_line(command_line()),
            software: SOFTWARE.into(),
            seed: common.seed,
            notices: notices(&session),
            photo: Picture::new(photo, format!("The photo {name} as the network sees it, {w} by {h} pixels"))?,
            output_activation: network.output_activation,
            class_count: prediction.logits.len(),
            classes,
            excited,
            stages,
            steps: args.steps,
            filters: maps::filters(&session)?,
            maps,
            summary: network.summary(h, w)?,
            timings,
            heat,
        };
        output.numbers("logits", Tensor::from_slice([1, prediction.logits.len()], &prediction.logits)?);
        // The page of the default photo has the plain name; a page of one's own photo names it.
        let stem = args.path.file_stem().unwrap_or_default().to_string_lossy();
        let subject = if args.path == Path::new(SAMPLES[0].name) { "" } else { &*stem };
        output.page(&["report", subject], &page.html().map_err(|e| CliError::failure(format!("the page: {e}")))?);
        let written = output.finish()?;
        if common.json {
            let row = |c: &Class| json!({"index": c.index, "name": c.name, "probability": c.probability, "logit": c.logit});
            let top: Vec<_> = page.classes.iter().map(row).collect();
            let explained: Vec<_> = page.heat.maps.iter().map(|m| row(&m.class)).collect();
            print_json(format!(
                "{:#}",
                json!({"image": path, "top": top, "layer": page.heat.layer, "explained": explained, "pages": written})
            ))?;
        }
        Ok(())
    }
}

/// The photo at a size for the page; tiny photos keep sharp pixels.
fn shown(photo: &RgbImage) -> Result<RgbImage, CliError> {
    let (w, h) = photo.dimensions();
    let as_it_is = w.min(h) >= 64 && w.max(h) <= PHOTO;
    Ok(if as_it_is { photo.clone() } else { fit(photo, PHOTO, PHOTO)? })
}

fn class(session: &Session, prediction: &Prediction, index: usize) -> Class {
    let (logit, probability) = (prediction.logits[index], prediction.probabilities[index]);
    Class { name: session.class_name(index), index, is_numbered: session.is_numbered(), logit, probability }
}

/// The channels of the largest means, largest first; ties go to the lower index.
fn strongest(means: &[f64], count: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..means.len()).collect();
    order.sort_by(|a, b| means[*b].total_cmp(&means[*a]));
    order.truncate(count);
    order
}

/// Warnings about the network and its weights.
fn notices(session: &Session) -> Vec<String> {
    let random = session.weights == "random";
    let text = "The weights are random: this network has learnt nothing, and whatever looks like sense below is chance or the photo's own structure.";
    random.then(|| text.to_string()).into_iter().collect()
}
