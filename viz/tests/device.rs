//! The same pictures on a CUDA device as on the CPU: on a GPU where there is one, else on the emulated device.

use convscope_engine::Tensor;
use convscope_kernels::{Context, Device, cuda};
use convscope_models::model::init::fill_image;
use convscope_models::{Model, WeightsSource, families, load};
use convscope_viz::ascent::{Options, Preset, ascend};
use convscope_viz::features::features;
use convscope_viz::gradcam::{Targets, grad_cam};
use convscope_viz::predict::input_gradient;
use convscope_viz::timings::layer_times;

/// How far a number may be from the CPU's, of the largest of its picture: sums in another order, through twenty layers and back. A
/// picture's pixels have 256 steps, so that none is more than one apart.
const NUMBERS: f32 = 1e-4;
/// The same for images of ascents: steps are as long for a small gradient as for a large one.
const ASCENT: f32 = 1e-3;
/// Small: a coroutine stands for each thread of a GPU.
const SIDE: usize = 16;

fn device(what: &str) -> Option<Device> {
    match cuda::queue(Device::Cuda(0)) {
        Ok(queue) => {
            println!("on {}", queue.name());
            Some(Device::Cuda(0))
        }
        Err(e) => {
            println!("skipped on a real GPU: {what}, because {e}");
            convscope_emu::device()
        }
    }
}

/// Everything that is drawn: name, numbers, tolerance.
fn pictures(model: &Model) -> Vec<(String, Vec<f32>, f32)> {
    let image = Tensor::from_slice([1, 3, SIDE, SIDE], &fill_image("device", 1, 3, SIDE, SIDE)).unwrap();
    let layers = ["conv1", "layer2", "linear"].map(|name| model.network.select(name).unwrap().layer);
    let mut all = Vec::new();

    let (predictions, gradient) = input_gradient(&model.fused(&[]).unwrap(), &image, Some(3)).unwrap();
    all.push(("logits".to_string(), predictions[0].logits.clone(), NUMBERS));
    all.push(("input gradient".to_string(), gradient.f32().to_vec(), NUMBERS));

    let (_, maps) = grad_cam(&model.fused(&[layers[1]]).unwrap(), &image, layers[1], Targets::Classes(&[0, 5])).unwrap();
    all.extend(maps.into_iter().map(|m| (format!("Grad-CAM of {}", m.class), m.heatmap.values().to_vec(), NUMBERS)));

    let (found, _) = features(&model.fused_once(&layers), &image, &layers).unwrap();
    let values = |f: &convscope_viz::features::Features| f.channels().flatten().copied().collect();
    all.extend(found.iter().map(|f| (format!("features of {}", model.network[f.layer].name), values(f), NUMBERS)));

    let preset = Preset::Default.options(&model.network);
    let options = Options { size: [SIDE, SIDE], steps: 3, seed: 5, ..preset };
    let found = ascend(&model.fused(&[layers[1]]).unwrap(), layers[1], &[0, 9], &options, &mut |_| ()).unwrap();
    all.extend(found.into_iter().map(|a| (format!("ascent of channel {}", a.channel), a.image, ASCENT)));
    all
}

#[test]
fn pictures_are_those_of_the_cpu() {
    let Some(device) = device("5 kinds of pictures") else { return };
    let model = load(families::build("resnet20-cifar", None).unwrap(), &WeightsSource::Random).unwrap();
    let mut there = model.clone();
    there.context = Context::default().with_device(device);
    let (want, got) = (pictures(&model), pictures(&there));
    assert_eq!(want.len(), got.len());
    for ((name, want, tolerance), (_, got, _)) in want.iter().zip(&got) {
        assert_eq!(want.len(), got.len(), "{name}");
        let largest = want.iter().fold(0.0f32, |m, v| m.max(v.abs()));
        let off = want.iter().zip(got).fold(0.0f32, |m, (a, b)| m.max((a - b).abs()));
        println!("{name:20} at most {:.1e} of the largest number apart", off / largest);
        assert!(largest > 0.0 && off <= tolerance * largest, "{name}: {off} apart where the largest is {largest}");
    }
    // Steps after the second are the work of the first again.
    let replays = cuda::queue(device).unwrap().replays();
    assert!(replays > 0, "an ascent's steps were not started as one");
    // The same again is the same to the bit.
    let again = pictures(&there);
    assert!(got.iter().zip(&again).all(|(a, b)| a.1 == b.1), "a second run differs");
}

/// The times of a report are those of kernels that ended.
#[test]
fn times_are_of_the_device() {
    let Some(device) = device("times") else { return };
    let mut model = load(families::build("resnet20-cifar", None).unwrap(), &WeightsSource::Random).unwrap();
    model.context = Context::default().with_device(device);
    let image = Tensor::from_slice([1, 3, 8, 8], &fill_image("device", 1, 3, 8, 8)).unwrap();
    let times = layer_times(&model.fused(&[]).unwrap(), &image, 1).unwrap();
    assert!(times.iter().all(|t| t.kernels.iter().all(|k| k.ends_with("_cuda"))), "{times:?}");
    assert!(times.iter().filter(|t| t.op == "Conv2d").all(|t| t.forward > 0.0), "{times:?}");
}
