//! What can go wrong between tensors.

use crate::shape::Shape;

/// Result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Errors of tensors and tapes.
#[derive(Debug, Clone, thiserror::Error, PartialEq)]
pub enum Error {
    /// The inputs of an operation do not go together.
    #[error("{op}: {reason} (inputs {})", shapes.iter().map(Shape::to_string).collect::<Vec<_>>().join(", "))]
    Shapes {
        /// Operation.
        op: &'static str,
        /// What is wrong.
        reason: String,
        /// Shapes of all inputs.
        shapes: Vec<Shape>,
    },
    /// An operation computes a gradient that does not go with its input.
    #[error("the gradient is {got}, the input is {want}, or of another type")]
    Gradient {
        /// Computed.
        got: Shape,
        /// Shape of the input.
        want: Shape,
    },
    /// A kernel table refused.
    #[error(transparent)]
    Kernel(#[from] convscope_kernels::Error),
    /// Data of another length than the shape wants.
    #[error("{len} numbers do not fill the shape {shape}")]
    Length {
        /// Numbers given.
        len: usize,
        /// Shape asked for.
        shape: Shape,
    },
    /// A node of another tape, or of a later state of this one.
    #[error("node {0} is of another tape")]
    OtherTape(usize),
    /// No node has this label.
    #[error("the tape has no node called {0:?}")]
    UnknownLabel(String),
    /// The value of a node was released.
    #[error("the value of {0:?} was not kept: record with Tape::new, not Tape::inference")]
    Released(String),
    /// A backward pass was started with a gradient of another shape.
    #[error("the upstream gradient is {got}, the value is {want}")]
    Upstream {
        /// Given.
        got: Shape,
        /// Shape of the value.
        want: Shape,
    },
}
