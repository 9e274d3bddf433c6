//! The operations: each folder holds the problem, the tables, and the kernels of CPUs and CUDA devices.

pub mod conv2d;
pub mod copy;
pub mod gemm;
pub mod norm;
pub mod optim;
pub mod pointwise;
pub mod pool;
pub mod reduce;
pub mod softmax;
