//! convscope-viz
