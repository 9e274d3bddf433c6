//! Kernel tables: rows that compute the same thing, the choice among them, and forcing one by name.
//!
//! The order of the rows is the policy: the first that is here, fits and expects to win is taken. A row can be forced by name through
//! [`with_forced`], or through the environment: `CONVSCOPE_KERNEL="conv2d.fwd=naive,gemm=packed?"`. A question mark makes it a
//! preference that yields where it does not fit; without one, a row that does not fit is an error. No fallback is silent:
//! the [`Call`] that comes back names the row that ran.

use crate::core::buffer::Buffer;
use crate::core::device::{DType, Device};
use crate::core::error::{Error, Result};
use crate::ops::pool::PoolSpec;
use std::cell::RefCell;
use std::fmt::Display;
use std::sync::OnceLock;
use std::time::Instant;

/// What a kernel does with its outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accum {
    /// Overwrites; what was there is never read.
    Write,
    /// Adds to what is there.
    Add,
}

impl Accum {
    /// The number to store where `old` stands.
    #[inline(always)]
    pub(crate) fn put<T: Copy + std::ops::Add<Output = T>>(self, old: &mut T, value: T) {
        *old = match self {
            Accum::Write => value,
            Accum::Add => *old + value,
        };
    }
}

/// Length and type of one buffer of a problem.
#[derive(Clone, Copy, Debug)]
pub struct Operand {
    /// Name in error messages.
    pub name: &'static str,
    /// Number of elements.
    pub len: usize,
    /// What the check fills it with, and whether its type is the row's (all but indices).
    pub fill: Fill,
}

/// What values an operand may hold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fill {
    /// Any real number; of the row's type.
    Any,
    /// Any real numbers from -8 to 8, where saturating functions have long saturated; of the row's type.
    Wide,
    /// Positive numbers (variances); of the row's type.
    Positive,
    /// `u32` indices into the elements of some other buffer, below this bound.
    Index(usize),
    /// `u32` indices of pixels, each one that the pooling window of its place sees.
    InWindow(PoolSpec),
}

impl Operand {
    /// An operand of any real numbers.
    pub const fn any(name: &'static str, len: usize) -> Self {
        Operand { name, len, fill: Fill::Any }
    }
    /// An operand of real numbers from -8 to 8.
    pub const fn wide(name: &'static str, len: usize) -> Self {
        Operand { name, len, fill: Fill::Wide }
    }
    /// An operand of positive numbers.
    pub const fn positive(name: &'static str, len: usize) -> Self {
        Operand { name, len, fill: Fill::Positive }
    }
    /// An operand of indices below `bound`.
    pub const fn index(name: &'static str, len: usize, bound: usize) -> Self {
        Operand { name, len, fill: Fill::Index(bound) }
    }
    /// An operand of pixels that the windows of `spec` see.
    pub(crate) const fn in_window(name: &'static str, len: usize, spec: PoolSpec) -> Self {
        Operand { name, len, fill: Fill::InWindow(spec) }
    }
    /// The type of this operand in a problem of `dtype`.
    pub fn dtype(&self, dtype: DType) -> DType {
        match self.fill {
            Fill::Index(_) | Fill::InWindow(_) => DType::U32,
            _ => dtype,
        }
    }
}

/// The buffers of a problem.
#[derive(Clone, Debug)]
pub struct Signature {
    /// Read.
    pub inputs: Vec<Operand>,
    /// Written, or added to.
    pub outputs: Vec<Operand>,
}

/// How far a row may be from the f64 oracle.
///
/// The bound on `|got - want|` is `ulps * f32::EPSILON * sqrt(terms) * max|want|` where `terms` is the length of the sum
/// behind an output: rounding errors of a sum grow like the square root of its length when they are independent.
#[derive(Clone, Copy, Debug)]
pub struct Tolerance {
    /// Factor, in units of the type's epsilon.
    pub ulps: f64,
    /// Why this much.
    pub reason: &'static str,
}

/// Plain rounding of sums in another order than the oracle's.
pub const ROUNDING: Tolerance = Tolerance { ulps: 8.0, reason: "sums in another order" };
/// The same, with exponentials or divisions in between.
pub const TRANSCENDENTAL: Tolerance = Tolerance { ulps: 32.0, reason: "exp, ln, sqrt and division round too" };

/// A computation on an input that is worth doing once per weight: packing, a Winograd transform.
///
/// The result replaces that input when the row runs, and is cached with the buffer it was made from.
pub struct Prepare<S> {
    /// Which input.
    pub input: usize,
    /// Whether it pays for this problem.
    pub when: fn(&S) -> bool,
    /// What distinguishes two preparations of one buffer, beside the row's name.
    pub key: fn(&S) -> String,
    /// The computation.
    pub make: fn(&S, &Buffer) -> Buffer,
}

/// The function of a row: spec, inputs, outputs, mode.
pub type Run<S> = fn(&S, &[&Buffer], &mut [&mut Buffer], Accum);

/// One kernel.
///
/// A row from outside is an ordinary safe function. It joins a table by [`Table::with_row`], and from there it can be run, checked
/// against the oracle and timed like any other. Nobody but its table runs a row: many rows rely on the lengths that the table
/// verifies, and on instructions that not every machine has.
///
/// ```
/// use convscope_kernels::check::AnyTable;
/// use convscope_kernels::pointwise::{BINARY, Binary, BinarySpec};
/// use convscope_kernels::table::{ROUNDING, Row};
/// use convscope_kernels::{Accum, Buffer, DType};
///
/// fn sum(_: &BinarySpec, inputs: &[&Buffer], outputs: &mut [&mut Buffer], accum: Accum) {
///     let (x, y) = (inputs[0].as_slice::<f32>(), inputs[1].as_slice::<f32>());
///     for ((out, x), y) in outputs[0].as_mut_slice::<f32>().iter_mut().zip(x).zip(y) {
///         *out = x + y + if accum == Accum::Add { *out } else { 0.0 };
///     }
/// }
/// let sums_only = |s: &BinarySpec| if s.op == Binary::Add { Ok(()) } else { Err("wants a sum") };
/// let table = BINARY.with_row(Row::cpu("mine", DType::F32, ROUNDING, sum).supports(sums_only));
/// assert!(table.check(0).is_ok()); // Against the naive f64 row, on every case of the table.
/// ```
///
/// A row cannot be taken out of its table:
///
/// ```compile_fail,E0616
/// # use convscope_kernels::{Accum, gemm::{Bias, GEMM, GemmSpec}};
/// let spec = GemmSpec { m: 9, n: 9, k: 9, ta: false, tb: false, bias: Bias::None };
/// let row = GEMM.all_rows().next().unwrap();
/// (row.run)(&spec, &[], &mut [], Accum::Write);
/// ```
pub struct Row<S: 'static> {
    pub(crate) name: &'static str,
    /// Kind of device it runs on.
    pub(crate) device: Device,
    pub(crate) dtype: DType,
    /// Whether a device can run it.
    pub(crate) here: fn(Device) -> bool,
    /// Whether it takes a problem, or why not.
    pub(crate) supports: fn(&S) -> Result<(), &'static str>,
    /// Whether the dispatcher takes it where it fits, or why another row is better there. A forced row need not ask.
    pub(crate) preferred: fn(&S) -> Result<(), &'static str>,
    /// Bytes it needs beside its operands.
    pub(crate) scratch: fn(&S) -> usize,
    /// Distance from the oracle that is accepted.
    pub(crate) tolerance: Tolerance,
    /// What may be prepared once per weight.
    pub(crate) prepare: Option<Prepare<S>>,
    pub(crate) run: Run<S>,
}

impl<S> Row<S> {
    /// A CPU row that supports every problem, needs no scratch and runs everywhere.
    pub const fn cpu(name: &'static str, dtype: DType, tolerance: Tolerance, run: Run<S>) -> Self {
        Row {
            name,
            device: Device::Cpu,
            dtype,
            here: |_| true,
            supports: |_| Ok(()),
            preferred: |_| Ok(()),
            scratch: |_| 0,
            tolerance,
            prepare: None,
            run,
        }
    }

    /// Sets whether a device can run it: whether it has the instructions.
    pub const fn here(mut self, here: fn(Device) -> bool) -> Self {
        self.here = here;
        self
    }

    /// Sets which problems it takes, or why not.
    pub const fn supports(mut self, supports: fn(&S) -> Result<(), &'static str>) -> Self {
        self.supports = supports;
        self
    }

    /// Sets for which problems the dispatcher takes it, or why another row is better there.
    pub const fn preferred(mut self, preferred: fn(&S) -> Result<(), &'static str>) -> Self {
        self.preferred = preferred;
        self
    }

    /// Sets the bytes it needs beside its operands.
    pub const fn scratch(mut self, scratch: fn(&S) -> usize) -> Self {
        self.scratch = scratch;
        self
    }

    /// Sets what is prepared once per weight.
    pub const fn prepare(mut self, prepare: Prepare<S>) -> Self {
        self.prepare = Some(prepare);
        self
    }

    /// Name in the table, such as `im2col_avx512`.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Element type.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Kind of device it runs on: the CPU, or any CUDA device.
    pub fn device(&self) -> Device {
        self.device
    }

    /// Distance from the oracle that is accepted.
    pub fn tolerance(&self) -> Tolerance {
        self.tolerance
    }

    /// Whether this device of this machine can run it.
    pub fn is_here(&self, device: Device) -> bool {
        self.device.is_like(device) && (self.here)(device)
    }

    /// Not public: a row that could be copied into another table would run with lengths that nobody verified.
    fn copy(&self) -> Self {
        let prepare = self.prepare.as_ref().map(|p| Prepare { input: p.input, when: p.when, key: p.key, make: p.make });
        Row { prepare, ..*self }
    }
}

/// What is wrong with a problem's sizes, whoever computes it: one that is zero, a window that does not fit, a product that overflows.
pub type Valid<S> = fn(&S) -> Result<(), String>;

/// All kernels of one operation and direction.
///
/// Operation, sizes and operands of a table are fixed when it is made: its rows rely on them.
pub struct Table<S: 'static> {
    pub(crate) op: &'static str,
    pub(crate) valid: Valid<S>,
    /// The buffers of a valid problem.
    pub(crate) signature: fn(&S) -> Signature,
    /// Floating-point operations, counted for the direct algorithm (a multiply-add is two).
    pub(crate) flops: fn(&S) -> u64,
    /// Length of the sum behind one output.
    pub(crate) terms: fn(&S) -> usize,
    /// Whether outputs can be added to.
    pub(crate) accumulates: bool,
    /// Odd shapes on which every row is tested.
    pub(crate) cases: fn() -> Vec<S>,
    /// Rows that joined later, the last first.
    pub(crate) joined: Vec<Row<S>>,
    /// The kernels of the CPU in sets, one for each instruction set, best first; the last set is the naive kernels.
    pub(crate) rows: &'static [&'static [Row<S>]],
    /// The kernels of CUDA devices, best first.
    pub(crate) cuda: &'static [Row<S>],
}

/// A kernel that ran.
#[derive(Clone, Debug)]
pub struct Call {
    /// Table.
    pub op: &'static str,
    /// Row.
    pub kernel: &'static str,
    /// Wall time in microseconds.
    pub micros: f64,
    /// Operations of the direct algorithm.
    pub flops: u64,
    /// Bytes of all operands.
    pub bytes: u64,
}

impl<S> Table<S> {
    /// A table without rows: its name `op.direction`, what is wrong with a problem, and the buffers of a valid one.
    ///
    /// The first row named `naive` of type f64 is the oracle of all others.
    pub const fn new(op: &'static str, valid: Valid<S>, signature: fn(&S) -> Signature) -> Self {
        Table {
            op,
            valid,
            signature,
            flops: |_| 0,
            terms: |_| 1,
            accumulates: false,
            cases: Vec::new,
            joined: Vec::new(),
            rows: &[],
            cuda: &[],
        }
    }

    /// Sets the floating-point operations of a problem, counted for the direct algorithm (a multiply-add is two).
    pub const fn flops(mut self, flops: fn(&S) -> u64) -> Self {
        self.flops = flops;
        self
    }

    /// Sets the length of the sum behind one output, by whose square root rounding errors grow.
    pub const fn terms(mut self, terms: fn(&S) -> usize) -> Self {
        self.terms = terms;
        self
    }

    /// Lets outputs be added to: every row must know [`Accum::Add`].
    pub const fn accumulates(mut self) -> Self {
        self.accumulates = true;
        self
    }

    /// Sets the problems on which every row is tested.
    pub const fn cases(mut self, cases: fn() -> Vec<S>) -> Self {
        self.cases = cases;
        self
    }

    /// The same table with one more row, which is asked first.
    pub fn with_row(&self, row: Row<S>) -> Self {
        let joined = std::iter::once(row).chain(self.joined.iter().map(Row::copy)).collect();
        Table { joined, ..*self }
    }

    /// `op.direction`, such as `conv2d.fwd`.
    pub fn op(&self) -> &'static str {
        self.op
    }

    /// The kernels of all devices, in the order in which they are asked.
    pub fn all_rows(&self) -> impl Iterator<Item = &Row<S>> {
        self.joined.iter().chain(self.rows.iter().copied().flatten()).chain(self.cuda)
    }

    /// The naive row in f64, by which all others are judged.
    pub(crate) fn oracle(&self) -> Option<&Row<S>> {
        self.rows.iter().copied().flatten().chain(&self.joined).find(|r| r.dtype == DType::F64 && r.name == "naive")
    }
}

impl<S: Display> Table<S> {
    /// Runs the chosen row after checking the problem and every buffer's length, type and device.
    ///
    /// # Errors
    /// If the problem is not valid, a buffer does not suit it, no row takes it, or its device failed.
    pub fn run(&self, spec: &S, inputs: &[&Buffer], outputs: &mut [&mut Buffer], accum: Accum) -> Result<Call> {
        let first = inputs.iter().map(|b| &**b).chain(outputs.iter().map(|b| &**b)).find(|b| b.dtype() != DType::U32);
        let (dtype, device) = first.map_or((DType::F32, Device::Cpu), |b| (b.dtype(), b.device()));
        let bytes = self.verify(spec, inputs, outputs, dtype, device)?;
        if accum == Accum::Add && !self.accumulates {
            return Err(Error::NoAccumulate { op: self.op });
        }
        let row = self.pick(device, dtype, spec)?;
        let start = Instant::now();
        // An empty batch has nothing to compute, and no kernel need know of it.
        if outputs.iter().any(|out| !out.is_empty()) {
            self.run_row(row, spec, inputs, outputs, accum);
        }
        if device != Device::Cpu {
            crate::cuda::after(device)?;
        }
        let micros = start.elapsed().as_secs_f64() * 1e6;
        Ok(Call { op: self.op, kernel: row.name, micros, flops: (self.flops)(spec), bytes })
    }

    /// # Errors
    /// With the reason why nobody can compute this problem.
    pub(crate) fn validate(&self, spec: &S) -> Result<()> {
        (self.valid)(spec).map_err(|reason| Error::Spec { op: self.op, spec: spec.to_string(), reason })
    }

    pub(crate) fn run_row(&self, row: &Row<S>, spec: &S, inputs: &[&Buffer], outputs: &mut [&mut Buffer], accum: Accum) {
        match &row.prepare {
            Some(p) if (p.when)(spec) => {
                let key = format!("{}/{}/{}", self.op, row.name, (p.key)(spec));
                let source = inputs[p.input];
                let mut inputs = inputs.to_vec();
                inputs[p.input] = source.prepared(&key, || (p.make)(spec, source));
                (row.run)(spec, &inputs, outputs, accum);
            }
            _ => (row.run)(spec, inputs, outputs, accum),
        }
    }

    fn verify(&self, spec: &S, inputs: &[&Buffer], outputs: &[&mut Buffer], dtype: DType, device: Device) -> Result<u64> {
        self.validate(spec)?;
        let sig = (self.signature)(spec);
        let wrong = |what: &str, got: String, want: String| Error::Operand {
            op: self.op,
            spec: spec.to_string(),
            what: what.to_string(),
            got,
            want,
        };
        if inputs.len() != sig.inputs.len() || outputs.len() != sig.outputs.len() {
            let say = |i: usize, o: usize| format!("{i} in, {o} out");
            return Err(wrong("number of operands", say(inputs.len(), outputs.len()), say(sig.inputs.len(), sig.outputs.len())));
        }
        let mut bytes = 0;
        let given = inputs.iter().map(|b| &**b).chain(outputs.iter().map(|b| &**b));
        for (b, o) in given.zip(sig.inputs.iter().chain(&sig.outputs)) {
            let want = o.dtype(dtype);
            if b.len() != o.len || b.dtype() != want || b.device() != device {
                let say = |len: usize, dtype: DType, device: Device| format!("{len} x {dtype} on {device}");
                return Err(wrong(o.name, say(b.len(), b.dtype(), b.device()), say(o.len, want, device)));
            }
            if device != Device::Cpu && o.len > i32::MAX as usize {
                return Err(wrong(o.name, format!("{} elements on {device}", o.len), format!("at most {}", i32::MAX)));
            }
            bytes += (b.len() * b.dtype().size()) as u64;
        }
        Ok(bytes)
    }

    /// The row that [`Table::run`] would take.
    ///
    /// # Errors
    /// If the problem is not valid, or no row, or not the forced one, takes it.
    pub fn pick(&self, device: Device, dtype: DType, spec: &S) -> Result<&Row<S>> {
        self.validate(spec)?;
        let refusal = |row: &Row<S>| -> Option<&'static str> {
            if !row.device.is_like(device) {
                Some("other device")
            } else if row.dtype != dtype {
                Some("other type")
            } else if !(row.here)(device) {
                Some("not on this machine")
            } else {
                (row.supports)(spec).err()
            }
        };
        // The f64 tables exist for oracle and gradient check only, so a forced f32 rung does not concern them.
        if let Some(choice) = forced(self.op).filter(|_| dtype == DType::F32) {
            let mut named = self.all_rows().filter(|r| r.name == choice.name).peekable();
            if named.peek().is_none() {
                return Err(self.unknown(&choice.name));
            }
            let mut reason = "";
            for row in named {
                match refusal(row) {
                    None => return Ok(row),
                    Some(why) => reason = if reason.is_empty() || why != "other type" { why } else { reason },
                }
            }
            if !choice.yields {
                return Err(Error::Unfit { op: self.op, name: choice.name, spec: spec.to_string(), reason: reason.to_string() });
            }
        }
        let taken = |row: &&Row<S>| refusal(row).is_none() && (row.preferred)(spec).is_ok();
        self.all_rows().find(taken).ok_or_else(|| Error::NoKernel {
            op: self.op,
            dtype,
            device,
            spec: spec.to_string(),
            tried: self
                .all_rows()
                .map(|r| format!("{} ({}): {}", r.name, r.dtype, refusal(r).unwrap_or("")))
                .collect::<Vec<_>>()
                .join(", "),
        })
    }

    fn unknown(&self, name: &str) -> Error {
        let mut known: Vec<&str> = self.all_rows().map(|r| r.name).collect();
        known.dedup();
        Error::UnknownKernel { op: self.op.to_string(), name: name.to_string(), known: known.join(", ") }
    }
}

/// A forced or preferred row.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    /// Table, such as `conv2d.fwd`.
    pub op: String,
    /// Row.
    pub name: String,
    /// Whether another row may run where this one does not fit.
    pub yields: bool,
}

/// Reads `op=name,op=name?`; table and row names must exist.
pub fn parse_choices(text: &str) -> Result<Vec<Choice>> {
    let tables = crate::tables();
    text.split(',')
        .map(str::trim)
        .filter(|s| !s.is_empty())
        .map(|item| {
            let (op, name) = item.split_once('=').ok_or_else(|| Error::BadChoice(item.to_string()))?;
            let (name, yields) = match name.strip_suffix('?') {
                Some(n) => (n, true),
                None => (name, false),
            };
            // Names of earlier versions.
            let op = match op {
                "place.fwd" => "copy.fwd",
                "place.bwd" => "copy.bwd",
                _ => op,
            };
            let table = tables.iter().find(|t| t.op() == op).ok_or_else(|| Error::UnknownKernel {
                op: "kernel tables".to_string(),
                name: op.to_string(),
                known: tables.iter().map(|t| t.op()).collect::<Vec<_>>().join(", "),
            })?;
            let mut known: Vec<&str> = table.rows().iter().map(|r| r.name).collect();
            known.dedup();
            if !known.contains(&name) {
                return Err(Error::UnknownKernel { op: op.to_string(), name: name.to_string(), known: known.join(", ") });
            }
            Ok(Choice { op: op.to_string(), name: name.to_string(), yields })
        })
        .collect()
}

thread_local! {
    static FORCED: RefCell<Vec<Choice>> = const { RefCell::new(Vec::new()) };
}

/// Runs `f` with these choices in force on this thread (kernels are chosen on the thread that calls them).
pub fn with_forced<R>(choices: &[Choice], f: impl FnOnce() -> R) -> R {
    struct Restore(usize);
    impl Drop for Restore {
        fn drop(&mut self) {
            FORCED.with_borrow_mut(|v| v.truncate(self.0));
        }
    }
    let _restore = Restore(FORCED.with_borrow(Vec::len));
    FORCED.with_borrow_mut(|v| v.extend_from_slice(choices));
    f()
}

/// The choices of the environment; a mistake in them is reported by the first kernel that runs, through [`check_environment`].
fn environment() -> &'static Result<Vec<Choice>> {
    static ENV: OnceLock<Result<Vec<Choice>>> = OnceLock::new();
    ENV.get_or_init(|| parse_choices(&std::env::var("CONVSCOPE_KERNEL").unwrap_or_default()))
}

/// Reports a mistake in `CONVSCOPE_KERNEL` or `CONVSCOPE_ISA`. Programs call this once at their start.
pub fn check_environment() -> Result<()> {
    crate::simd::cap()?;
    environment().as_ref().map(|_| ()).map_err(Clone::clone)
}

fn forced(op: &str) -> Option<Choice> {
    let inner = FORCED.with_borrow(|v| v.iter().rev().find(|c| c.op == op).cloned());
    inner.or_else(|| environment().as_ref().ok()?.iter().rev().find(|c| c.op == op).cloned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conv2d;
    use crate::ops::pointwise::{Binary, BinarySpec};
    use crate::verify::bench::{AnyProblem, Outcome, Problem};
    use crate::verify::check::AnyTable;

    #[test]
    fn a_forced_row_is_taken_and_a_wrong_name_is_an_error() {
        let spec = conv2d::Conv2dSpec::simple(1, 3, 8, 8, 4, 3);
        let pick = || conv2d::FWD.pick(Device::Cpu, DType::F32, &spec).map(|r| r.name);
        let choices = parse_choices("conv2d.fwd=naive").unwrap();
        assert_eq!(with_forced(&choices, pick), Ok("naive"));
        assert_ne!(pick(), Ok("naive"), "the choice ends with its scope");
        let message = parse_choices("conv2d.fwd=fastest").unwrap_err().to_string();
        assert!(message.contains("naive"), "{message}");
        assert_eq!(parse_choices("place.fwd=naive").unwrap()[0].op, "copy.fwd", "an earlier name");
        assert!(parse_choices("nothing").is_err() && parse_choices("nope.fwd=naive").is_err());
    }

    #[test]
    fn a_wrong_length_is_refused_before_a_kernel_runs() {
        let spec = conv2d::Conv2dSpec::simple(1, 3, 8, 8, 4, 3);
        let x = Buffer::zeros(DType::F32, 5);
        let w = Buffer::zeros(DType::F32, spec.weight_len());
        let mut out = Buffer::zeros(DType::F32, spec.out_len());
        let err = conv2d::FWD.run(&spec, &[&x, &w], &mut [&mut out], Accum::Write).unwrap_err().to_string();
        assert!(err.contains("x is 5 x f32") && err.contains("wants 192"), "{err}");
    }

    /// A row that cannot run on any machine, and says so.
    fn nowhere() -> Table<BinarySpec> {
        let row = Row::cpu("nowhere", DType::F32, ROUNDING, |_, _, _, _| panic!("a row that is not here ran")).here(|_| false);
        crate::ops::pointwise::BINARY.with_row(row)
    }

    #[test]
    fn a_row_that_is_not_here_never_runs() {
        let (table, spec) = (nowhere(), BinarySpec { op: Binary::Add, len: 9 });
        let x = Buffer::zeros(DType::F32, 9);
        let mut out = Buffer::zeros(DType::F32, 9);
        assert_eq!(table.all_rows().next().map(|r| r.name), Some("nowhere"), "it is asked first");
        // Chosen.
        assert_ne!(table.pick(Device::Cpu, DType::F32, &spec).unwrap().name, "nowhere");
        let call = table.run(&spec, &[&x, &x], &mut [&mut out], Accum::Write).unwrap();
        assert_ne!(call.kernel, "nowhere");
        // Forced, and preferred where it fits.
        let forced = |yields| [Choice { op: "binary".to_string(), name: "nowhere".to_string(), yields }];
        let mut run = |yields| with_forced(&forced(yields), || table.run(&spec, &[&x, &x], &mut [&mut out], Accum::Write));
        let message = run(false).unwrap_err().to_string();
        assert!(message.contains("not on this machine"), "{message}");
        assert_eq!(run(true).unwrap().kernel, call.kernel);
        // Checked.
        assert!(!AnyTable::rows(&table)[0].here);
        let message = table.check(0).unwrap_err();
        assert!(message.contains("not on this machine"), "{message}");
        // Timed.
        let rungs = Problem { table: &table, spec, sample: None }.measure(Device::Cpu).unwrap();
        let nowhere = rungs.iter().find(|r| r.kernel == "nowhere").unwrap();
        assert_eq!(nowhere.outcome, Outcome::NotRun("not on this machine".to_string()));
    }
}
