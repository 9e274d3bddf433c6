//! Whole networks forward and backward through the tape, on the emulated device and on the CPU.

use convscope_kernels::random::normal;
use convscope_kernels::{Context, DType, Device, cuda};
use convscope_models::engine::optim::Optimizer;
use convscope_models::engine::{Rules, Tape, Tensor, Var};
use convscope_models::network::LayerId;
use convscope_models::{Mode, Model, WeightsSource, families, load};

/// What a pass gives: the loss, the gradient of the image, those of all trained weights, and the weights after a step.
fn pass(mut model: Model, size: usize, mode: Mode) -> (Vec<Vec<f32>>, Vec<String>) {
    let classes = model.network.classes.len();
    let values: Vec<f32> = (0..2 * 3 * size * size).map(|i| normal(1, i as u64)).collect();
    let mut tape = Tape::new();
    let x = tape.leaf(Tensor::from_slice([2, 3, size, size], &values).unwrap(), "image");
    let run = model.run(&mut tape, LayerId::INPUT, x, model.network.output(), mode).unwrap();
    let target = tape.leaf(Tensor::full([2, classes], DType::F32, 1.0 / classes as f64), "target");
    let loss = tape.cross_entropy(run.output(), target).unwrap();
    let trained: Vec<usize> = model.trained();
    let mut wants: Vec<Var> = trained.iter().filter_map(|i| run.params()[*i]).collect();
    wants.push(x);
    let grads = tape.backward(loss, None, &wants, &Rules::default()).unwrap();
    let grads: Vec<Tensor> = grads.iter().map(|g| g.1.clone()).collect();
    assert!(grads.iter().all(|g| g.device() == model.context.device()), "gradients stay where they were computed");
    if let Mode::Training { .. } = mode {
        model.update_statistics(&tape, &run).unwrap();
    }
    let mut params = model.params.iter_mut().enumerate().filter(|(i, _)| trained.contains(i)).map(|(_, w)| w).zip(&grads);
    Optimizer::sgd(0.1, 0.9, 1e-4).step(&mut params).unwrap();
    drop(params);
    let kernels =
        tape.nodes().iter().flat_map(|n| n.forward.iter().chain(&n.backward)).map(|c| format!("{}/{}", c.op, c.kernel)).collect();
    let mut all = vec![tape.value(loss).unwrap().f32().to_vec()];
    all.extend(grads.iter().map(|g| g.f32().to_vec()));
    all.extend(model.params.iter().map(|w| w.f32().to_vec()));
    (all, kernels)
}

fn compare(name: &str, size: usize, mode: Mode) {
    let Some(device) = convscope_emu::device() else { return };
    let model = load(families::build(name, None).unwrap(), &WeightsSource::Random).unwrap();
    let (want, _) = pass(model.clone(), size, mode);
    let mut there = model;
    there.context = Context::default().with_device(device);
    let (got, kernels) = pass(there, size, mode);
    assert!(kernels.iter().all(|k| k.ends_with("_cuda")), "{kernels:?}");
    assert_eq!(got.len(), want.len());
    let mut worst = 0.0f32;
    for (got, want) in got.iter().zip(&want) {
        assert_eq!(got.len(), want.len());
        let largest = want.iter().fold(1e-6f32, |m, v| m.max(v.abs()));
        for (g, w) in got.iter().zip(want) {
            let off = (g - w).abs() / largest;
            assert!(off < 2e-3, "{name}: {g} on {device} and {w} on the CPU");
            worst = worst.max(off);
        }
    }
    println!("{name} {mode:?}: {} tensors, differences up to {worst:.1e} of the largest value", got.len());
}

#[test]
fn a_network_is_the_same_on_the_device() {
    compare("resnet20-cifar", 12, Mode::Inference);
}

#[test]
fn so_is_its_training() {
    compare("resnet20-cifar", 16, Mode::Training { seed: 3 });
}

/// Where operands lie on different devices the message says which and where.
#[test]
fn operands_of_two_devices_are_refused() {
    use convscope_kernels::gemm::{Bias, GEMM, GemmSpec};
    use convscope_kernels::{Accum, Buffer};
    let Some(device) = convscope_emu::device() else { return };
    let (a, b) = (Buffer::zeros(DType::F32, 4), Buffer::zeros(DType::F32, 4));
    let there = a.on(device).unwrap();
    let mut c = there.like(DType::F32, 4);
    let s = GemmSpec { m: 2, n: 2, k: 2, ta: false, tb: false, bias: Bias::None };
    let e = GEMM.run(&Context::default(), &s, &[&there, &b], &mut [&mut c], Accum::Write).unwrap_err().to_string();
    assert_eq!(e, "gemm m2 n2 k2 a b: b is 4 x f32 on cpu, wants 4 x f32 on cuda:15");
    assert!(cuda::queue(Device::Cuda(200)).is_err());
}
