//! Operations: one file each, with shape rule, forward, backward, and the gradient-check cases.
//!
//! To add one: write its file with an `impl Operation` and an `impl Tape` shorthand, and name it in the test of
//! [`crate::gradcheck`]. A composite (see `loss.rs`) needs only the shorthand.

mod activation;
mod arithmetic;
mod batch_norm;
mod batch_norm_training;
mod bilinear;
mod broadcast;
mod concat;
mod conv2d;
mod divide;
mod dropout;
mod linear;
mod loss;
mod pool;
mod reduce;
mod reshape;
mod slice;
mod softmax;
mod zero_pad;

pub use activation::Activation;
pub use arithmetic::Arithmetic;
pub use batch_norm::BatchNorm;
pub use batch_norm_training::{BatchNormTraining, update_running};
pub use bilinear::Bilinear;
pub use broadcast::Broadcast;
pub use concat::Concat;
pub use conv2d::Conv2d;
pub use divide::Divide;
pub use dropout::Dropout;
pub use linear::Linear;
pub use pool::{AvgPool, MaxPool};
pub use reduce::Reduce;
pub use reshape::Reshape;
pub use slice::Slice;
pub use softmax::Softmax;
pub use zero_pad::ZeroPad;

pub use convscope_kernels::pointwise::Binary;
pub use convscope_kernels::pool::Windows;
