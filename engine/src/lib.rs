//! convscope-engine
