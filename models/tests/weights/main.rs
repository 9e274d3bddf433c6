//! Weights in and out, through the public interface: real and made-up checkpoints, hostile ones, a local hub.

mod checkpoint;
mod convert;
mod fake_hub;
mod hostile;
mod hub;
mod hub_failures;
mod matching;

use std::path::{Path, PathBuf};

use convscope_models::weights::{Checkpoint, SaveType, StoredTensor, TensorToSave, write_safetensors};

/// The committed checkpoint of that name; `fixtures/make.py` writes it.
fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/weights/fixtures").join(name)
}

/// -1, -0.75, -0.5, ...
fn ramp(count: usize) -> Vec<f32> {
    (0..count).map(|i| i as f32 * 0.25 - 1.0).collect()
}

/// A safetensors file in `folder` with a ramp for each name and shape.
fn ramps(folder: &Path, file: &str, tensors: &[(&str, &[usize])]) -> Checkpoint {
    let path = folder.join(file);
    let values: Vec<Vec<f32>> = tensors.iter().map(|(_, shape)| ramp(shape.iter().product())).collect();
    let tensors: Vec<_> =
        tensors.iter().zip(&values).map(|((name, shape), values)| TensorToSave { name, shape, values }).collect();
    write_safetensors(&path, &tensors, SaveType::F32, &Default::default()).unwrap();
    Checkpoint::open(&path).unwrap()
}

fn names(checkpoint: &Checkpoint) -> Vec<&str> {
    checkpoint.tensors().iter().map(|tensor| tensor.name.as_str()).collect()
}

/// Reads everything that can be read of a tensor; only whether it panics matters.
fn exercise(tensor: &StoredTensor) {
    let _ = (tensor.to_f32_checked(), tensor.check_finite(), tensor.mapped(), tensor.bytes().map(|bytes| bytes.len()));
}

/// Asserts that an error is one line and has all parts of `wanted`, which ` .. ` separates.
#[track_caller]
fn assert_says(error: impl std::fmt::Display, wanted: &str) {
    let message = error.to_string();
    assert!(!message.contains(['\n', '\u{1b}']), "more than one line: {message}");
    for part in wanted.split(" .. ") {
        assert!(message.contains(part), "{message:?} does not say {part:?}");
    }
}
