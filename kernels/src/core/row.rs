//! One kernel of a table, and the columns by which it is chosen.

use crate::core::accum::Accum;
use crate::core::buffer::Buffer;
use crate::core::context::Context;
use crate::core::device::{DType, Device};
use crate::core::isa::Isa;
use crate::core::precision::Precision;

/// Largest accepted distance of a row from the f64 oracle.
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

/// Sums in another order than the oracle's: 8 units in the last place, times the root of the number of terms.
pub const ROUNDING: Tolerance = Tolerance { ulps: 8.0, reason: "sums in another order" };
/// Exponentials, logarithms, roots or divisions: 32 units in the last place.
pub const TRANSCENDENTAL: Tolerance = Tolerance { ulps: 32.0, reason: "exp, ln, sqrt and division round too" };

/// A computation on an input that is worth doing once per weight: packing, a Winograd transform.
///
/// The result replaces that input when the row runs, and is cached with the buffer it was made from.
pub struct Prepare<S> {
    /// Which input.
    pub input: usize,
    /// Whether it pays for this problem.
    pub when: fn(&S) -> bool,
    /// Distinguishes preparations of one buffer, with the row's name.
    pub key: fn(&S) -> String,
    /// The computation.
    pub make: fn(&S, &Buffer) -> Buffer,
}

/// The function of a row: spec, inputs, outputs, mode.
pub type Run<S> = fn(&S, &[&Buffer], &mut [&mut Buffer], Accum);

/// One kernel.
///
/// A row from outside is an ordinary safe function. It joins a table by [`Table::with_row`](crate::core::table::Table::with_row), and from there it can be run, checked
/// against the oracle and timed like any other. Nobody but its table runs a row: many rows rely on the lengths that the table
/// verifies, and on instructions that not every machine has.
///
/// ```
/// use convscope_kernels::check::AnyTable;
/// use convscope_kernels::pointwise::{BINARY, Binary, BinarySpec};
/// use convscope_kernels::table::{ROUNDING, Row};
/// use convscope_kernels::{Accum, Buffer, Context, DType};
///
/// fn sum(_: &BinarySpec, inputs: &[&Buffer], outputs: &mut [&mut Buffer], accum: Accum) {
///     let (x, y) = (inputs[0].as_slice::<f32>(), inputs[1].as_slice::<f32>());
///     for ((out, x), y) in outputs[0].as_mut_slice::<f32>().iter_mut().zip(x).zip(y) {
///         *out = x + y + if accum == Accum::Add { *out } else { 0.0 };
///     }
/// }
/// let sums_only = |s: &BinarySpec| if s.op == Binary::Add { Ok(()) } else { Err("wants a sum") };
/// let table = BINARY.with_row(Row::cpu("mine", DType::F32, ROUNDING, sum).supports(sums_only));
/// assert!(table.check(&Context::default(), 0).is_ok()); // Against the naive f64 row, on every case of the table.
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
    /// Instruction set of the CPU; any if `None`.
    pub(crate) isa: Option<Isa>,
    /// The rounding of operands that it applies, and for which it is taken; `None` where it applies none, which suits any.
    pub(crate) precision: Option<Precision>,
    /// Whether it supports a problem, or why not.
    pub(crate) supports: fn(&S) -> Result<(), &'static str>,
    /// Whether the dispatcher takes it for a problem that it supports, or why another row is better. A forced row is not asked.
    pub(crate) preferred: fn(&S) -> Result<(), &'static str>,
    /// Bytes it needs beside its operands.
    pub(crate) scratch: fn(&S) -> usize,
    /// Distance from the oracle that is accepted.
    pub(crate) tolerance: Tolerance,
    /// Preparation that is done once per weight.
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
            isa: None,
            precision: None,
            supports: |_| Ok(()),
            preferred: |_| Ok(()),
            scratch: |_| 0,
            tolerance,
            prepare: None,
            run,
        }
    }

    /// Sets whether a device can run it.
    pub const fn here(mut self, here: fn(Device) -> bool) -> Self {
        self.here = here;
        self
    }

    /// Makes it a row of f64 numbers.
    pub(crate) const fn in_f64(mut self) -> Self {
        self.dtype = DType::F64;
        self
    }

    /// Sets the instruction set of the CPU that it needs.
    pub const fn isa(mut self, isa: Isa) -> Self {
        self.isa = Some(isa);
        self
    }

    /// Sets the rounding of operands that it applies: the dispatcher takes it only where that is asked for.
    pub const fn precision(mut self, precision: Precision) -> Self {
        self.precision = Some(precision);
        self
    }

    /// Sets which problems it supports, or why not.
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

    /// Whether this device of this machine can run it, with the instructions that a context allows.
    pub fn is_here(&self, context: &Context, device: Device) -> bool {
        self.device.is_like(device) && self.isa.is_none_or(|isa| isa <= context.isa()) && (self.here)(device)
    }

    /// Not public: a row that could be copied into another table would run with lengths that nobody verified.
    pub(super) fn copy(&self) -> Self {
        let prepare = self.prepare.as_ref().map(|p| Prepare { input: p.input, when: p.when, key: p.key, make: p.make });
        Row { prepare, ..*self }
    }
}
