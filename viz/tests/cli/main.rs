//! The `convscope` binary from outside: what is typed, what comes back, and what is left on the disk.

mod ascent;
mod bench;
mod bench_models;
mod browser;
mod builtin;
mod hostile;
mod images;
mod inspect;
mod keras;
mod names;
mod onnx;
mod outputs;
mod pictures;
mod repeat;
mod report;
mod results;
mod support;
mod torch;
mod train;
mod weights;
mod zoo;
