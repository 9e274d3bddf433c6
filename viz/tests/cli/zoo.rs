//! Every command on a narrow network of each family: it ends well and leaves what it says. What the numbers are is for
//! `tests/goldens.rs`.

use super::support::Sandbox;

/// Number of pictures that a run with `--json` reports. The folder holds them and their metadata, and nothing else.
fn pictures(sandbox: &Sandbox, args: &str, folder: &str) -> usize {
    let report = sandbox.json(&format!("{args} -o {folder}"));
    let pictures = report["pictures"].as_array().unwrap_or_else(|| panic!("{args}: no pictures in {report}"));
    assert!(!pictures.is_empty(), "{args}");
    for picture in pictures {
        let path = sandbox.path(picture.as_str().unwrap());
        let drawn = image::open(&path).unwrap_or_else(|e| panic!("{args}: {}: {e}", path.display())).to_rgb8();
        assert!(drawn.pixels().any(|p| p != drawn.get_pixel(0, 0)), "{args}: {} is blank", path.display());
    }
    assert_eq!(sandbox.names(folder).len(), 2 * pictures.len(), "{args}");
    pictures.len()
}

/// `layer` is one in the middle of the network, whose name only this family has.
fn every_command(network: &str, size: usize, layer: &str) {
    let sandbox = Sandbox::with_photo();
    let net = format!("-m {network} -w random");
    let photo = format!("photo.png {net} --size {size}x{}", size + 16);

    let summary = sandbox.json(&format!("summary -m {network} --size {size}x{}", size + 16));
    let rows = summary["layers"].as_array().unwrap();
    let row = rows.iter().find(|r| r["name"] == layer).unwrap_or_else(|| panic!("{network} has no {layer}"));

    let logits = &sandbox.raw(&format!("predict {photo} -q"))["logits"];
    assert_eq!(logits.0, [1, 1000], "{network}");
    assert!(logits.1.iter().all(|v| v.is_finite()) && logits.1.iter().any(|v| *v != logits.1[0]), "{network}");

    let features = sandbox.raw(&format!("features {photo} -l {layer} -q -o raw"));
    let shape: Vec<u64> = features[layer].0[1..].iter().map(|n| *n as u64).collect();
    let said: Vec<u64> = row["shape"].as_array().unwrap().iter().map(|n| n.as_u64().unwrap()).collect();
    assert_eq!(shape, said, "{network}");

    assert_eq!(pictures(&sandbox, &format!("filters {net}"), "filters"), 1);
    assert_eq!(pictures(&sandbox, &format!("features {photo} -l {layer}"), "features"), 1);
    assert_eq!(pictures(&sandbox, &format!("ascent {net} -l {layer}:1 --steps 2 --size {size}"), "ascent"), 1);
    pictures(&sandbox, &format!("gradcam {photo} -c 281"), "gradcam");

    let trace = sandbox.json(&format!("trace {photo} --backward")).to_string();
    assert!(trace.contains(layer), "{network}: {trace}");

    // Its weights as a file: the network, its width and its classes are guessed, in as many classes as there are.
    sandbox.ok(&format!("convert random own.safetensors -m {network} --classes 3 -q"));
    // Without the description that convscope leaves in its own files.
    sandbox.save_tensors("bare.safetensors", &sandbox.tensors("own.safetensors"));
    let guess = &sandbox.json("inspect bare.safetensors")["guess"];
    assert_eq!((guess["network"].as_str(), guess["classes"].as_u64()), (Some(network), Some(3)), "{guess}");
}

#[test]
fn alexnet() {
    every_command("alexnet-w8", 64, "features.6");
}

#[test]
fn squeezenet() {
    every_command("squeezenet1_1-w8", 48, "features.6.squeeze");
}

#[test]
fn densenet() {
    every_command("densenet121-w8", 48, "features.denseblock2.denselayer3.conv2");
}

#[test]
fn googlenet() {
    every_command("googlenet-w8", 48, "inception3b.branch2.1.conv");
}

#[test]
fn inception_v3() {
    every_command("inception_v3-w8", 80, "Mixed_6b.branch7x7_2.conv");
}

#[test]
fn mobilenet_v2() {
    every_command("mobilenet_v2-w8", 48, "features.4.conv.1.0");
}

#[test]
fn keras_vgg() {
    every_command("keras-vgg16-w8", 48, "block3_conv2.conv");
}

#[test]
fn keras_resnets() {
    every_command("keras-resnet50-w8", 48, "conv3_block2_2_conv");
    every_command("keras-resnet50v2-w8", 48, "conv3_block2_2_pad");
}

#[test]
fn keras_inception_v3() {
    every_command("keras-inception_v3-w8", 80, "mixed5");
}

#[test]
fn keras_xception() {
    every_command("keras-xception-w8", 72, "block6_sepconv2.depthwise");
}

#[test]
fn keras_mobilenets() {
    every_command("keras-mobilenet-w8", 48, "conv_dw_4");
    every_command("keras-mobilenet_v2-w8", 48, "block_4_depthwise");
}

#[test]
fn keras_densenet() {
    every_command("keras-densenet121-w8", 48, "conv3_block3_concat");
}

#[test]
fn mobilenet_v1() {
    every_command("mobilenetv1_100-w8", 48, "blocks.2.0.conv_dw");
}
