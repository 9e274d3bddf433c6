//! `convscope bench`: how fast this machine is, kernel by kernel and network by network.

pub mod kernels;
pub mod models;
mod table;
