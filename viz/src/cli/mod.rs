//! The command line: reading, writing and exit codes.

pub mod args;
mod commands;
mod device;
mod error;
mod invocation;
mod memory;
mod output;
mod raw;
mod session;
mod terminal;

use args::Args;
use clap::error::ErrorKind;
use error::CliError;
use invocation::Invocation;
use std::process::ExitCode;

/// Runs what was typed.
pub fn main() -> ExitCode {
    let args = match Args::read() {
        Ok(args) => args,
        // Help goes to stdout if asked for, else to stderr; coloured only on a terminal. Nobody misses it in a closed pipe.
        Err(e) if is_help(e.kind()) => {
            let _ = e.print();
            return ExitCode::from(if e.use_stderr() { 2 } else { 0 });
        }
        Err(e) => return end(&CliError::usage(one_line(&e))),
    };
    // On a thread of the pool: from outside, each kernel would put the caller to sleep and have it woken.
    let run = |invocation: Invocation| invocation.kernels.install(|| commands::run(&args.command, &invocation));
    match Invocation::prepare(&args.common).and_then(run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => end(&error),
    }
}

fn is_help(kind: ErrorKind) -> bool {
    use ErrorKind::{DisplayHelp, DisplayHelpOnMissingArgumentOrSubcommand, DisplayVersion};
    matches!(kind, DisplayHelp | DisplayHelpOnMissingArgumentOrSubcommand | DisplayVersion)
}

fn end(error: &CliError) -> ExitCode {
    terminal::error(&error.message);
    ExitCode::from(error.code)
}

/// clap's report in one line: the error and its hint, else the help of the command that was typed.
fn one_line(e: &clap::Error) -> String {
    let text = e.render().to_string();
    let usage = text.lines().find_map(|line| line.trim().strip_prefix("Usage:")).unwrap_or("convscope");
    let command: Vec<&str> = usage.split_whitespace().take_while(|word| !word.starts_with(['[', '<', '-'])).collect();
    let mut lines = text
        .lines()
        .map(str::trim)
        .filter(|l| !l.is_empty() && !l.starts_with("Usage:") && !l.starts_with("For more information"))
        // No file of anybody has the name of a misspelt option.
        .filter(|l| !l.contains("use '-- "));
    let first = lines.next().unwrap_or("wrong arguments").trim_start_matches("error: ").to_string();
    let rest: Vec<&str> = lines.take(4).collect();
    let hint = if rest.is_empty() { format!("see {} --help", command.join(" ")) } else { rest.join("; ") };
    format!("{first} ({hint})")
}
