//! `convscope bench models`: time and memory of whole networks' passes.

mod calls;

use super::kernels::machine;
use super::table::{self, TableColumn, header, left, line, right};
use crate::cli::args::{BenchModelsArgs, By, ModelPass};
use crate::cli::commands::RunCommand;
use crate::cli::error::CliError;
use crate::cli::invocation::Invocation;
use crate::cli::memory::{PassKind, check_memory, system_bytes};
use crate::cli::session::{progress, side_lengths};
use crate::cli::terminal::{print, print_json, print_table};
use calls::{CallSums, Calls};
use convscope_engine::optim::Optimizer;
use convscope_engine::{Rules, Tape, Tensor};
use convscope_kernels::cuda::{self, clock::Clock};
use convscope_kernels::peak::{self, Peak};
use convscope_kernels::{Call, Device};
use convscope_models::model::init::fill_image;
use convscope_models::network::{LayerId, Network};
use convscope_models::train::{Gradients, gradients};
use convscope_models::{Model, WeightsSource, families, load};
use serde_json::{Map, Value, json};
use std::time::Instant;

/// Warm-up passes: the first packs weights and faults in memory.
const WARM_UPS: usize = 2;
/// The logit of the input gradient, and the target class of training.
const CLASS: usize = 7;

impl RunCommand for BenchModelsArgs {
    const NAME: &'static str = "bench";
    const NUMBERS: bool = false;

    fn run(&self, invocation: &Invocation) -> Result<(), CliError> {
        let (common, options) = (invocation.common, self);
        if common.model.is_some() {
            return Err(CliError::usage("--model: bench models takes names without it, for example `bench models resnet18`"));
        }
        if common.weights.as_ref().is_some_and(|w| w != "random") || common.classes.is_some() {
            return Err(CliError::usage("--weights, --classes: bench models times the known networks with random weights"));
        }
        let size = side_lengths(&options.size)?;
        // All cases are checked before the first one is timed.
        let networks = options.names.iter().map(|name| families::build(name, None)).collect::<Result<Vec<_>, _>>()?;
        let cases: Vec<(ModelPass, usize)> =
            options.work.iter().flat_map(|work| options.batch.iter().map(|batch| (*work, usize::from(*batch)))).collect();
        let mut choice = invocation.device.clone();
        for network in &networks {
            let shaped = network.at(size[0], size[1])?;
            for (work, batch) in &cases {
                let pass = match work {
                    ModelPass::Forward => PassKind::Inference,
                    ModelPass::InputGradient => PassKind::Recorded,
                    ModelPass::Training => PassKind::Training,
                };
                check_memory(&mut choice, &shaped, *batch, pass)?;
            }
        }
        let (device, kernels) = (choice.device, invocation.kernels.clone().with_device(choice.device));
        if options.by.is_some() && device != Device::Cpu {
            return Err(CliError::usage("--by: a GPU's kernels are not timed one by one; `trace` waits for each"));
        }
        let bar = progress((networks.len() * cases.len()) as u64, "bench", common.quiet);
        let mut rows = Vec::new();
        for network in networks {
            let direct = network.summary(size[0], size[1])?.multiply_adds;
            let mut model = load(network, &WeightsSource::Random)?;
            model.context = kernels.clone();
            let fused = model.fused(&[])?;
            for (work, batch) in &cases {
                bar.set_message(format!("{} {} of {batch}", model.network.name, work.name()));
                // `predict` and `ascent` run the fused model; training has its own fusion.
                let form = if *work == ModelPass::Training { &model } else { &fused };
                let measured =
                    measure(&mut Case::new(form.clone(), size, *batch, options.by)?, *work, usize::from(options.repeats))?;
                rows.push(CaseRow { model: model.network.name.clone(), work: *work, batch: *batch, size, direct, measured });
                bar.inc(1);
            }
        }
        // Last, as its allocations stay in the pool.
        let peak = if device == Device::Cpu { peak::measure() } else { convscope_kernels::peak_cuda::measure(&kernels)? };
        bar.finish_and_clear();
        if common.json {
            print_json(format!("{:#}", json!(rows.iter().map(|row| row.fields(&peak)).collect::<Vec<_>>())))
        } else if options.csv {
            print_table(&table::csv(&rows.iter().map(|row| row.fields(&peak)).collect::<Vec<_>>()))
        } else {
            print(text(&rows, &peak, options.repeats))
        }
    }
}

/// Inputs of a pass.
struct Case {
    model: Model,
    images: Tensor,
    /// One-hot targets of [`CLASS`], `[n, classes]`.
    one_hot: Tensor,
    optimizer: Optimizer,
    steps: u64,
    meter: Meter,
}

/// Conditions of the measurement.
struct Meter {
    /// Clock of the device; `None` on the CPU.
    clock: Option<Clock>,
    by: Option<By>,
}

/// Time and memory of one pass.
struct Taken {
    seconds: f64,
    /// Bytes of the values and saved tensors on the tape at its end.
    kept: usize,
    /// Bytes of the operands of all kernels, the minimum traffic without caches between kernels.
    moved: u64,
    calls: Option<CallSums>,
}

impl Case {
    fn new(model: Model, [h, w]: [usize; 2], n: usize, by: Option<By>) -> Result<Self, CliError> {
        let Network { input, classes, .. } = &model.network;
        let (c, classes) = (input.channels, classes.len());
        let one_hot: Vec<f32> = (0..n * classes).map(|i| if i % classes == CLASS { 1.0 } else { 0.0 }).collect();
        let device = model.context.device();
        let clock = if device == Device::Cpu { None } else { Some(Clock::new(device)?) };
        // A small rate, so that values stay finite; overflowing values would change the times.
        let mut optimizer = Optimizer::sgd(1e-5, 0.9, 1e-4);
        optimizer.set_context(&model.context);
        Ok(Case {
            meter: Meter { clock, by },
            model,
            images: Tensor::from_slice([n, c, h, w], &fill_image("bench", n, c, h, w))?,
            one_hot: Tensor::from_slice([n, classes], &one_hot)?,
            optimizer,
            steps: 0,
        })
    }

    fn pass(&mut self, work: ModelPass) -> Result<Taken, CliError> {
        match work {
            ModelPass::Forward => self.forward(),
            ModelPass::InputGradient => self.input_gradient(),
            ModelPass::Training => self.training(),
        }
    }

    fn forward(&mut self) -> Result<Taken, CliError> {
        let Case { meter, model, images, .. } = self;
        let pass = || {
            let mut tape = Tape::inference();
            model.forward(&mut tape, images.clone())?;
            Ok((tape, ()))
        };
        Ok(meter.taken(pass)?.0)
    }

    fn input_gradient(&mut self) -> Result<Taken, CliError> {
        let Case { meter, model, images, one_hot, .. } = self;
        let pass = || {
            let mut tape = Tape::new();
            let run = model.forward(&mut tape, images.clone())?;
            let image = tape.find(&model.network[LayerId::INPUT].name)?;
            tape.backward(run.output(), Some(one_hot.clone()), &[image], &Rules::default())?;
            Ok((tape, ()))
        };
        Ok(meter.taken(pass)?.0)
    }

    fn training(&mut self) -> Result<Taken, CliError> {
        let Case { meter, model, images, one_hot, optimizer, steps } = self;
        let trained = model.trained();
        let pass = || {
            let images = (LayerId::INPUT, images.clone());
            let Gradients { grads, tape, .. } = gradients(model, images, one_hot.clone(), &trained, *steps)?;
            Ok((tape, grads))
        };
        let (taken, grads) = meter.taken(pass)?;
        // Untimed, but necessary: constant weights would be found already transformed.
        optimizer.step(model.at_mut(&trained).zip(&grads))?;
        *steps += 1;
        Ok(taken)
    }
}

impl Meter {
    /// Times a pass, including the release of its tape.
    fn taken<T>(&mut self, pass: impl FnOnce() -> Result<(Tape, T), CliError>) -> Result<(Taken, T), CliError> {
        let by = self.by;
        let work = || {
            let (tape, made) = pass()?;
            // Leaves do not count: weights and images exist without a tape.
            let operations = || tape.nodes().iter().filter(|n| n.operation().is_some());
            let kept = operations().map(|n| n.kept_bytes()).sum();
            let bytes = |calls: &[Call]| calls.iter().map(|c| c.bytes).sum::<u64>();
            let moved = operations().map(|n| bytes(&n.forward) + bytes(&n.backward)).sum();
            let calls = by.map(|by| calls::sums(&tape, by));
            Ok::<_, CliError>((Taken { seconds: 0.0, kept, moved, calls }, made))
        };
        let (done, seconds) = match &mut self.clock {
            Some(clock) => clock.seconds(work)?,
            None => {
                let start = Instant::now();
                (work(), start.elapsed().as_secs_f64())
            }
        };
        let (taken, made) = done?;
        Ok((Taken { seconds, ..taken }, made))
    }
}

/// Results of a case.
struct MeasuredModel {
    median_ms: f64,
    min_ms: f64,
    /// Peak memory of the process, if the system reports it.
    peak: Option<usize>,
    tape: usize,
    moved: u64,
    calls: Option<Calls>,
}

/// Median; the mean of both if two values are in the middle.
fn median(numbers: &mut [f64]) -> f64 {
    numbers.sort_by(f64::total_cmp);
    0.5 * (numbers[(numbers.len() - 1) / 2] + numbers[numbers.len() / 2])
}

fn measure(case: &mut Case, work: ModelPass, repeats: usize) -> Result<MeasuredModel, CliError> {
    let device = case.model.context.device();
    let repeating = case.images.shape()[0] == 1 && work != ModelPass::Training;
    // This write resets Linux's peak memory. Without permission, the peak would be an earlier case's.
    let peak_is_ours = std::fs::write("/proc/self/clear_refs", "5").is_ok();
    let mut passes = || {
        for _ in 0..WARM_UPS {
            case.pass(work)?;
        }
        (0..repeats).map(|_| case.pass(work)).collect::<Result<Vec<_>, _>>()
    };
    // Consecutive passes, as in use.
    let taken = if repeating { cuda::capture(device, passes) } else { passes() }?;
    let mut ms: Vec<f64> = taken.iter().map(|t| 1e3 * t.seconds).collect();
    let sums: Option<Vec<CallSums>> = taken.iter().map(|t| t.calls.clone()).collect();
    Ok(MeasuredModel {
        median_ms: median(&mut ms),
        min_ms: ms[0],
        peak: if peak_is_ours { system_bytes("/proc/self/status", "VmHWM") } else { None },
        tape: taken.iter().map(|t| t.kept).max().unwrap_or(0),
        moved: taken.iter().map(|t| t.moved).max().unwrap_or(0),
        calls: sums.map(|sums| Calls::new(&sums)),
    })
}

/// A row of the result.
struct CaseRow {
    model: String,
    work: ModelPass,
    batch: usize,
    size: [usize; 2],
    /// Multiply-adds of one image's forward pass.
    direct: usize,
    measured: MeasuredModel,
}

impl CaseRow {
    /// Rate by the median: two operations per multiply-add of forward, the same again for each gradient.
    fn gflops(&self) -> f64 {
        let passes = match self.work {
            ModelPass::Forward => 1.0,
            ModelPass::InputGradient => 2.0,
            ModelPass::Training => 3.0,
        };
        2.0 * passes * self.direct as f64 * self.batch as f64 / self.measured.median_ms / 1e6
    }

    /// Gigabytes of operands per second.
    fn gigabytes(&self) -> f64 {
        self.measured.moved as f64 / self.measured.median_ms / 1e6
    }

    fn size(&self) -> String {
        format!("{}x{}", self.size[0], self.size[1])
    }

    /// The row as a JSON object.
    fn fields(&self, peak: &Peak) -> Map<String, Value> {
        let short = |v: f64| (v * 1e3).round() / 1e3;
        let mut fields = Map::from_iter(
            [
                ("model", json!(self.model)),
                ("work", json!(self.work.name())),
                ("batch", json!(self.batch)),
                ("size", json!(self.size())),
                ("median_ms", json!(short(self.measured.median_ms))),
                ("min_ms", json!(short(self.measured.min_ms))),
                ("gflops", json!(short(self.gflops()))),
                ("percent_of_peak", json!(short(1e11 * self.gflops() / peak.flops))),
                ("gb_per_s", json!(short(self.gigabytes()))),
                ("percent_of_memory", json!(short(1e11 * self.gigabytes() / peak.bandwidth))),
                ("core_to_core_gb_per_s", json!(peak.between.map(|rate| short(rate / 1e9)))),
                ("peak_memory_bytes", json!(self.measured.peak)),
                ("tape_bytes", json!(self.measured.tape)),
                ("threads", json!(peak.threads)),
                ("isa", json!(peak.isa)),
            ]
            .map(|(key, value)| (key.to_string(), value)),
        );
        if let Some(calls) = &self.measured.calls {
            fields.insert("kernels".into(), calls.to_json());
        }
        fields
    }
}

const COLUMNS: [TableColumn; 12] = [
    left("network", 16),
    left("work", 14),
    right("batch", 5),
    right("size", 9),
    right("median ms", 11),
    right("min ms", 11),
    right("GFLOP/s", 9),
    right("% peak", 6),
    right("GB/s", 8),
    right("% memory", 8),
    right("peak memory", 13),
    right("tape keeps", 13),
];

fn text(rows: &[CaseRow], peak: &Peak, repeats: u16) -> String {
    let mut lines = vec![machine(peak), format!("median of {repeats} after {WARM_UPS} warm-ups"), header(&COLUMNS)];
    let mega = |bytes: usize| format!("{:.1} MB", bytes as f64 / 1e6);
    for row in rows {
        let MeasuredModel { median_ms, min_ms, peak: most, tape, .. } = &row.measured;
        let (gflops, gigabytes) = (row.gflops(), row.gigabytes());
        let cells = [
            row.model.clone(),
            row.work.name().to_string(),
            row.batch.to_string(),
            row.size(),
            format!("{median_ms:.2}"),
            format!("{min_ms:.2}"),
            format!("{gflops:.1}"),
            format!("{:.1}", 1e11 * gflops / peak.flops),
            format!("{gigabytes:.1}"),
            format!("{:.1}", 1e11 * gigabytes / peak.bandwidth),
            most.map_or("-".into(), mega),
            mega(*tape),
        ];
        lines.push(line(&COLUMNS, cells));
    }
    for row in rows {
        if let Some(calls) = &row.measured.calls {
            lines.push(format!("\n{} {}, batch {}: {:.2} ms", row.model, row.work.name(), row.batch, row.measured.median_ms));
            lines.push(calls.text(row.measured.median_ms));
        }
    }
    if rows.iter().any(|row| row.measured.peak.is_none()) {
        lines.push("peak memory is left out: this system does not report it, or not of one case alone".into());
    }
    lines.join("\n")
}
