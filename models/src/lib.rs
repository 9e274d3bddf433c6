//! convscope-models

pub mod fill;
pub mod labels;
pub mod preprocess;
