//! convscope-viz

pub mod draw;
