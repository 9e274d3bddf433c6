//! Memory with a type, and tables of interchangeable kernels over it.

pub mod accum;
pub mod buffer;
pub mod choice;
pub mod context;
pub mod device;
pub mod error;
pub mod isa;
pub(crate) mod memory;
pub mod operand;
pub mod precision;
pub mod random;
pub mod row;
pub(crate) mod sizes;
pub mod table;
pub(crate) mod threads;
