//! What the tests of this folder share.

pub mod parsers;

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
