//! convscope-models

pub mod weights;
