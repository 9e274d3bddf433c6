//! Whole networks against PyTorch, from the numbers that `tests/goldens/make.py` wrote.
//!
//! Weights are filled by a closed form on both sides, so full-size networks need no weight file. The reference ran in f64;
//! bounds are those of the issue, an order above what PyTorch's own f32 run differs by (1e-6 logits and gradients, 6e-6 maps).

use convscope_models::engine::kernels::DType;
use convscope_models::engine::{Rules, Tape, Tensor};
use convscope_models::image::prepare_file;
use convscope_models::model::init::{fill_image, uniform};
use convscope_models::network::{Layer, LayerId, LayerKind, Network};
use convscope_models::{Mode, Model, Run, WeightsSource, families, load};
use convscope_tests::{close, floats, golden, largest, plainly, shared};
use convscope_viz::ascent::{InputSpace, Preset, Rendering, Start, ascend};
use convscope_viz::draw::deprocess::Standardize;
use convscope_viz::gradcam::{Targets, grad_cam};
use convscope_viz::predict::{input_gradient, predict};
use safetensors::SafeTensors;

fn filled(name: &str) -> Model {
    load(families::build(name, None).unwrap(), &WeightsSource::Random).unwrap()
}

/// A recorded pass through a network.
struct Pass {
    tape: Tape,
    run: Run,
}

impl Pass {
    fn forward(model: &Model, image: &Tensor, dtype: DType) -> Self {
        let mut tape = Tape::new();
        let model = if dtype == DType::F32 { model } else { &model.cast(dtype) };
        let run = model.forward(&mut tape, image.cast(dtype)).unwrap();
        Self { tape, run }
    }

    /// Output of `layer`, as f32.
    fn value(&self, layer: LayerId) -> Vec<f32> {
        self.tape.value(self.run.layer(layer).unwrap()).unwrap().cast(DType::F32).f32().to_vec()
    }

    /// The gradient of a logit with respect to the image, computed in the pass's type.
    fn gradient(&mut self, class: usize) -> Vec<f32> {
        let logits = self.tape.value(self.run.output()).unwrap();
        let mut upstream = vec![0.0f32; logits.len()];
        upstream[class] = 1.0;
        let upstream = Tensor::from_slice(logits.shape().clone(), &upstream).unwrap().cast(logits.dtype());
        let x = self.run.layer(LayerId::INPUT).unwrap();
        let grads = self.tape.backward(self.run.output(), Some(upstream), &[x], &Rules::default()).unwrap();
        grads.of(x).unwrap().cast(DType::F32).f32().to_vec()
    }

    /// How many units of ReLUs and maxima of windows are decided otherwise than in `other`.
    fn changed(&self, other: &Self, network: &Network) -> usize {
        let sides = |pass: &Self, (id, layer): (LayerId, &Layer)| -> Vec<u32> {
            match &layer.kind {
                // At 0 and, of ReLU6, at 6 the function is flat.
                kind if kind.is_activation() => pass.value(id).iter().map(|v| u32::from(*v == 0.0 || *v == 6.0)).collect(),
                LayerKind::MaxPool2d(_) | LayerKind::AdaptiveMaxPool2d { .. } => {
                    pass.tape.saved(pass.run.layer(id).unwrap()).unwrap()[0].buffer().as_slice::<u32>().to_vec()
                }
                _ => Vec::new(),
            }
        };
        let changed = |layer| sides(self, layer).iter().zip(sides(other, layer)).filter(|(a, b)| *a != b).count();
        network.ids().map(changed).sum()
    }
}

/// That the network in f32, with the kernels that anyone gets, is the reference: logits, and of the image's gradient the part that
/// `want` has.
///
/// A gradient jumps where a unit is on the other side of its kink (a ReLU at zero, two equal maxima of a window). Of the millions of units
/// of a network one often lies within f32's rounding of it, so that no f32 engine has the reference's gradient: PyTorch's own differs
/// from its f64 in the same way. Where no unit has changed sides, the gradient is within 1e-4 of the largest. Where some have, it is within that
/// of the gradient which f64 makes of this very forward pass, and within 10% in the norm of the reference's. Every layer's values
/// are those of f64 to 1e-4: only units as near to their kink change sides.
#[expect(clippy::too_many_arguments, reason = "a case of a golden file")]
fn holds_in_f32(
    case: &str,
    model: &Model,
    image: &Tensor,
    class: usize,
    exact: &Pass,
    logits: &[f32],
    part: impl Fn(&[f32]) -> Vec<f32>,
    want: &[f32],
) {
    let mut single = Pass::forward(model, image, DType::F32);
    let output = model.network.output();
    close(&format!("{case} logits"), &single.value(output), logits, 1e-4 * largest(logits));
    let off = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max) / largest(b);
    for (id, layer) in model.network.ids() {
        let off = off(&single.value(id), &exact.value(id));
        assert!(off <= 1e-4, "{case}: {} is off by {off:e} of its largest", layer.name);
    }
    let dx = single.gradient(class);
    match single.changed(exact, &model.network) {
        0 => close(&format!("{case} f32 dx"), &part(&dx), want, 1e-4 * largest(want)),
        changed => {
            let decided_alike = Pass { tape: single.tape.cast(DType::F64), run: single.run }.gradient(class);
            close(&format!("{case} f32 dx, decided alike"), &dx, &decided_alike, 1e-4 * largest(&decided_alike));
            println!("{case}: {changed} units changed sides");
            near_in_norm(case, &part(&dx), want);
        }
    }
}

/// That a gradient is no further from `want` than a few units make it which changed sides.
fn near_in_norm(case: &str, dx: &[f32], want: &[f32]) {
    let norm = |values: &mut dyn Iterator<Item = f32>| values.map(|v| f64::from(v).powi(2)).sum::<f64>().sqrt();
    let off = norm(&mut dx.iter().zip(want).map(|(a, b)| a - b)) / norm(&mut want.iter().copied());
    println!("{case} f32 dx: off by {off:.2e} in the norm");
    assert!(off <= 0.1, "{case}: dx is off by {off:e} in the norm");
}

/// Logits, the input gradient, inner means and Grad-CAM of a network, at every size its file has.
fn network(name: &str) {
    let model = filled(name);
    let bytes = golden(&format!("{name}.safetensors"));
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let mut cases: Vec<&str> = file.names().iter().filter_map(|n| n.strip_suffix(".logits")).collect();
    cases.sort_unstable();
    assert!(cases.len() >= 2 && cases.iter().any(|c| c.split_once('x').is_some_and(|(h, w)| h != w)), "{cases:?}");
    for case in cases {
        let (h, w) = case.split_once('x').map(|(h, w)| (h.parse().unwrap(), w.parse().unwrap())).unwrap();
        let image = Tensor::from_slice([1, 3, h, w], &fill_image(&format!("input.{case}"), 1, 3, h, w)).unwrap();
        let class = floats(&file, &format!("{case}.class"))[0].to_bits() as usize;

        let (_, dx) = input_gradient(&plainly(&model), &image, Some(class)).unwrap();
        let want = floats(&file, &format!("{case}.dx"));
        close(&format!("{name} {case} dx"), dx.f32(), &want, 1e-4 * largest(&want));
        let exact = Pass::forward(&model, &image, DType::F64);
        let logits = floats(&file, &format!("{case}.logits"));
        holds_in_f32(&format!("{name} {case}"), &model, &image, class, &exact, &logits, <[f32]>::to_vec, &want);

        for key in file.names() {
            if let Some(layer) = key.strip_prefix(&format!("{case}.mean.")) {
                let id = model.network.select(layer).unwrap().layer;
                let (maps, _) = convscope_viz::features::features(&model, &image, &[id]).unwrap();
                let means: Vec<f32> = maps[0].channels().map(|m| m.iter().sum::<f32>() / m.len() as f32).collect();
                let want = floats(&file, key);
                close(&format!("{name} {key}"), &means, &want, 1e-4 * largest(&want));
            }
            if let Some(layer) = key.strip_prefix(&format!("{case}.cam.")) {
                let id = model.network.select(layer).unwrap().layer;
                let (_, maps) = grad_cam(&model, &image, id, Targets::Classes(&[class])).unwrap();
                close(&format!("{name} {key}"), maps[0].heatmap.values(), &floats(&file, key), 1e-3);
            }
        }
    }
}

#[test]
fn vgg16_is_pytorchs() {
    network("vgg16");
}

#[test]
fn vgg19_bn_is_pytorchs() {
    network("vgg19_bn");
}

#[test]
fn resnet18_is_pytorchs() {
    network("resnet18");
}

#[test]
fn resnet50_is_pytorchs() {
    network("resnet50");
}

/// Logits and input gradients of torchvision's other networks, from the numbers of `tests/goldens/zoo.py`.
fn zoo(family: &str) {
    family_is("zoo.safetensors", family, 2, str::to_owned);
}

/// Those of a network of keras.applications, from the numbers of `tests/goldens/keras_zoo.py`.
fn keras_zoo(network: &str, sizes: usize) {
    family_is("keras_zoo.safetensors", &format!("{network}."), sizes, |name| format!("keras-{name}"));
}

/// The networks of a file with this name prefix, at `least` sizes or more, against the networks here.
fn family_is(file: &str, family: &str, least: usize, ours: impl Fn(&str) -> String) {
    let bytes = golden(file);
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let mut cases: Vec<&str> =
        file.names().iter().filter_map(|n| n.strip_suffix(".logits")).filter(|c| c.starts_with(family)).collect();
    cases.sort_unstable();
    assert!(cases.len() >= least, "{cases:?}");
    for case in cases {
        let (name, _) = case.split_once('.').unwrap();
        let Case { model, image, class, logits, part, sums } = Case::of(&file, case, &ours(name));
        // In f64 no unit is so near its kink that it changes sides: this compares the network's formula.
        let mut exact = Pass::forward(&model, &image, DType::F64);
        let dx = exact.gradient(class);
        close(&format!("{case} dx"), &every_fifth(&dx, &image), &part, 1e-4 * largest(&part));
        let plane = image.shape()[2] * image.shape()[3];
        let found: Vec<f32> = dx.chunks_exact(plane).map(|plane| plane.iter().map(|v| v.abs()).sum()).collect();
        close(&format!("{case} dx sums"), &found, &sums, 1e-4 * largest(&sums));
        holds_in_f32(case, &model, &image, class, &exact, &logits, |dx| every_fifth(dx, &image), &part);
    }
}

/// A network that is too large for the f64 kernels, which are written to be read: its logits, and its gradient as far as f32 has it whatever
/// units change sides ([`holds_in_f32`]).
fn whole_in_f32(file: &str, case: &str, network: &str) {
    let bytes = golden(file);
    let Case { model, image, class, logits, part, .. } = Case::of(&SafeTensors::deserialize(&bytes).unwrap(), case, network);
    let mut single = Pass::forward(&model, &image, DType::F32);
    close(&format!("{case} logits"), &single.value(model.network.output()), &logits, 1e-4 * largest(&logits));
    near_in_norm(case, &every_fifth(&single.gradient(class), &image), &part);
}

/// A network of a file at one size.
struct Case {
    model: Model,
    image: Tensor,
    /// Whose logit's gradient is kept.
    class: usize,
    logits: Vec<f32>,
    /// Every fifth row and column of the gradient.
    part: Vec<f32>,
    /// The sums over its planes' magnitudes.
    sums: Vec<f32>,
}

impl Case {
    fn of(file: &SafeTensors, case: &str, network: &str) -> Self {
        let (_, size) = case.split_once('.').unwrap();
        let (h, w) = size.split_once('x').map(|(h, w)| (h.parse().unwrap(), w.parse().unwrap())).unwrap();
        let want = |what: &str| floats(file, &format!("{case}.{what}"));
        Self {
            model: filled(network),
            image: Tensor::from_slice([1, 3, h, w], &fill_image(&format!("input.{size}"), 1, 3, h, w)).unwrap(),
            class: want("class")[0].to_bits() as usize,
            logits: want("logits"),
            part: want("dx.part"),
            sums: want("dx.sums"),
        }
    }
}

/// Every fifth row and column of each plane.
fn every_fifth(planes: &[f32], image: &Tensor) -> Vec<f32> {
    let (h, w) = (image.shape()[2], image.shape()[3]);
    let rows = planes.chunks_exact(h * w).flat_map(|plane| plane.chunks_exact(w).step_by(5));
    rows.flat_map(|row| row.iter().step_by(5).copied()).collect()
}

#[test]
fn alexnet_and_squeezenet_are_pytorchs() {
    zoo("alexnet");
    zoo("squeezenet");
}

#[test]
fn googlenet_is_pytorchs() {
    zoo("googlenet");
}

#[test]
fn inception_v3_is_pytorchs() {
    zoo("inception_v3");
}

#[test]
fn densenets_are_pytorchs() {
    zoo("densenet");
}

#[test]
fn resnexts_are_pytorchs() {
    zoo("resnext");
}

#[test]
fn mobilenet_v2_is_pytorchs() {
    zoo("mobilenet_v2");
}

#[test]
fn keras_vggs_are_kerass() {
    for network in ["VGG16", "VGG19"] {
        whole_in_f32("keras_zoo.safetensors", &format!("{network}.224x224"), &format!("keras-{network}"));
        keras_zoo(&format!("{network}-w16"), 1);
    }
}

#[test]
fn keras_resnets_are_kerass() {
    for network in ["ResNet50", "ResNet101", "ResNet152"] {
        keras_zoo(network, 2);
    }
}

#[test]
fn keras_resnets_v2_are_kerass() {
    for network in ["ResNet50V2", "ResNet101V2", "ResNet152V2"] {
        keras_zoo(network, 2);
    }
}

#[test]
fn keras_inception_v3_is_kerass() {
    keras_zoo("InceptionV3", 2);
}

#[test]
fn keras_xception_is_kerass() {
    keras_zoo("Xception", 2);
}

#[test]
fn keras_mobilenets_are_kerass() {
    keras_zoo("MobileNet", 2);
    keras_zoo("MobileNetV2", 2);
}

#[test]
fn keras_densenets_are_kerass() {
    for network in ["DenseNet121", "DenseNet169", "DenseNet201"] {
        keras_zoo(network, 2);
    }
}

/// A network whose weights came through the f64 tables gives what f32 gives, to f32's precision.
#[test]
fn f64_and_f32_agree() {
    let model = filled("resnet20-cifar");
    let image = Tensor::from_slice([2, 3, 32, 24], &fill_image("x", 2, 3, 32, 24)).unwrap();
    let run = |model: &Model, x: Tensor| {
        let mut tape = Tape::inference();
        let run = model.forward(&mut tape, x).unwrap();
        tape.value(run.output()).unwrap().cast(DType::F32).f32().to_vec()
    };
    let wide = run(&model.cast(DType::F64), image.cast(DType::F64));
    close("f32 against f64", &run(&model, image), &wide, 1e-5 * largest(&wide));
}

/// Running the head from a middle layer is running the whole.
#[test]
fn a_run_can_start_in_the_middle() {
    let model = filled("resnet18");
    let image = Tensor::from_slice([1, 3, 64, 64], &fill_image("x", 1, 3, 64, 64)).unwrap();
    let mut tape = Tape::new();
    let whole = model.forward(&mut tape, image.clone()).unwrap();
    let middle = model.network.select("layer2").unwrap().layer;
    let maps = tape.value(whole.layer(middle).unwrap()).unwrap().clone();
    let logits = tape.value(whole.output()).unwrap().f32().to_vec();
    let mut tape = Tape::inference();
    let x = tape.leaf(maps, "maps");
    let head = model.run(&mut tape, middle, x, model.network.output(), Mode::Inference).unwrap();
    assert_eq!(tape.value(head.output()).unwrap().f32(), logits);
    // A layer that the middle does not see all of cannot be reached from it.
    let inside = model.network.select("layer2.0.conv1").unwrap().layer;
    let mut tape = Tape::inference();
    let x = tape.leaf(image, "x");
    let error = model.run(&mut tape, inside, x, model.network.output(), Mode::Inference).unwrap_err().to_string();
    assert!(error.contains("layer2.0.conv1"), "{error}");
    assert_eq!(model.network[LayerId::INPUT].name, "input");
}

/// The recipes of gradient ascent, step by step, down to the bytes of the picture.
#[test]
fn ascent_recipes_are_theirs() {
    let (vgg, resnet) = (filled("vgg16"), filled("resnet50"));
    // The start is each recipe's own expression: another order of rounding may open or close a ReLU.
    type Noise = fn(f64) -> f64;
    for (preset, name, stream, noise, model, [h, w]) in [
        (Preset::Chollet1, "chollet1", "start.chollet1", (|u| u * 20.0 + 128.0) as Noise, &vgg, [40, 48]),
        (Preset::Kerasblog, "kerasblog", "start.kerasblog", |u| (u - 0.5) * 20.0 + 128.0, &vgg, [40, 48]),
        (Preset::KerasIo, "keras-io", "ascent.keras-io", |u| (u - 0.5) * 0.25, &resnet, [64, 72]),
    ] {
        let bytes = golden(&format!("ascent_{name}.safetensors"));
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let mut options = preset.options(&model.network);
        let Start::Uniform { low, high } = options.start else { panic!("{name} starts from noise") };
        assert_eq!([low, high].map(f64::from), [noise(0.0), noise(1.0)], "{name}");
        options.start = Start::Image(uniform(stream).take(3 * h * w).map(|u| noise(u) as f32).collect());
        (options.size, options.input) = ([h, w], InputSpace::Raw);
        let mut targets: Vec<&str> = file.names().iter().filter_map(|n| n.strip_suffix(".loss")).collect();
        targets.sort_unstable();
        assert_eq!(targets.len(), 2);
        for target in targets {
            // Keras counts a convolution's ReLU as the convolution; the names in the file are torchvision's.
            let selection = model.network.select(target).unwrap();
            let channel = selection.channel.unwrap();
            for steps in [3, 10] {
                options.steps = steps;
                let ascent = ascend(&plainly(model), selection.layer, &[channel], &options, &mut |_| ()).unwrap().remove(0);
                let what = |part: &str| format!("{name} {target} {part} after {steps}");
                let losses = floats(&file, &format!("{target}.loss"));
                close(&what("losses"), &ascent.losses, &losses[..steps], 1e-4 * largest(&losses));
                let image = floats(&file, &format!("{target}.image{steps}"));
                // After a few steps f32's rounding carries the first unit over its kink (a ReLU at zero, two equal maxima of a
                // window), which changes the gradient in its receptive field; f32 PyTorch parts from f64 in the same way.
                let bound = if steps == 3 { 2e-5 } else { 1e-2 };
                close(&what("image"), &ascent.image, &image, bound * largest(&image));
                let look = match ascent.shown {
                    Rendering::KerasIo => Standardize::KERAS_IO,
                    Rendering::Chollet1 => Standardize::CHOLLET1,
                    Rendering::Range(_) => panic!("{name} standardises"),
                };
                let picture = look.picture(&ascent.image, h, w).unwrap();
                let want = file.tensor(&format!("{target}.picture{steps}")).unwrap().data().to_vec();
                assert_eq!(picture.as_raw().len(), want.len());
                let off = picture.as_raw().iter().zip(&want).map(|(a, b)| a.abs_diff(*b)).max();
                assert!(off <= Some(if steps == 3 { 1 } else { 3 }), "{}: bytes off by {off:?}", what("picture"));
            }
        }
    }
}

/// Real weights on real photos, where they are at hand.
#[test]
fn cifar_logits_are_pytorchs() {
    let Some(data) = shared("data") else { return };
    let bytes = golden("cifar.safetensors");
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    let files: Vec<String> = serde_json::from_str(&header.metadata().as_ref().unwrap()["files"]).unwrap();
    for (name, weights) in [("resnet20", "resnet20-12fca82f.th"), ("resnet32", "resnet32-d509ac18.th")] {
        let path = data.join("weights").join(weights);
        let source = WeightsSource::parse(path.to_str().unwrap(), &mut ()).unwrap();
        let model = load(families::build(&format!("{name}-cifar"), None).unwrap(), &source).unwrap();
        let mut logits = Vec::new();
        for photo in &files {
            let p = prepare_file(&data.join("cifar10-test").join(photo), &model.network.preprocess).unwrap();
            let image = Tensor::from_slice([1, 3, p.h, p.w], &p.data).unwrap();
            logits.extend(predict(&model, &image).unwrap().remove(0).logits);
        }
        let want = floats(&file, &format!("{name}.logits"));
        close(name, &logits, &want, 1e-5 * largest(&want));
    }
}
