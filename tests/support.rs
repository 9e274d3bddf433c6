//! Shared code of this folder's tests.

pub mod parsers;

use convscope_models::{LoadError, Model, WeightsSource, described_network, load};
use safetensors::SafeTensors;
use std::path::{Path, PathBuf};

/// The root of the repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}

/// A file of `tests/goldens`.
///
/// # Panics
/// If it is not there: goldens are part of the repository.
pub fn golden(name: &str) -> Vec<u8> {
    let path = root().join("tests").join("goldens").join(name);
    std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// A folder of data beside the repository, which users do not have: says "skipped" and gives `None` where it is absent.
pub fn shared(name: &str) -> Option<PathBuf> {
    let path = root().join("../shared").join(name);
    if path.is_dir() {
        return Some(path);
    }
    println!("skipped: there is no {}", path.display());
    None
}

/// The numbers of a golden's tensor.
///
/// # Panics
/// If it is not there.
pub fn floats(file: &SafeTensors, name: &str) -> Vec<f32> {
    let bytes = file.tensor(name).unwrap_or_else(|e| panic!("{name}: {e}")).data().to_vec();
    bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
}

/// The model with convolutions as plain sums. A gradient changes where rounding carries a unit over its kink (a ReLU at zero), and
/// Winograd's rounding is ten times larger. Each kernel's own error is tested in `tests/kernels.rs`, the network's formulas here.
///
/// # Panics
/// Never: these kernels exist.
pub fn plainly(model: &Model) -> Model {
    model.with_context(model.context.clone().with_rows("conv2d.fwd=im2col?,conv2d.dgrad=im2col?").unwrap())
}

/// The largest magnitude.
pub fn largest(values: &[f32]) -> f32 {
    values.iter().fold(0.0, |m, v| m.max(v.abs()))
}

/// Asserts that no number is further off than `bound`.
///
/// # Panics
/// If one is, or is not a number.
pub fn close(what: &str, got: &[f32], want: &[f32], bound: f32) {
    assert_eq!(got.len(), want.len(), "{what}: lengths");
    let off = |(g, w): (&f32, &f32)| if (g - w).is_nan() { f32::INFINITY } else { (g - w).abs() };
    let worst = got.iter().zip(want).map(off).fold(0.0, f32::max);
    println!("{what}: off by {worst:.2e}, {bound:.2e} allowed");
    assert!(worst <= bound, "{what}: off by {worst:e}, {bound:e} allowed");
}

/// The model of a file that brings its network along.
///
/// # Errors
/// The defect of the file.
///
/// # Panics
/// If it describes no network.
pub fn open(path: &Path) -> Result<Model, LoadError> {
    let source = WeightsSource::parse(&path.to_string_lossy(), &mut ())?;
    let network = described_network(&source)?.expect("the file describes its network");
    load(network, &source)
}
