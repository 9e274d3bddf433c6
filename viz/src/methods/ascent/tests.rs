//! Tests of gradient ascent on a tiny network.

use super::*;
use convscope_engine::Tensor;
use convscope_kernels::random::normal;
use convscope_models::families::{self, SmallConfig};
use convscope_models::network::{Classes, NetworkError, ParamKind};

/// Two convolutions (features.0, features.3) and two dense layers with weights from a fixed stream. The filter of channel 2 of
/// features.0 is -1 with a bias of -1000, so its ReLU, features.1, never opens for positive images.
pub(super) fn tiny() -> Model {
    let config = SmallConfig {
        input: [3, 16, 16],
        channels: vec![5, 6],
        batch_norm: false,
        dense: vec![8],
        classes: Classes::Count(4),
        ..SmallConfig::default()
    };
    let network = families::small(&config).unwrap();
    let mut params: Vec<Tensor> = Vec::new();
    for (i, p) in network.params().iter().enumerate() {
        let count: usize = p.shape.iter().product();
        let scale = if p.kind == ParamKind::Weight { (count as f32 / p.shape[0] as f32).sqrt().recip() } else { 0.1 };
        let mut values: Vec<f32> = (0..count).map(|k| scale * normal(i as u64, k as u64)).collect();
        match i {
            0 => values[2 * 27..3 * 27].fill(-1.0),
            1 => values[2] = -1000.0,
            _ => (),
        }
        params.push(Tensor::from_slice(p.shape.clone(), &values).unwrap());
    }
    Model::new(network, params).unwrap()
}

/// Normal values.
pub(super) fn numbers(seed: u64, count: usize) -> Vec<f32> {
    (0..count as u64).map(|i| normal(seed, i)).collect()
}

/// Inner product, for adjoint tests.
pub(super) fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}

fn short(preset: Preset, model: &Model) -> Options {
    Options { size: [18, 15], steps: 6, ..preset.options(&model.network) }
}

fn run(model: &Model, layer: &str, channels: &[usize], options: &Options) -> Vec<Ascent> {
    let layer = model.network.select(layer).unwrap().layer;
    ascend(model, layer, channels, options, &mut |_| ()).unwrap()
}

fn error(model: &Model, layer: &str, channels: &[usize], options: &Options) -> String {
    let layer = model.network.select(layer).unwrap().layer;
    let message = ascend(model, layer, channels, options, &mut |_| ()).unwrap_err().to_string();
    assert!(!message.contains('\n'), "{message}");
    message
}

#[test]
fn every_preset_raises_the_score() {
    let model = tiny();
    for (name, preset) in Preset::ALL {
        let options = Options { steps: 30, skip_at_or_below: None, ..short(preset, &model) };
        for (layer, channels) in [("features.0", 0..2), ("features.3", 0..6), ("-1", 0..4)] {
            for ascent in run(&model, layer, &channels.collect::<Vec<_>>(), &options) {
                let (first, last) = (ascent.losses[0], ascent.losses[29]);
                assert!(
                    last > first && ascent.score > first,
                    "{name} {layer}:{}: {first} {last} {}",
                    ascent.channel,
                    ascent.score
                );
                assert!(!ascent.dead && !ascent.skipped);
                assert_eq!((ascent.losses.len(), ascent.image.len(), ascent.shape), (30, 3 * 18 * 15, [3, 18, 15]));
            }
        }
    }
}

/// Compares the score and gradient of the channel with a separate run of the model, and the step with the formula.
#[test]
fn one_step_is_the_formula() {
    let model = tiny();
    let start: Vec<f32> = (0..3 * 16 * 16).map(|i| 100.0 + (i * 37 % 101) as f32).collect();
    let base =
        Options { size: [16, 16], steps: 1, start: Start::Image(start.clone()), ..Preset::Chollet1.options(&model.network) };
    let layer = model.network.select("features.3").unwrap().layer;
    for (options, inside) in [
        (Options { input: InputSpace::Raw, ..base.clone() }, 0..8),
        (base.clone(), 0..8),
        (Options { objective: Objective::Channel { border: 2 }, normalise: Normalise::L2 { eps: 1e-12 }, ..base.clone() }, 2..6),
        (Options { objective: Objective::Centre, normalise: Normalise::None, ..base }, 4..5),
    ] {
        // Mean over the scored positions of channel 4, and its gradient through a tape with the score.
        let mut tape = convscope_engine::Tape::new();
        let seen: Vec<f32> = match &options.input {
            InputSpace::Raw => start.clone(),
            InputSpace::Normalised { mean, std } => {
                start.iter().enumerate().map(|(i, v)| (v / 255.0 - mean[i / 256]) / std[i / 256]).collect()
            }
        };
        let x = tape.leaf(Tensor::from_slice([1, 3, 16, 16], &seen).unwrap(), "x");
        let run_ = model.run(&mut tape, LayerId::INPUT, x, layer, convscope_models::Mode::Inference).unwrap();
        let side = inside.len();
        let all = convscope_engine::ops::Slice {
            from: 4,
            count: 1,
            pad: [0, 0],
            origin: [inside.start; 2],
            size: Some([side; 2]),
            stride: [1, 1],
        };
        let part = tape.slice(run_.output(), all).unwrap();
        let score = tape.mean(part).unwrap();
        let grads = tape.backward(score, None, &[x], &Default::default()).unwrap();
        let mut g: Vec<f32> = grads.of(x).unwrap().f32().to_vec();
        if let InputSpace::Normalised { std, .. } = &options.input {
            g.iter_mut().enumerate().for_each(|(i, g)| *g /= 255.0 * std[i / 256]);
        }
        let squares: f32 = g.iter().map(|g| g * g).sum();
        let divisor = match options.normalise {
            Normalise::None => 1.0,
            Normalise::Rms { eps } => (squares / g.len() as f32).sqrt() + eps,
            Normalise::L2 { .. } => squares.sqrt(),
        };
        let got = &ascend(&model, layer, &[4], &options, &mut |_| ()).unwrap()[0];
        let score = tape.value(score).unwrap().f32()[0];
        assert!((got.score - score).abs() <= 1e-5 * score.abs(), "{} {score}", got.score);
        for ((got, x), g) in got.image.iter().zip(&start).zip(&g) {
            assert!((got - (x + g / divisor)).abs() < 1e-4, "{got} {x} {g}");
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_bits() {
    let model = tiny();
    for (_, preset) in Preset::ALL {
        let options = short(preset, &model);
        let first = run(&model, "features.3", &[0, 3], &options);
        assert_eq!(first, run(&model, "features.3", &[0, 3], &options));
        let other = run(&model, "features.3", &[0, 3], &Options { seed: 1, ..options });
        assert_ne!(first[0].image, other[0].image);
    }
}

#[test]
fn a_channel_does_not_depend_on_its_company() {
    let model = tiny();
    for (_, preset) in Preset::ALL {
        let options = Options { batch: 3, tv: 0.1, l2: 0.1, ..short(preset, &model) };
        for layer in ["features.0", "features.3", "classifier.0", "-1"] {
            let together = run(&model, layer, &[3, 1, 0, 2], &options);
            for ascent in together {
                assert_eq!(ascent, run(&model, layer, &[ascent.channel], &options)[0], "{layer}");
            }
        }
    }
}

#[test]
fn channels_start_from_different_noise_in_the_range_of_the_recipe() {
    let model = tiny();
    for (preset, low, high) in
        [(Preset::Chollet1, 128.0, 148.0), (Preset::Kerasblog, 118.0, 138.0), (Preset::KerasIo, -0.125, 0.125)]
    {
        // A step of length 0 returns the start.
        let options = Options { step: StepRule::Gradient { rate: 0.0 }, ..short(preset, &model) };
        let got = run(&model, "features.0", &[0, 1], &options);
        assert_ne!(got[0].image, got[1].image);
        let extremes = got[0].image.iter().fold((f32::MAX, f32::MIN), |(a, b), v| (a.min(*v), b.max(*v)));
        let slack = (high - low) * 0.02;
        assert!(extremes.0 >= low && extremes.0 < low + slack && extremes.1 < high && extremes.1 > high - slack, "{extremes:?}");
    }
}

#[test]
fn a_dead_channel_is_reported_and_shows_its_start() {
    let model = tiny();
    let options = Options { input: InputSpace::Raw, ..short(Preset::Chollet1, &model) };
    let got = run(&model, "features.1", &[2, 0], &options);
    assert!(got[0].dead && !got[1].dead);
    assert!(got[0].image.iter().all(|v| (128.0..148.0).contains(v)));
    assert_eq!((got[0].score, got[0].skipped), (0.0, false));
    // Open at the start (negative pixels), closed later by a penalty: not dead.
    let closing =
        Options { start: Start::Image(vec![-100.0; 810]), l2: 10.0, step: StepRule::Gradient { rate: 300.0 }, ..options };
    let closed = &run(&model, "features.1", &[2], &closing)[0];
    assert!(closed.losses[0] > 0.0 && closed.losses[1..].iter().all(|loss| *loss == 0.0) && !closed.dead, "{:?}", closed.losses);
    let got = run(&model, "features.1", &[2, 0], &short(Preset::Default, &model));
    assert!(got[0].dead && !got[1].dead);
    assert!(got[0].image.iter().all(|v| v.is_finite()));
}

/// A ReLU that is closed for grey, but opens for other images.
#[test]
fn a_channel_without_gradient_gets_starts_of_more_contrast() {
    let mut model = tiny();
    let mut bias = model.params[1].f32().to_vec();
    bias[0] = -2.0;
    model.params[1] = Tensor::from_slice([5], &bias).unwrap();
    let options = Options { steps: 12, ..short(Preset::Default, &model) };
    let got = &run(&model, "features.1", &[0], &options)[0];
    assert!(got.losses[0] == 0.0 && got.score > 0.0 && !got.dead, "{:?}", got.losses);
    // A recipe's start does not change.
    let uniform = Start::Uniform { low: 0.49, high: 0.51 };
    let still = Options { start: uniform, parameters: Parameters::Pixels, ..options };
    assert!(run(&model, "features.1", &[0], &still)[0].dead);
}

#[test]
fn kerasblog_gives_up_what_is_not_above_zero() {
    let model = tiny();
    let options = Options { input: InputSpace::Raw, ..short(Preset::Kerasblog, &model) };
    let got = run(&model, "features.1", &[0, 2, 1, 3, 4], &options);
    for ascent in &got {
        let loss = *ascent.losses.last().unwrap();
        assert_eq!(ascent.skipped, loss <= 0.0);
        assert_eq!(ascent.losses.len(), if ascent.skipped { 1 } else { 6 });
    }
    assert!(got[1].skipped && got[1].dead);
    let kept = best(got, 3);
    assert!(!kept.is_empty() && kept.iter().all(|a| a.channel != 2 && a.score > 0.0));
    assert!(kept.is_sorted_by(|a, b| a.score >= b.score));
}

#[test]
fn best_is_sorted_and_cut() {
    let ascent = |channel, score, skipped| Ascent {
        channel,
        image: Vec::new(),
        shape: [3, 0, 0],
        shown: Rendering::Chollet1,
        score,
        losses: Vec::new(),
        dead: false,
        skipped,
    };
    let all = vec![ascent(0, 1.0, false), ascent(1, 9.0, true), ascent(2, 3.0, false), ascent(3, 2.0, false)];
    assert_eq!(best(all.clone(), 2).iter().map(|a| a.channel).collect::<Vec<_>>(), [2, 3]);
    assert_eq!(best(all, 9).len(), 3);
}

/// The constants of the recipes' sources.
#[test]
fn presets_are_the_recipes() {
    let network = families::build("vgg16", None).unwrap();
    let of = |preset: Preset| preset.options(&network);
    let common = |o: &Options| {
        assert_eq!((o.tv, o.l2, o.clip, o.transform, o.keep), (0.0, 0.0, false, RandomTransform::default(), Keep::Last));
        assert_eq!(o.parameters, Parameters::Pixels);
        assert_eq!(o.input, InputSpace::Normalised { mean: vec![0.485, 0.456, 0.406], std: vec![0.229, 0.224, 0.225] });
    };
    let o = of(Preset::Chollet1);
    common(&o);
    assert_eq!((o.size, o.range, o.steps, o.skip_at_or_below), ([150, 150], [0.0, 255.0], 40, None));
    assert_eq!((o.start, o.objective), (Start::Uniform { low: 128.0, high: 148.0 }, Objective::Channel { border: 0 }));
    assert_eq!((o.step, o.normalise), (StepRule::Gradient { rate: 1.0 }, Normalise::Rms { eps: 1e-5 }));
    assert_eq!(o.shown, Rendering::Chollet1);
    let o = of(Preset::Kerasblog);
    common(&o);
    assert_eq!((o.size, o.range, o.steps, o.skip_at_or_below), ([128, 128], [0.0, 255.0], 20, Some(0.0)));
    assert_eq!((o.start, o.objective), (Start::Uniform { low: 118.0, high: 138.0 }, Objective::Channel { border: 0 }));
    assert_eq!((o.step, o.normalise), (StepRule::Gradient { rate: 1.0 }, Normalise::Rms { eps: 1e-7 }));
    assert_eq!(o.shown, Rendering::Chollet1);
    let o = of(Preset::KerasIo);
    common(&o);
    assert_eq!((o.size, o.range, o.steps, o.skip_at_or_below), ([180, 180], [-1.0, 1.0], 30, None));
    assert_eq!((o.start, o.objective), (Start::Uniform { low: -0.125, high: 0.125 }, Objective::Channel { border: 2 }));
    assert_eq!((o.step, o.normalise), (StepRule::Gradient { rate: 10.0 }, Normalise::L2 { eps: 1e-12 }));
    assert_eq!(o.shown, Rendering::KerasIo);
    let o = of(Preset::Default);
    assert_eq!((o.size, o.range, o.keep), ([128, 128], [0.0, 1.0], Keep::Best));
    assert!(o.tv > 0.0 && o.l2 > 0.0 && o.transform.jitter == 8);
    let cifar = Preset::Default.options(&families::build("resnet20-cifar", None).unwrap());
    assert_eq!((cifar.size, cifar.transform.jitter), ([64, 64], 4));
}

#[test]
fn the_best_image_is_kept_with_its_own_score() {
    let model = tiny();
    // Steps that are too large: the score oscillates.
    let options = Options {
        step: StepRule::Gradient { rate: 40.0 },
        transform: RandomTransform::default(),
        keep: Keep::Best,
        steps: 12,
        ..short(Preset::Chollet1, &model)
    };
    for ascent in run(&model, "features.3", &[0, 1, 2, 3, 4, 5], &options) {
        let highest = ascent.losses.iter().copied().fold(f32::MIN, f32::max);
        assert_eq!(ascent.score, highest);
        // A run from the result starts with the result's score.
        let again = Options { start: Start::Image(ascent.image.clone()), steps: 1, ..options.clone() };
        assert_eq!(run(&model, "features.3", &[ascent.channel], &again)[0].losses[0], highest);
    }
}

#[test]
fn progress_counts_channels_and_steps() {
    let model = tiny();
    let options = Options { batch: 2, steps: 3, ..short(Preset::Chollet1, &model) };
    let mut seen = Vec::new();
    let layer = model.network.select("features.0").unwrap().layer;
    let got = ascend(&model, layer, &[0, 1, 3], &options, &mut |p| seen.push(p)).unwrap();
    let counts: Vec<_> = seen.iter().map(|p| (p.done_channels, p.total, p.step, p.steps)).collect();
    assert_eq!(counts, [(0, 3, 1, 3), (0, 3, 2, 3), (0, 3, 3, 3), (2, 3, 1, 3), (2, 3, 2, 3), (2, 3, 3, 3)]);
    assert_eq!(seen[5].score, got[2].losses[2]);
}

#[test]
fn bad_input_is_one_line() {
    let model = tiny();
    let good = short(Preset::Default, &model);
    let with = |change: fn(&mut Options)| {
        let mut options = good.clone();
        change(&mut options);
        error(&model, "features.3", &[0], &options)
    };
    assert!(error(&model, "features.3", &[0, 6], &good).contains("channels 0 to 5, not 6"));
    assert!(with(|o| o.size = [2, 40]).contains("too small"));
    assert!(with(|o| o.steps = 0).contains("at least 1"));
    assert!(with(|o| o.batch = 0).contains("at least 1"));
    assert!(with(|o| o.tv = f32::NAN).contains("TV weight cannot be NaN"));
    assert!(with(|o| o.l2 = -1.0).contains("L2 weight cannot be -1"));
    assert!(with(|o| o.tv_beta = 0.5).contains("1 to 4"));
    assert!(with(|o| o.step = StepRule::Adam { rate: f32::INFINITY, eps: 1e-8 }).contains("step rate"));
    assert!(with(|o| o.step = StepRule::Adam { rate: 0.1, eps: 0.0 }).contains("Adam eps cannot be 0"));
    assert!(with(|o| o.normalise = Normalise::Rms { eps: 0.0 }).contains("a number above 0"));
    assert!(with(|o| o.range = [0.0, 255.0]).contains("0..1 with Fourier"));
    assert!(with(|o| o.start = Start::Uniform { low: 0.0, high: 1.0 }).contains("uniform pixels"));
    assert!(with(|o| o.start = Start::Image(vec![0.5; 7])).contains("7 numbers; give 810"));
    assert!(with(|o| o.start = Start::Image(vec![f32::NAN; 810])).contains("finite"));
    assert!(with(|o| o.input = InputSpace::Normalised { mean: vec![0.5], std: vec![0.0] }).contains("3 finite numbers"));
    assert!(with(|o| o.objective = Objective::Channel { border: 4 }).contains("border of 4 leaves nothing"));
    assert!(with(|o| o.transform.scale = 1.0).contains("fraction"));
    let layer = LayerId(99);
    let unknown = ascend(&model, layer, &[0], &good, &mut |_| ()).unwrap_err();
    assert!(matches!(unknown, AscentError::Network(NetworkError::LayerIndex { .. })));
}

#[test]
fn what_is_not_finite_stops_with_layer_and_step() {
    let mut model = tiny();
    let options = Options { input: InputSpace::Raw, step: StepRule::Gradient { rate: 3e38 }, ..short(Preset::Chollet1, &model) };
    let message = error(&model, "features.0", &[1], &options);
    assert!(message.contains("features.0:1") && message.contains("step 1"), "{message}");
    let shape = model.params[0].shape().clone();
    model.params[0] = Tensor::from_slice(shape.clone(), &vec![f32::NAN; shape.len()]).unwrap();
    let message = error(&model, "features.3", &[5], &short(Preset::Default, &model));
    assert!(message.contains("features.3:5") && message.contains("step 0"), "{message}");
}

#[test]
fn penalties_smooth_and_fade() {
    let model = tiny();
    let options = Options { steps: 40, ..short(Preset::Chollet1, &model) };
    let roughness = |a: &Ascent| penalty::total_variation(&a.image, [18, 15], 2.0).iter().map(|g| g.abs()).sum::<f32>();
    let contrast = |a: &Ascent| a.image.iter().map(|v| (v - 127.5).abs()).sum::<f32>();
    let plain = &run(&model, "features.3", &[1], &options)[0];
    let smooth = &run(&model, "features.3", &[1], &Options { tv: 20.0, ..options.clone() })[0];
    let faded = &run(&model, "features.3", &[1], &Options { l2: 20.0, ..options })[0];
    assert!(roughness(smooth) < 0.8 * roughness(plain), "{} {}", roughness(smooth), roughness(plain));
    assert!(contrast(faded) < 0.8 * contrast(plain), "{} {}", contrast(faded), contrast(plain));
}

/// A dense layer after flattening accepts one image size only.
#[test]
fn pictures_are_of_the_size_that_the_network_takes() {
    use convscope_models::network::{Builder, Conv2d, LayerId, OutputActivation, Preprocess};
    let mut net = Builder::new("one_size", [3, 24, 20]);
    let x = net.conv("conv", LayerId::INPUT, Conv2d::new(4, 3));
    let x = net.flatten("flatten", x);
    net.linear("fc", x, 2);
    let network = net.finish(Classes::Count(2), OutputActivation::Softmax, Preprocess::CIFAR).unwrap();
    assert_eq!(Preset::Default.options(&network).size, [24, 20]);
    let error = network.at(48, 40).unwrap_err().to_string();
    assert!(error.contains("expects 1584 features but gets 6992: its images are 24x20, this one is 48x40"), "{error}");
}
