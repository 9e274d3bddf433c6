//! `convscope bench`: speed of this machine, by kernel and by network.

pub mod kernels;
pub mod models;
mod table;
