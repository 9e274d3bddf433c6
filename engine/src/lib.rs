//! Tensor, tape and reverse-mode automatic differentiation. No layers, no files.
//!
//! A [`Tape`] records operations on [`Tensor`]s, one node each, and walks back over them for gradients. A node is named by a
//! [`Var`], which is a plain index. Operations compute by the kernels of [`convscope_kernels`] on the CPU and on NVIDIA GPUs, in f32 and f64.
//!
//! ```
//! use convscope_engine::{Rules, Tape, Tensor};
//!
//! let mut tape = Tape::new();
//! let a = tape.leaf(Tensor::from_slice([1], &[2.0f32])?, "a");
//! let b = tape.leaf(Tensor::from_slice([1], &[-3.0f32])?, "b");
//! let y = tape.record((a * b + 10.0).powi(2))?;
//! let grads = tape.backward(y, None, &[a, b], &Rules::default())?;
//! assert_eq!(tape.value(y)?.item()?, 16.0);
//! assert_eq!(grads.of(a).unwrap().item()?, -24.0);
//! # Ok::<(), convscope_engine::Error>(())
//! ```
//!
//! | module | holds |
//! |---|---|
//! | [`tape`] | the list of nodes, and the backward loop |
//! | [`operation`] | the trait of an operation; other crates add their own |
//! | [`ops`] | one file an operation: convolution, pooling, softmax, ...; each is a method of [`Tape`] |
//! | [`Expr`] | operators on nodes, such as `a * b + 3.0` |
//! | [`gradcheck`] | gradients against finite differences |
//! | [`optim`] | SGD, Adam, AdamW, RMSprop |
//! | [`trace`] | a tape as a table, JSON, Graphviz DOT, or a Chrome trace |
//!
//! The examples `01_gradients`, `02_regression`, `03_convolution` and `04_new_op` in `engine/examples/` are read in this order:
//! `cargo run --release -p convscope-engine --example 01_gradients`.

mod error;
mod expr;
pub mod gradcheck;
pub mod operation;
pub mod ops;
pub mod optim;
mod shape;
pub mod tape;
mod tensor;
pub mod trace;

pub use convscope_kernels as kernels;
pub use convscope_kernels::Context;
pub use convscope_kernels::pointwise::{ReluRule, Unary};
pub use error::{Error, Result};
pub use expr::Expr;
pub use operation::Rules;
pub use shape::Shape;
pub use tape::{Grads, Tape, Var};
pub use tensor::Tensor;
