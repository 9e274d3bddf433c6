//! `inspect`, and `filters --tensor`: files of any make.

use super::support::{Sandbox, Tensor};
use super::torch;
use serde_json::{Value, json};

/// Weights without a pattern.
fn tensor(name: &str, shape: &[usize]) -> Tensor {
    let values = (0..shape.iter().product()).map(|i: usize| (i as f32 * 12.9898 + name.len() as f32).sin()).collect();
    (name.into(), shape.to_vec(), values)
}

/// A network that nobody knows, with a dead filter, two that are one, and a NaN.
fn own() -> Vec<Tensor> {
    let mut tensors = vec![
        tensor("stem.kernel", &[8, 3, 3, 3]),
        tensor("body.0.weight", &[16, 1, 5, 5]),
        tensor("body.1.running_mean", &[16]),
        tensor("hidden.weight", &[20, 16]),
        tensor("top.weight", &[7, 20]),
    ];
    let stem = &mut tensors[0].2;
    stem[4 * 27..5 * 27].fill(0.0);
    let opposite: Vec<f32> = stem[27..2 * 27].iter().map(|w| -2.0 * w).collect();
    stem[6 * 27..7 * 27].copy_from_slice(&opposite);
    tensors[3].2[9] = f32::NAN;
    tensors
}

fn row<'a>(report: &'a Value, name: &str) -> &'a Value {
    report["tensors"].as_array().unwrap().iter().find(|t| t["name"] == name).unwrap()
}

#[test]
fn a_file_of_unknown_make() {
    let sandbox = Sandbox::new();
    sandbox.save_tensors("own.safetensors", &own());
    sandbox.write("own.pth", torch::checkpoint(&own()));
    for (file, format) in [("own.safetensors", "safetensors"), ("own.pth", "pytorch")] {
        let report = sandbox.json(&format!("inspect {file}"));
        assert_eq!((&report["format"], &report["file"]), (&json!(format), &json!(file)));
        let stem = row(&report, "stem.kernel");
        assert_eq!((&stem["shape"], &stem["type"], &stem["bytes"]), (&json!([8, 3, 3, 3]), &json!("f32"), &json!(864)));
        assert_eq!((&stem["zeros"], &stem["filters"]["dead"], &stem["filters"]["count"]), (&json!(27), &json!([4]), &json!(8)));
        assert_eq!(stem["filters"]["duplicates"], json!([{"filter": 6, "of": 1, "scale": -2.0}]));
        assert_eq!(row(&report, "body.0.weight")["filters"], json!({"count": 16, "dead": [], "duplicates": []}));
        let hidden = row(&report, "hidden.weight");
        assert_eq!((&hidden["nan"], &hidden["filters"]), (&json!(1), &Value::Null));
        let top = &own()[4].2;
        let mean = top.iter().map(|v| f64::from(*v)).sum::<f64>() / 140.0;
        let std = (top.iter().map(|v| (f64::from(*v) - mean).powi(2)).sum::<f64>() / 140.0).sqrt();
        let said = |key: &str| row(&report, "top.weight")[key].as_f64().unwrap();
        assert!((said("mean") - mean).abs() < 1e-12 && (said("std") - std).abs() < 1e-12);
        assert_eq!(said("max"), f64::from(top.iter().copied().fold(f32::MIN, f32::max)));
        assert_eq!(
            report["totals"],
            json!({"tensors": 5, "parameters": 216 + 400 + 320 + 140, "values": 1092, "bytes": 4368, "nan": 1, "infinite": 0,
                   "dead_filters": 1, "duplicate_filters": 1})
        );
        let guess = &report["guess"];
        assert_eq!((&guess["network"], &guess["nearest"], &guess["classes"]), (&Value::Null, &Value::Null, &json!(7)));
        let why = guess["why"].to_string();
        for part in [
            "no known network",
            "2 four-dimensional",
            "1 of them of one channel",
            "stem.kernel reads 3 channels",
            "top.weight has 7",
        ] {
            assert!(why.contains(part), "{part}: {why}");
        }
        let text = sandbox.ok(&format!("inspect -w {file}"));
        for part in
            ["stem.kernel: 1 dead of 8 filters: #4; 1 duplicate of 8 filters: #6 = -2.0000 x #1", "1 NaN", "7 classes", "8x3x3x3"]
        {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
    assert_eq!(sandbox.names("."), ["own.pth", "own.safetensors"]);
}

#[test]
fn a_known_network() {
    let sandbox = Sandbox::with_photo();
    let mut tensors = sandbox.checkpoint("described.safetensors", "resnet20-cifar");
    sandbox.save_tensors("bare.safetensors", &tensors);
    for (file, reason) in [("described.safetensors", "says so itself"), ("bare.safetensors", "by name and shape")] {
        let report = sandbox.json(&format!("inspect {file}"));
        let guess = &report["guess"];
        assert_eq!((&guess["network"], &guess["classes"]), (&json!("resnet20-cifar"), &json!(10)));
        assert!(guess["why"][0].as_str().unwrap().contains(reason) && guess["why"][1] == "linear.bias has 10 outputs", "{guess}");
        assert_eq!(report["totals"]["parameters"], 269_722);
    }
    // Fine-tuned to other classes: every command takes the file as it is.
    for (name, shape, values) in tensors.iter_mut().filter(|t| t.0.starts_with("linear.")) {
        shape[0] = 3;
        values.truncate(if name == "linear.bias" { 3 } else { 3 * 64 });
    }
    sandbox.save_tensors("three.safetensors", &tensors);
    assert_eq!(sandbox.json("inspect three.safetensors")["guess"]["classes"], 3);
    assert_eq!(sandbox.raw("predict photo.png -w three.safetensors -q")["logits"].0, [1, 3]);
    sandbox.fails(1, "predict photo.png -w three.safetensors --classes 4", &["three.safetensors fits no known network"]);
    // Another stem: nearly.
    let stem = tensors.iter_mut().find(|t| t.0 == "conv1.weight").unwrap();
    *stem = tensor("conv1.weight", &[16, 3, 5, 5]);
    sandbox.save_tensors("other.safetensors", &tensors);
    let guess = &sandbox.json("inspect other.safetensors")["guess"];
    assert_eq!((&guess["network"], &guess["nearest"], &guess["classes"]), (&Value::Null, &json!("resnet20-cifar"), &json!(3)));
    sandbox.fails(1, "filters -w other.safetensors", &["fits no known network", "convscope inspect other.safetensors", "-m"]);
    // Without arguments: the bundled network.
    assert_eq!(sandbox.json("inspect")["guess"]["network"], "resnet18-w32");
}

#[test]
fn filters_of_any_tensor() {
    let sandbox = Sandbox::new();
    sandbox.save_tensors("own.safetensors", &own());
    for (typed, name, shape) in
        [("stem.kernel", "stem.kernel", [8, 3, 3, 3]), ("body.0.weight:3", "body.0.weight", [16, 1, 5, 5])]
    {
        let filters = format!("filters -w own.safetensors --tensor {typed}");
        let report = sandbox.json(&filters);
        assert_eq!((&report["tensor"], &report["shape"]), (&json!(name), &json!(shape)));
        let picture = sandbox.path(report["pictures"][0].as_str().unwrap());
        let drawn = image::open(&picture).unwrap().to_rgb8();
        assert!(drawn.pixels().any(|p| p != drawn.get_pixel(0, 0)));
        let metadata: Value = serde_json::from_slice(&std::fs::read(picture.with_extension("json")).unwrap()).unwrap();
        assert_eq!((&metadata["weights"], &metadata["tensor"]), (&json!("own.safetensors"), &json!(name)));
        let values = &own().into_iter().find(|t| t.0 == name).unwrap().2;
        assert_eq!(&sandbox.raw(&format!("{filters} -q"))[name].1, values);
    }
    // The same picture as of the layer, but for the names.
    sandbox.checkpoint("known.safetensors", "resnet20-cifar");
    let raw = |what: &str| sandbox.raw(&format!("filters -w known.safetensors -q {what}"))["conv1.weight"].clone();
    assert_eq!(raw("-l conv1"), raw("--tensor conv1.weight"));
}

#[test]
fn typed_wrong() {
    let sandbox = Sandbox::new();
    sandbox.save_tensors("own.safetensors", &own());
    let tensor = "filters -w own.safetensors --tensor";
    sandbox.fails(2, &format!("{tensor} stem.kernle"), &["--tensor stem.kernle", "did you mean stem.kernel"]);
    sandbox.fails(2, &format!("{tensor} stem.kernel:8"), &["stem.kernel has 8 filters", "8"]);
    sandbox.fails(2, &format!("{tensor} top.weight"), &["top.weight is [7, 20]", "four dimensions"]);
    sandbox.fails(2, &format!("{tensor} stem.kernel -l conv1"), &["--tensor", "--layer", "cannot be used with"]);
    sandbox.fails(2, &format!("{tensor} stem.kernel -m vgg16"), &["-m"]);
    sandbox.fails(2, "filters -w random --tensor conv1.weight", &["random", "-l"]);
    sandbox.fails(2, "inspect own.safetensors -m vgg16", &["inspect", "-m"]);
    sandbox.fails(2, "inspect own.safetensors -w own.safetensors", &["one file"]);
    sandbox.fails(2, "inspect random", &["random"]);
    sandbox.fails(2, "inspect own.safetensors --raw raw.safetensors", &["inspect writes no raw values"]);
    sandbox.fails(1, "inspect own.safetensor", &["own.safetensor", "own.safetensors"]);
    let mut broken = own();
    broken[0].2[0] = f32::INFINITY;
    sandbox.save_tensors("broken.safetensors", &broken);
    sandbox.fails(1, "filters -w broken.safetensors --tensor stem.kernel", &["stem.kernel", "infin"]);
    assert_eq!(sandbox.json("inspect broken.safetensors")["totals"]["infinite"], 1);
}

/// A Keras model's tensors are those of its network, in this project's layout.
#[test]
fn a_keras_file_is_inspected_and_drawn() {
    let sandbox = Sandbox::new();
    sandbox.write("keras.h5", include_bytes!("../../../tests/goldens/keras/small_sequential.h5"));
    let report = sandbox.json("inspect keras.h5");
    assert!(report["guess"]["network"].is_string(), "{report}");
    let of_four = |t: &&Value| t["shape"].as_array().is_some_and(|s| s.len() == 4);
    let kernel = report["tensors"].as_array().unwrap().iter().find(of_four).unwrap();
    assert_eq!(kernel["shape"][2], kernel["shape"][3], "height and width come last: {kernel}");
    sandbox.ok(&format!("filters -w keras.h5 --tensor {}", kernel["name"].as_str().unwrap()));
}
