//! One file a command: reads, calls a method, draws, writes.

mod ascent;
mod bench;
mod convert;
mod eval;
mod features;
mod filters;
mod gradcam;
mod inspect;
mod models;
mod predict;
mod report;
mod summary;
mod trace;
mod train;

use super::args::{Args, BenchCommand, Command};
use super::problem::Problem;

/// Runs a command.
pub fn run(args: &Args) -> Result<(), Problem> {
    let common = &args.common;
    let no_numbers = match &args.command {
        Command::Summary { .. } => Some("summary"),
        Command::Train(_) => Some("train"),
        Command::Trace { .. } => Some("trace"),
        Command::Bench { .. } => Some("bench"),
        Command::Models => Some("models"),
        Command::Inspect { .. } => Some("inspect"),
        Command::Convert { .. } => Some("convert"),
        _ => None,
    };
    if let (Some(name), Some(_)) = (no_numbers, &common.raw) {
        return Err(Problem::usage(format!(
            "--raw: {name} writes no numbers; predict, eval, filters, features, ascent, gradcam and report do"
        )));
    }
    match &args.command {
        Command::Summary { image, dot } => summary::run(common, image, *dot),
        Command::Predict { images, image, top, input_gradient, class } => {
            predict::run(common, images, image, *top, input_gradient.then_some(class.as_deref()))
        }
        Command::Train(options) => train::run(common, options),
        Command::Eval(options) => eval::run(common, options),
        Command::Filters { layer, tensor } => filters::run(common, layer.as_deref(), tensor.as_deref()),
        Command::Inspect { file } => inspect::run(common, file.as_deref()),
        Command::Features { path, image, layer, sort, scale, preset } => {
            features::run(common, path, image, &features::Look { layer, sort: *sort, scale, preset: *preset })
        }
        Command::Ascent(options) => ascent::run(common, options),
        Command::Gradcam { path, image, class, top, layer, preset } => {
            let target = match (class, top) {
                (Some(text), _) => gradcam::Target::Named(text),
                (None, Some(k)) => gradcam::Target::Top(*k),
                (None, None) => gradcam::Target::Top(1),
            };
            gradcam::run(common, path, image, target, layer.as_deref(), *preset)
        }
        Command::Report(options) => report::run(common, options),
        Command::Trace { path, image, backward, fused, format } => trace::run(common, path, image, *backward, *fused, *format),
        Command::Bench { command: BenchCommand::Kernels(options) } => bench::kernels::run(common, options),
        Command::Bench { command: BenchCommand::Models(options) } => bench::models::run(common, options),
        Command::Models => models::run(common),
        Command::Convert { from, to, dtype } => convert::run(common, from, to, *dtype),
    }
}
