//! Networks as plain data ([`network`]) and the families that people study ([`families`]).

pub mod families;
pub mod model;
pub mod network;

pub use convscope_engine as engine;
pub use model::{Mode, Model, Run};
