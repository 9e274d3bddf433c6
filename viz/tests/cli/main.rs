//! The `convscope` binary from outside: arguments, output, and files.

mod ascent;
mod bench;
mod bench_models;
mod browser;
mod builtin;
mod hostile;
mod hostile_names;
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
