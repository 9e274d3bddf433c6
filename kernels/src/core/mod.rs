//! Memory with a type, and tables of interchangeable kernels over it.

pub mod buffer;
pub mod device;
pub mod error;
pub(crate) mod memory;
pub mod random;
pub(crate) mod sizes;
pub mod table;
pub(crate) mod threads;
