//! The test that every row of every table must pass: against the naive f64 row, with poisoned outputs and guard words, and bit for
//! bit the same on any number of threads.

use crate::core::buffer::Buffer;
use crate::core::context::Context;
use crate::core::device::{DType, Device};
use crate::core::random;
use crate::core::table::{Accum, Fill, Operand, Row, Signature, Table};
use rayon::prelude::*;
use std::any::Any;
use std::cell::LazyCell;
use std::fmt::Display;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;

/// Elements of guard on either side of every buffer; none where a sanitizer guards the ends of allocations.
const GUARD: usize = if cfg!(feature = "exact-alloc") { 0 } else { 32 };
/// A quiet NaN with a payload of ours: what guards hold, and what an output holds before `Accum::Write`.
const POISON_F32: f32 = f32::from_bits(0x7fc0_beef);
const POISON_F64: f64 = f64::from_bits(0x7ff8_0000_0000_beef);
const POISON_U32: u32 = 0xdead_beef;

/// A table without its spec type, for listing and testing all of them alike.
///
/// ```
/// use convscope_kernels::{Context, check::AnyTable};
///
/// let (context, table) = (Context::default(), &convscope_kernels::softmax::FWD);
/// for (i, row) in table.rows(&context).iter().enumerate().filter(|(_, row)| row.here) {
///     let report = table.check(&context, i)?;
///     assert!(report.worst <= 1.0, "{} is within its tolerance", row.name);
/// }
/// # Ok::<_, String>(())
/// ```
pub trait AnyTable: Sync {
    /// `op.direction`.
    fn op(&self) -> &'static str;
    /// Names of the rows, each once.
    fn names(&self) -> Vec<&'static str>;
    /// The rows, and whether this machine can run them as `context` says.
    fn rows(&self, context: &Context) -> Vec<RowInfo>;
    /// Runs row `i` on every case of the table, a CUDA row on the context's device; the worst error as a share of the bound.
    /// [`AnyTable::check_rows`] checks several rows in less time. Values are finite: NaN and infinities are not checked.
    ///
    /// # Errors
    /// The fault: a row that is wrong, that panics, that cannot run on this machine, or that takes no case.
    fn check(&self, context: &Context, i: usize) -> Result<CheckReport, String> {
        self.check_rows(context, &[i]).pop().unwrap_or_else(|| Err("there is no such row".to_string()))
    }
    /// [`AnyTable::check`] of several rows, in their order. The oracle runs once a case for all of them.
    fn check_rows(&self, context: &Context, rows: &[usize]) -> Vec<Result<CheckReport, String>>;
}

/// A row's columns.
#[derive(Clone, Debug)]
pub struct RowInfo {
    /// Name.
    pub name: &'static str,
    /// Device kind.
    pub device: Device,
    /// Element type.
    pub dtype: DType,
    /// Whether this machine can run it.
    pub here: bool,
}

/// Result of a check.
#[derive(Clone, Copy, Debug, Default)]
pub struct CheckReport {
    /// Problems that were run, counting both modes.
    pub runs: usize,
    /// Problems the row does not take.
    pub unfit: usize,
    /// Largest error divided by its bound.
    pub worst: f64,
}

impl<S: Display + Sync> AnyTable for Table<S> {
    fn op(&self) -> &'static str {
        self.op
    }

    fn names(&self) -> Vec<&'static str> {
        let mut names: Vec<&str> = self.all_rows().map(|row| row.name).collect();
        names.dedup();
        names
    }

    fn rows(&self, context: &Context) -> Vec<RowInfo> {
        let here = |row: &Row<S>| row.is_here(context, tested_on(row, context));
        self.all_rows().map(|row| RowInfo { name: row.name, device: row.device, dtype: row.dtype, here: here(row) }).collect()
    }

    fn check_rows(&self, context: &Context, rows: &[usize]) -> Vec<Result<CheckReport, String>> {
        let row_of = |i: usize| self.all_rows().nth(i);
        let able = |i: &usize| match row_of(*i) {
            None => Err("there is no such row".to_string()),
            Some(row) if !row.is_here(context, tested_on(row, context)) => {
                Err(format!("{}/{}: not on this machine", self.op, row.name))
            }
            Some(_) => Ok(CheckReport::default()),
        };
        let mut reports: Vec<Result<CheckReport, String>> = rows.iter().map(able).collect();
        let modes: &[Accum] = if self.accumulates { &[Accum::Write, Accum::Add] } else { &[Accum::Write] };
        for (k, spec) in (self.cases)().iter().enumerate() {
            for &accum in modes {
                let [f32s, f64s] =
                    [DType::F32, DType::F64].map(|dtype| LazyCell::new(move || Case::new(self, spec, accum, dtype, k as u64)));
                for (&i, report) in rows.iter().zip(&mut reports) {
                    let (Ok(so_far), Some(row)) = (&mut *report, row_of(i)) else { continue };
                    let case = if row.dtype == DType::F64 { &f64s } else { &f32s };
                    let done = match self.validate(spec) {
                        Err(e) => Err(e.to_string()),
                        Ok(()) if (row.supports)(spec).is_err() => {
                            so_far.unfit += usize::from(accum == Accum::Write);
                            continue;
                        }
                        Ok(()) => case
                            .as_ref()
                            .map_err(Clone::clone)
                            .and_then(|case| case.check(self, row, spec, tested_on(row, context))),
                    };
                    match done {
                        Ok(worst) => {
                            so_far.worst = so_far.worst.max(worst);
                            so_far.runs += 1;
                        }
                        Err(e) => *report = Err(format!("{}/{} {} {accum:?} {spec}: {e}", self.op, row.name, row.dtype)),
                    }
                }
            }
        }
        let tested = |(report, &i): (Result<CheckReport, String>, &usize)| match (report, row_of(i)) {
            (Ok(CheckReport { runs: 0, .. }), Some(row)) => {
                Err(format!("{}/{}: no case fits, so nothing was tested", self.op, row.name))
            }
            (report, _) => report,
        };
        reports.into_iter().zip(rows).map(tested).collect()
    }
}

/// The device on which a row is tested: the CPU, or the context's.
fn tested_on<S>(row: &Row<S>, context: &Context) -> Device {
    if row.device == Device::Cpu { Device::Cpu } else { context.device() }
}

/// A problem, its operands in one type, and what its outputs should be.
struct Case {
    sig: Signature,
    accum: Accum,
    inputs: Vec<Buffer>,
    /// The outputs as rows find them.
    start: Vec<Buffer>,
    /// The same after the naive f64 row.
    want: Vec<Buffer>,
}

impl Case {
    fn new<S: Display + Sync>(table: &Table<S>, spec: &S, accum: Accum, dtype: DType, seed: u64) -> Result<Case, String> {
        let oracle = table.oracle().ok_or("the table has no f64 naive row")?;
        let sig = (table.signature)(spec);
        let inputs: Vec<Buffer> =
            sig.inputs.iter().enumerate().map(|(i, o)| input(table, spec, o, dtype, seed * 64 + i as u64)).collect();
        let wide: Vec<Buffer> = inputs.iter().map(|b| b.cast(DType::F64)).collect();
        let start = |(i, o): (usize, &Operand)| match accum {
            // Outputs that are added to hold known numbers; those that are written hold poison.
            Accum::Add => input(table, spec, o, dtype, seed * 64 + 32 + i as u64),
            Accum::Write => poisoned(o.dtype(dtype), o.len),
        };
        let start: Vec<Buffer> = sig.outputs.iter().enumerate().map(start).collect();
        let mut want: Vec<Buffer> = start.iter().map(|b| b.cast(DType::F64)).collect();
        (oracle.run)(spec, &refs(&wide), &mut muts(&mut want), accum);
        Ok(Case { sig, accum, inputs, start, want })
    }

    /// Runs a row and compares with what the naive f64 row made. Returns error / bound, at most 1.
    fn check<S: Display + Sync>(&self, table: &Table<S>, row: &Row<S>, spec: &S, device: Device) -> Result<f64, String> {
        let Case { sig, accum, inputs, start, want } = self;
        // A copy has no guards, so they are made anew.
        let outputs = || -> Vec<Buffer> { start.iter().map(guarded_copy).collect() };
        // Twice: on three threads and on one. A device orders its threads as it likes, which is tested by the same comparison.
        let run = |n: usize| -> Result<Vec<Buffer>, String> {
            if row.device == Device::Cpu {
                let mut got = outputs();
                let run = || threads(n).install(|| table.run_row(row, spec, &refs(inputs), &mut muts(&mut got), *accum));
                catch_unwind(AssertUnwindSafe(run)).map_err(|panic| format!("panicked: {}", text_of(&*panic)))?;
                Ok(got)
            } else {
                run_on_device(device, table, row, spec, inputs, &outputs(), *accum).map_err(|e| e.to_string())
            }
        };
        let (mut got, alone) = (run(3)?, run(1)?);
        if let Some(i) = got.iter().zip(&alone).position(|(a, b)| a.bytes() != b.bytes()) {
            return Err(format!("{} depends on the number of threads", sig.outputs[i].name));
        }

        let mut worst = 0.0f64;
        for (((o, got), want), old) in sig.outputs.iter().zip(&mut got).zip(want).zip(start) {
            if !guards_intact(got) {
                return Err(format!("{} was written outside its bounds", o.name));
            }
            if got.dtype() == DType::U32 {
                if got.as_slice::<u32>() != want.as_slice::<u32>() {
                    return Err(format!("{} differs", o.name));
                }
                continue;
            }
            let epsilon = if row.dtype == DType::F64 { f64::EPSILON } else { f64::from(f32::EPSILON) };
            let (got, want) = (got.cast(DType::F64), want.as_slice::<f64>());
            // The old value of an output is a term of the sum, and may nearly cancel another.
            let terms = if *accum == Accum::Add { old.cast(DType::F64) } else { Buffer::zeros(DType::F64, 0) };
            let largest = want.iter().chain(terms.as_slice::<f64>()).fold(0.0f64, |m, v| m.max(v.abs()));
            let bound = row.tolerance.ulps * epsilon * ((table.terms)(spec) as f64).sqrt() * largest.max(1e-30);
            for (i, (g, w)) in got.as_slice::<f64>().iter().zip(want).enumerate() {
                let diff = (g - w).abs();
                if diff.is_nan() || diff > bound {
                    return Err(format!("{}[{i}] is {g}, oracle {w}, off by {diff:.3e} where {bound:.3e} is allowed", o.name));
                }
                worst = worst.max(diff / bound);
            }
        }
        Ok(worst)
    }
}

/// As [`Table::run_row`] on a CUDA device; all buffers go there and back with their guards.
fn run_on_device<S: Display>(
    device: Device,
    table: &Table<S>,
    row: &Row<S>,
    spec: &S,
    inputs: &[Buffer],
    outputs: &[Buffer],
    accum: Accum,
) -> crate::Result<Vec<Buffer>> {
    let queue = crate::cuda::queue(device)?;
    let up = |b: &Buffer| b.up(queue);
    let inputs = inputs.iter().map(up).collect::<crate::Result<Vec<_>>>()?;
    let mut there = outputs.iter().map(up).collect::<crate::Result<Vec<_>>>()?;
    table.run_row(row, spec, &refs(&inputs), &mut muts(&mut there), accum);
    queue.synchronize()?;
    there.iter().map(Buffer::down).collect()
}

/// The message of a panic.
fn text_of(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without a message")
}

/// A pool of so many threads.
fn threads(n: usize) -> &'static rayon::ThreadPool {
    static POOLS: [OnceLock<rayon::ThreadPool>; 4] = [const { OnceLock::new() }; 4];
    POOLS[n].get_or_init(|| rayon::ThreadPoolBuilder::new().num_threads(n).build().expect("a machine has room for some threads"))
}

pub(crate) fn refs(v: &[Buffer]) -> Vec<&Buffer> {
    v.iter().collect()
}
pub(crate) fn muts(v: &mut [Buffer]) -> Vec<&mut Buffer> {
    v.iter_mut().collect()
}

/// A guarded buffer, all poison.
pub(crate) fn poisoned(dtype: DType, len: usize) -> Buffer {
    let mut b = Buffer::with_guards(dtype, len, GUARD);
    match dtype {
        DType::F32 => b.guarded_slice_mut::<f32>().fill(POISON_F32),
        DType::F64 => b.guarded_slice_mut::<f64>().fill(POISON_F64),
        DType::U32 => b.guarded_slice_mut::<u32>().fill(POISON_U32),
    }
    b
}

/// A guarded operand with values as its fill says. Guards of inputs are poison too: a read past the end becomes a NaN.
pub(crate) fn input<S>(table: &Table<S>, spec: &S, o: &Operand, dtype: DType, seed: u64) -> Buffer {
    let mut b = poisoned(o.dtype(dtype), o.len);
    let value = |i: usize| match o.fill {
        Fill::Positive => 0.5 + random::uniform(seed, i as u64),
        Fill::Wide => 16.0 * random::uniform(seed, i as u64) - 8.0,
        _ => 2.0 * random::uniform(seed, i as u64) - 1.0,
    };
    let index = |i: usize, bound: usize| {
        let random = random::philox(seed, i as u64)[0] as usize;
        table.indices.map_or(random % bound.max(1), |index| index(spec, i, random))
    };
    match (o.fill, dtype) {
        (Fill::Index(bound), _) => {
            b.as_mut_slice::<u32>().iter_mut().enumerate().for_each(|(i, v)| *v = index(i, bound) as u32);
        }
        (_, DType::F64) => b.as_mut_slice::<f64>().iter_mut().enumerate().for_each(|(i, v)| *v = f64::from(value(i))),
        // On threads: a benchmark fills the weight of a dense layer, a hundred million numbers.
        _ => b.as_mut_slice::<f32>().par_iter_mut().enumerate().for_each(|(i, v)| *v = value(i)),
    }
    b
}

/// The same elements between fresh guards.
fn guarded_copy(b: &Buffer) -> Buffer {
    let mut copy = poisoned(b.dtype(), b.len());
    match b.dtype() {
        DType::F32 => copy.as_mut_slice::<f32>().copy_from_slice(b.as_slice()),
        DType::F64 => copy.as_mut_slice::<f64>().copy_from_slice(b.as_slice()),
        DType::U32 => copy.as_mut_slice::<u32>().copy_from_slice(b.as_slice()),
    }
    copy
}

pub(crate) fn guards_intact(b: &mut Buffer) -> bool {
    let len = b.len();
    fn edges<T: Copy>(all: &[T], len: usize, ok: impl Fn(T) -> bool) -> bool {
        all[..GUARD].iter().chain(&all[GUARD + len..2 * GUARD + len]).all(|v| ok(*v))
    }
    match b.dtype() {
        DType::F32 => edges(b.guarded_slice_mut::<f32>(), len, |v| v.to_bits() == POISON_F32.to_bits()),
        DType::F64 => edges(b.guarded_slice_mut::<f64>(), len, |v| v.to_bits() == POISON_F64.to_bits()),
        DType::U32 => edges(b.guarded_slice_mut::<u32>(), len, |v| v == POISON_U32),
    }
}

#[cfg(all(test, not(feature = "exact-alloc")))] // One of the faults is seen by the guards.
mod tests {
    use super::*;
    use crate::core::table::{ROUNDING, Signature};
    use crate::ops::pointwise::{Binary, BinarySpec};

    fn naive(s: &BinarySpec, i: &[&Buffer], o: &mut [&mut Buffer], a: Accum) {
        let (x, y) = (i[0].as_slice::<f64>(), i[1].as_slice::<f64>());
        o[0].as_mut_slice::<f64>().iter_mut().zip(x.iter().zip(y)).take(s.len).for_each(|(o, (x, y))| a.put(o, x + y));
    }
    fn table(run: crate::core::table::Run<BinarySpec>) -> Table<BinarySpec> {
        let signature = |s: &BinarySpec| Signature {
            inputs: vec![Operand::any("x", s.len), Operand::any("y", s.len)],
            outputs: vec![Operand::any("out", s.len)],
        };
        Table::new("test.add", |_| Ok(()), signature)
            .accumulates()
            .cases(|| vec![BinarySpec { op: Binary::Add, len: 70 }])
            .with_row(Row::cpu("naive", DType::F64, ROUNDING, naive))
            .with_row(Row::cpu("row", DType::F32, ROUNDING, run))
    }

    /// The harness itself must catch the mistakes it exists for.
    #[test]
    fn planted_faults_are_caught() {
        fn add(i: &[&Buffer], k: usize) -> f32 {
            i[0].as_slice::<f32>()[k] + i[1].as_slice::<f32>()[k]
        }
        let right = table(|s, i, o, a| (0..s.len).for_each(|k| a.put(&mut o[0].as_mut_slice::<f32>()[k], add(i, k))));
        assert!(right.check(&Context::default(), 0).is_ok());
        let faults: [(&str, crate::core::table::Run<BinarySpec>); 6] = [
            ("panics", |s, _, _, _| panic!("{} elements, on purpose", s.len)),
            ("leaves the last element", |s, i, o, a| {
                (0..s.len - 1).for_each(|k| a.put(&mut o[0].as_mut_slice::<f32>()[k], add(i, k)))
            }),
            ("always writes", |s, i, o, _| (0..s.len).for_each(|k| o[0].as_mut_slice::<f32>()[k] = add(i, k))),
            ("always adds", |s, i, o, _| (0..s.len).for_each(|k| o[0].as_mut_slice::<f32>()[k] += add(i, k))),
            ("writes past the end", |s, i, o, a| {
                (0..s.len).for_each(|k| a.put(&mut o[0].as_mut_slice::<f32>()[k], add(i, k)));
                o[0].guarded_slice_mut::<f32>()[GUARD + s.len] = 1.0;
            }),
            ("is a little off", |s, i, o, a| {
                (0..s.len).for_each(|k| a.put(&mut o[0].as_mut_slice::<f32>()[k], add(i, k) * 1.0001))
            }),
        ];
        for (what, run) in faults {
            assert!(table(run).check(&Context::default(), 0).is_err(), "a row that {what} passed");
        }
    }
}
