//! Kernels against the oracle, kernels against the clock, and the machine's peak.

pub mod bench;
pub mod check;
pub mod peak;
pub mod peak_cuda;
pub mod sample;
