//! Opening checkpoints of every kind that is read.

use std::path::Path;

use convscope_models::weights::{Checkpoint, Format, StoredType};
use safetensors::Dtype;
use safetensors::tensor::TensorView;

use crate::{assert_says, fixture, names, ramp};

/// The sum over all f32 tensors in f64, or `None` where the shared data are not at hand.
fn shared(name: &str) -> Option<Checkpoint> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/weights").join(name);
    if !path.exists() {
        eprintln!("skipped: {} is not here", path.display());
        return None;
    }
    Some(Checkpoint::open(path).unwrap())
}

#[test]
fn published_cifar_resnets() {
    for (file, tensors, sum) in [("resnet20-12fca82f.th", 97, Some(139.782650)), ("resnet32-d509ac18.th", 157, None)] {
        let Some(checkpoint) = shared(file) else {
            return;
        };
        assert_eq!(checkpoint.format(), Format::PyTorch);
        assert_eq!(checkpoint.wrapper(), "state_dict.module.");
        assert_eq!(checkpoint.tensors().len(), tensors);
        let values = |t: &convscope_models::weights::StoredTensor| t.to_f32_checked().unwrap();
        let total: f64 = checkpoint.tensors().iter().flat_map(values).map(f64::from).sum();
        if let Some(sum) = sum {
            assert!((total - sum).abs() < 1e-6, "{total}");
        }
        assert_eq!(checkpoint.get("linear.weight").unwrap().shape, [10, 64]);
        assert_eq!(checkpoint.get("layer1.0.conv1.weight").unwrap().shape, [16, 16, 3, 3]);
        assert!(checkpoint.get("layer9").is_none());
    }
}

#[test]
fn keras_hdf5_is_read_as_it_is() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/weights/fer2013_mini_XCEPTION.102-0.66.hdf5");
    if !path.exists() {
        eprintln!("skipped: {} is not here", path.display());
        return;
    }
    let checkpoint = Checkpoint::open(path).unwrap();
    assert_eq!((checkpoint.format(), checkpoint.tensors().len()), (Format::Hdf5, 80));
    // Keras's names and layout; the sum of all values equals h5py's.
    assert_eq!(checkpoint.get("separable_conv2d_1.depthwise_kernel").unwrap().shape, [3, 3, 8, 1]);
    let sum: f64 = checkpoint.tensors().iter().flat_map(|t| t.to_f32().unwrap()).map(f64::from).sum();
    assert!((sum - 15_988.347_061).abs() < 1e-4, "{sum}");
}

#[test]
fn pytorch_zip_and_legacy_hold_the_same() {
    for file in ["zip.pth", "legacy.th"] {
        let checkpoint = Checkpoint::open(fixture(file)).unwrap();
        assert_eq!(checkpoint.wrapper(), "state_dict.module.", "{file}");
        let all = ["bn1.bias", "bn1.num_batches_tracked", "bn1.weight", "conv1.weight", "fc.bias", "fc.weight"];
        assert_eq!(names(&checkpoint), all, "{file}: neighbours such as optimizer state are left out");
        let values = |name: &str| checkpoint.get(name).unwrap().to_f32_checked().unwrap();
        assert_eq!(values("conv1.weight"), ramp(108));
        assert_eq!(values("bn1.weight"), ramp(4));
        assert_eq!(values("bn1.bias"), ramp(4));
        // Saved as a transposed view of [4, 10].
        let transposed: Vec<f32> = (0..40).map(|i| ramp(40)[i % 4 * 10 + i / 4]).collect();
        assert_eq!(checkpoint.get("fc.weight").unwrap().shape, [10, 4]);
        assert_eq!(values("fc.weight"), transposed);
        let strided: Vec<f32> = ramp(30).into_iter().skip(5).step_by(2).take(10).collect();
        assert_eq!(values("fc.bias"), strided);

        let types: Vec<_> = checkpoint.tensors().iter().map(|tensor| tensor.dtype).collect();
        use StoredType::*;
        assert_eq!(types, [BF16, I64, F16, F32, F32, F64]);
        let counter = checkpoint.get("bn1.num_batches_tracked").unwrap();
        assert_eq!(counter.bytes().unwrap().as_ref(), 7i64.to_le_bytes());
        assert_says(counter.to_f32().unwrap_err(), "bn1.num_batches_tracked .. i64 .. floating-point");
        assert!(checkpoint.get("conv1.weight").unwrap().mapped().is_none());
    }
}

/// A safetensors file with one tensor `w` of each given type and bytes, written by the reference crate.
fn safetensors_file(folder: &Path, tensors: &[(&str, Dtype, &[u8])]) -> std::path::PathBuf {
    let views = tensors.iter().map(|(name, dtype, bytes)| {
        let shape = vec![bytes.len() * 8 / dtype.bitsize()];
        (*name, TensorView::new(*dtype, shape, bytes).unwrap())
    });
    let path = folder.join("weights.bin"); // the extension is no matter
    let metadata = [("format".to_string(), "pt".to_string()), ("author".to_string(), "me".to_string())];
    std::fs::write(&path, safetensors::serialize(views, Some(metadata.into())).unwrap()).unwrap();
    path
}

#[test]
fn safetensors_of_every_float_type() {
    let folder = tempfile::tempdir().unwrap();
    let values = ramp(9);
    let single: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    let double: Vec<u8> = values.iter().flat_map(|v| f64::from(*v).to_le_bytes()).collect();
    let half16: Vec<u8> = values.iter().flat_map(|v| half::f16::from_f32(*v).to_le_bytes()).collect();
    let brain: Vec<u8> = values.iter().flat_map(|v| half::bf16::from_f32(*v).to_le_bytes()).collect();
    let path = safetensors_file(
        folder.path(),
        &[
            ("module.a", Dtype::F32, &single),
            ("module.b", Dtype::F64, &double),
            ("module.c", Dtype::F16, &half16),
            ("module.d", Dtype::BF16, &brain),
            ("module.n", Dtype::I64, &5i64.to_le_bytes()),
        ],
    );
    let checkpoint = Checkpoint::open(&path).unwrap();
    assert_eq!(checkpoint.format(), Format::Safetensors);
    assert_eq!(checkpoint.metadata().iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>(), ["author=me", "format=pt"]);
    assert_eq!(names(&checkpoint), ["a", "b", "c", "d", "n"]);
    for tensor in &checkpoint.tensors()[..4] {
        assert_eq!(tensor.to_f32_checked().unwrap(), values, "{tensor:?}");
        assert_eq!(tensor.shape, [9]);
    }
    let (map, range) = checkpoint.get("a").unwrap().mapped().unwrap();
    assert_eq!(&map[range], single);
    assert!(checkpoint.get("b").unwrap().mapped().is_none());
}

#[test]
fn values_that_lie_unaligned_are_copied() {
    let folder = tempfile::tempdir().unwrap();
    let header = br#"{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#;
    for padding in 0..4 {
        let mut bytes = (header.len() as u64 + padding).to_le_bytes().to_vec();
        bytes.extend_from_slice(header);
        bytes.extend(std::iter::repeat_n(b' ', padding as usize));
        bytes.extend([1.5f32, -2.0].iter().flat_map(|v| v.to_le_bytes()));
        let path = folder.path().join(format!("{padding}"));
        std::fs::write(&path, bytes).unwrap();
        let checkpoint = Checkpoint::open(&path).unwrap();
        let tensor = checkpoint.get("w").unwrap();
        assert_eq!(tensor.to_f32_checked().unwrap(), [1.5, -2.0]);
        assert_eq!(tensor.mapped().is_some(), (header.len() as u64 + padding).is_multiple_of(4));
    }
}

#[test]
fn non_finite_weights_are_counted() {
    let folder = tempfile::tempdir().unwrap();
    let mut values = vec![0.5f32; 10_000];
    (values[7_001], values[7_002], values[9_000]) = (f32::NAN, f32::NEG_INFINITY, f32::NAN);
    let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    let too_large: Vec<u8> = [1.0, 1e300].iter().flat_map(|v: &f64| v.to_le_bytes()).collect();
    let path = safetensors_file(folder.path(), &[("conv.weight", Dtype::F32, &bytes), ("wide", Dtype::F64, &too_large)]);
    let checkpoint = Checkpoint::open(&path).unwrap();
    let tensor = checkpoint.get("conv.weight").unwrap();
    let message = "weights.bin: tensor conv.weight holds 2 NaN and 1 infinite values, the first at index 7001";
    assert_says(tensor.to_f32_checked().unwrap_err(), message);
    assert_says(tensor.check_finite().unwrap_err(), message);
    assert!(tensor.to_f32().unwrap()[7_001].is_nan());
    assert_says(checkpoint.get("wide").unwrap().check_finite().unwrap_err(), "0 NaN and 1 infinite .. index 1");
}

#[test]
fn types_that_are_not_read_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = safetensors_file(folder.path(), &[("w", Dtype::F8_E4M3, &[0; 4])]);
    assert_says(Checkpoint::open(path).unwrap_err(), "tensor w .. F8_E4M3 .. f64, f32, f16 and bf16");
}
