//! The same command gives the same bytes for any number of threads; other kernels give the same values.

use super::support::{NET, Sandbox};
use std::collections::{BTreeMap, BTreeSet};

/// Every kind of output, in one folder.
const COMMANDS: [&str; 6] = [
    "predict photo.png --size 24x36 --input-gradient --raw out/predict.safetensors",
    "gradcam photo.png --top 3 -o out --raw out/gradcam.safetensors",
    "features photo.png -l conv1,layer3,linear -o out --raw out/features.safetensors",
    "filters -l layer2.0.conv1 -o out --raw out/filters.safetensors",
    "ascent -l layer1:0 --steps 3 --size 24 -q --seed 7 -o out --raw out/ascent.safetensors",
    "report photo.png --steps 2 --channels 2 --no-timings -q -o out --raw out/report.safetensors",
];

/// Of the largest number of a tensor: how far a GPU may be from the CPU. Sums in another order, through twenty layers and back, and the
/// steps of an ascent, each as long whatever its gradient.
const ON_A_GPU: f32 = 1e-3;

/// Files of all commands by name, and their output.
fn everything(options: &str) -> BTreeMap<String, Vec<u8>> {
    let sandbox = Sandbox::with_photo();
    std::fs::create_dir(sandbox.path("out")).unwrap();
    let printed = COMMANDS.map(|command| sandbox.ok(&format!("{command} {NET} {options}"))).concat();
    let files = sandbox.names("out").into_iter().map(|n| (n.clone(), std::fs::read(sandbox.path("out").join(n)).unwrap()));
    files.chain([("printed".to_string(), printed.into_bytes())]).collect()
}

#[test]
fn twice() {
    let first = everything("");
    // Six files of numbers, and at least a picture with its JSON of all but predict.
    assert!(first.len() > 6 + 2 * 4, "{:?}", first.keys());
    let second = everything("");
    assert_eq!(first.keys().collect::<Vec<_>>(), second.keys().collect::<Vec<_>>());
    for (name, bytes) in &first {
        assert!(*bytes == second[name], "{name} differs");
    }
}

#[test]
fn with_any_number_of_threads() {
    let one = everything("--threads 1");
    let three = everything("--threads 3");
    assert_eq!(one.keys().collect::<Vec<_>>(), three.keys().collect::<Vec<_>>());
    // The command is part of the metadata in the header; the values after it agree to the bit.
    for (name, bytes) in one.iter().filter(|(name, _)| name.ends_with(".safetensors")) {
        let numbers = |bytes: &[u8]| {
            let file = safetensors::SafeTensors::deserialize(bytes).unwrap();
            file.tensors().into_iter().map(|(n, t)| (n, t.shape().to_vec(), t.data().to_vec())).collect::<BTreeSet<_>>()
        };
        assert!(numbers(bytes) == numbers(&three[name]), "{name} differs");
    }
}

#[test]
fn another_seed_is_another_picture() {
    let sandbox = Sandbox::new();
    let image =
        |seed: u32| sandbox.raw(&format!("ascent -l layer1:0 --steps 1 --size 16 -q {NET} --seed {seed}"))["image"].clone();
    assert_ne!(image(1), image(2));
}

#[test]
fn with_the_plain_kernels() {
    let predict = format!("predict photo.png {NET} --size 24x36 --input-gradient");
    let logits = |sandbox: Sandbox, options: &str| sandbox.raw(&format!("{predict} {options}"))["logits"].1.clone();
    let want = logits(Sandbox::with_photo(), "");
    let scale = want.iter().fold(0.0f32, |m, v| m.max(v.abs()));
    for got in [
        logits(Sandbox::with_photo().env("CONVSCOPE_KERNEL", "conv2d.fwd=naive"), ""),
        logits(Sandbox::with_photo(), "--kernel conv2d.fwd=naive,conv2d.dgrad=naive,gemm=naive"),
    ] {
        assert!(got.iter().zip(&want).all(|(a, b)| (a - b).abs() <= 1e-4 * scale), "{got:?} {want:?}");
    }
    // It did run.
    let sandbox = Sandbox::with_photo();
    let trace = sandbox.json(&format!("trace photo.png {NET} --kernel conv2d.fwd=naive"));
    let convs = trace.as_array().unwrap().iter().filter(|n| n["forward"][0]["op"] == "conv2d.fwd");
    assert!(convs.clone().count() == 19 && convs.clone().all(|n| n["forward"][0]["kernel"] == "naive"), "{trace}");
}

#[test]
fn on_a_gpu() {
    let sandbox = Sandbox::with_photo();
    let there = sandbox.run(&format!("predict photo.png {NET} --device cuda"));
    if !there.status.success() {
        let why = String::from_utf8_lossy(&there.stderr);
        println!("skipped: {} commands on a GPU, because {}", COMMANDS.len(), why.trim());
        return;
    }
    let numbers = |options: &str| {
        let written = everything(options);
        let files = written.into_iter().filter(|(name, _)| name.ends_with(".safetensors"));
        let tensors = files.flat_map(|(file, bytes)| {
            let file_of = safetensors::SafeTensors::deserialize(&bytes).unwrap();
            let floats =
                |data: &[u8]| data.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect::<Vec<_>>();
            let named = |(name, t): (String, safetensors::tensor::TensorView)| (format!("{file} {name}"), floats(t.data()));
            file_of.tensors().into_iter().map(named).collect::<Vec<_>>()
        });
        tensors.collect::<BTreeMap<_, _>>()
    };
    let (want, got) = (numbers("--device cpu"), numbers("--device cuda"));
    assert_eq!(want.keys().collect::<Vec<_>>(), got.keys().collect::<Vec<_>>());
    for (name, want) in &want {
        let largest = want.iter().fold(0.0f32, |m, v| m.max(v.abs()));
        let off = want.iter().zip(&got[name]).fold(0.0f32, |m, (a, b)| m.max((a - b).abs()));
        assert!(off <= ON_A_GPU * largest, "{name}: {off} apart where the largest is {largest}");
    }
    assert!(everything("--device cuda") == everything("--device cuda"), "the same command gives the same bytes");
}
