//! The rows of a table on one problem: verified first, then timed.
//!
//! A row is compared with f64: with the naive f64 row where the problem is small enough for it, else with a sample of output
//! elements ([`crate::verify::sample`]). Outputs start as poison and stand between guard words, as in [`crate::verify::check`]. What a row prepares of its
//! weight is made in the run that verifies it, so the times are those of a weight in use. Times need `--release`.

use crate::core::buffer::Buffer;
use crate::core::context::Context;
use crate::core::device::{DType, Device};
use crate::core::error::Result;
use crate::core::random::philox;
use crate::core::table::{Accum, Row, Signature, Table};
use crate::cuda::{self, clock::Clock};
use crate::verify::check::{guards_intact, input, muts, poisoned, refs};
use std::fmt::Display;
use std::time::{Duration, Instant};

/// Operations up to which the naive f64 row computes every output.
const WHOLE: u64 = 200_000_000;
/// Elements that are computed beyond that.
const SAMPLES: u64 = 512;
/// Operations per second of a naive row, a rough lower bound. Decides which runs take too long.
const NAIVE_RATE: f64 = 1e9;
/// Seconds that one run of a naive row may take.
const PATIENCE: f64 = 2.0;

/// One output element of a problem in f64: spec, inputs, index.
pub type SampleFn<S> = fn(&S, &[&Buffer], usize) -> f64;

/// A problem of a table.
///
/// ```
/// use convscope_kernels::Context;
/// use convscope_kernels::bench::{AnyProblem, Outcome, Problem};
/// use convscope_kernels::softmax::{FWD, SoftmaxSpec};
///
/// let problem = Problem { table: &FWD, spec: SoftmaxSpec { rows: 8, cols: 10, inner: 1, log: false }, sample: None };
/// for row in problem.measure(&Context::default())? {
///     if let Outcome::Timed { error, time, .. } = row.outcome {
///         println!("{}: {:.1} us, relative error {error:.1e}", row.kernel, time.median * 1e6);
///     }
/// }
/// # Ok::<_, convscope_kernels::Error>(())
/// ```
pub struct Problem<'a, S: 'static> {
    /// The table.
    pub table: &'a Table<S>,
    /// The problem.
    pub spec: S,
    /// Elements of the first output, where the naive row would take too long.
    pub sample: Option<SampleFn<S>>,
}

/// A problem without its spec type.
pub trait AnyProblem {
    /// `op.direction`.
    fn op(&self) -> &'static str;
    /// The problem in words.
    fn spec(&self) -> String;
    /// Floating-point operations of the direct algorithm.
    fn flops(&self) -> u64;
    /// Bytes of all operands: what must be moved at least.
    fn bytes(&self) -> u64;
    /// Verifies and times every f32 row for the context's device, in the table's order. Times on a CUDA device are by its own clock, and its L2 is cold:
    /// twice as much was written before.
    ///
    /// # Errors
    /// If no row takes the problem, one that does not is forced, or the device cannot be used.
    fn measure(&self, context: &Context) -> Result<Vec<MeasuredRow>>;
}

/// A row on a problem.
#[derive(Clone, Debug, PartialEq)]
pub struct MeasuredRow {
    /// Name of the row.
    pub kernel: &'static str,
    /// Whether the dispatcher takes it.
    pub picked: bool,
    /// Its outcome.
    pub outcome: Outcome,
}

/// Outcome of a row.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// It is right and was timed.
    Timed {
        /// `max |got - want| / max |want|`.
        error: f64,
        /// The largest error that its tolerance allows.
        bound: f64,
        /// Bytes it needs beside its operands.
        scratch: usize,
        /// Its time.
        time: Time,
    },
    /// It computes something else, and was not timed.
    Wrong(String),
    /// It cannot take the problem, or is not worth waiting for.
    NotRun(String),
}

/// Seconds of one run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Time {
    /// Median.
    pub median: f64,
    /// First quartile.
    pub low: f64,
    /// Third quartile.
    pub high: f64,
    /// Number of runs.
    pub runs: usize,
}

impl Time {
    /// Whether this is more than `margin` (0.1: a tenth) slower than `other`, and not by chance: the middle halves of the runs do
    /// not overlap.
    pub fn is_slower_than(&self, other: &Time, margin: f64) -> bool {
        self.median > other.median * (1.0 + margin) && self.low > other.high
    }
}

/// Expected outputs.
enum Want {
    Whole(Vec<Buffer>),
    Sampled(Vec<(usize, f64)>),
}

impl<S: Display> AnyProblem for Problem<'_, S> {
    fn op(&self) -> &'static str {
        self.table.op
    }

    fn spec(&self) -> String {
        self.spec.to_string()
    }

    fn flops(&self) -> u64 {
        (self.table.flops)(&self.spec)
    }

    fn bytes(&self) -> u64 {
        let sig = (self.table.signature)(&self.spec);
        sig.inputs.iter().chain(&sig.outputs).map(|o| (o.len * o.dtype(DType::F32).size()) as u64).sum()
    }

    fn measure(&self, context: &Context) -> Result<Vec<MeasuredRow>> {
        let (picked, device) = (self.table.pick(context, DType::F32, &self.spec)?, context.device());
        let sig = (self.table.signature)(&self.spec);
        let inputs: Vec<Buffer> =
            sig.inputs.iter().enumerate().map(|(i, o)| input(self.table, &self.spec, o, DType::F32, i as u64)).collect();
        let want = self.want(&sig, &inputs);
        let rows = self.table.all_rows().filter(|r| r.dtype == DType::F32 && r.device.is_like(device));
        // The inputs go up once for all rows.
        let there = match device {
            Device::Cpu => inputs,
            Device::Cuda(_) => {
                let queue = cuda::queue(device)?;
                inputs.iter().map(|b| b.up(queue)).collect::<Result<_>>()?
            }
        };
        let measure = |row: &Row<S>| {
            let outcome = match self.refusal(row, context) {
                Some(why) => Outcome::NotRun(why),
                None => self.run(row, &sig, &there, &want, device)?,
            };
            Ok(MeasuredRow { kernel: row.name, picked: std::ptr::eq(row, picked), outcome })
        };
        rows.map(measure).collect()
    }
}

impl<S: Display> Problem<'_, S> {
    fn refusal(&self, row: &Row<S>, context: &Context) -> Option<String> {
        if !row.is_here(context, context.device()) {
            return Some("not on this machine".to_string());
        }
        if let Err(why) = (row.supports)(&self.spec) {
            return Some(why.to_string());
        }
        let estimate = self.flops() as f64 / NAIVE_RATE;
        (row.name == "naive" && estimate > PATIENCE).then(|| format!("too slow here (estimated {estimate:.1} s)"))
    }

    fn want(&self, sig: &Signature, inputs: &[Buffer]) -> Want {
        match self.sample {
            Some(sample) if self.flops() > WHOLE => {
                let len = sig.outputs[0].len as u64;
                // The corners, where loops go wrong, and random ones.
                let random = (0..SAMPLES).map(|i| u64::from(philox(len, i)[0]) % len);
                let at = [0, len - 1].into_iter().chain(random);
                Want::Sampled(at.map(|i| (i as usize, sample(&self.spec, &refs(inputs), i as usize))).collect())
            }
            _ => {
                let oracle = self.table.oracle().expect("every table has a naive f64 row, which a test sees to");
                let wide: Vec<Buffer> = inputs.iter().map(|b| b.cast(DType::F64)).collect();
                let mut want: Vec<Buffer> = sig.outputs.iter().map(|o| Buffer::new(o.dtype(DType::F64), o.len)).collect();
                (oracle.run)(&self.spec, &refs(&wide), &mut muts(&mut want), Accum::Write);
                Want::Whole(want)
            }
        }
    }

    fn run(&self, row: &Row<S>, sig: &Signature, inputs: &[Buffer], want: &Want, device: Device) -> Result<Outcome> {
        // A copy of the weight for each row: what it prepares lives with the copy and does not pile up.
        let weight = row.prepare.as_ref().map(|p| (p.input, inputs[p.input].clone()));
        let mut inputs = refs(inputs);
        if let Some((i, copy)) = &weight {
            inputs[*i] = copy;
        }
        let mut outputs: Vec<Buffer> = sig.outputs.iter().map(|o| poisoned(o.dtype(DType::F32), o.len)).collect();
        let queue = if device == Device::Cpu { None } else { Some(cuda::queue(device)?) };
        if let Some(queue) = queue {
            outputs = outputs.iter().map(|b| b.up(queue)).collect::<Result<_>>()?;
        }
        self.table.run_row(row, &self.spec, &inputs, &mut muts(&mut outputs), Accum::Write);
        let bound = row.tolerance.ulps * f64::from(f32::EPSILON) * ((self.table.terms)(&self.spec).max(1) as f64).sqrt();
        let found = match queue {
            None => error(&mut outputs, want),
            Some(_) => error(&mut outputs.iter().map(Buffer::down).collect::<Result<Vec<_>>>()?, want),
        };
        match found {
            Err(why) => Ok(Outcome::Wrong(why)),
            Ok(error) if error > bound => Ok(Outcome::Wrong(format!("error {error:.1e} where {bound:.1e} is allowed"))),
            Ok(error) => {
                let mut outputs = muts(&mut outputs);
                let mut run = || self.table.run_row(row, &self.spec, &inputs, &mut outputs, Accum::Write);
                let time = match device {
                    Device::Cpu => time(|| {
                        let start = Instant::now();
                        run();
                        Ok(start.elapsed().as_secs_f64())
                    }),
                    Device::Cuda(_) => {
                        let mut clock = Clock::new(device)?;
                        time(|| Ok(clock.seconds(&mut run)?.1))
                    }
                }?;
                Ok(Outcome::Timed { error, bound, scratch: (row.scratch)(&self.spec), time })
            }
        }
    }
}

/// `max |got - want| / max |want|` of the worst output.
fn error(got: &mut [Buffer], want: &Want) -> Result<f64, String> {
    if !got.iter_mut().all(guards_intact) {
        return Err("wrote outside its output".to_string());
    }
    let relative = |pairs: &mut dyn Iterator<Item = (f64, f64)>| {
        let (off, largest) = pairs.fold((0.0f64, 0.0f64), |(off, largest), (got, want)| {
            let diff = (got - want).abs();
            // NaN, such as an element that was never written, is as far off as can be.
            (off.max(if diff.is_nan() { f64::INFINITY } else { diff }), largest.max(want.abs()))
        });
        off / largest.max(1e-30)
    };
    match want {
        Want::Sampled(samples) => {
            let got = got[0].as_slice::<f32>();
            if let Some(i) = got.iter().position(|v| !v.is_finite()) {
                return Err(format!("element {i} was not written, or is not finite"));
            }
            Ok(relative(&mut samples.iter().map(|(i, want)| (f64::from(got[*i]), *want))))
        }
        Want::Whole(wants) => got.iter().zip(wants).try_fold(0.0, |worst: f64, (got, want)| match got.dtype() {
            DType::F32 => {
                let (got, want) = (got.as_slice::<f32>(), want.as_slice::<f64>());
                Ok(worst.max(relative(&mut got.iter().map(|v| f64::from(*v)).zip(want.iter().copied()))))
            }
            _ if got.as_slice::<u32>() == want.as_slice::<u32>() => Ok(worst),
            _ => Err("the indices differ".to_string()),
        }),
    }
}

/// Runs for a fifth of a second and at least five times; less often what takes longer than a second in all.
fn time(mut run: impl FnMut() -> Result<f64>) -> Result<Time> {
    const ENOUGH: Duration = Duration::from_millis(200);
    const CAP: Duration = Duration::from_secs(1);
    const MOST: usize = 10_000;
    let (mut seconds, start) = (Vec::new(), Instant::now());
    loop {
        seconds.push(run()?);
        let total = start.elapsed();
        if total >= CAP || seconds.len() == MOST || (total >= ENOUGH && seconds.len() >= 5) {
            return Ok(quartiles(seconds));
        }
    }
}

fn quartiles(mut seconds: Vec<f64>) -> Time {
    seconds.sort_by(f64::total_cmp);
    // Between two runs where the quartile falls between them.
    let at = |fraction: f64| {
        let rank = fraction * (seconds.len() - 1) as f64;
        let (low, high) = (seconds[rank.floor() as usize], seconds[rank.ceil() as usize]);
        low + (high - low) * rank.fract()
    };
    Time { median: at(0.5), low: at(0.25), high: at(0.75), runs: seconds.len() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::conv2d::{self, Conv2dSpec};
    use crate::ops::pool::{self, PoolSpec, Windows};
    use crate::verify::sample;

    #[test]
    fn quartiles_of_few_and_many() {
        let of = |v: &[f64]| quartiles(v.to_vec());
        assert_eq!(of(&[3.0]), Time { median: 3.0, low: 3.0, high: 3.0, runs: 1 });
        assert_eq!(of(&[4.0, 1.0, 3.0, 2.0]).median, 2.5);
        assert_eq!(of(&[5.0, 1.0, 4.0, 2.0, 3.0]), Time { median: 3.0, low: 2.0, high: 4.0, runs: 5 });
    }

    #[test]
    fn slower_is_by_a_margin_and_not_by_chance() {
        let time = |median: f64, spread: f64| Time { median, low: median - spread, high: median + spread, runs: 9 };
        assert!(time(1.2, 0.01).is_slower_than(&time(1.0, 0.01), 0.1));
        assert!(!time(1.05, 0.01).is_slower_than(&time(1.0, 0.01), 0.1));
        assert!(!time(1.2, 0.2).is_slower_than(&time(1.0, 0.2), 0.1));
    }

    #[test]
    fn rows_are_verified_and_one_is_picked() {
        let spec = Conv2dSpec { padding: [1; 4], ..Conv2dSpec::simple(1, 4, 9, 8, 6, 3) };
        let windows = Windows::Sliding { kernel: [2, 2], stride: [2, 2], padding: [0; 4], ceil: false, count_padding: false };
        let problems: [Box<dyn AnyProblem>; 2] = [
            Box::new(Problem { table: &conv2d::FWD, spec, sample: Some(sample::CONV2D_FWD) }),
            Box::new(Problem { table: &pool::MAX_FWD, spec: PoolSpec { planes: 3, h: 8, w: 6, windows }, sample: None }),
        ];
        for p in problems {
            let rows = p.measure(&Context::default()).unwrap();
            assert_eq!(rows.iter().filter(|r| r.picked).count(), 1, "{}", p.op());
            for r in rows.iter().filter(|r| !matches!(r.outcome, Outcome::NotRun(_))) {
                assert!(matches!(r.outcome, Outcome::Timed { error, bound, .. } if error <= bound), "{r:?}");
            }
        }
    }

    /// One wrong, one unwritten and one stray number, in whole and in sampled outputs.
    #[test]
    fn mistakes_are_seen() {
        let right = |change: &dyn Fn(&mut [f32])| {
            let mut b = poisoned(DType::F32, 3);
            b.as_mut_slice::<f32>().copy_from_slice(&[1.0, -4.0, 2.0]);
            change(b.as_mut_slice());
            vec![b]
        };
        for want in [Want::Whole(vec![Buffer::from_slice(&[1.0f64, -4.0, 2.0])]), Want::Sampled(vec![(1, -4.0), (2, 2.0)])] {
            assert_eq!(error(&mut right(&|_| {}), &want), Ok(0.0));
            assert_eq!(error(&mut right(&|v| v[2] = 3.0), &want), Ok(0.25));
            assert!(!error(&mut right(&|v| v[0] = f32::NAN), &want).is_ok_and(f64::is_finite));
            let mut stray = right(&|_| {});
            stray[0].guarded_slice_mut::<f32>()[0] = 1.0;
            assert!(error(&mut stray, &want).is_err());
        }
    }
}
