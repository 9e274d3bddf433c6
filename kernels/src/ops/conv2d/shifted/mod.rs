//! Sums of shifted planes, for groups of one channel and of a few.

pub(super) mod depthwise;
pub(super) mod depthwise_grad;
pub(super) mod grouped;
pub(super) mod grouped_grad;
