//! Errors of tensors and tapes.

use crate::shape::Shape;

/// Result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Errors of tensors and tapes.
#[derive(Debug, Clone, thiserror::Error, PartialEq)]
pub enum Error {
    /// The inputs of an operation do not fit each other.
    #[error("{op}: {reason} (inputs {})", shapes.iter().map(Shape::to_string).collect::<Vec<_>>().join(", "))]
    Shapes {
        /// Operation.
        op: &'static str,
        /// The defect.
        reason: String,
        /// Shapes of all inputs.
        shapes: Vec<Shape>,
    },
    /// The gradient of an operation does not fit its input.
    #[error("the gradient is {got}, the input is {want}, or of another type")]
    Gradient {
        /// Shape of the gradient.
        got: Shape,
        /// Shape of the input.
        want: Shape,
    },
    /// A kernel table refuses the problem.
    #[error(transparent)]
    Kernel(#[from] convscope_kernels::Error),
    /// The number of values differs from the shape's.
    #[error("{len} numbers do not fill the shape {shape}")]
    Length {
        /// Number of values.
        len: usize,
        /// The shape.
        shape: Shape,
    },
    /// One number is asked of a tensor that has more or none.
    #[error("one number is asked of a tensor of shape {shape}")]
    NotOne {
        /// The shape.
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
    /// The upstream gradient has another shape than the value.
    #[error("the upstream gradient is {got}, the value is {want}")]
    Upstream {
        /// Shape of the gradient.
        got: Shape,
        /// Shape of the value.
        want: Shape,
    },
}
