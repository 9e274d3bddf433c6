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
use super::error::CliError;
use super::invocation::Invocation;
use super::raw::RawFormat;

/// A command with its options.
trait RunCommand {
    /// Name on the command line.
    const NAME: &'static str;
    /// Whether `--raw` is supported.
    const NUMBERS: bool;

    /// Whether `--raw` holds one tensor, whatever the network is.
    fn has_one_tensor(&self) -> bool {
        false
    }

    fn run(&self, invocation: &Invocation) -> Result<(), CliError>;
}

/// Runs the given command.
pub fn run(command: &Command, invocation: &Invocation) -> Result<(), CliError> {
    match command {
        Command::Summary(options) => checked(options, invocation),
        Command::Predict(options) => checked(options, invocation),
        Command::Train(options) => checked(options, invocation),
        Command::Eval(options) => checked(options, invocation),
        Command::Filters(options) => checked(options, invocation),
        Command::Inspect(options) => checked(options, invocation),
        Command::Features(options) => checked(options, invocation),
        Command::Ascent(options) => checked(options, invocation),
        Command::Gradcam(options) => checked(options, invocation),
        Command::Report(options) => checked(options, invocation),
        Command::Trace(options) => checked(options, invocation),
        Command::Bench(BenchCommand::Kernels(options)) => checked(options, invocation),
        Command::Bench(BenchCommand::Models(options)) => checked(options, invocation),
        Command::Models(options) => checked(options, invocation),
        Command::Convert(options) => checked(options, invocation),
    }
}

fn checked<C: RunCommand>(command: &C, invocation: &Invocation) -> Result<(), CliError> {
    if !C::NUMBERS && invocation.common.raw.is_some() {
        return Err(CliError::usage(format!(
            "--raw: {} writes no raw values; predict, eval, filters, features, ascent, gradcam and report do",
            C::NAME
        )));
    }
    if let Some(path) = &invocation.common.raw {
        let format = RawFormat::of(path)?;
        if format == RawFormat::Npy && !command.has_one_tensor() {
            let path = path.display();
            return Err(CliError::usage(format!("{path}: .npy holds one tensor, and {} writes several: name it .npz", C::NAME)));
        }
    }
    command.run(invocation)
}
