//! Malicious files: one clear error line each, no execution, no panic, bounded memory.

use std::fs;
use std::path::Path;

use convscope_models::weights::{Checkpoint, SaveType, TensorToSave, WeightsError, write_safetensors};
use proptest::prelude::*;

use crate::{assert_says, exercise, fixture, ramp};

fn open_bytes(folder: &Path, bytes: &[u8]) -> Result<Checkpoint, WeightsError> {
    let path = folder.join("evil.pth");
    fs::write(&path, bytes).unwrap();
    Checkpoint::open(path)
}

#[test]
fn what_is_no_file_of_weights() {
    let folder = tempfile::tempdir().unwrap();
    let fails = |path: &Path, wanted: &str| assert_says(Checkpoint::open(path).unwrap_err(), wanted);
    fails(folder.path(), "it is a folder");
    fs::write(folder.path().join("resnet18.pth"), "").unwrap();
    fails(&folder.path().join("resnet18.pth"), "empty (0 bytes)");
    fails(&folder.path().join("resnte18.pth"), "no such file; did you mean .. resnet18.pth?");
    let far = Checkpoint::open(folder.path().join("vgg")).unwrap_err().to_string();
    assert!(far.ends_with("no such file"), "{far}");
    fails(&folder.path().join("nowhere/x.pth"), "there is no folder .. nowhere");
    #[cfg(unix)]
    fails(Path::new("/dev/null"), "not a regular file");
    for (bytes, wanted) in [
        (&b"\xff\xd8\xff\xe0 JFIF"[..], "neither safetensors nor a PyTorch checkpoint .. ff d8 ff e0"),
        (b"x", "neither"),
        (b"\n<!DOCTYPE html><html>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00", "Git LFS pointer"),
        (b"\x89HDF\r\n\x1a\n\0\0\0", "damaged or truncated HDF5"),
        (b"PK\x03\x04 metadata.json config.json model.weights.h5 PK\x05\x06", "damaged or truncated .keras archive"),
        (b"PK\x03\x04 nothing of a zip", "PyTorch"),
        (b"\x80\x02}q\0.", "without a tensor"),
    ] {
        assert_says(open_bytes(folder.path(), bytes).unwrap_err(), wanted);
    }
}

#[test]
fn safetensors_that_lie() {
    let folder = tempfile::tempdir().unwrap();
    let file = |length: u64, header: &str, values: usize| {
        let mut bytes = length.to_le_bytes().to_vec();
        bytes.extend_from_slice(header.as_bytes());
        bytes.resize(bytes.len() + values, 0);
        bytes
    };
    let honest = |header: &str, values| file(header.len() as u64, header, values);
    for (bytes, wanted) in [
        (file(99_999_999, "{}", 0), "truncated safetensors .. 99999999 bytes, the file has 10"),
        (honest("{}", 0), "without a tensor"),
        (honest("{]", 0), "damaged safetensors"),
        (honest(r#"{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#, 7), "truncated or damaged"),
        (honest(r#"{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#, 9), "truncated or damaged"),
        (honest(r#"{"w":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}}"#, 8), "damaged safetensors"),
        (honest(r#"{"w":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}}"#, 0), "damaged safetensors"),
        (honest(r#"{"w":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}}"#, 4), "damaged safetensors"),
        (honest(r#"{"w\u001b[31m\n":{"dtype":"X","shape":[1],"data_offsets":[0,4]}}"#, 4), "damaged safetensors"),
    ] {
        assert_says(open_bytes(folder.path(), &bytes).unwrap_err(), wanted);
    }
}

/// A pickle that calls `os.system(command)` when Python loads it.
fn evil_pickle(command: &str) -> Vec<u8> {
    let mut pickle = b"\x80\x02cos\nsystem\nX".to_vec();
    pickle.extend((command.len() as u32).to_le_bytes());
    pickle.extend(command.as_bytes());
    pickle.extend(b"\x85R.");
    pickle
}

/// A zip of stored entries, without checksums, as `torch.save` may write it.
fn zip(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let (mut file, mut directory) = (Vec::new(), Vec::new());
    for (name, bytes) in entries {
        let offset = file.len() as u32;
        let mut common = vec![20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]; // version, flags, stored, time, date, no CRC
        common.extend((bytes.len() as u32).to_le_bytes().repeat(2));
        common.extend((name.len() as u32).to_le_bytes()); // and no extra field
        file.extend([b"PK\x03\x04", &common[..], name.as_bytes(), bytes].concat());
        directory.extend([b"PK\x01\x02\x14\0", &common[..], &[0; 10], &offset.to_le_bytes(), name.as_bytes()].concat());
    }
    let count = (entries.len() as u16).to_le_bytes();
    let (size, offset) = ((directory.len() as u32).to_le_bytes(), (file.len() as u32).to_le_bytes());
    [&file[..], &directory, b"PK\x05\x06\0\0\0\0", &count, &count, &size, &offset, &[0; 2]].concat()
}

#[test]
fn a_malicious_pickle_is_not_executed() {
    let folder = tempfile::tempdir().unwrap();
    let marker = folder.path().join("executed");
    let evil = evil_pickle(&format!("touch {}", marker.display()));
    // The frame of a legacy file: magic number, protocol, system info, object, storage keys.
    let legacy: Vec<u8> = [
        &b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."[..],
        b"\x80\x02M\xe9\x03.",
        b"\x80\x02}X\x0d\0\0\0little_endian\x88s.",
        &evil,
        b"\x80\x02].",
    ]
    .concat();
    let in_dict = [&b"\x80\x02}X\x01\0\0\0a"[..], &evil[2..evil.len() - 1], b"s."].concat();
    for bytes in [
        evil.clone(),
        in_dict.clone(),
        legacy,
        zip(&[("archive/data.pkl", &evil), ("archive/version", b"3\n")]),
        zip(&[("archive/data.pkl", &in_dict), ("archive/version", b"3\n")]),
    ] {
        let error = open_bytes(folder.path(), &bytes).unwrap_err();
        assert_says(&error, "evil.pth cannot be used as weights");
        assert!(!error.to_string().contains("zip archive error"), "the test's zip is no zip: {error}");
        assert!(!marker.exists(), "the pickle was executed");
    }
}

#[test]
fn a_view_larger_than_its_file_is_refused() {
    let checkpoint = Checkpoint::open(fixture("expanded.pth")).unwrap();
    let tensor = &checkpoint.tensors()[0];
    assert_eq!(tensor.shape, [1 << 28]);
    assert_says(tensor.to_f32_checked().unwrap_err(), "tensor weight claims 1073741824 bytes, more than its whole file");
}

/// The valid files that are mutated: safetensors, and PyTorch's zip and legacy containers.
fn valid_files(folder: &Path) -> Vec<Vec<u8>> {
    let path = folder.join("valid");
    let values = ramp(24);
    let tensors = [("conv.weight", &[2, 3, 4][..]), ("fc.bias", &[24][..])];
    let tensors = tensors.map(|(name, shape)| TensorToSave { name, shape, values: &values });
    let metadata = [("key".to_string(), "value".to_string())].into();
    write_safetensors(&path, &tensors, SaveType::F32, &metadata).unwrap();
    [path, fixture("zip.pth"), fixture("legacy.th")].map(|path| fs::read(path).unwrap()).to_vec()
}

/// Opens and reads; an error must be one line, and nothing may panic.
fn survive(folder: &Path, bytes: &[u8]) {
    match open_bytes(folder, bytes) {
        Ok(checkpoint) => checkpoint.tensors().iter().for_each(exercise),
        Err(error) => assert_says(error, "evil.pth"),
    }
}

#[test]
fn truncated_files_are_refused_at_every_length() {
    let folder = tempfile::tempdir().unwrap();
    for (kind, file) in valid_files(folder.path()).iter().enumerate() {
        for length in (0..file.len()).step_by(if kind == 0 { 1 } else { 7 }) {
            survive(folder.path(), &file[..length]);
            let opened = open_bytes(folder.path(), &file[..length]);
            let whole = opened.is_ok_and(|checkpoint| checkpoint.tensors().iter().all(|t| t.bytes().is_ok()));
            assert!(!whole, "file {kind} cut to {length} of {} bytes was read as whole", file.len());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn mutated_files_do_not_panic(
        kind in 0usize..3,
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12),
        early in any::<bool>(),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let mut file = valid_files(folder.path()).swap_remove(kind);
        for (index, value) in &flips {
            // Half of the time only the headers are hit, where it hurts.
            let reach = if early { file.len().min(400) } else { file.len() };
            let at = index.index(reach);
            file[at] ^= value;
        }
        survive(folder.path(), &file);
    }

    #[test]
    fn random_files_do_not_panic(start in 0usize..5, bytes in prop::collection::vec(any::<u8>(), 1..600)) {
        let folder = tempfile::tempdir().unwrap();
        let starts: [&[u8]; 5] = [b"", b"PK\x03\x04", b"\x80\x02", b"\x40\0\0\0\0\0\0\0{", b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."];
        survive(folder.path(), &[starts[start], &bytes].concat());
    }
}
