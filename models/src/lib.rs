//! Networks as plain data ([`network`]) and the families that people study ([`families`]).

pub mod families;
pub mod network;
