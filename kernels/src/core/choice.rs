//! The choice of a row, and forcing one by name.
//!
//! The order of a table's rows is the policy: the first row is taken that runs on this machine, supports the problem and is preferred
//! for it. A row can be forced by name through [`Context::with_rows`], or through the environment:
//! `CONVSCOPE_KERNEL="conv2d.fwd=naive,gemm=packed?"`. A question mark lets another row run where this one does not support the
//! problem; without one, that is an error. No fallback is silent: the [`crate::Call`] that comes back names the row that ran.

use crate::core::context::Context;
use crate::core::device::{DType, Device};
use crate::core::error::{Error, Result};
use crate::core::row::Row;
use crate::core::table::Table;
use std::fmt::Display;

impl<S: Display> Table<S> {
    /// The row that [`Table::run`] takes for operands of `dtype` on the context's device.
    ///
    /// ```
    /// use convscope_kernels::conv2d::{Conv2dSpec, FWD};
    /// use convscope_kernels::{Context, DType};
    ///
    /// let spec = Conv2dSpec { padding: [1; 4], ..Conv2dSpec::simple(1, 64, 56, 56, 64, 3) };
    /// assert!(FWD.pick(&Context::default(), DType::F32, &spec)?.name().starts_with("winograd"));
    /// assert!(FWD.pick(&Context::default(), DType::F64, &spec)?.name().starts_with("im2col"));
    /// # Ok::<_, convscope_kernels::Error>(())
    /// ```
    ///
    /// # Errors
    /// If the problem is not valid, or no row, or not the forced one, takes it.
    pub fn pick(&self, context: &Context, dtype: DType, spec: &S) -> Result<&Row<S>> {
        self.pick_on(context, context.device(), dtype, spec)
    }

    pub(super) fn pick_on(&self, context: &Context, device: Device, dtype: DType, spec: &S) -> Result<&Row<S>> {
        self.validate(spec)?;
        let refusal = |row: &Row<S>| -> Option<&'static str> {
            if !row.device.is_like(device) {
                Some("other device")
            } else if row.dtype != dtype {
                Some("other type")
            } else if !row.is_here(context, device) {
                Some("not on this machine")
            } else {
                (row.supports)(spec).err()
            }
        };
        // The f64 tables exist for oracle and gradient check only, so a forced f32 row does not apply to them.
        if let Some(choice) = context.choice(self.op).filter(|_| dtype == DType::F32) {
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
                return Err(Error::Unfit {
                    op: self.op,
                    name: choice.name.clone(),
                    spec: spec.to_string(),
                    reason: reason.to_string(),
                });
            }
        }
        let exact = |row: &Row<S>| row.precision.is_none_or(|precision| precision == context.precision());
        let taken = |row: &&Row<S>| refusal(row).is_none() && exact(row) && (row.preferred)(spec).is_ok();
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
    /// Whether another row may run where this one does not support the problem.
    pub yields: bool,
}

/// Reads `op=name,op=name?`; table and row names must exist.
///
/// ```
/// use convscope_kernels::choice::parse_choices;
///
/// let choices = parse_choices("conv2d.fwd=naive,gemm=packed?")?;
/// assert!(!choices[0].yields && choices[1].yields);
/// assert!(parse_choices("conv2d.fwd=fastest").is_err());
/// # Ok::<_, convscope_kernels::Error>(())
/// ```
///
/// # Errors
/// A text of another form; a table or row that does not exist.
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
            let mut known: Vec<&str> = table.names();
            known.dedup();
            if !known.contains(&name) {
                return Err(Error::UnknownKernel { op: op.to_string(), name: name.to_string(), known: known.join(", ") });
            }
            Ok(Choice { op: op.to_string(), name: name.to_string(), yields })
        })
        .collect()
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
        let (plain, pick) =
            (Context::default(), |context: &Context| conv2d::FWD.pick(context, DType::F32, &spec).map(|r| r.name));
        let naive = plain.clone().with_rows("conv2d.fwd=naive").unwrap();
        assert_eq!(pick(&naive), Ok("naive"));
        assert_ne!(pick(&plain), Ok("naive"), "the choice is of its context");
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
        let err = conv2d::FWD.run(&Context::default(), &spec, &[&x, &w], &mut [&mut out], Accum::Write).unwrap_err().to_string();
        assert!(err.contains("x is 5 x f32") && err.contains("wants 192"), "{err}");
    }

    /// A row that cannot run on any machine, and says so.
    fn nowhere() -> Table<BinarySpec> {
        let row = Row::cpu("nowhere", DType::F32, ROUNDING, |_, _, _, _| panic!("a row that is not here ran")).here(|_| false);
        crate::ops::pointwise::BINARY.with_row(row)
    }

    #[test]
    fn a_row_that_is_not_here_never_runs() {
        let (context, table, spec) = (Context::default(), nowhere(), BinarySpec { op: Binary::Add, len: 9 });
        let x = Buffer::zeros(DType::F32, 9);
        let mut out = Buffer::zeros(DType::F32, 9);
        assert_eq!(table.all_rows().next().map(|r| r.name), Some("nowhere"), "it is asked first");
        // Chosen.
        assert_ne!(table.pick(&context, DType::F32, &spec).unwrap().name, "nowhere");
        let call = table.run(&context, &spec, &[&x, &x], &mut [&mut out], Accum::Write).unwrap();
        assert_ne!(call.kernel, "nowhere");
        // Forced, with and without a fallback.
        let choice = |yields| Choice { op: "binary".to_string(), name: "nowhere".to_string(), yields };
        let forced = |yields| context.clone().with_choice(choice(yields));
        let mut run = |yields| table.run(&forced(yields), &spec, &[&x, &x], &mut [&mut out], Accum::Write);
        let message = run(false).unwrap_err().to_string();
        assert!(message.contains("not on this machine"), "{message}");
        assert_eq!(run(true).unwrap().kernel, call.kernel);
        // Checked.
        assert!(!AnyTable::rows(&table, &context)[0].here);
        let message = table.check(&context, 0).unwrap_err();
        assert!(message.contains("not on this machine"), "{message}");
        // Timed.
        let rows = Problem { table: &table, spec, sample: None }.measure(&context).unwrap();
        let nowhere = rows.iter().find(|r| r.kernel == "nowhere").unwrap();
        assert_eq!(nowhere.outcome, Outcome::NotRun("not on this machine".to_string()));
    }
}
