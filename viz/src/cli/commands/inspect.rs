//! `convscope inspect`: content of a weights file.

use crate::cli::args::{Common, InspectArgs};
use crate::cli::commands::RunCommand;
use crate::cli::error::CliError;
use crate::cli::invocation::Invocation;
use crate::cli::session::weights;
use crate::cli::terminal::{print, print_json};
use convscope_models::inspect::{Guess, Inspected, guess, inspect};
use convscope_models::text::{one_line, thousands};
use serde_json::{Value, json};

/// Maximum filter indices in a line of text.
const LISTED: usize = 8;

impl RunCommand for InspectArgs {
    const NAME: &'static str = "inspect";
    const NUMBERS: bool = false;

    fn run(&self, invocation: &Invocation) -> Result<(), CliError> {
        let (common, file) = (invocation.common, self.file.as_deref());
        if file.is_some() && common.weights.is_some() {
            return Err(CliError::usage("inspect reads one file: give it with -w or without"));
        }
        let named = file.map(String::from).or(common.weights.clone());
        let source = weights(&Common { weights: named, ..common.clone() }, "inspect")?;
        let Some(checkpoint) = source.checkpoint() else {
            return Err(CliError::usage("random weights are in no file: give a file, hf:owner/repo or builtin"));
        };
        let tensors = inspect(checkpoint)?;
        let guess = guess(&source)?;
        let totals = Totals::of(&tensors);
        if common.json {
            let tensors: Vec<Value> = tensors.iter().map(tensor_json).collect();
            let report = json!({
                "file": source.to_string(),
                "format": format!("{:?}", checkpoint.format()).to_lowercase(),
                "guess": {"network": guess.network, "nearest": guess.nearest, "classes": guess.classes, "why": guess.why},
                "tensors": tensors,
                "totals": {
                    "tensors": tensors.len(), "parameters": totals.parameters, "values": totals.values, "bytes": totals.bytes,
                    "nan": totals.nan, "infinite": totals.infinite, "dead_filters": totals.dead, "duplicate_filters": totals.duplicates,
                },
            });
            return print_json(format!("{report:#}"));
        }
        let mut lines = table(&tensors);
        lines.push(String::new());
        lines.extend(trouble(&tensors));
        lines.push(totals.line(tensors.len()));
        lines.extend(guess_lines(&guess));
        print(lines.join("\n"))
    }
}

/// Sums over a file.
#[derive(Default)]
struct Totals {
    parameters: usize,
    values: usize,
    bytes: u64,
    nan: usize,
    infinite: usize,
    dead: usize,
    duplicates: usize,
}

impl Totals {
    fn of(tensors: &[Inspected]) -> Self {
        let mut sum = Totals::default();
        for t in tensors {
            sum.parameters += if t.is_parameter() { t.stats.count } else { 0 };
            sum.values += t.stats.count;
            sum.bytes += t.bytes();
            sum.nan += t.stats.nan;
            sum.infinite += t.stats.infinite;
            sum.dead += t.filters.as_ref().map_or(0, |f| f.dead.len());
            sum.duplicates += t.filters.as_ref().map_or(0, |f| f.duplicates.len());
        }
        sum
    }

    fn line(&self, tensors: usize) -> String {
        let (parameters, bytes) = (thousands(self.parameters), thousands(usize::try_from(self.bytes).unwrap_or(usize::MAX)));
        let rest = match self.values - self.parameters {
            0 => String::new(),
            n => format!(", {} other values", thousands(n)),
        };
        let (dead, duplicates) = (self.dead, self.duplicates);
        format!(
            "{tensors} tensors, {parameters} parameters{rest}, {bytes} bytes; dead filters {dead}, duplicate filters {duplicates}, NaN {}, infinite {}",
            self.nan, self.infinite
        )
    }
}

/// The rows of the tensors, aligned.
fn table(tensors: &[Inspected]) -> Vec<String> {
    let names: Vec<String> = tensors.iter().map(|t| one_line(&t.name)).collect();
    let shapes: Vec<String> = tensors.iter().map(|t| dims(&t.shape)).collect();
    let widest = |texts: &[String], least: usize| texts.iter().map(|t| t.chars().count()).max().unwrap_or(0).max(least);
    let (name_width, shape_width) = (widest(&names, 6), widest(&shapes, 5));
    let row = |name: &str, shape: &str, dtype: &str, [min, max, mean, std]: [String; 4], zeros: &str| {
        format!("{name:name_width$}  {shape:shape_width$}  {dtype:4}  {min:>10} {max:>10} {mean:>10} {std:>10} {zeros:>9}")
    };
    let head = row("tensor", "shape", "type", ["min", "max", "mean", "std"].map(String::from), "zeros");
    let rows = tensors.iter().zip(names.iter().zip(&shapes)).map(|(t, (name, shape))| {
        let s = &t.stats;
        let numbers = [s.min, s.max, s.mean, s.std].map(|n| n.map_or("-".into(), number));
        row(name, shape, &t.dtype.to_string(), numbers, &thousands(s.zeros))
    });
    std::iter::once(head).chain(rows).collect()
}

fn dims(shape: &[usize]) -> String {
    if shape.is_empty() { "scalar".into() } else { shape.iter().map(usize::to_string).collect::<Vec<_>>().join("x") }
}

/// Four significant digits in ten characters.
fn number(value: f64) -> String {
    match value.abs() {
        0.0 => "0".into(),
        1e-3..1e5 => format!("{value:.4}"),
        _ => format!("{value:.3e}"),
    }
}

/// A line per tensor with NaN, infinity, dead or duplicate filters.
fn trouble(tensors: &[Inspected]) -> Vec<String> {
    let mut lines = Vec::new();
    for t in tensors {
        let mut notes = Vec::new();
        if t.stats.nan + t.stats.infinite > 0 {
            notes.push(format!("{} NaN, {} infinite", t.stats.nan, t.stats.infinite));
        }
        if let Some(filters) = &t.filters {
            let (dead, duplicates) = (&filters.dead, &filters.duplicates);
            if !dead.is_empty() {
                let listed = listed(dead.iter().map(|i| format!("#{i}")));
                notes.push(format!("{} dead of {} filters: {listed}", dead.len(), t.shape[0]));
            }
            if !duplicates.is_empty() {
                let listed = listed(duplicates.iter().map(|d| format!("#{} = {} #{}", d.filter, times(d.scale), d.of)));
                notes.push(format!("{} duplicate of {} filters: {listed}", duplicates.len(), t.shape[0]));
            }
        }
        if !notes.is_empty() {
            lines.push(format!("{}: {}", one_line(&t.name), notes.join("; ")));
        }
    }
    lines
}

fn times(scale: f32) -> String {
    format!("{scale:.4} x").replace("1.0000 x", "1 x")
}

fn listed(items: impl ExactSizeIterator<Item = String>) -> String {
    let more = items.len().saturating_sub(LISTED);
    let shown: Vec<String> = items.take(LISTED).collect();
    shown.join(", ") + &if more > 0 { format!(" and {more} more") } else { String::new() }
}

fn guess_lines(guess: &Guess) -> Vec<String> {
    let classes = guess.classes.map_or("an unknown number of classes".to_string(), |n| format!("{n} classes"));
    let what = match (&guess.network, &guess.nearest) {
        (Some(name), _) => format!("{name}, {classes}"),
        (None, Some(name)) => format!("akin to {name}, {classes}"),
        (None, None) => format!("an unknown network, {classes}"),
    };
    std::iter::once(format!("network: {what}")).chain(guess.why.iter().map(|w| format!("  because {}", one_line(w)))).collect()
}

fn tensor_json(t: &Inspected) -> Value {
    let s = &t.stats;
    let mut row = json!({
        "name": t.name, "shape": t.shape, "type": t.dtype.to_string(), "bytes": t.bytes(), "values": s.count,
        "min": s.min, "max": s.max, "mean": s.mean, "std": s.std, "zeros": s.zeros, "nan": s.nan, "infinite": s.infinite,
    });
    if let Some(filters) = &t.filters {
        let duplicates: Vec<Value> =
            filters.duplicates.iter().map(|d| json!({"filter": d.filter, "of": d.of, "scale": d.scale})).collect();
        row["filters"] = json!({"count": t.shape[0], "dead": filters.dead, "duplicates": duplicates});
    }
    row
}
