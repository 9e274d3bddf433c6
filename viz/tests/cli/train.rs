//! Training and its files.

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

/// Two classes that share one sigmoid: the file alone is enough for both, and each is explained by its own sign of the output.
#[test]
fn one_output_for_two_classes() {
    let sandbox = sandbox();
    sandbox.photo("set/neither/0.png", 40, 40);
    let train =
        "train set -m chollet-convnet-w4 --among wide,tall_ones --size 64 --eval-size 64 --batch 4 --epochs 2 --method adam-w";
    let (code, out, err) = read(sandbox.run(&format!("{train} --mixup 0.2 --cutmix 0.5 -o run")));
    assert_eq!(code, Some(0), "{err}");
    // The best five of two classes would always be right.
    assert!(out.contains("top-1") && !out.contains("top-5") && !err.contains("top-5"), "{out}{err}");
    let file = "-w run/last.safetensors";
    let summary = sandbox.json(&format!("summary {file}"));
    let layers = summary["layers"].as_array().unwrap();
    let [z, sides] = [layers.len() - 2, layers.len() - 1].map(|i| (layers[i]["type"].clone(), layers[i]["shape"].clone()));
    assert_eq!((z, sides), ((json!("Linear"), json!([1])), (json!("BinaryLogits"), json!([2]))));

    let top = sandbox.json(&format!("predict set/wide/0.png {file}"))[0]["top"].clone();
    let of = |name: &str, key: &str| {
        let row = top.as_array().unwrap().iter().find(|row| row["name"] == name).unwrap();
        row[key].as_f64().unwrap()
    };
    assert_eq!((of("tall ones", "index"), of("wide", "index")), (0.0, 1.0));
    assert_eq!(of("tall ones", "logit"), -of("wide", "logit"));
    assert!((of("wide", "probability") - 1.0 / (1.0 + (-of("wide", "logit")).exp())).abs() < 1e-6);
    assert!((of("wide", "probability") + of("tall ones", "probability") - 1.0).abs() < 1e-6);

    // The same network with its last layer negated has each class's map for the other.
    let mut negated = sandbox.tensors("run/last.safetensors");
    for name in ["classifier.3.weight", "classifier.3.bias"] {
        negated.iter_mut().find(|t| t.0 == name).unwrap().2.iter_mut().for_each(|v| *v = -*v);
    }
    sandbox.save_tensors("negated.safetensors", &negated);
    let negated = "-m chollet-convnet-w4 -w negated.safetensors --classes names.txt";
    sandbox.write("names.txt", "tall ones\nwide\n");
    let map = |network: &str, class: &str| {
        let mut command = sandbox.command(&format!("gradcam set/wide/0.png --size 64x64 {network} --raw raw.safetensors -q"));
        assert_eq!(read(command.args(["-c", class]).output().unwrap()).0, Some(0), "{network} {class}");
        sandbox.tensors("raw.safetensors").into_iter().find(|t| t.0 == "map").unwrap().2
    };
    let [wide, tall] = ["wide", "tall ones"].map(|class| map(file, class));
    assert_ne!(wide, tall);
    assert!(wide.iter().chain(&tall).any(|v| *v > 0.0));
    assert_eq!((map(negated, "tall ones"), map(negated, "wide")), (wide, tall));
    let both = sandbox.json(&format!("gradcam set/wide/0.png {file} --top 2"));
    assert_eq!(both["targets"].as_array().unwrap().len(), 2);

    // Each way up: from the same noise, one picture raises the output and the other lowers it.
    let up = |class: &str| {
        let mut command = sandbox.command(&format!("ascent {file} --steps 8 --size 64 --json"));
        let (code, out, err) = read(command.args(["-c", class]).output().unwrap());
        assert_eq!(code, Some(0), "{err}");
        serde_json::from_str::<serde_json::Value>(&out).unwrap()["channels"][0]["score"].as_f64().unwrap()
    };
    assert!(up("wide") + up("tall ones") > 0.0);

    fs::remove_file(sandbox.path("set/wide/broken.png")).unwrap();
    sandbox.fails(1, &format!("eval set {file}"), &["set/neither", "--among"]);
    let counts = sandbox.json(&format!("eval set {file} --among wide,tall_ones"));
    assert_eq!(counts["images"], 12);
    let text = sandbox.ok(&format!("eval set {file} --among wide,tall_ones -q"));
    assert!(text.contains("tall ones") && !text.contains("top-5"), "{text}");
    sandbox.fails(2, "train set -m chollet-convnet --among wide", &["one class"]);
    sandbox.fails(2, "train set -m chollet-convnet --among wide,flat", &["no class \"flat\""]);
    sandbox.fails(2, "train set -m chollet-convnet --freeze dense_1", &["nothing would be left"]);
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
