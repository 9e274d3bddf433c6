//! Selection of layers by text, and their summary.

use convscope_models::families;
use convscope_models::network::{Network, NetworkError, Selection};

fn build(name: &str) -> Network {
    families::build(name, None).unwrap()
}

/// The chosen layer's name.
fn layer<'a>(net: &'a Network, text: &str) -> &'a str {
    let selection = net.select(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    &net[selection.layer].name
}

#[test]
fn vgg_by_torchvision_keras_and_caffe_names() {
    let net = build("vgg16");
    for (text, name) in [
        ("features.28", "features.28"),
        ("block1_conv1", "features.1"),
        ("block1_conv2", "features.3"),
        ("block3_conv3", "features.15"),
        ("block5_conv3", "features.29"),
        ("block5_conv3:pre", "features.28"),
        ("features.29:pre", "features.28"),
        ("block1_pool", "features.4"),
        ("block5_pool", "features.30"),
        ("conv5_3", "features.28"),
        ("relu5_3", "features.29"),
        ("pool5", "features.30"),
        ("fc1", "classifier.1"),
        ("fc2", "classifier.4"),
        ("fc2:pre", "classifier.3"),
        ("fc6", "classifier.0"),
        ("relu7", "classifier.4"),
        ("fc8", "classifier.6"),
        ("predictions", "classifier.6"),
        ("conv2d", "features.1"),
        ("conv2d_12", "features.29"),
        ("max_pooling2d_4", "features.30"),
        ("dense_1", "classifier.4"),
        ("features", "features.30"),
        ("classifier", "classifier.6"),
        ("avgpool", "avgpool"),
        ("last-conv", "features.28"),
        ("0", "input"),
        ("29", "features.28"),
        ("-1", "classifier.6"),
        (" -7 ", "classifier.0"),
    ] {
        assert_eq!(layer(&net, text), name, "{text}");
    }
    let bn = build("vgg16_bn");
    for (text, name) in [
        ("block5_conv3", "features.42"),
        ("block5_conv3:pre", "features.41"),
        ("conv5_3", "features.40"),
        ("block5_pool", "features.43"),
    ] {
        assert_eq!(layer(&bn, text), name, "{text}");
    }
    assert_eq!(layer(&build("vgg19"), "block5_conv4"), "features.35");
}

#[test]
fn resnet_by_scope() {
    let net = build("resnet50");
    for (text, name) in [
        ("layer4", "layer4.2.relu_2"),
        ("layer4:pre", "layer4.2.add"),
        ("layer3.2", "layer3.2.relu_2"),
        ("layer3.0.downsample", "layer3.0.downsample.1"),
        ("layer1.0.add", "layer1.0.add"),
        ("last-conv", "layer4.2.conv3"),
        ("1", "conv1"),
    ] {
        assert_eq!(layer(&net, text), name, "{text}");
    }
    assert!(net.aliases().is_empty());
    let cifar = build("resnet20-cifar");
    assert_eq!(layer(&cifar, "layer2.0.shortcut"), "layer2.0.shortcut.pad");
    assert_eq!(layer(&cifar, "layer3"), "layer3.2.relu_1");
}

#[test]
fn last_conv_is_not_in_a_shortcut() {
    // The last block's projection comes after its last convolution in the list of layers.
    let mut net = build("resnet18");
    let end = net.find("layer4.0.add").unwrap().0;
    net.layers.truncate(end);
    net.scopes.retain(|scope| scope.layers.start < end);
    assert_eq!(net[net.last_conv().unwrap()].name, "layer4.0.conv2");
}

#[test]
fn grad_cam_default() {
    for (network, name) in [
        ("vgg16", "features.29"),
        ("vgg19_bn", "features.51"),
        ("resnet18", "layer4.1.relu_1"),
        ("resnet152", "layer4.2.relu_2"),
        ("resnet56-cifar", "layer3.8.relu_1"),
        ("small", "features.14"),
    ] {
        let net = build(network);
        assert_eq!(net[net.cam_layer().unwrap()].name, name, "{network}");
    }
}

#[test]
fn channels_are_checked() {
    let net = build("resnet50");
    let chosen = net.select("layer3.2.conv2:17").unwrap();
    assert_eq!(chosen, Selection { layer: net.find("layer3.2.conv2").unwrap(), channel: Some(17) });
    assert_eq!(net.select("layer4:2047").unwrap().channel, Some(2047));
    assert_eq!(net.select("fc:999").unwrap().channel, Some(999));
    assert_eq!(net.select("layer4:pre:5").unwrap().channel, Some(5));
    for (text, message) in [
        ("layer3.2.conv2:256", "resnet50: layer layer3.2.conv2 has channels 0 to 255, not 256"),
        ("fc:-1", "resnet50: layer fc has channels 0 to 999, not -1"),
        ("fc:cat", "resnet50: layer fc has channels 0 to 999, not cat"),
        ("fc:99999999999999999999", "resnet50: layer fc has channels 0 to 999, not 99999999999999999999"),
        ("conv1:", "resnet50: layer conv1 has channels 0 to 63, not "),
        ("conv1:pre", "':pre' steps back over an activation, but conv1 is Conv2d"),
        ("conv1:1:2", "write layer, layer:channel or layer:pre:channel"),
        ("999", "resnet50 has layers 0 to 175 (or -176 to -1), not 999"),
        ("-177", "resnet50 has layers 0 to 175 (or -176 to -1), not -177"),
        ("-0", "not -0"),
        ("", "write a layer's name, such as \"conv1\""),
        ("all", "is many layers"),
    ] {
        let error = net.select(text).unwrap_err().to_string();
        assert!(error.contains(message) && !error.contains('\n'), "{text}: {error}");
    }
}

#[test]
fn a_misspelling_gets_the_three_nearest_names() {
    for (network, text, expected) in [
        ("vgg16", "block5_conv4", "block5_conv3"),
        ("vgg16", "feature.28", "features.28"),
        ("resnet50", "layer3.2.covn2", "layer3.2.conv2"),
        ("resnet50", "lastconv", "last-conv"),
    ] {
        match build(network).select(text) {
            Err(NetworkError::UnknownLayer { near, .. }) => {
                assert_eq!(near.len(), 3);
                assert!(near.contains(&expected.to_owned()), "{text}: {near:?}");
            }
            other => panic!("{text}: {other:?}"),
        }
    }
    let error = build("vgg16").select("con\nv").unwrap_err().to_string();
    assert!(!error.contains('\n'), "{error}");
}

#[test]
fn lists() {
    let net = build("resnet18");
    let names = |list: &str| -> Vec<&str> {
        net.select_many(list).unwrap().iter().map(|chosen| net[chosen.layer].name.as_str()).collect()
    };
    assert_eq!(names("layer1, conv1,layer1.1.relu_1"), ["layer1.1.relu_1", "conv1"]);
    assert_eq!(names("all").len(), net.layers.len() - 1);
    assert_eq!(names("convs").len(), 20);
    assert_eq!(names("fc,convs")[..2], ["fc", "conv1"]);
    assert!(net.select_many("convs:63").unwrap().iter().all(|chosen| chosen.channel == Some(63)));
    assert_eq!(net.select_many("conv1:3,conv1:4,conv1:3").unwrap().len(), 2);
    for bad in ["convs:64", "conv1,", "conv1,nosuch", "convs:pre", ""] {
        assert!(net.select_many(bad).is_err(), "{bad}");
    }
}

#[test]
fn summary_as_text_and_json() {
    let net = build("resnet50");
    let summary = net.summary(224, 224).unwrap();
    let text = summary.to_text();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), net.layers.len() + 7);
    let conv1: Vec<&str> = lines[3].split_whitespace().collect();
    assert_eq!(conv1[..2], ["1", "conv1"]);
    assert!(lines[3].ends_with("64x112x112       9,408    118,013,952"), "{}", lines[3]);
    assert!(lines[lines.len() - 4].ends_with("25,557,032  4,089,184,256"));
    let width = lines[0].chars().count();
    assert!(lines[..lines.len() - 3].iter().all(|line| line.chars().count() == width), "columns are aligned");
    assert_eq!(
        lines[lines.len() - 3],
        "53 convolutions (49 and 4 in shortcuts), 1 dense layer, 4 stages, 16 residual blocks (4 down-sampling)"
    );
    assert_eq!(lines[lines.len() - 2], "53,120 values that training measures: 25,610,152 parameters as Keras counts them");
    assert!(lines[lines.len() - 1].starts_with("photos: shorter side 256, crop 224x224, bilinear, RGB 0 to 1, less 0.485"));
    let json = summary.to_json();
    assert_eq!(json["network"], "resnet50");
    assert_eq!(json["input"], serde_json::json!([3, 224, 224]));
    assert_eq!(
        json["layers"][1],
        serde_json::json!({"index": 1, "name": "conv1", "type": "Conv2d", "shape": [64, 112, 112],
            "parameters": 9408, "multiply_adds": 118013952u64})
    );
    let totals = &json["totals"];
    assert_eq!(totals["parameters"], 25557032);
    assert_eq!(totals["keras_parameters"], 25610152);
    assert_eq!(totals["multiply_adds"], 4089184256u64);
    assert_eq!((&totals["convolutions"], &totals["convolutions_in_shortcuts"]), (&53.into(), &4.into()));
    assert_eq!((&totals["stages"], &totals["residual_blocks"]), (&4.into(), &16.into()));
    let activations: u64 = json["layers"].as_array().unwrap()[1..].iter().map(elements).sum();
    assert_eq!(totals["activations"], activations);
}

fn elements(layer: &serde_json::Value) -> u64 {
    layer["shape"].as_array().unwrap().iter().map(|dim| dim.as_u64().unwrap()).product()
}

#[test]
fn dot_is_well_formed() {
    for name in ["vgg11", "resnet18", "resnet20-cifar"] {
        let net = build(name);
        let dot = net.to_dot(net.input.height, net.input.width).unwrap();
        assert_eq!(dot.matches('{').count(), dot.matches('}').count(), "{name}");
        assert_eq!(dot.matches("subgraph").count(), net.scopes.len(), "{name}");
        let edges: usize = net.layers.iter().map(|layer| layer.inputs.len()).sum();
        assert_eq!(dot.matches(" -> ").count(), edges, "{name}");
        let mut depth = 0i32;
        for line in dot.lines() {
            depth += line.matches('{').count() as i32 - line.matches('}').count() as i32;
            assert!(depth >= 0, "{name}: {line}");
        }
    }
    assert!(build("vgg11").to_dot(4, 4).is_err());
}
