//! Kernel tables: rows that compute the same thing. [`crate::core::choice`] says which of them runs.

use crate::core::buffer::Buffer;
use crate::core::context::Context;
use crate::core::device::{DType, Device};
use crate::core::error::{Error, Result};
use crate::cuda::devices;
use std::fmt::Display;
use std::time::Instant;

pub use crate::core::accum::Accum;
pub use crate::core::choice::Choice;
pub use crate::core::operand::{Fill, Operand, Signature};
pub use crate::core::row::{Prepare, ROUNDING, Row, Run, TRANSCENDENTAL, Tolerance};

/// Checks a problem's sizes, for all rows: a zero, a window that does not fit, a product that overflows.
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
    /// Element `i` of its index operands in a test, from a random number; any below the bound if `None`.
    pub(crate) indices: Option<fn(&S, usize, usize) -> usize>,
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
            indices: None,
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

    /// The same table with one more row, which is asked first, however slow: [`Row::preferred`] limits it. This table, and the engine's
    /// operations, stay as they are. A row may use rayon: it runs in the context's threads. A `static` table of one's own is a
    /// `LazyLock<Table<S>>`.
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
    /// Runs the chosen row after checking the problem and every buffer's length, type and device. The row is one for the device where the
    /// operands lie; the rest of the choice is the context's.
    ///
    /// ```
    /// use convscope_kernels::pointwise::{BINARY, Binary, BinarySpec};
    /// use convscope_kernels::{Accum, Buffer, Context};
    ///
    /// let (spec, x) = (BinarySpec { op: Binary::Mul, len: 2 }, Buffer::from_slice(&[3.0f32, 4.0]));
    /// let mut out = Buffer::from_slice(&[1.0f32, 1.0]);
    /// BINARY.run(&Context::default(), &spec, &[&x, &x], &mut [&mut out], Accum::Add)?;
    /// assert_eq!(out.as_slice::<f32>(), [10.0, 17.0]);
    ///
    /// let short = Buffer::from_slice(&[3.0f32]);
    /// assert!(BINARY.run(&Context::default(), &spec, &[&short, &x], &mut [&mut out], Accum::Write).is_err());
    /// # Ok::<_, convscope_kernels::Error>(())
    /// ```
    ///
    /// # Errors
    /// If the problem is not valid, a buffer does not suit it, no row takes it, or its device failed.
    pub fn run(
        &self,
        context: &Context,
        spec: &S,
        inputs: &[&Buffer],
        outputs: &mut [&mut Buffer],
        accum: Accum,
    ) -> Result<Call> {
        let first = inputs.iter().map(|b| &**b).chain(outputs.iter().map(|b| &**b)).find(|b| b.dtype() != DType::U32);
        let (dtype, device) = first.map_or((DType::F32, Device::Cpu), |b| (b.dtype(), b.device()));
        let bytes = self.verify(spec, inputs, outputs, dtype, device)?;
        if accum == Accum::Add && !self.accumulates {
            return Err(Error::NoAccumulate { op: self.op });
        }
        let row = self.pick_on(context, device, dtype, spec)?;
        let start = Instant::now();
        // An empty batch has nothing to compute, and no kernel need know of it.
        if outputs.iter().any(|out| !out.is_empty()) {
            self.run_row(row, spec, inputs, outputs, accum);
        }
        if device != Device::Cpu {
            let queue = devices::queue(device)?;
            if context.is_blocking() { queue.synchronize()? } else { queue.check()? }
        }
        let micros = start.elapsed().as_secs_f64() * 1e6;
        Ok(Call { op: self.op, kernel: row.name, micros, flops: (self.flops)(spec), bytes })
    }

    /// # Errors
    /// With the reason why no row can compute this problem.
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
}
