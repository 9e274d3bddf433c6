//! convscope-viz

pub mod ascent;
