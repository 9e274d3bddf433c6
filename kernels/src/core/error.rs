//! Errors below the tensors.

use crate::core::device::{DType, Device};

/// Result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Errors of tables, buffers and devices. Each says which operation and which sizes.
#[derive(Debug, Clone, thiserror::Error, PartialEq)]
pub enum Error {
    /// No row of the table takes this problem.
    #[error("{op}: no kernel for {dtype} on {device} fits {spec} (tried: {tried})")]
    NoKernel {
        /// Table.
        op: &'static str,
        /// Element type asked for.
        dtype: DType,
        /// Device asked for.
        device: Device,
        /// The problem.
        spec: String,
        /// Row names with the reason each was refused.
        tried: String,
    },
    /// A forced row name is not in the table.
    #[error("{op}: no kernel is called {name:?}; known: {known}")]
    UnknownKernel {
        /// Table.
        op: String,
        /// The name asked for.
        name: String,
        /// The names there are.
        known: String,
    },
    /// A forced row cannot take this problem.
    #[error("{op}/{name} was forced but does not fit {spec}: {reason}")]
    Unfit {
        /// Table.
        op: &'static str,
        /// Row.
        name: String,
        /// The problem.
        spec: String,
        /// Why not.
        reason: String,
    },
    /// The sizes of a problem make no sense together.
    #[error("{op} {spec}: {reason}")]
    Spec {
        /// Table.
        op: &'static str,
        /// The problem.
        spec: String,
        /// The reason.
        reason: String,
    },
    /// A buffer is not as long, or not of the type, that the problem needs.
    #[error("{op} {spec}: {what} is {got}, wants {want}")]
    Operand {
        /// Table.
        op: &'static str,
        /// The problem.
        spec: String,
        /// Which operand.
        what: String,
        /// The given operand.
        got: String,
        /// The expected operand.
        want: String,
    },
    /// The device cannot be used.
    #[error("device {device} cannot be used: {reason}")]
    Device {
        /// The device.
        device: Device,
        /// Why not.
        reason: String,
    },
    /// A table whose outputs are only ever written was asked to add.
    #[error("{op} cannot accumulate into its outputs")]
    NoAccumulate {
        /// Table.
        op: &'static str,
    },
    /// `CONVSCOPE_ISA` is none of the instruction sets.
    #[error("CONVSCOPE_ISA is {0:?}; wants portable, neon, avx2 or avx512")]
    BadIsa(String),
    /// A context's threads cannot be started.
    #[error("cannot start the threads: {0}")]
    Threads(String),
    /// A `CONVSCOPE_KERNEL`-style request could not be read.
    #[error("kernel choice {0:?} is not of the form op=name or op=name? (for example conv2d.fwd=naive)")]
    BadChoice(String),
}
