//! convscope-kernels
