//! Tensor, tape and reverse-mode automatic differentiation. No layers, no files.
//!
//! Reading order: [`tape`] (the list and its backward loop), [`ops`] (one file an operation), [`gradcheck`], [`optim`], [`trace`].

pub mod error;
mod expr;
pub mod gradcheck;
pub mod operation;
pub mod ops;
pub mod optim;
pub mod shape;
pub mod tape;
pub mod tensor;
pub mod trace;

pub use convscope_kernels as kernels;
pub use convscope_kernels::pointwise::{ReluRule, Unary};
pub use error::{Error, Result};
pub use expr::Expr;
pub use operation::Rules;
pub use shape::Shape;
pub use tape::{Grads, Tape, Var};
pub use tensor::Tensor;
