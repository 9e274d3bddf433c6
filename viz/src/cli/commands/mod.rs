//! One file per command: it reads, calls a method, draws and writes.

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

use super::args::{BenchCommand, Command};
use super::context::Context;
use super::error::CliError;

/// A command with its options.
trait Run {
    /// Name on the command line.
    const NAME: &'static str;
    /// Whether `--raw` is supported.
    const NUMBERS: bool;

    fn run(&self, context: &Context) -> Result<(), CliError>;
}

/// Runs the given command.
pub fn run(command: &Command, context: &Context) -> Result<(), CliError> {
    match command {
        Command::Summary(options) => checked(options, context),
        Command::Predict(options) => checked(options, context),
        Command::Train(options) => checked(options, context),
        Command::Eval(options) => checked(options, context),
        Command::Filters(options) => checked(options, context),
        Command::Inspect(options) => checked(options, context),
        Command::Features(options) => checked(options, context),
        Command::Ascent(options) => checked(options, context),
        Command::Gradcam(options) => checked(options, context),
        Command::Report(options) => checked(options, context),
        Command::Trace(options) => checked(options, context),
        Command::Bench(BenchCommand::Kernels(options)) => checked(options, context),
        Command::Bench(BenchCommand::Models(options)) => checked(options, context),
        Command::Models(options) => checked(options, context),
        Command::Convert(options) => checked(options, context),
    }
}

fn checked<C: Run>(command: &C, context: &Context) -> Result<(), CliError> {
    if !C::NUMBERS && context.common.raw.is_some() {
        return Err(CliError::usage(format!(
            "--raw: {} writes no raw values; predict, eval, filters, features, ascent, gradcam and report do",
            C::NAME
        )));
    }
    command.run(context)
}
