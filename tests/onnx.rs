//! ONNX models against PyTorch and ONNX Runtime, with the files of `tests/goldens/onnx_models.py`.

use convscope_models::engine::kernels::DType;
use convscope_models::engine::{Rules, Tape, Tensor};
use convscope_models::model::init::fill_image;
use convscope_models::network::{Classes, LayerId, LayerKind, Network, OutputActivation, ScopeKind};
use convscope_models::{LoadError, Model, WeightsSource, families, load};
use convscope_tests::{close, floats, golden, largest, open, root};
use safetensors::SafeTensors;
use std::path::PathBuf;

fn fixture(name: &str) -> PathBuf {
    root().join("tests/goldens/onnx").join(name)
}

fn image(name: &str, [h, w]: [usize; 2]) -> Tensor {
    Tensor::from_slice([1, 3, h, w], &fill_image(name, 1, 3, h, w)).unwrap()
}

fn logits(model: &Model, image: &Tensor) -> Vec<f32> {
    let mut tape = Tape::inference();
    let run = model.forward(&mut tape, image.clone()).unwrap();
    tape.value(run.output()).unwrap().f32().to_vec()
}

/// The gradient of a logit, in f64: what is compared is the network's formula, with no unit near its kink to change sides.
fn gradient(model: &Model, image: &Tensor, class: usize) -> Vec<f32> {
    let mut tape = Tape::new();
    let run = model.cast(DType::F64).forward(&mut tape, image.cast(DType::F64)).unwrap();
    let outputs = tape.value(run.output()).unwrap().len();
    let upstream: Vec<f64> = (0..outputs).map(|i| f64::from(u8::from(i == class))).collect();
    let x = tape.find(&model.network[LayerId::INPUT].name).unwrap();
    let upstream = Tensor::from_slice([1, outputs], &upstream).unwrap();
    let grads = tape.backward(run.output(), Some(upstream), &[x], &Rules::default()).unwrap();
    grads.of(x).unwrap().cast(DType::F32).f32().to_vec()
}

/// Every fifth row and column of each plane.
fn part(planes: &[f32], [h, w]: [usize; 2]) -> Vec<f32> {
    let rows = planes.chunks_exact(h * w).flat_map(|plane| plane.chunks_exact(w).step_by(5));
    rows.flat_map(|row| row.iter().step_by(5).copied()).collect()
}

/// torchvision's network as the file was exported from, here for its tensors' names and shapes.
fn exported(name: &str) -> Network {
    let mut network = families::build(name, None).unwrap();
    if name == "vgg11" {
        let sizes = [[512 * 2 * 2, 16], [16, 16], [16, 10]];
        let dense = network.layers.iter_mut().filter_map(|layer| match &mut layer.kind {
            LayerKind::Linear { in_features, out_features, .. } => Some([in_features, out_features]),
            _ => None,
        });
        dense.zip(sizes).for_each(|([i, o], sizes)| [*i, *o] = sizes);
        network.classes = Classes::Count(10);
    }
    network
}

/// A graph whose weights are files beside it, in a folder where the closed-form fill has written them.
fn torchvision(name: &str, exporter: &str) -> (tempfile::TempDir, Model) {
    let folder = tempfile::tempdir().unwrap();
    let network = exported(name);
    let filled = load(network.clone(), &WeightsSource::Random).unwrap();
    for (param, tensor) in network.params().iter().zip(&filled.params) {
        let bytes: Vec<u8> = tensor.f32().iter().flat_map(|v| v.to_le_bytes()).collect();
        std::fs::write(folder.path().join(&param.name), bytes).unwrap();
    }
    let path = folder.path().join(format!("{name}.onnx"));
    std::fs::copy(fixture(&format!("{name}.{exporter}.onnx")), &path).unwrap();
    let model = open(&path).unwrap();
    // The exporter's names are the modules': every weight bears the name that torchvision gives it.
    let names = |network: &Network| {
        let mut names: Vec<String> = network.params().into_iter().map(|p| p.name).collect();
        names.sort_unstable();
        names
    };
    assert_eq!(names(&model.network), names(&network), "{name} by {exporter}");
    (folder, model)
}

/// Logits and gradients of a network at the sizes of a golden file.
fn matches(name: &str, exporter: &str, sizes: &[[usize; 2]]) {
    let (_folder, model) = torchvision(name, exporter);
    let bytes = golden(if name == "resnet18" { "resnet18.safetensors" } else { "zoo.safetensors" });
    let file = SafeTensors::deserialize(&bytes).unwrap();
    for &[h, w] in sizes {
        let case = if name == "resnet18" { format!("{h}x{w}") } else { format!("{name}.{h}x{w}") };
        let image = image(&format!("input.{h}x{w}"), [h, w]);
        let want = floats(&file, &format!("{case}.logits"));
        close(&format!("{case} by {exporter}, logits"), &logits(&model, &image), &want, 1e-4 * largest(&want));
        let class = floats(&file, &format!("{case}.class"))[0].to_bits() as usize;
        let dx = gradient(&model, &image, class);
        let (dx, want) = match name {
            "resnet18" => (dx, floats(&file, &format!("{case}.dx"))),
            _ => (part(&dx, [h, w]), floats(&file, &format!("{case}.dx.part"))),
        };
        close(&format!("{case} by {exporter}, gradient"), &dx, &want, 1e-4 * largest(&want));
    }
    assert_eq!((&model.network.classes, model.network.output_activation), (&Classes::ImageNet1k, OutputActivation::Softmax));
}

#[test]
fn resnet18_is_pytorchs() {
    for exporter in ["torchscript", "dynamo"] {
        matches("resnet18", exporter, &[[64, 64], [64, 96]]);
        let (_folder, model) = torchvision("resnet18", exporter);
        let network = &model.network;
        let output = |name: &str| network[network.select(name).unwrap().layer].name.as_str();
        assert_eq!((output("layer4"), output("layer4.0")), ("layer4.1.relu_1", "layer4.0.relu_1"));
        assert_eq!(output("layer4:pre"), "layer4.1.add");
        assert_eq!(network[network.cam_layer().unwrap()].name, "layer4.1.relu_1");
        let count = |kind| network.scopes.iter().filter(|scope| scope.kind == kind).count();
        assert_eq!([ScopeKind::Stage, ScopeKind::Block, ScopeKind::Shortcut].map(count), [4, 8, 3], "{exporter}");
    }
}

#[test]
fn densenet121_is_pytorchs() {
    matches("densenet121", "torchscript", &[[64, 64], [65, 96]]);
    matches("densenet121", "dynamo", &[[65, 96]]);
}

#[test]
fn mobilenet_v2_is_pytorchs() {
    matches("mobilenet_v2", "torchscript", &[[64, 64], [65, 96]]);
    matches("mobilenet_v2", "dynamo", &[[65, 96]]);
}

#[test]
fn inception_v3_is_pytorchs() {
    matches("inception_v3", "torchscript", &[[79, 79], [80, 111]]);
    matches("inception_v3", "dynamo", &[[80, 111]]);
}

#[test]
fn vgg11_is_pytorchs() {
    let bytes = golden("onnx.safetensors");
    let file = SafeTensors::deserialize(&bytes).unwrap();
    for exporter in ["torchscript", "dynamo"] {
        let (_folder, model) = torchvision("vgg11", exporter);
        let image = image("input.64x64", [64, 64]);
        let want = floats(&file, "vgg11.logits");
        close("vgg11 logits", &logits(&model, &image), &want, 1e-4 * largest(&want));
        let want = floats(&file, "vgg11.dx.part");
        close("vgg11 gradient", &part(&gradient(&model, &image, 0), [64, 64]), &want, 1e-4 * largest(&want));
        // Names that Keras users know work where the modules are called as torchvision's are.
        assert!(model.network.select("block5_conv2").is_ok());
    }
}

/// A network of many operators, its batch-norms folded by the exporters.
#[test]
fn a_small_network_is_pytorchs() {
    let bytes = golden("onnx.safetensors");
    let file = SafeTensors::deserialize(&bytes).unwrap();
    for exporter in ["torchscript9", "torchscript17", "dynamo"] {
        let model = open(&fixture(&format!("small.{exporter}.onnx"))).unwrap();
        let image = image("onnx.small", [21, 26]);
        let want = floats(&file, "small.logits");
        close(&format!("{exporter}, logits"), &logits(&model, &image), &want, 1e-5 * largest(&want));
        let want = floats(&file, "small.dx");
        close(&format!("{exporter}, gradient"), &gradient(&model, &image, 1), &want, 1e-4 * largest(&want));
        let network = &model.network;
        assert_eq!((network.output_activation, &network.classes), (OutputActivation::Softmax, &Classes::Count(5)));
        for name in ["stem", "depthwise", "prelu", "gate", "left", "right", "fc2", "left.0:3"] {
            assert!(network.select(name).is_ok(), "{exporter} has no {name}: {:?}", network.layers);
        }
    }
}

/// Operators, orders and types of numbers that PyTorch's exporters do not write.
#[test]
fn graphs_by_hand_are_onnx_runtimes() {
    let bytes = golden("onnx.safetensors");
    let file = SafeTensors::deserialize(&bytes).unwrap();
    for (name, golden, activation) in [
        ("old", "old", OutputActivation::Softmax),
        ("channels_last", "channels_last", OutputActivation::Sigmoid),
        ("beside", "channels_last", OutputActivation::Sigmoid),
        ("operators", "operators", OutputActivation::Softmax),
    ] {
        let model = open(&fixture(&format!("{name}.onnx"))).unwrap();
        let input = &model.network.input;
        let (c, h, w) = (input.channels, input.height, input.width);
        // The file may have its channels last, as the numbers of its image then are.
        let numbers = match golden {
            "old" | "operators" => fill_image(&format!("onnx.{golden}"), 1, c, h, w),
            _ => {
                let last = fill_image("onnx.channels_last", 1, h, w, c);
                (0..c).flat_map(|plane| last.iter().skip(plane).step_by(c).copied().collect::<Vec<_>>()).collect()
            }
        };
        let logits = logits(&model, &Tensor::from_slice([1, c, h, w], &numbers).unwrap());
        let want = floats(&file, &format!("{golden}.logits"));
        close(&format!("{name} logits"), &logits, &want, 1e-5 * largest(&want));
        close(
            &format!("{name} probabilities"),
            &model.network.output_activation.probabilities(&logits),
            &floats(&file, &format!("{golden}.y")),
            1e-5,
        );
        assert_eq!(model.network.output_activation, activation);
    }
}

/// The result of opening these bytes, in one line.
fn refusal(bytes: &[u8]) -> Option<String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    std::fs::write(&path, bytes).unwrap();
    let error = open(&path).err()?;
    assert!(matches!(error, LoadError::Weights(_) | LoadError::Engine(_)), "{error:?}");
    let text = error.to_string();
    assert_eq!(text.lines().count(), 1, "{text}");
    Some(text)
}

/// The error for these bytes, or the part left out of the network.
fn said(bytes: &[u8]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    std::fs::write(&path, bytes).unwrap();
    match WeightsSource::parse(path.to_str().unwrap(), &mut ()) {
        Err(error) => error.to_string(),
        Ok(WeightsSource::Imported(file)) => format!("{:?} {:?}", file.unknown, file.network.classes),
        Ok(other) => panic!("{other} describes no network"),
    }
}

/// `from` as `to`, of the same length, which keeps the file's structure.
fn edited(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let mut edited = bytes.to_vec();
    let at = bytes.windows(from.len()).position(|window| window == from).expect("the bytes are in the file");
    edited[at..at + to.len()].copy_from_slice(to);
    edited
}

#[test]
fn what_is_wrong_is_named() {
    let old = std::fs::read(fixture("old.onnx")).unwrap();
    let last = std::fs::read(fixture("channels_last.onnx")).unwrap();
    let beside = std::fs::read(fixture("beside.onnx")).unwrap();
    let says = |bytes: &[u8], from: &[u8], to: &[u8], words: &[&str]| {
        let text = said(&edited(bytes, from, to));
        assert!(words.iter().all(|word| text.contains(word)), "{text}");
    };
    says(&old, b"\x22\x03Elu", b"\x22\x03Erf", &["net/elu/Elu", "Erf", "not known", "node 10 of 18"]);
    says(&old, b"SAME_LOWER", b"SAME_HIGHE", &["net/c1/Conv", "SAME_HIGHE"]);
    says(&old, b"\x0a\x0ckernel", b"\x0a\x0ckermel", &["net/pooled/MaxPool", "kernel_shape"]);
    says(&old, b"nearest", b"nearset", &["net/up/Upsample", "nearset"]);
    says(&last, b"\x0a\x06padded", b"\x0a\x06paddet", &["paddet", "nothing makes"]);
    // The operators' version.
    says(&old, b"\x0a\x00\x10\x09", b"\x0a\x00\x10\x07", &["operator set 7", "9 and later"]);
    // Values outside of the folder.
    says(&beside, b"beside.onnx.data", b"../../etc/passwd", &["../../etc/passwd", "own folder"]);
    says(&beside, b"beside.onnx.data", b"/etc/passwd/////", &["own folder"]);
    assert!(refusal(&beside).unwrap().contains("no such file"));
}

/// The layers before an unknown operator work; only operations on classes are unavailable.
#[test]
fn a_network_ends_before_what_is_not_known() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("part.onnx");
    let bytes = std::fs::read(fixture("old.onnx")).unwrap();
    std::fs::write(&path, edited(&bytes, b"\x22\x03Elu", b"\x22\x03Erf")).unwrap();
    let part = open(&path).unwrap();
    let whole = open(&fixture("old.onnx")).unwrap();
    assert!(
        matches!(&part.network.classes, Classes::None(reason) if reason.contains("net/elu/Elu")),
        "{:?}",
        part.network.classes
    );
    let last = part.network.layers.last().unwrap();
    assert_eq!(last, &whole.network.layers[part.network.layers.len() - 1]);
    assert_eq!(last.name, "net.c2");
    let image = image("onnx.old", [15, 18]);
    let (mut tape, mut other) = (Tape::inference(), Tape::inference());
    let x = other.leaf(image.clone(), "x");
    let until = whole.network.find("net.c2").unwrap();
    let run = part.forward(&mut tape, image).unwrap();
    let same = whole.run(&mut other, LayerId::INPUT, x, until, convscope_models::Mode::Inference).unwrap();
    assert_eq!(tape.value(run.output()).unwrap().f32(), other.value(same.output()).unwrap().f32());
}

#[test]
fn truncated_and_damaged_files_are_refused() {
    let mut state = 1u64;
    let mut next = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    for name in ["old", "channels_last", "small.torchscript17"] {
        let bytes = std::fs::read(fixture(&format!("{name}.onnx"))).unwrap();
        for part in 0..32 {
            let length = bytes.len() * part / 32;
            assert!(refusal(&bytes[..length]).is_some(), "{length} bytes of {name} were taken");
        }
        // Damage in a weight goes unseen; nothing may panic.
        for _ in 0..400 {
            let mut damaged = bytes.clone();
            for _ in 0..=next(4) {
                let index = next(bytes.len());
                damaged[index] = next(256) as u8;
            }
            refusal(&damaged);
        }
    }
}

/// Protocol Buffers' fields of bytes.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    let mut length = bytes.len();
    while length > 127 {
        out.push(length as u8 | 128);
        length >>= 7;
    }
    out.push(length as u8);
    [&out, bytes].concat()
}

fn model(graph: &[u8]) -> Vec<u8> {
    [&[8, 8][..], &field(7, graph), &field(8, &[16, 18])].concat()
}

/// Files that claim much in little.
#[test]
fn hostile_files_are_refused() {
    let tensor = |dims: &[u8], rest: &[u8]| field(5, &[dims, &[16, 1], &field(8, b"w"), rest].concat());
    let huge = [8, 255, 255, 255, 255, 255, 255, 255, 127];
    let says = |graph: &[u8], words: &str| {
        let text = said(&model(graph));
        assert!(text.contains(words), "{text}");
    };
    says(&tensor(&[huge, huge].concat(), &[]), "impossible shape");
    says(&tensor(&huge, &field(9, &[0; 8])), "holds 8 bytes");
    says(&tensor(&[8, 9], &field(9, &[0; 8])), "holds 8 bytes");
    says(&tensor(&[8, 128, 128, 128, 8], &[]), "holds 0 bytes");
    says(&tensor(&[8, 1], &[112, 1]), "own folder");
    says(&field(5, &[8, 1, 16, 99]), "type 99");
    says(&[], "has no graph");
    let value = |name: &[u8], dims: &[u8]| [field(1, name), field(2, &field(1, &field(2, dims)))].concat();
    let dim = |n: &[u8]| field(1, &[&[8], n].concat());
    let image = |h: &[u8]| field(11, &value(b"x", &[dim(&[1]), dim(&[3]), dim(h), dim(&[9])].concat()));
    let node = |op: &[u8], inputs: &[&[u8]], output: &[u8]| {
        let inputs: Vec<u8> = inputs.iter().flat_map(|input| field(1, input)).collect();
        field(1, &[inputs, field(2, output), field(4, op)].concat())
    };
    let weight = tensor(&[8, 1], &field(9, &[0; 4]));
    says(&[&weight[..], &field(1, &field(4, b"Relu")).repeat(30_000)].concat(), "30000 nodes");
    let out = field(12, &value(b"y", &[]));
    says(&[&weight[..], &image(&huge[1..]), &out, &node(b"Relu", &[b"x"], b"y")].concat(), "extent");
    says(&[&weight[..], &image(&[9]), &out, &node(b"Relu", &[b"y"], b"y")].concat(), "circle");
    says(&[&weight[..], &image(&[9]), &out, &node(b"Relu", &[], b"y")].concat(), "input 0");
    says(&[&weight[..], &image(&[9]), &out, &node(b"Sum", &[], b"y")].concat(), "joins nothing");
    says(&[&weight[..], &image(&[9]), &out, &node(b"Relu", &[b"x"], b"y")].concat(), "map of [3, 9, 9]");
    // Channels that double in each of 60 nodes, and a constant for each of them.
    let mut doubling: Vec<u8> = [&weight[..], &image(&[9]), &out].concat();
    let axis = field(5, &[&field(1, b"axis")[..], &[24, 1]].concat());
    let mut name = b"x".to_vec();
    for i in 0..60u8 {
        let output = vec![b'a' + i % 26, b'0' + i / 26];
        let body = [field(1, &name), field(1, &name), field(2, &output), field(4, b"Concat"), axis.clone()].concat();
        doubling.extend(field(1, &body));
        name = output;
    }
    doubling.extend(node(b"Mul", &[&name, b"w"], b"y"));
    says(&doubling, "values, more than the");
}
