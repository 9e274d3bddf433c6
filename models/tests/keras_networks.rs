//! The networks of keras.applications against Keras: names, shapes, counts, and files of weights.
//!
//! The fixtures come from Keras through `fixtures/keras_networks.py`.

use convscope_models::families;
use convscope_models::image::{ChannelOrder, Normalization, Resize};
use convscope_models::network::{Network, Preprocess};
use convscope_models::weights::{KERAS_LAYERS, SaveType, TensorToSave, write_safetensors};
use convscope_models::{Model, WeightsSource, guess_network, load};
use std::collections::BTreeMap;
use std::path::Path;

const STRUCTURES: [(&str, &str); 8] = [
    ("keras-vgg16", include_str!("fixtures/keras/vgg16.txt")),
    ("keras-resnet50", include_str!("fixtures/keras/resnet50.txt")),
    ("keras-resnet50v2", include_str!("fixtures/keras/resnet50v2.txt")),
    ("keras-inception_v3", include_str!("fixtures/keras/inceptionv3.txt")),
    ("keras-xception", include_str!("fixtures/keras/xception.txt")),
    ("keras-mobilenet", include_str!("fixtures/keras/mobilenet.txt")),
    ("keras-mobilenet_v2", include_str!("fixtures/keras/mobilenetv2.txt")),
    ("keras-densenet121", include_str!("fixtures/keras/densenet121.txt")),
];

fn build(name: &str) -> Network {
    families::build(name, None).unwrap()
}

/// Every Keras layer exists under its name, with its shape.
#[test]
fn layers_are_kerass() {
    for (name, fixture) in STRUCTURES {
        let net = build(name);
        let (h, w) = if name == "keras-vgg16" { (224, 224) } else { (193, 257) };
        let shapes = net.shapes(h, w).unwrap();
        let layers: Vec<&str> = fixture.lines().filter_map(|line| line.strip_prefix("layer ")).collect();
        assert!(layers.len() > 20, "{name}");
        for line in layers {
            let (layer, shape) = line.split_once(' ').unwrap();
            let selected = net.select(layer).unwrap_or_else(|e| panic!("{name}: {e}")).layer;
            assert_eq!(shapes[selected.0].to_string(), shape, "{name}: {layer}");
        }
    }
}

/// `count_params()` with the running statistics, and the trained part of it.
#[test]
fn totals_are_kerass() {
    let lines: Vec<&str> = include_str!("fixtures/keras/totals.txt").lines().collect();
    assert!(lines.len() > 15);
    for line in lines {
        let net = build(line.split(' ').next().unwrap());
        let summary = net.summary(net.input.height, net.input.width).unwrap();
        let counts = format!("{} {}", summary.keras_parameters, summary.parameters);
        assert_eq!(counts, line.split_once(' ').unwrap().1, "{}", net.name);
        assert_eq!(summary.parameters, net.parameter_count());
    }
}

/// PyTorch's `[out, in, h, w]` as TensorFlow's `[h, w, in, out]`, `[out, in]` as `[in, out]`, in the extents of `stored`.
fn to_keras(values: &[f32], stored: &[usize], depthwise: bool) -> Vec<f32> {
    match *stored {
        [h, w, i, o] => {
            let at = |y: usize, x: usize, i_: usize, o_: usize| match depthwise {
                true => ((i_ * o + o_) * h + y) * w + x,
                false => ((o_ * i + i_) * h + y) * w + x,
            };
            let pixels = (0..h).flat_map(|y| (0..w).map(move |x| (y, x)));
            pixels.flat_map(|(y, x)| (0..i).flat_map(move |i_| (0..o).map(move |o_| values[at(y, x, i_, o_)]))).collect()
        }
        [i, o] => (0..i).flat_map(|i_| (0..o).map(move |o_| values[o_ * i + i_])).collect(),
        _ => values.to_vec(),
    }
}

/// A file with the layers of a fixture in Keras's order and layout, but under names that say nothing, with the closed form's values.
fn keras_file(path: &Path, fixture: &str, filled: &Model) {
    let mut layers: Vec<&str> = Vec::new();
    let mut tensors: Vec<(String, Vec<usize>, Vec<f32>)> = Vec::new();
    for line in fixture.lines().filter_map(|line| line.strip_prefix("weight ")) {
        let [layer, variable, shape] = line.split(' ').collect::<Vec<_>>().try_into().unwrap();
        if layers.last() != Some(&layer) {
            layers.push(layer);
        }
        let shape: Vec<usize> = shape.split('x').map(|n| n.parse().unwrap()).collect();
        // Names here, from the layer and its variable in Keras.
        let param = match variable {
            "gamma" => "weight",
            "beta" => "bias",
            "moving_mean" => "running_mean",
            "moving_variance" => "running_var",
            name => name.trim_start_matches("depthwise_").trim_start_matches("pointwise_"),
        };
        let param = param.replace("kernel", "weight");
        let inner = variable.split('_').next().filter(|part| ["depthwise", "pointwise"].contains(part));
        let candidates = [Some(""), inner, Some("conv"), Some("dense")].into_iter().flatten();
        let name = |inner: &str| if inner.is_empty() { format!("{layer}.{param}") } else { format!("{layer}.{inner}.{param}") };
        let params = filled.network.params();
        let index = candidates.filter_map(|inner| params.iter().position(|p| p.name == name(inner))).next();
        let index = index.unwrap_or_else(|| panic!("{layer} has no {param}"));
        let depthwise = params[index].shape.len() == 4 && params[index].shape[1] == 1;
        let values = to_keras(filled.params[index].f32(), &shape, depthwise);
        tensors.push((format!("layer{}.{variable}", layers.len()), shape, values));
    }
    let names: Vec<String> = (1..=layers.len()).map(|index| format!("layer{index}")).collect();
    // Layers without weights are listed too.
    let metadata = BTreeMap::from([(KERAS_LAYERS.to_string(), format!("input\n{}\nlast", names.join("\n")))]);
    let tensors: Vec<TensorToSave> = tensors.iter().map(|(name, shape, values)| TensorToSave { name, shape, values }).collect();
    write_safetensors(path, &tensors, SaveType::F32, &metadata).unwrap();
}

/// A file of weights alone determines the network, and loads, with any layer names.
#[test]
fn weights_fill_the_network_in_order() {
    let folder = tempfile::tempdir().unwrap();
    // VGG differs from the others in nothing but its size; `tests/keras.rs` has its flattened map.
    for (name, fixture) in STRUCTURES.into_iter().filter(|(name, _)| *name != "keras-vgg16") {
        let filled = load(build(name), &WeightsSource::Random).unwrap();
        let path = folder.path().join("weights.safetensors");
        keras_file(&path, fixture, &filled);
        let source = WeightsSource::parse(path.to_str().unwrap(), &mut ()).unwrap();
        let guessed = guess_network(&source, None).unwrap();
        assert_eq!(guessed.name, name);
        let loaded = load(guessed, &source).unwrap();
        for ((param, ours), theirs) in filled.network.params().iter().zip(&filled.params).zip(&loaded.params) {
            assert!(ours.f32() == theirs.f32(), "{name}: {} differs", param.name);
        }
    }
}

/// Width and classes are those of the file.
#[test]
fn weights_tell_the_width() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights.safetensors");
    let filled = load(families::build("keras-mobilenet-w8", Some(3)).unwrap(), &WeightsSource::Random).unwrap();
    let narrow = |line: &str| {
        let Some((start, shape)) = line.rsplit_once(' ').filter(|_| line.starts_with("weight ")) else { return String::new() };
        let narrow = |n: &str| match n.parse().unwrap() {
            1000 => "3".into(),
            n if n >= 32 => (n / 4usize).to_string(),
            n => n.to_string(),
        };
        format!("{start} {}\n", shape.split('x').map(narrow).collect::<Vec<_>>().join("x"))
    };
    keras_file(&path, &STRUCTURES[5].1.lines().map(narrow).collect::<String>(), &filled);
    let guessed = guess_network(&WeightsSource::parse(path.to_str().unwrap(), &mut ()).unwrap(), None).unwrap();
    assert_eq!((guessed.name.as_str(), guessed.classes.len()), ("keras-mobilenet-w8", 3));
}

/// `preprocess_input` of each, and `load_img(target_size=...)`.
#[test]
fn photos_are_prepared_as_keras_does() {
    let tf = Normalization { scale: 127.5, mean: [1.0; 3], ..Normalization::UNIT };
    for (name, normalization) in [
        ("keras-vgg16", Normalization::CAFFE),
        ("keras-resnet50", Normalization::CAFFE),
        ("keras-resnet50v2", tf),
        ("keras-inception_v3", tf),
        ("keras-xception", tf),
        ("keras-mobilenet", tf),
        ("keras-mobilenet_v2", tf),
        ("keras-densenet121", Normalization::IMAGENET),
    ] {
        let Preprocess { resize, crop, normalization: found, .. } = build(name).preprocess;
        assert_eq!((found, crop), (normalization, None), "{name}");
        let side = if ["keras-xception", "keras-inception_v3"].contains(&name) { 299 } else { 224 };
        assert_eq!(resize, Resize::Exact { h: side, w: side }, "{name}");
    }
    assert_eq!(Normalization::CAFFE.order, ChannelOrder::Bgr);
    let words = |name: &str| build(name).preprocess.to_string();
    let caffe = "224x224 whatever the proportions, nearest pixel, BGR 0 to 255, less 103.939, 116.779, 123.68";
    assert_eq!(words("keras-vgg16"), caffe);
    assert_eq!(words("keras-xception"), "299x299 whatever the proportions, nearest pixel, RGB -1 to 1");
    let torchvision = "shorter side 256, crop 224x224, bilinear, RGB 0 to 1, less 0.485, 0.456, 0.406, over 0.229, 0.224, 0.225";
    assert_eq!(words("resnet50"), torchvision);
}
