//! The choice of a row, and forcing one by name.
//!
//! The order of a table's rows is the policy: the first that is here, fits and expects to win is taken. A row can be forced by name through
//! [`with_forced`], or through the environment: `CONVSCOPE_KERNEL="conv2d.fwd=naive,gemm=packed?"`. A question mark makes it a
//! preference that yields where it does not fit; without one, a row that does not fit is an error. No fallback is silent:
//! the [`crate::Call`] that comes back names the row that ran.

use crate::core::device::{DType, Device};
use crate::core::error::{Error, Result};
use crate::core::row::Row;
use crate::core::table::Table;
use std::cell::RefCell;
use std::fmt::Display;
use std::sync::OnceLock;

impl<S: Display> Table<S> {
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
    use crate::core::buffer::Buffer;
    use crate::core::row::ROUNDING;
    use crate::core::table::Accum;
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
