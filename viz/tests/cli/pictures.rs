//! Pictures: filters, features, Grad-CAM, and their metadata.

use super::support::{NET, Sandbox};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// The text chunks of a PNG.
fn chunks(path: &Path) -> BTreeMap<String, String> {
    let reader = png::Decoder::new(std::io::BufReader::new(fs::File::open(path).unwrap())).read_info().unwrap();
    let info = reader.info();
    let latin = info.uncompressed_latin1_text.iter().map(|t| (t.keyword.clone(), t.text.clone()));
    latin.chain(info.utf8_text.iter().map(|t| (t.keyword.clone(), t.get_text().unwrap()))).collect()
}

/// Checks that a picture has its metadata inside and beside it; returns the metadata.
fn explained(sandbox: &Sandbox, picture: &Value, title: &str) -> Value {
    let path = sandbox.path(picture.as_str().unwrap());
    let drawn = image::open(&path).unwrap().to_rgb8();
    assert!(drawn.pixels().any(|p| p != drawn.get_pixel(0, 0)), "{} is blank", path.display());
    let beside: Value = serde_json::from_slice(&fs::read(path.with_extension("json")).unwrap()).unwrap();
    let inside = chunks(&path);
    assert!(inside["Title"].starts_with(title) && beside["title"] == inside["Title"], "{inside:?}");
    assert_eq!(inside["Software"], format!("convscope {}", env!("CARGO_PKG_VERSION")));
    assert_eq!(serde_json::from_str::<Value>(&inside["Description"]).unwrap(), beside);
    assert_eq!((&beside["model"], &beside["weights"]), (&json!("resnet20-cifar"), &json!("random")));
    assert!(beside["command"].as_str().unwrap().starts_with("convscope "));
    beside
}

fn pictures(report: &Value) -> &Vec<Value> {
    report["pictures"].as_array().unwrap()
}

#[test]
fn filters() {
    let sandbox = Sandbox::new();
    for (layer, shape) in [("conv1", [16, 3, 3, 3]), ("layer2.0.conv1", [32, 16, 3, 3]), ("layer1.0.conv1:7", [16, 16, 3, 3])] {
        let report = sandbox.json(&format!("filters {NET} -l {layer}"));
        assert_eq!(report["shape"], json!(shape));
        explained(&sandbox, &pictures(&report)[0], "Filters · resnet20-cifar");
        let name = layer.split(':').next().unwrap();
        let raw = sandbox.raw(&format!("filters {NET} -l {layer}"));
        assert_eq!(raw[&format!("{name}.weight")].0, shape);
    }
    let first = sandbox.json(&format!("filters {NET}"));
    assert_eq!(first["layer"], "conv1");
}

#[test]
fn features_of_every_layer() {
    let sandbox = Sandbox::with_photo();
    let report = sandbox.json(&format!("features photo.png {NET} -l all"));
    let table = sandbox.json("summary -m resnet20-cifar");
    let rows = &table["layers"].as_array().unwrap()[1..];
    let layers = report["layers"].as_array().unwrap();
    assert_eq!(layers.len(), rows.len());
    for (layer, row) in layers.iter().zip(rows) {
        assert_eq!((&layer["layer"], &layer["shape"][0]), (&row["name"], &row["shape"][0]));
    }
    assert!(pictures(&report).len() >= layers.len());
    pictures(&report).iter().for_each(|p| drop(explained(&sandbox, p, "Feature maps · resnet20-cifar")));
    // Each picture has its JSON, and nothing else is there.
    assert_eq!(sandbox.names("convscope-out").len(), 2 * pictures(&report).len());
}

#[test]
fn features_raw() {
    let sandbox = Sandbox::with_photo();
    let raw = sandbox.raw(&format!("features photo.png {NET} --size 48x80 -l conv1,layer3,linear"));
    let table = sandbox.json("summary -m resnet20-cifar --size 48x80");
    assert_eq!(raw.len(), 3);
    for (name, (shape, values)) in &raw {
        let row = table["layers"].as_array().unwrap().iter().find(|r| r["name"] == name.as_str()).unwrap();
        let dims = row["shape"].as_array().unwrap().iter().map(|d| d.as_u64().unwrap() as usize);
        assert_eq!(*shape, std::iter::once(1).chain(dims).collect::<Vec<_>>(), "{name}");
        assert!(values.iter().any(|v| *v != 0.0));
    }
    // A layer named twice, in other channels, is one tensor and one picture.
    let twice = format!("features photo.png {NET} -l conv1:3,layer3,conv1:5 -o twice");
    assert_eq!(sandbox.raw(&twice).len(), 2);
    assert_eq!(sandbox.names("twice").len(), 4);
    assert!(sandbox.tensors("raw.safetensors").iter().any(|t| t.0 == "conv1" && t.1[1] == 16));
}

#[test]
fn features_presets_sorts_and_scales() {
    let sandbox = Sandbox::with_photo();
    let show = format!("features photo.png {NET} -l layer2.0.conv1");
    let report = sandbox.json(&format!("{show} --preset chollet1"));
    let grid = image::open(sandbox.path(pictures(&report)[0].as_str().unwrap())).unwrap();
    // 32 channels of 16 x 16, 16 a row, no gap.
    assert_eq!((grid.width(), grid.height()), (16 * 16, 2 * 16));
    let mut seen = Vec::new();
    for look in ["", "--sort mean", "--sort sparsity", "--scale per-image", "--scale=-1,1", "--dark"] {
        let report = sandbox.json(&format!("{show} {look}"));
        explained(&sandbox, &pictures(&report)[0], "Feature maps");
        let drawn = image::open(sandbox.path(pictures(&report)[0].as_str().unwrap())).unwrap();
        assert!(!seen.contains(&drawn), "{look:?} looks like another");
        seen.push(drawn);
    }
}

#[test]
fn grad_cam() {
    let sandbox = Sandbox::with_photo();
    let cam = format!("gradcam photo.png {NET} --size 48x80");
    let report = sandbox.json(&format!("{cam} -c cat,dog,7"));
    assert_eq!(pictures(&report).len(), 6, "a figure and an overlay each");
    for (picture, (target, name)) in pictures(&report).iter().zip([(3, "cat"), (5, "dog"), (7, "horse")]) {
        let metadata = explained(&sandbox, picture, "Grad-CAM · resnet20-cifar");
        assert_eq!((&metadata["target"]["class"], &metadata["target"]["name"]), (&json!(target), &json!(name)));
        assert!(metadata["target"]["logit"].is_number() && metadata["target"]["probability"].is_number());
        assert!(picture.as_str().unwrap().ends_with(&format!("-{name}-size48x80.png")));
    }
    assert_eq!(sandbox.names("convscope-out").len(), 12);
    let overlay = image::open(sandbox.path(pictures(&report)[3].as_str().unwrap())).unwrap();
    assert_eq!((overlay.width(), overlay.height()), (80, 48), "the overlay alone has the size of the input");
    assert_eq!(report["targets"].as_array().unwrap().len(), 3);

    // 48 x 80 pixels are 12 x 20 after two strides of 2.
    let one = sandbox.raw(&format!("{cam} -l layer3"));
    assert_eq!(one.keys().collect::<Vec<_>>(), ["heatmap", "logits", "map"]);
    let shapes = |raw: &BTreeMap<String, (Vec<usize>, Vec<f32>)>| ["logits", "map", "heatmap"].map(|n| raw[n].0.clone());
    assert_eq!(shapes(&one), [vec![1, 10], vec![12, 20], vec![48, 80]]);
    let several = sandbox.raw(&format!("{cam} -l layer3 --top 10"));
    assert_eq!(shapes(&several), [vec![1, 10], vec![10, 12, 20], vec![10, 48, 80]]);
    assert_eq!(several["map"].1[..12 * 20], one["map"].1, "the first of the best is the best");
    assert!(several["map"].1.iter().all(|v| *v >= 0.0) && several["map"].1.iter().any(|v| *v > 0.0));
    for (map, heat) in several["map"].1.chunks(12 * 20).zip(several["heatmap"].1.chunks(48 * 80)) {
        assert!(heat.iter().all(|v| (0.0..=1.0).contains(v)));
        let full = heat.iter().fold(0.0f32, |m, v| m.max(*v));
        assert!(if map.iter().any(|v| *v > 0.0) { full > 0.999 } else { full == 0.0 }, "{full}");
    }
}

#[test]
fn grad_cam_presets() {
    let sandbox = Sandbox::with_photo();
    let mut seen = Vec::new();
    for look in ["", "--preset chollet1", "--preset pytorch", "--dark", "-l layer2", "-l conv1"] {
        let report = sandbox.json(&format!("gradcam photo.png {NET} -c cat {look}"));
        explained(&sandbox, &pictures(&report)[0], "Grad-CAM");
        let drawn = image::open(sandbox.path(pictures(&report)[0].as_str().unwrap())).unwrap();
        assert!(!seen.contains(&drawn), "{look:?} looks like another");
        seen.push(drawn);
    }
}

#[test]
fn what_was_written_is_told() {
    let sandbox = Sandbox::with_photo();
    let text = sandbox.ok(&format!("gradcam photo.png {NET} -c cat --raw raw.safetensors"));
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 3, "{text}");
    assert!(
        lines[..2].iter().all(|l| l.starts_with("wrote convscope-out/gradcam-")) && lines[2] == "wrote raw.safetensors",
        "{text}"
    );
    assert_eq!(sandbox.ok(&format!("gradcam photo.png {NET} -c cat -q")), "");
}

/// Two looks of one map do not take each other's place.
#[test]
fn looks_have_names_of_their_own() {
    let sandbox = Sandbox::with_photo();
    let mut pictures = Vec::new();
    for preset in ["", "--preset chollet1", "--preset pytorch"] {
        let report = sandbox.json(&format!("gradcam photo.png {NET} -c cat {preset}"));
        pictures.push(report["pictures"][0].as_str().unwrap().to_string());
    }
    pictures.sort();
    pictures.dedup();
    assert_eq!(pictures.len(), 3, "{pictures:?}");
}
