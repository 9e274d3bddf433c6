//! Writing safetensors: exact, deterministic, whole or not at all.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use convscope_models::weights::{Checkpoint, SaveType, StoredType, TensorToSave, write_safetensors};

use crate::{assert_says, names, ramp};

fn metadata() -> BTreeMap<String, String> {
    [("model", "resnet18"), ("note", "a \"quoted\"\nnote"), ("z", "")].map(|(k, v)| (k.into(), v.into())).into()
}

fn listing(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn what_is_written_is_read_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.safetensors");
    let (weight, bias) = (ramp(24), ramp(3));
    let tensors = [
        TensorToSave { name: "fc.weight", shape: &[3, 8], values: &weight },
        TensorToSave { name: "fc.bias", shape: &[3], values: &bias },
        TensorToSave { name: "scale", shape: &[], values: &[2.0] },
        TensorToSave { name: "none", shape: &[0, 4], values: &[] },
    ];
    for (dtype, stored) in
        [(SaveType::F32, StoredType::F32), (SaveType::F16, StoredType::F16), (SaveType::BF16, StoredType::BF16)]
    {
        write_safetensors(&path, &tensors, dtype, &metadata()).unwrap();
        let bytes = fs::read(&path).unwrap();
        // The reference reader agrees, and the same input gives the same bytes.
        let reference = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        assert_eq!(reference.tensor("fc.weight").unwrap().shape(), [3, 8]);
        write_safetensors(&path, &tensors, dtype, &metadata()).unwrap();
        assert_eq!(fs::read(&path).unwrap(), bytes);

        let checkpoint = Checkpoint::open(&path).unwrap();
        assert_eq!(checkpoint.metadata(), &metadata());
        assert_eq!(names(&checkpoint), ["fc.bias", "fc.weight", "none", "scale"]);
        for tensor in &tensors {
            let read = checkpoint.get(tensor.name).unwrap();
            assert_eq!((read.dtype, read.shape.as_slice()), (stored, tensor.shape));
            assert_eq!(read.to_f32_checked().unwrap(), tensor.values, "{dtype:?} {}", tensor.name);
            assert_eq!(read.mapped().is_some(), dtype == SaveType::F32);
        }
    }
    assert_eq!(listing(folder.path()), ["out.safetensors"]);
}

#[test]
fn a_failure_leaves_the_old_file_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.safetensors");
    fs::write(&path, "old").unwrap();
    let tensor = |name, shape, values| TensorToSave { name, shape, values };
    let fails = |tensors: &[TensorToSave], dtype, wanted: &str| {
        assert_says(write_safetensors(&path, tensors, dtype, &metadata()).unwrap_err(), wanted);
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(listing(folder.path()), ["out.safetensors"]);
    };
    let one = tensor("w", &[1], &[1.0]);
    fails(&[one, one], SaveType::F32, "the tensor name w is taken");
    fails(&[tensor("__metadata__", &[1], &[1.0])], SaveType::F32, "__metadata__ is taken");
    fails(&[tensor("w", &[2], &[1.0])], SaveType::F32, "tensor w has 1 values .. [2]");
    fails(&[tensor("w", &[usize::MAX, 2], &[1.0])], SaveType::F32, "which is not its shape");
    // Found while writing, after the first tensor is out.
    fails(&[one, tensor("big", &[2], &[0.0, 70_000.0])], SaveType::F16, "tensor big holds a value too large for F16");
    fails(&[one, tensor("big", &[1], &[f32::MAX])], SaveType::BF16, "too large for BF16");

    let write = |path: &Path| write_safetensors(path, &[one], SaveType::F32, &metadata());
    assert_says(write(folder.path()).unwrap_err(), "it is a folder");
    assert_says(write(&folder.path().join("no/out")).unwrap_err(), "there is no folder");
    assert_says(write(Path::new("/")).unwrap_err(), "does not name a file");
    assert_says(write(&path.join("below-a-file")).unwrap_err(), "cannot write weights");
    write(&path).unwrap();
    assert_eq!(listing(folder.path()), ["out.safetensors"]);
}
