//! convscope-models
