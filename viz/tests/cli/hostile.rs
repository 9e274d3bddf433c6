//! The files on which the parsers are fuzzed, through the binary: a good end, or exit code 1 and one line, and nothing half-written.

use super::support::{Sandbox, read};
use std::fs;
use std::path::{Path, PathBuf};

/// Each so many-th file of a folder is tried.
const STEP: usize = 5;

/// Commands on weight files and images; `FILE` stands for the file.
const WEIGHTS: [&str; 4] = [
    "inspect FILE -q",
    "predict photo.png -w FILE -q",
    "convert FILE out.safetensors -q",
    "filters -w FILE --tensor conv.weight -q",
];
const IMAGES: [&str; 1] = ["predict FILE -q"];

fn corpus(kind: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fuzz/corpus").join(kind);
    let mut files: Vec<PathBuf> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty(), "{}", folder.display());
    files
}

/// Whether the command came to a good end.
fn ends_well(sandbox: &Sandbox, args: &str, what: &str) -> bool {
    let before = sandbox.names(".");
    let (code, out, err) = read(sandbox.run(args));
    if code == Some(0) {
        return true;
    }
    assert!(matches!(code, Some(1 | 2)), "{what}: {args}: {code:?}\n{err}");
    assert!(out.is_empty() && err.starts_with("error: ") && err.lines().count() == 1, "{what}: {args}: {out:?} {err:?}");
    assert_eq!(sandbox.names("."), before, "{what}: {args}: the folder changed");
    false
}

#[test]
fn one_line_for_each() {
    let sandbox = Sandbox::with_photo();
    let weights = ["safetensors", "pth", "legacy", "hdf5", "keras_zip", "onnx"].map(|kind| (kind, &WEIGHTS[..]));
    let images = ["jpeg", "png"].map(|kind| (kind, &IMAGES[..]));
    for (kind, commands) in weights.into_iter().chain(images) {
        for path in corpus(kind).into_iter().step_by(STEP) {
            let file = fs::read(&path).unwrap();
            for (bytes, what) in [(&file[..], "as it is"), (&file[..file.len() / 2], "cut in half")] {
                sandbox.write("file", bytes);
                for command in commands {
                    ends_well(&sandbox, &command.replace("FILE", "file"), &format!("{} {what}", path.display()));
                    let _ = fs::remove_file(sandbox.path("out.safetensors"));
                }
            }
        }
    }
}
