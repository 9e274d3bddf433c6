//! What Keras has called the variables of its layers, newest names first.

/// Filters of a convolution, matrix of a dense layer.
pub const KERNEL: &[&str] = &["kernel", "W"];
/// Filters of a depthwise convolution.
pub const DEPTHWISE: &[&str] = &["depthwise_kernel", "kernel"];
/// The 1x1 of a separable convolution.
pub const POINTWISE: &[&str] = &["pointwise_kernel"];
/// What a layer adds to each channel.
pub const BIAS: &[&str] = &["bias", "b"];
/// Scale of a batch-norm.
pub const SCALE: &[&str] = &["gamma"];
/// Shift of a batch-norm.
pub const SHIFT: &[&str] = &["beta"];
/// Running mean of a batch-norm.
pub const MEAN: &[&str] = &["moving_mean", "running_mean"];
/// Running variance of a batch-norm, whatever Keras 1 called it.
pub const VARIANCE: &[&str] = &["moving_variance", "running_std"];
