//! Keras models against Keras, from the numbers that `tests/goldens/keras_models.py` and `keras2_models.py` wrote.

use convscope_models::engine::{Tape, Tensor};
use convscope_models::image::ChannelOrder;
use convscope_models::keras;
use convscope_models::model::init::fill_image;
use convscope_models::network::{Classes, Network, OutputActivation};
use convscope_models::weights::{Checkpoint, WeightsError};
use convscope_models::{LoadError, Model, WeightsSource, described_network, load};
use convscope_tests::{close, floats, golden, open, plainly, root, shared};
use convscope_viz::predict::input_gradient;
use safetensors::SafeTensors;
use std::path::{Path, PathBuf};

fn fixture(name: &str) -> PathBuf {
    root().join("tests/goldens/keras").join(name)
}

/// Logits, probabilities and the first logit's input gradient of the model in a file.
fn matches(name: &str, path: &Path) -> Model {
    let model = open(path).unwrap();
    let size = [model.network.input.height, model.network.input.width];
    agrees(name, &model, size, "keras.safetensors", 1);
    model
}

/// At two sizes, one of them odd.
fn matches_at_two_sizes(name: &str, path: &Path, numbers: &str) -> Model {
    let model = open(path).unwrap();
    for [h, w] in [[21, 16], [24, 19]] {
        agrees(&format!("{name}.{h}x{w}"), &model, [h, w], numbers, 1);
    }
    model
}

/// As `numbers` say, the counts of parameters among them; of the gradient every `step`-th row and column.
fn agrees(name: &str, model: &Model, [h, w]: [usize; 2], numbers: &str, step: usize) {
    let bytes = golden(numbers);
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let want = |what: &str| floats(&file, &format!("{name}.{what}"));
    let c = model.network.input.channels;
    let image = Tensor::from_slice([1, c, h, w], &fill_image(&format!("keras.{name}"), 1, c, h, w)).unwrap();
    let mut tape = Tape::new();
    let run = model.forward(&mut tape, image.clone()).unwrap();
    let mut logits = tape.value(run.output()).unwrap().f32().to_vec();
    let mut probabilities = model.network.output_activation.probabilities(&logits);
    // Keras has one output for two classes: the probability of the second.
    if want("logits").len() == 1 {
        (logits, probabilities) = (vec![logits[1]], vec![probabilities[1]]);
    }
    // A network that ends in no activation has no probabilities.
    if want("probabilities") != want("logits") {
        close("probabilities", &probabilities, &want("probabilities"), 1e-5);
    }
    let largest = |v: &[f32]| v.iter().fold(0.0f32, |m, v| m.max(v.abs()));
    close("logits", &logits, &want("logits"), 1e-5 * largest(&want("logits")).max(1.0));
    if file.tensor(&format!("{name}.parameters")).is_ok() {
        let summary = model.network.summary(h, w).unwrap();
        let trained = want("parameters")[1] as usize;
        assert_eq!(summary.keras_parameters, want("parameters")[0] as usize, "{name}");
        // Layers that the model has frozen are not trained there.
        assert!(summary.parameters == trained || name == "nested" && summary.parameters > trained, "{name}");
    }
    let dx = want("dx");
    let class = if want("logits").len() == 1 { 1 } else { 0 };
    let (_, gradient) = input_gradient(&plainly(model), &image, Some(class)).unwrap();
    let rows = (0..c).flat_map(|c| (0..h).step_by(step).map(move |y| (c * h + y) * w));
    let seen: Vec<f32> = rows.flat_map(|row| (0..w).step_by(step).map(move |x| row + x)).map(|at| gradient.f32()[at]).collect();
    close("input gradient", &seen, &dx, 1e-4 * largest(&dx));
}

/// The model of an architecture in a file of its own and the weights in another.
fn with_architecture(architecture: &str, weights: &str) -> Model {
    let text = std::fs::read_to_string(fixture(architecture)).unwrap();
    let checkpoint = Checkpoint::open(fixture(weights)).unwrap();
    let model = keras::with(&checkpoint, &fixture(architecture), &text).unwrap();
    load(model.network.clone(), &WeightsSource::Imported(Box::new(model))).unwrap()
}

/// One model in each kind of file of each version.
#[test]
fn every_kind_of_file() {
    for name in
        ["tutorial.keras1.h5", "tutorial.keras2.h5", "tutorial.keras2.keras", "tutorial.keras3.h5", "tutorial.keras3.keras"]
    {
        println!("{name}");
        let model = matches("tutorial", &fixture(name));
        assert_eq!((model.network.classes.len(), model.network.output_activation), (3, OutputActivation::Softmax));
        assert_eq!(model.network.parameter_count(), 4 * 3 * 3 * 2 + 4 + 8 + 5 * 96 + 5 + 3 * 5 + 3, "{name}");
    }
    for version in ["keras2", "keras3"] {
        for kind in ["weights", "by_layer"] {
            println!("{version} {kind}");
            let model = with_architecture(&format!("tutorial.{version}.json"), &format!("tutorial.{version}.{kind}.h5"));
            agrees("tutorial", &model, [14, 17], "keras.safetensors", 1);
        }
    }
}

#[test]
fn every_activation() {
    let model = matches_at_two_sizes("activations", &fixture("activations.keras"), "keras.safetensors");
    let network = &model.network;
    assert_eq!(network[network.select("conv_mish").unwrap().layer].kind.to_string(), "Mish");
    assert_eq!(network[network.select("layer_elu").unwrap().layer].kind.to_string(), "ELU 0.6");
}

#[test]
fn shapes_joins_and_shared_layers() {
    let model = matches_at_two_sizes("shapes", &fixture("shapes.keras"), "keras.safetensors");
    assert!(model.network.find("shared").is_some() && model.network.find("shared_1").is_some());
}

/// Layers with several calls have one set of parameters, also in a safetensors file.
#[test]
fn layers_and_models_called_twice() {
    for name in ["twice.h5", "twice.keras"] {
        let model = matches("twice", &fixture(name));
        let network = &model.network;
        let owner = |name: &str| network[network.owner(network.find(name).unwrap())].name.as_str();
        for (layer, of) in [
            ("tower.conv", "tower.conv"),
            ("tower.conv_1", "tower.conv"),
            ("tower_1.norm_1", "tower.norm"),
            ("separable_1.pointwise", "separable.pointwise"),
            ("dense_5", "dense"),
        ] {
            assert_eq!(owner(layer), of);
        }
        let back = Network::from_metadata(&network.metadata()).unwrap().unwrap();
        assert_eq!(back.layers, network.layers);
    }
}

#[test]
fn pixels_of_classes() {
    let model = matches_at_two_sizes("pixels", &fixture("pixels.keras"), "keras.safetensors");
    assert_eq!(model.network[model.network.select("larger").unwrap().layer].kind.to_string(), "UpsampleBilinear2d 2x3");
    // A map has no head: its probabilities are the network's output.
    let model = open(&fixture("segments.keras")).unwrap();
    assert!(matches!(&model.network.classes, Classes::None(why) if why.contains("map of 9x12")));
    let image = Tensor::from_slice([1, 3, 9, 12], &fill_image("keras.segments", 1, 3, 9, 12)).unwrap();
    let mut tape = Tape::new();
    let run = model.forward(&mut tape, image).unwrap();
    let bytes = golden("keras.safetensors");
    let want = floats(&SafeTensors::deserialize(&bytes).unwrap(), "segments.output");
    close("pixels", tape.value(run.output()).unwrap().f32(), &want, 1e-6);
}

#[test]
fn channels_first() {
    for name in ["first.h5", "first.keras"] {
        println!("{name}");
        matches("first", &fixture(name));
    }
    agrees("first", &with_architecture("first.json", "first.weights.h5"), [13, 10], "keras.safetensors", 1);
    let refused = |from: &str, to: &str, words: &[&str]| {
        let text = refusal(&edited(&std::fs::read(fixture("first.h5")).unwrap(), from, to)).unwrap();
        assert!(words.iter().all(|word| text.contains(word)), "{text}");
    };
    refused("\"axis\": 1", "\"axis\": 2", &["works along axis 2", "axis 1"]);
    refused("\"channels_first\"", "\"channels_fist\" ", &["channels_fist", "channels_first"]);
}

#[test]
fn models_within_models() {
    for name in ["nested.h5", "nested.keras"] {
        let model = matches("nested", &fixture(name));
        // A model stands for its output, and its layers keep their names within it.
        let network = &model.network;
        assert_eq!(network[network.select("base").unwrap().layer].name, "base.sum");
        assert!(network.find("base.conv").is_some() && network.find("top.conv").is_some());
        assert_eq!(network.preprocess.normalization.scale, 255.0);
    }
    for name in ["nested2.h5", "nested2.keras"] {
        let model = open(&fixture(name)).unwrap();
        agrees("nested2", &model, [18, 21], "keras2.safetensors", 1);
    }
}

/// Features that Keras 3 lacks or changed.
#[test]
fn older_layers() {
    matches_at_two_sizes("older", &fixture("older.h5"), "keras2.safetensors");
}

#[test]
fn cats_and_dogs() {
    let model = open(&fixture("cats_and_dogs.keras")).unwrap();
    agrees("cats_and_dogs", &model, [150, 150], "keras.safetensors", 10);
    assert_eq!((model.network.output_activation, model.network.classes.len()), (OutputActivation::Sigmoid, 2));
}

/// The network ends before the first layer that is not known, with all that does not depend on it.
#[test]
fn an_unknown_layer_is_named_and_the_rest_works() {
    let source = WeightsSource::parse(fixture("unfinished.keras").to_str().unwrap(), &mut ()).unwrap();
    let WeightsSource::Imported(keras) = &source else { panic!("no Keras model") };
    let unknown = keras.unknown.clone().unwrap();
    for word in ["strange", "LayerNormalization", "layer 2 of 7"] {
        assert!(unknown.contains(word), "{unknown}");
    }
    let network = described_network(&source).unwrap().unwrap();
    let names: Vec<&str> = network.layers.iter().map(|l| l.name.as_str()).collect();
    assert_eq!(names, ["photo", "first.conv", "first.relu", "second"]);
    assert!(matches!(&network.classes, Classes::None(why) if why.contains("strange")));
    let model = load(network, &source).unwrap();
    let image = Tensor::from_slice([1, 3, 16, 16], &fill_image("unknown", 1, 3, 16, 16)).unwrap();
    let mut tape = Tape::new();
    let run = model.forward(&mut tape, image.clone()).unwrap();
    assert_eq!(tape.value(run.output()).unwrap().shape()[..], [1, 4, 12, 12]);
    let error = input_gradient(&model, &image, None).unwrap_err().to_string();
    assert!(error.contains("no classes") && error.contains("strange"), "{error}");
}

#[test]
fn small_sequential() {
    let model = matches("small_sequential", &fixture("small_sequential.h5"));
    let network = &model.network;
    assert_eq!(
        (network.name.as_str(), network.output_activation, network.classes.len()),
        ("small_sequential", OutputActivation::Sigmoid, 2)
    );
    // `Rescaling(1 / 127.5, offset=-1)` is how photos are prepared.
    let n = network.preprocess.normalization;
    assert_eq!((n.order, n.scale, n.mean, n.std), (ChannelOrder::Rgb, 127.5, [1.0; 3], [1.0; 3]));
    // A layer's name is its output, after its activation.
    let conv = network.select("conv").unwrap().layer;
    assert_eq!(network[conv].name, "conv.relu");
    assert_eq!(network[network.select("conv:pre").unwrap().layer].name, "conv.conv");
}

#[test]
fn small_functional() {
    let model = matches("small_functional", &fixture("small_functional.h5"));
    assert_eq!(model.network.preprocess.normalization.order, ChannelOrder::Grey);
    assert_eq!(model.network.layers[0].name, "photo");
    assert_eq!(model.network.output_activation, OutputActivation::Softmax);
}

/// A published file of Keras 2.0.5, as it is.
#[test]
fn mini_xception() {
    let Some(data) = shared("data") else { return };
    let model = matches("mini_xception", &data.join("weights/fer2013_mini_XCEPTION.102-0.66.hdf5"));
    assert!(model.network.select("separable_conv2d_8").is_ok());
}

/// A file without an architecture, with Keras 1's names: layers load in Keras's order, not by name.
#[test]
fn weights_alone_fill_layers_in_order() {
    use convscope_models::network::{Builder, Conv2d, LayerId, LayerKind, Preprocess, ScopeKind};
    let mut net = Builder::new("residual_weights", [3, 12, 10]).batch_norm_eps(1e-3);
    let x = net.scope(ScopeKind::Sequence, "conv1_conv", LayerId::INPUT, |net, x| {
        let x = net.conv("conv", x, Conv2d::new(4, 3).stride(2).same());
        net.relu("relu", x)
    });
    let a = net.conv("a_conv", x, Conv2d::new(6, 1));
    let a = net.batch_norm("a_norm", a);
    let b = net.conv("b_conv", x, Conv2d::new(6, 1));
    let norm = LayerKind::BatchNorm2d { channels: 6, eps: 1e-3, momentum: 0.01, scale: false, shift: true };
    let b = net.layer("b_norm", norm, &[b]);
    let x = net.add("sum", &[b, a]);
    let x = net.flatten("flat", x);
    let x = net.scope(ScopeKind::Sequence, "fc1", x, |net, x| {
        let x = net.linear("dense", x, 7);
        net.relu("relu", x)
    });
    net.linear("predictions", x, 5);
    let network = net.finish(Classes::Count(5), OutputActivation::Softmax, Preprocess::CIFAR).unwrap();

    let source = WeightsSource::parse(fixture("residual_weights.h5").to_str().unwrap(), &mut ()).unwrap();
    assert!(described_network(&source).unwrap().is_none());
    let model = load(network, &source).unwrap();
    let image = Tensor::from_slice([1, 3, 12, 10], &fill_image("keras.residual_weights", 1, 3, 12, 10)).unwrap();
    let bytes = golden("keras_weights.safetensors");
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let (logits, gradient) = input_gradient(&model, &image, Some(0)).unwrap();
    let largest = |v: &[f32]| v.iter().fold(0.0f32, |m, v| m.max(v.abs()));
    let want = floats(&file, "logits");
    close("logits", &logits[0].logits, &want, 1e-5 * largest(&want));
    let want = floats(&file, "dx");
    close("input gradient", gradient.f32(), &want, 1e-4 * largest(&want));
}

/// The result of opening these bytes, and the omitted part, in one line.
fn refusal(bytes: &[u8]) -> Option<String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.h5");
    std::fs::write(&path, bytes).unwrap();
    let error = match open(&path) {
        Err(error) => error,
        Ok(model) => match model.network.classes {
            Classes::None(why) => return Some(why),
            _ => return None,
        },
    };
    assert!(matches!(error, LoadError::Weights(_)), "{error:?}");
    let text = error.to_string();
    if !matches!(error, LoadError::Weights(WeightsError::Mismatch(_))) {
        assert_eq!(text.lines().count(), 1, "{text}");
    }
    Some(text)
}

/// A change of `from` to `to` of the same length, which keeps the file's structure.
fn edited(bytes: &[u8], from: &str, to: &str) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let mut edited = bytes.to_vec();
    let at = bytes.windows(from.len()).position(|window| window == from.as_bytes()).expect("the text is in the file");
    edited[at..at + to.len()].copy_from_slice(to.as_bytes());
    edited
}

#[test]
fn what_is_wrong_is_named() {
    let bytes = std::fs::read(fixture("small_functional.h5")).unwrap();
    let says = |from: &str, to: &str, words: &[&str]| {
        let text = refusal(&edited(&bytes, from, to)).unwrap_or_else(|| panic!("{to} was taken"));
        assert!(words.iter().all(|word| text.contains(word)), "{text}");
    };
    says("\"class_name\": \"Multiply\"", "\"class_name\": \"Minimums\"", &["product", "Minimums"]);
    says("\"class_name\": \"Conv2D\"", "\"class_name\": \"Wonv2D\"", &["strided", "Wonv2D", "not known", "layer"]);
    says("\"activation\": \"relu\"", "\"activation\": \"tulu\"", &["separable", "tulu", "leaky_relu"]);
    says("\"max_value\": 6.0", "\"max_value\": \"6\"", &["relu6", "max_value"]);
    says("\"groups\": 2", "\"groups\": 5", &["grouped", "5 groups"]);
    says("\"units\": 5", "\"units\": 4", &["classes"]);
    says("\"class_name\": \"Functional\"", "\"class_name\": \"Dysfunctio\"", &["Dysfunctio", "Sequential"]);
}

/// Its kernels would be taken the wrong way around.
#[test]
fn a_file_of_theanos_is_refused() {
    let mut file = std::fs::read(fixture("tutorial.keras2.h5")).unwrap();
    assert_eq!(refusal(&file), None);
    let backend = b"tensorflow";
    while let Some(at) = file.windows(backend.len()).position(|bytes| bytes == backend) {
        file[at..at + backend.len()].copy_from_slice(b"theano\0\0\0\0");
    }
    let reason = refusal(&file).unwrap();
    assert!(reason.contains("Theano"), "{reason}");
}

#[test]
fn truncated_and_damaged_files_are_refused() {
    for name in ["small_sequential.h5", "tutorial.keras3.keras", "nested.h5"] {
        truncated_and_damaged(&std::fs::read(fixture(name)).unwrap());
    }
}

fn truncated_and_damaged(bytes: &[u8]) {
    for part in 0..32 {
        let length = bytes.len() * part / 32;
        assert!(refusal(&bytes[..length]).is_some(), "{length} bytes were taken");
    }
    // Damage in a weight goes unseen; nothing may panic.
    let mut state = 1u64;
    for _ in 0..300 {
        let mut damaged = bytes.to_vec();
        for _ in 0..8 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let index = (state >> 33) as usize % damaged.len();
            damaged[index] = (state >> 24) as u8;
        }
        refusal(&damaged);
    }
}
