//! The families against torchvision: names, shapes, parameters and multiply-adds.
//!
//! The fixtures and the hard-coded totals come from torchvision through `fixtures/networks.py`.

use convscope_models::families::{self, SmallConfig, resnet, resnet_cifar, small, vgg};
use convscope_models::network::{
    Builder, Classes, Conv2d, LayerId, LayerKind, LayerShape, Network, NetworkError, OutputActivation, Padding, ParamKind,
    Pool2d, Preprocess,
};

fn build(name: &str) -> Network {
    families::build(name, None).unwrap()
}

fn dims(shape: &[usize]) -> String {
    shape.iter().map(usize::to_string).collect::<Vec<_>>().join("x")
}

fn state(net: &Network) -> Vec<String> {
    net.params().iter().map(|param| format!("param {} {}", param.name, dims(&param.shape))).collect()
}

/// Every fx node with its shape at 193x257, every tensor of the state_dict, both in order, and the totals.
#[test]
fn layers_and_params_are_torchvisions() {
    for (name, fixture) in [
        ("vgg16", include_str!("fixtures/vgg16.txt")),
        ("vgg11_bn", include_str!("fixtures/vgg11_bn.txt")),
        ("resnet18", include_str!("fixtures/resnet18.txt")),
        ("resnet50", include_str!("fixtures/resnet50.txt")),
        ("resnext50_32x4d", include_str!("fixtures/resnext50_32x4d.txt")),
        ("alexnet", include_str!("fixtures/alexnet.txt")),
        ("googlenet", include_str!("fixtures/googlenet.txt")),
        ("inception_v3", include_str!("fixtures/inception_v3.txt")),
        ("densenet121", include_str!("fixtures/densenet121.txt")),
        ("squeezenet1_0", include_str!("fixtures/squeezenet1_0.txt")),
        ("mobilenet_v2", include_str!("fixtures/mobilenet_v2.txt")),
    ] {
        let net = build(name);
        let summary = net.summary(193, 257).unwrap();
        let mut lines: Vec<String> = Vec::new();
        let nodes = fixture.starts_with("node ");
        for row in summary.rows.iter().filter(|_| nodes) {
            let node = if row.name == "input" { "x" } else { &row.name };
            lines.push(format!("node {node} {}", row.shape));
        }
        lines.extend(state(&net));
        lines.push(format!("parameters {}", summary.parameters));
        lines.push(format!("multiply_adds {}", summary.multiply_adds));
        assert_eq!(lines, fixture.lines().collect::<Vec<_>>(), "{name}");
    }
}

#[test]
fn cifar_params_are_the_checkpoints() {
    let fixture = include_str!("fixtures/resnet20-cifar.txt");
    assert_eq!(state(&build("resnet20-cifar")), fixture.lines().collect::<Vec<_>>());
}

/// Parameters and multiply-adds at the default size: torchvision and torch's FlopCounterMode; for CIFAR a
/// transcription of the paper's network in torch; for Chollet's convnet the book's table; for MobileNet Keras (4,253,864 with the 21,888 running statistics) and the
/// paper's 569 million.
#[test]
fn totals() {
    for (name, parameters, multiply_adds) in [
        ("vgg11", 132863336, 7609090048),
        ("vgg11_bn", 132868840, 7609090048),
        ("vgg13", 133047848, 11308466176),
        ("vgg13_bn", 133053736, 11308466176),
        ("vgg16", 138357544, 15470264320),
        ("vgg16_bn", 138365992, 15470264320),
        ("vgg19", 143667240, 19632062464),
        ("vgg19_bn", 143678248, 19632062464),
        ("resnet18", 11689512, 1814073344),
        ("resnet34", 21797672, 3663761408),
        ("resnet50", 25557032, 4089184256),
        ("resnet101", 44549160, 7801405440),
        ("resnet152", 60192808, 11513626624),
        ("mobilenetv1_100", 4231976, 568740352),
        ("chollet-convnet", 3453121, 236095488),
        ("resnet20-cifar", 269722, 40551040),
        ("resnet32-cifar", 464154, 68862592),
        ("resnet44-cifar", 658586, 97174144),
        ("resnet56-cifar", 853018, 125485696),
        ("resnet110-cifar", 1727962, 252887680),
    ] {
        let net = build(name);
        let summary = net.summary(net.input.height, net.input.width).unwrap();
        assert_eq!((summary.parameters, summary.multiply_adds), (parameters, multiply_adds), "{name}");
        assert_eq!(net.parameter_count(), parameters, "{name}");
    }
}

/// torchinfo's counts, from `fixtures/torchinfo.py`.
#[test]
fn totals_are_torchinfos() {
    let lines: Vec<&str> = include_str!("fixtures/torchinfo.txt").lines().collect();
    assert!(lines.len() > 20);
    for line in lines {
        let net = build(line.split(' ').next().unwrap());
        let summary = net.summary(net.input.height, net.input.width).unwrap();
        assert_eq!(format!("{} {} {}", net.name, summary.parameters, summary.torchinfo_multiply_adds), line);
    }
}

#[test]
fn counts_by_kind() {
    // (name, convolutions, of them in shortcuts, dense, stages, blocks, down-sampling blocks)
    for (name, expected) in [
        ("vgg16", [13, 0, 3, 0, 0, 0]),
        ("resnet18", [20, 3, 1, 4, 8, 3]),
        ("resnet34", [36, 3, 1, 4, 16, 3]),
        ("resnet50", [53, 4, 1, 4, 16, 4]),
        ("resnet101", [104, 4, 1, 4, 33, 4]),
        ("resnet152", [155, 4, 1, 4, 50, 4]),
        ("resnext50_32x4d", [53, 4, 1, 4, 16, 4]),
        ("resnext101_32x8d", [104, 4, 1, 4, 33, 4]),
        ("mobilenetv1_100", [27, 0, 1, 5, 0, 0]),
        ("keras-vgg19", [16, 0, 3, 0, 0, 0]),
        ("keras-resnet50", [53, 4, 1, 4, 16, 4]),
        ("keras-resnet50v2", [53, 4, 1, 4, 16, 7]),
        ("keras-xception", [74, 4, 1, 0, 12, 4]),
        ("resnet20-cifar", [19, 0, 1, 3, 9, 2]),
        ("resnet110-cifar", [109, 0, 1, 3, 54, 2]),
    ] {
        let c = build(name).counts();
        let found = [c.convolutions, c.shortcut_convolutions, c.linear, c.stages, c.blocks, c.downsampling_blocks];
        assert_eq!(found, expected, "{name}");
    }
}

#[test]
fn every_known_network_is_whole() {
    for known in families::list().unwrap() {
        let net = build(known.name);
        assert_eq!(net.name, known.name);
        assert_eq!(net.layers[0].kind, LayerKind::Input);
        let shapes = net.shapes(net.input.height, net.input.width).unwrap();
        assert_eq!(shapes.last(), Some(&LayerShape::Vector { features: net.classes.len() }), "{}", known.name);
        let mut names = std::collections::HashSet::new();
        for (id, layer) in net.ids() {
            assert!(names.insert(&layer.name), "{}: {} twice", known.name, layer.name);
            assert!(layer.inputs.iter().all(|input| *input < id), "{}: {}", known.name, layer.name);
            assert!(id == LayerId::INPUT || !layer.inputs.is_empty());
        }
        for scope in &net.scopes {
            assert!(names.insert(&scope.name), "{}: {} twice", known.name, scope.name);
            assert!(scope.layers.contains(&scope.output.0), "{}: {}", known.name, scope.name);
        }
        if let Some(pretrained) = known.pretrained {
            assert!(pretrained.url.starts_with("https://") && pretrained.url.ends_with(&pretrained.file));
        }
    }
}

#[test]
fn names_in_any_spelling() {
    for (spelling, name) in
        [("vgg16-bn", "vgg16_bn"), ("VGG16BN", "vgg16_bn"), ("ResNet-50", "resnet50"), ("resnet20_cifar", "resnet20-cifar")]
    {
        assert_eq!(build(spelling).name, name);
    }
    let error = families::build("resnet2O", None).unwrap_err().to_string();
    assert!(error.starts_with("there is no network \"resnet2O\"; nearest: "), "{error}");
    assert!(error.contains("resnet20-cifar") || error.contains("resnet50"), "{error}");
    let error = families::build("resnet20", None).unwrap_err().to_string();
    assert!(error.contains("resnet20-cifar"), "{error}");
    assert!(!families::build("a\nb", None).unwrap_err().to_string().contains('\n'));
    let vgg16 = families::pretrained("vgg16").unwrap().unwrap();
    assert_eq!(vgg16.url, "https://download.pytorch.org/models/vgg16-397923af.pth");
    assert_eq!(vgg16.hub.as_deref(), Some("timm/vgg16.tv_in1k"));
    let cifar = families::pretrained("resnet20-cifar").unwrap().unwrap();
    assert_eq!((cifar.file.as_str(), cifar.hub), ("resnet20-12fca82f.th", None));
}

#[test]
fn classes_can_be_chosen() {
    for name in families::names() {
        let net = families::build(name, Some(7)).unwrap();
        assert_eq!(net.classes, Classes::Count(7));
        let shapes = net.shapes(net.input.height, net.input.width).unwrap();
        assert_eq!(shapes.last(), Some(&LayerShape::Vector { features: 7 }), "{name}");
        let error = families::build(name, Some(0)).unwrap_err().to_string();
        assert_eq!(error, format!("{name}: needs at least one class"));
    }
    assert_eq!(build("vgg16").classes, Classes::ImageNet1k);
    assert_eq!(build("resnet32-cifar").classes, Classes::Cifar10);
}

/// The table of the book, by Keras' names; and one output for two classes.
#[test]
fn the_convnet_for_cats_and_dogs() {
    let net = build("chollet-convnet");
    let shapes = net.shapes(150, 150).unwrap();
    for (name, dims, kind) in [
        ("conv2d", vec![32, 148, 148], "ReLU"),
        ("conv2d:pre", vec![32, 148, 148], "Conv2d"),
        ("max_pooling2d", vec![32, 74, 74], "MaxPool2d"),
        ("conv2d_1", vec![64, 72, 72], "ReLU"),
        ("max_pooling2d_1", vec![64, 36, 36], "MaxPool2d"),
        ("conv2d_2", vec![128, 34, 34], "ReLU"),
        ("max_pooling2d_2", vec![128, 17, 17], "MaxPool2d"),
        ("conv2d_3", vec![128, 15, 15], "ReLU"),
        ("max_pooling2d_3", vec![128, 7, 7], "MaxPool2d"),
        ("flatten", vec![6272], "Flatten"),
        ("dense", vec![512], "ReLU"),
        ("dense_1", vec![1], "Linear"),
        ("-1", vec![2], "BinaryLogits"),
    ] {
        let layer = net.select(name).unwrap().layer;
        assert_eq!((shapes[layer.0].dims(), net[layer].kind.type_name()), (dims, kind), "{name}");
    }
    assert_eq!(net.cam_layer(), Some(net.select("conv2d_3").unwrap().layer));
    assert_eq!((net.output_activation, net.classes.clone()), (OutputActivation::Sigmoid, Classes::CatsDogs));
    assert_eq!(net[net.classifier().unwrap()].kind.to_string(), "Linear 1");
    // More classes than two exclude each other, as everywhere.
    assert_eq!(families::build("chollet-convnet", Some(3)).unwrap().output_activation, OutputActivation::Softmax);
    let mut net = Builder::new("wide", [3, 8, 8]);
    let x = net.flatten("flatten", LayerId::INPUT);
    net.layer("sides", LayerKind::BinaryLogits, &[x]);
    let error = net.finish(Classes::Count(2), OutputActivation::Sigmoid, Preprocess::CIFAR).unwrap_err().to_string();
    assert!(error.contains("sides (BinaryLogits) expects one feature but gets 192"), "{error}");
}

#[test]
fn depths_that_do_not_exist() {
    for error in [
        vgg(12, false, 64, Classes::ImageNet1k).unwrap_err(),
        resnet(20, 64, Classes::ImageNet1k).unwrap_err(),
        resnet_cifar(21, 16, Classes::Cifar10).unwrap_err(),
        resnet_cifar(2, 16, Classes::Cifar10).unwrap_err(),
        resnet_cifar(usize::MAX, 16, Classes::Cifar10).unwrap_err(),
    ] {
        assert!(matches!(error, NetworkError::Config { .. }), "{error}");
    }
    assert_eq!(resnet_cifar(8, 16, Classes::Cifar10).unwrap().counts().blocks, 3);
}

#[test]
fn too_small_an_image_says_what_is_needed() {
    let vgg16 = build("vgg16");
    assert_eq!(vgg16.input.min_size, [32, 32]);
    assert_eq!(
        vgg16.shapes(16, 16).unwrap_err().to_string(),
        "input 16x16 is too small for vgg16: layer features.30 would be 0x0; needs at least 32x32"
    );
    assert!(vgg16.shapes(31, 224).unwrap_err().to_string().contains("features.30 would be 0x7"));
    for name in families::names() {
        let net = build(name);
        let [h, w] = net.input.min_size;
        net.shapes(h, w).unwrap();
        for (h, w) in [(h - 1, w), (h, w - 1)] {
            assert!(matches!(net.shapes(h, w), Err(NetworkError::InputTooSmall { .. })), "{name}");
        }
    }
    assert_eq!(build("resnet50").input.min_size, [1, 1]);
    assert!(build("resnet50").shapes(usize::MAX, usize::MAX).is_err());
}

#[test]
fn small_is_configurable() {
    let net = build("small");
    let shapes = net.shapes(64, 64).unwrap();
    let at = |name: &str| shapes[net.find(name).unwrap().0].dims();
    assert_eq!(at("features.0"), [32, 64, 64]);
    assert_eq!(at("features.15"), [128, 4, 4]);
    assert_eq!(at("classifier.0"), [256]);
    // 4 convolutions without bias, their batch-norms, two dense layers.
    let convs = 9 * (3 * 32 + 32 * 64 + 64 * 128 + 128 * 128) + 2 * (32 + 64 + 128 + 128);
    assert_eq!(net.parameter_count(), convs + (2048 + 1) * 256 + 257 * 10);
    net.shapes(97, 130).unwrap();

    let config = SmallConfig {
        input: [1, 28, 40],
        channels: vec![8, 16],
        kernel: 5,
        padding: 0,
        batch_norm: false,
        dense: vec![],
        dropout: 0.0,
        classes: Classes::Named(vec!["cat".into()]),
        output_activation: OutputActivation::Sigmoid,
    };
    let net = small(&config).unwrap();
    let names: Vec<&str> = net.layers.iter().map(|layer| layer.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "input",
            "features.0",
            "features.1",
            "features.2",
            "features.3",
            "features.4",
            "features.5",
            "avgpool",
            "flatten",
            "classifier.0"
        ]
    );
    // 28 -> 24 -> 12 -> 8 -> 4 and 40 -> 36 -> 18 -> 14 -> 7
    assert_eq!(net.shapes(28, 40).unwrap()[8].dims(), [16 * 4 * 7]);
    assert_eq!(net.parameter_count(), 8 * 26 + 16 * (8 * 25 + 1) + 16 * 28 + 1);
    assert_eq!(net.output_activation, OutputActivation::Sigmoid);
    assert_eq!(net.preprocess.normalization.mean, [0.5; 3]);

    let bad = |change: fn(&mut SmallConfig)| {
        let mut config = SmallConfig::default();
        change(&mut config);
        small(&config).unwrap_err().to_string()
    };
    assert!(bad(|c| c.channels = vec![8; 7]).contains("features.27 (MaxPool2d) would be 0x0"));
    assert!(bad(|c| c.kernel = 0).contains("kernel must be at least 1"));
    assert!(bad(|c| c.channels = vec![8, 0]).contains("out_channels must be at least 1"));
    assert!(bad(|c| c.channels = vec![usize::MAX]).contains("more than any memory"));
    assert!(bad(|c| c.padding = usize::MAX).contains("more than any memory"));
    assert!(bad(|c| c.dense = vec![0]).contains("out_features must be at least 1"));
    assert!(bad(|c| c.dropout = f64::NAN).contains("dropout"));
    assert!(bad(|c| c.input = [usize::MAX, 8, 8]).contains("channels"));
    assert!(bad(|c| c.input = [3, 0, 8]).contains("no pixels"));
    assert!(bad(|c| c.classes = Classes::Named(vec![])).contains("at least one class"));
}

/// One layer on a map of 4 x `height` x `width`.
fn one(kind: LayerKind, height: usize, width: usize) -> Result<Vec<usize>, NetworkError> {
    let mut net = Builder::new("one", [4, height, width]);
    net.layer("layer", kind, &[LayerId::INPUT]);
    let net = net.finish(Classes::Count(1), OutputActivation::Softmax, Preprocess::CIFAR)?;
    Ok(net.shapes(height, width)?[1].dims())
}

/// Against `torch.nn.functional.max_pool2d` and `conv2d` at these sizes.
#[test]
fn windows_are_counted_as_torch_does() {
    for ((kernel, stride, pad, h, w), floor, ceil) in [
        ((3, 2, 1, 6, 7), [3, 4], [4, 4]),
        ((2, 2, 0, 7, 5), [3, 2], [4, 3]),
        ((3, 3, 1, 7, 8), [3, 3], [3, 3]),
        ((2, 2, 1, 3, 4), [2, 3], [2, 3]),
        ((3, 2, 1, 112, 113), [56, 57], [57, 57]),
    ] {
        let pool = Pool2d::new(kernel, stride, pad);
        let case = format!("{pool:?} on {h}x{w}");
        assert_eq!(one(LayerKind::MaxPool2d(pool.clone()), h, w).unwrap()[1..], floor, "{case}");
        let pool = Pool2d { ceil: true, ..pool };
        assert_eq!(one(LayerKind::MaxPool2d(pool), h, w).unwrap()[1..], ceil, "{case} ceil");
    }
    let partial = Pool2d { ceil: true, ..Pool2d::new(3, 2, 0) };
    assert_eq!(one(LayerKind::MaxPool2d(partial), 2, 6).unwrap(), [4, 1, 3]);
    let conv = Conv2d {
        in_channels: 4,
        kernel: [3, 5],
        stride: [2, 3],
        padding: Padding::Sides([0, 3, 1, 2]),
        dilation: [2, 1],
        groups: 2,
        ..Conv2d::new(6, 1)
    };
    assert_eq!(conv.weight_shape(), [6, 2, 3, 5]);
    assert_eq!(one(LayerKind::Conv2d(conv), 17, 23).unwrap(), [6, 8, 8]);
    assert_eq!(one(LayerKind::PadShortcut { stride: 2, out_channels: 8 }, 5, 6).unwrap(), [8, 3, 3]);
}

#[test]
fn layers_that_do_not_fit_say_why() {
    let refused = |kind: LayerKind| one(kind, 9, 9).unwrap_err().to_string();
    for (kind, reason) in [
        (LayerKind::Conv2d(Conv2d::new(8, 3)), "expects 0 channels but gets 4"),
        (LayerKind::Conv2d(Conv2d { in_channels: 4, groups: 3, ..Conv2d::new(6, 3) }), "3 groups do not divide 4 input channels"),
        (LayerKind::Conv2d(Conv2d::new(8, 3).stride(0)), "stride must be at least 1"),
        (LayerKind::MaxPool2d(Pool2d::new(2, 2, 2)), "must be smaller than kernel"),
        (
            LayerKind::BatchNorm2d { channels: 5, eps: 1e-5, momentum: 0.1, scale: true, shift: true },
            "expects 5 channels but gets 4",
        ),
        (LayerKind::Linear { in_features: 4, out_features: 2, bias: true }, "flatten it first"),
        (LayerKind::PadShortcut { stride: 2, out_channels: 7 }, "cannot pad 4 channels to 7"),
        (LayerKind::AdaptiveAvgPool2d { output: [0, 1] }, "output must be at least 1"),
        (LayerKind::Add, "takes two inputs or more, has 1"),
        (LayerKind::Input, "stands where only layer 0 may"),
    ] {
        let error = refused(kind);
        assert!(error.starts_with("one: layer layer (") && error.contains(reason), "{error}");
    }
    // A network that was not made by the builder.
    let mut net = build("small");
    net.layers[3].inputs = vec![LayerId(9)];
    assert!(net.shapes(64, 64).unwrap_err().to_string().contains("reads layer 9, which comes later"));
}

#[test]
fn joins() {
    let mut net = Builder::new("joins", [3, 8, 8]);
    let a = net.conv("a", LayerId::INPUT, Conv2d::new(5, 1));
    let joined = net.layer("joined", LayerKind::Concat, &[a, LayerId::INPUT, a]);
    assert_eq!((net.channels(joined), net.spatial(joined)), (13, Some([8, 8])));
    net.add("sum", &[a, LayerId::INPUT]);
    let error = net.finish(Classes::Count(1), OutputActivation::Softmax, Preprocess::CIFAR).unwrap_err();
    assert_eq!(error.to_string(), "joins: layer sum (Add) cannot join 5x8x8 and 3x8x8");
}

#[test]
fn params_know_their_layer_and_fan_in() {
    let net = build("resnet18");
    let params = net.params();
    let find = |name: &str| params.iter().find(|param| param.name == name).unwrap();
    let conv = find("layer2.0.downsample.0.weight");
    assert_eq!((conv.fan_in, conv.kind, &conv.shape[..]), (64, ParamKind::Weight, &[128, 64, 1, 1][..]));
    assert_eq!(net[conv.layer].name, "layer2.0.downsample.0");
    assert_eq!(find("conv1.weight").fan_in, 147);
    assert_eq!((find("fc.bias").fan_in, find("fc.bias").kind), (512, ParamKind::Bias));
    assert_eq!(find("bn1.running_var").kind, ParamKind::RunningVar);
}

/// A convolution with two calls: its gradient is the sum of the gradients of two convolutions with equal weights.
#[test]
fn a_layer_called_twice_has_one_set_of_parameters() {
    use convscope_models::engine::{Rules, Tape, Tensor};
    use convscope_models::model::init::fill_image;
    use convscope_models::{Mode, Model, WeightsSource, load};
    let network = |shares: bool| {
        let mut net = Builder::new("twice", [3, 9, 8]);
        let a = net.conv("a", LayerId::INPUT, Conv2d::new(3, 3).padding(1));
        let norm = LayerKind::BatchNorm2d { channels: 3, eps: 1e-3, momentum: 0.1, scale: true, shift: true };
        let x = net.layer("a_norm", norm.clone(), &[a]);
        let a_norm = x;
        let x = net.relu("relu", x);
        let b = net.conv("b", x, Conv2d::new(3, 3).padding(1));
        let b_norm = net.layer("b_norm", norm, &[b]);
        if shares {
            assert!(net.share(b, a) && net.share(b_norm, a_norm));
            // Another kind, other shapes, a layer that comes later, one that has none of its own.
            assert!(!net.share(b_norm, a) && !net.share(a, b) && !net.share(b, LayerId::INPUT));
            assert!(net.share(b, a) && net.share(b_norm, a_norm));
        }
        let x = net.flatten("flatten", b_norm);
        net.linear("fc", x, 2);
        net.finish(Classes::Count(2), OutputActivation::Softmax, Preprocess::CIFAR).unwrap()
    };
    let (tied, separate) = (network(true), network(false));
    assert_eq!(separate.parameter_count() - tied.parameter_count(), (27 + 1) * 3 + 6);
    let [one, two] = [&tied, &separate].map(|net| net.summary(9, 8).unwrap());
    assert_eq!((one.keras_parameters, two.keras_parameters), (one.parameters + 6, two.parameters + 12));
    assert_eq!((one.multiply_adds, one.torchinfo_multiply_adds), (two.multiply_adds, two.torchinfo_multiply_adds));
    assert!(one.to_text().contains("Conv2d 3, 3x3, pad 1, weights of a"), "{}", one.to_text());

    let model = load(tied, &WeightsSource::Random).unwrap();
    let named = |name: &str| {
        let own = name.strip_prefix('b').map_or(name.to_string(), |rest| format!("a{rest}"));
        model.params[model.network.params().iter().position(|p| p.name == own).unwrap()].clone()
    };
    let params = separate.params().iter().map(|p| named(&p.name)).collect();
    let untied = Model::new(separate, params).unwrap();
    let step = |model: &Model| {
        let mut tape = Tape::new();
        let x = tape.leaf(Tensor::from_slice([2, 3, 9, 8], &fill_image("twice", 2, 3, 9, 8)).unwrap(), "");
        let run = model.run(&mut tape, LayerId::INPUT, x, model.network.output(), Mode::Training { seed: 0 }).unwrap();
        let wants: Vec<_> = model.trained().iter().map(|i| run.params()[*i].unwrap()).collect();
        let grads = tape.backward(run.output(), None, &wants, &Rules::default()).unwrap();
        let grads: Vec<Vec<f32>> = wants.iter().map(|want| grads.of(*want).unwrap().f32().to_vec()).collect();
        let names: Vec<String> = model.trained().iter().map(|i| model.network.params()[*i].name.clone()).collect();
        (tape.value(run.output()).unwrap().f32().to_vec(), names.into_iter().zip(grads).collect::<Vec<_>>())
    };
    let ((logits, sums), (same, each)) = (step(&model), step(&untied));
    assert_eq!(logits, same);
    for (name, sum) in &sums {
        let of = |name: &str| each.iter().find(|(other, _)| other == name).map(|(_, grad)| grad);
        let second = name.strip_prefix('a').and_then(|rest| of(&format!("b{rest}")));
        for (i, got) in sum.iter().enumerate() {
            let want = of(name).unwrap()[i] + second.map_or(0.0, |grad| grad[i]);
            assert!((got - want).abs() <= 1e-5 * want.abs().max(1.0), "{name} {i}: {got}, expects {want}");
        }
    }
    assert_eq!(sums.len(), 6);
}
