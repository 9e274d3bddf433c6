//! Training and what it leaves behind.

use super::support::{Sandbox, read};
use serde_json::json;
use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

const TRAIN: &str = "train set -m resnet20-cifar-w4 --size 16 --eval-size 16 --batch 8 --epochs 4 --warmup 1";

/// Twelve photos of two classes, and one that is none.
fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    for (folder, tall) in [("wide", 0), ("tall_ones", 30)] {
        (0..6).for_each(|i| sandbox.photo(&format!("set/{folder}/{i}.png"), 40 - tall + i, 20 + tall));
    }
    sandbox.write("set/wide/broken.png", b"\x89PNG\r\n\x1a\n and no more");
    sandbox
}

#[test]
fn a_checkpoint_is_enough_for_every_command() {
    let sandbox = sandbox();
    let (code, out, err) = read(sandbox.run(&format!("{TRAIN} -o run")));
    assert_eq!(code, Some(0), "{err}");
    assert!(out.starts_with("wrote run/best.safetensors: epoch "), "{out}");
    assert!(err.contains("skipped: image set/wide/broken.png") && err.contains("epoch 4/4, 16 px"), "{err}");
    let csv = fs::read_to_string(sandbox.path("run/log.csv")).unwrap();
    assert_eq!(csv.lines().count(), 5);
    for file in ["best.safetensors", "last.safetensors", "log.json", "curves.png", "curves.json"] {
        assert!(sandbox.path(format!("run/{file}")).is_file(), "{file}");
    }
    // Architecture, width, classes and preprocessing are in the file.
    let rows = sandbox.json("predict set/wide/0.png -w run/best.safetensors");
    let names: Vec<_> = rows[0]["top"].as_array().unwrap().iter().map(|t| t["name"].as_str().unwrap().to_string()).collect();
    assert!(names.len() == 2 && names.contains(&"tall ones".to_string()), "{names:?}");
    assert_eq!(sandbox.json("summary -w run/last.safetensors")["layers"][1]["shape"], json!([4, 16, 16]));
    sandbox.ok("gradcam set/wide/0.png -w run/best.safetensors -c wide");
    let (_, text, _) = read(sandbox.run("eval set -w run/best.safetensors -q"));
    assert!(text.contains("tall ones") && text.contains("top-1"), "{text}");
    assert!(sandbox.path("convscope-out/confusion-resnet20_cifar_w4.png").is_file());
    // Another run begins with these weights and a head of its own.
    fs::rename(sandbox.path("set/wide"), sandbox.path("set/long")).unwrap();
    let tuned = "train set -w run/best.safetensors --freeze layer2 --epochs 1 --size 16 --eval-size 16 --batch 8 -o tuned -q";
    let (code, _, err) = read(sandbox.run(tuned));
    assert_eq!(code, Some(0), "{err}");
    assert!(sandbox.ok("predict set/long/0.png -w tuned/last.safetensors").contains("long"));
}

/// Killed at any moment and resumed, on other numbers of threads, a run ends at the bytes of one that was left alone.
#[test]
fn a_killed_run_goes_on() {
    let sandbox = sandbox();
    let whole = read(sandbox.run(&format!("{TRAIN} -o whole --threads 1")));
    assert_eq!(whole.0, Some(0), "{}", whole.2);
    let mut killed = sandbox.command(&format!("{TRAIN} -o parts --workers 3")).spawn().unwrap();
    let start = Instant::now();
    while !sandbox.path("parts/training.safetensors").is_file() && start.elapsed() < Duration::from_secs(120) {
        std::thread::sleep(Duration::from_millis(1));
    }
    killed.kill().unwrap();
    killed.wait().unwrap();
    let resumed = read(sandbox.run(&format!("{TRAIN} -o parts --threads 3 --resume")));
    assert_eq!(resumed.0, Some(0), "{}", resumed.2);
    let tensors = |file: &str| {
        let bits = |v: &Vec<f32>| v.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        sandbox.tensors(file).iter().map(|(name, _, v)| (name.clone(), bits(v))).collect::<BTreeMap<_, _>>()
    };
    for file in ["last", "best", "training"] {
        let [whole, parts] = ["whole", "parts"].map(|run| tensors(&format!("{run}/{file}.safetensors")));
        assert!(whole == parts, "{file}");
    }
}

#[test]
fn what_was_typed_wrong() {
    let sandbox = sandbox();
    fs::remove_file(sandbox.path("set/wide/broken.png")).unwrap();
    sandbox.fails(1, "train missing -m resnet18", &["cannot read the folder missing"]);
    sandbox.fails(2, "train set", &["which network", "resnet18-w32"]);
    sandbox.fails(2, "train set -m resnet18-w0", &["no network \"resnet18-w0\""]);
    sandbox.fails(2, "train set -m resnet18-w8 --mixup 2", &["--mixup", "0 to 1"]);
    sandbox.fails(2, "train set -m resnet20-cifar --freeze linear", &["--freeze linear", "nothing would be left"]);
    sandbox.fails(1, "train set -m resnet20-cifar --resume -o none", &["none/training.safetensors"]);
    read(sandbox.run(&format!("{TRAIN} --epochs 1 -o run -q").replace("--epochs 4 ", "")));
    sandbox.fails(2, "train set -m resnet20-cifar -o run", &["run holds a run", "--resume"]);
    sandbox.fails(2, "train set -o run --resume --lr 3", &["--resume", "recipe it began with", "--epochs"]);
    fs::rename(sandbox.path("set/wide"), sandbox.path("set/long")).unwrap();
    sandbox.fails(1, "train set -o run --resume", &["set has other classes"]);
}
