//! `convscope bench kernels`: the kernels on real layers, verified, timed and compared with the machine's limits.

mod compare;
mod plot;
mod problems;
mod report;

use super::table;
use crate::cli::args::BenchKernelsArgs;
use crate::cli::commands::RunCommand;
use crate::cli::error::CliError;
use crate::cli::invocation::Invocation;
use crate::cli::session::progress;
use crate::cli::terminal::{print, print_json, print_table};
use convscope_kernels::{Device, peak};
use convscope_models::families;
use convscope_models::files::Pending;
use convscope_models::network::{Network, NetworkError};
use problems::{ProblemFilter, problems};
use report::MeasuredProblem;
pub use report::machine;
use serde_json::json;
use std::path::Path;

impl RunCommand for BenchKernelsArgs {
    const NAME: &'static str = "bench";
    const NUMBERS: bool = false;

    fn run(&self, invocation: &Invocation) -> Result<(), CliError> {
        let (common, options) = (invocation.common, self);
        let networks = networks(common.model.as_deref())?;
        let problems = problems(&networks, usize::from(options.batch), &ProblemFilter::new(&options.filter))?;
        if problems.is_empty() {
            let names = networks.iter().map(|n| n.name.as_str()).collect::<Vec<_>>().join(", ");
            return Err(CliError::usage(format!(
                "no problem of {names} holds all of \"{}\"; expects words such as conv2d.fwd, gemm, layer1.0.conv2, 3x3 or n512",
                options.filter.join(" ")
            )));
        }
        // Unreadable inputs and unwritable outputs are reported before minutes of measuring.
        let earlier = options.compare.as_deref().map(earlier).transpose()?;
        if let Some(path) = &options.plot {
            draw(path, "")?;
        }

        let bar = progress(problems.len() as u64, "bench", common.quiet);
        let kernels = &invocation.kernels;
        let peak = match kernels.device() {
            Device::Cpu => peak::measure(),
            Device::Cuda(_) => convscope_kernels::peak_cuda::measure(kernels)?,
        };
        let tell = |text: String| if common.json || options.csv { Ok(()) } else { bar.suspend(|| print(text)) };
        tell(format!("{}\n* marks the dispatcher's pick; GFLOP/s count the direct algorithm\n", report::machine(&peak)))?;
        let mut measured = Vec::new();
        for named in &problems {
            let m = MeasuredProblem::new(named, named.problem.measure(kernels)?);
            tell(format!("\n{}", m.text(&peak)))?;
            measured.push(m);
            bar.inc(1);
        }
        bar.finish_and_clear();

        let rows = || measured.iter().flat_map(|m| m.json(&peak)).collect::<Vec<_>>();
        if common.json {
            print_json(format!("{:#}", json!(rows())))?;
        } else if options.csv {
            print_table(&table::csv(&rows()))?;
        }
        if let Some(path) = &options.plot {
            draw(path, &plot::roofline(&measured, &peak).svg())?.publish().map_err(|e| cannot_write(path, &e))?;
            tell(format!("\nwrote {}", path.display()))?;
        }
        if let Some(earlier) = &earlier {
            print(format!("\n{}", compare::changes(earlier, &measured, &peak)))?;
        }
        fail("rows beyond their tolerance", measured.iter().flat_map(MeasuredProblem::wrong).collect())?;
        let misjudged = if options.assert { measured.iter().filter_map(compare::misjudged).collect() } else { Vec::new() };
        fail("problems on which the dispatcher picks a slower row", misjudged)
    }
}

/// The network of `-m`, or the usual benchmark networks.
fn networks(model: Option<&str>) -> Result<Vec<Network>, NetworkError> {
    let usual = |name: &&str| ["vgg16", "resnet50", "resnext50_32x4d"].contains(name) || name.starts_with("mobilenet");
    match model {
        Some(name) => Ok(vec![families::build(name, None)?]),
        None => families::names().filter(usual).map(|name| families::build(name, None)).collect(),
    }
}

fn earlier(path: &Path) -> Result<Vec<compare::Old>, CliError> {
    let text = std::fs::read_to_string(path).map_err(|e| CliError::failure(format!("cannot read {}: {e}", path.display())))?;
    compare::read(&text).map_err(|why| CliError::failure(format!("{} {why}", path.display())))
}

/// A temporary file before its rename.
fn draw(path: &Path, text: &str) -> Result<Pending, CliError> {
    Pending::write(path, |out| out.write_all(text.as_bytes())).map_err(|e| cannot_write(path, &e))
}

fn cannot_write(path: &Path, why: &std::io::Error) -> CliError {
    CliError::failure(format!("cannot write {}: {why}", path.display()))
}

/// Ends the output with a list, unless it is empty.
fn fail(what: &str, list: Vec<String>) -> Result<(), CliError> {
    match list.len() {
        0 => Ok(()),
        n => Err(CliError::failure(format!("{n} {what}:\n  {}", list.join("\n  ")))),
    }
}
