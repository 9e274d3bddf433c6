//! Numbers and tables: summary, predict, eval, trace, models, convert.

use super::support::{NET, Sandbox, read, shared};
use super::torch;
use serde_json::{Value, json};

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

#[test]
fn summary() {
    let sandbox = Sandbox::new();
    let all = sandbox.json("summary -m resnet20-cifar");
    let layer = &all["layers"][1];
    for key in ["name", "type", "shape", "parameters", "multiply_adds"] {
        assert!(keys(layer).contains(&key), "{layer}");
    }
    assert_eq!((&layer["name"], &layer["type"], &layer["parameters"]), (&json!("conv1"), &json!("Conv2d"), &json!(432)));
    assert_eq!((&layer["shape"], &layer["multiply_adds"]), (&json!([16, 32, 32]), &json!(432 * 32 * 32)));
    let sum = |key: &str| all["layers"].as_array().unwrap().iter().map(|l| l[key].as_u64().unwrap()).sum::<u64>();
    // He et al. 2015, table 6: 0.27 million parameters.
    assert_eq!((all["totals"]["parameters"].as_u64(), sum("parameters")), (Some(269_722), 269_722));
    assert_eq!(all["totals"]["multiply_adds"].as_u64(), Some(sum("multiply_adds")));
    let text = sandbox.ok("summary -m resnet20-cifar --size 48x80");
    assert!(text.contains("layer3.2.conv2") && text.contains("269,722") && text.ends_with('\n'), "{text}");
    let dot = sandbox.ok("summary -m resnet20-cifar --dot");
    assert!(dot.starts_with("digraph") && dot.trim_end().ends_with('}'), "{dot}");
}

#[test]
fn predict_json() {
    let sandbox = Sandbox::with_photo();
    sandbox.photo("wide.png", 64, 20);
    let rows = sandbox.json(&format!("predict photo.png wide.png {NET} --top 10"));
    let images: Vec<&Value> = rows.as_array().unwrap().iter().map(|r| &r["image"]).collect();
    assert_eq!(images, [&json!("photo.png"), &json!("wide.png")]);
    for row in rows.as_array().unwrap() {
        assert_eq!(keys(row), ["image", "top"]);
        let top = row["top"].as_array().unwrap();
        assert!(top.len() == 10 && top.iter().all(|t| keys(t) == ["index", "name", "probability", "logit"]), "{row}");
        let p: Vec<f64> = top.iter().map(|t| t["probability"].as_f64().unwrap()).collect();
        assert!(p.is_sorted_by(|a, b| a >= b) && (p.iter().sum::<f64>() - 1.0).abs() < 1e-5, "{p:?}");
        let logits: Vec<f64> = top.iter().map(|t| t["logit"].as_f64().unwrap()).collect();
        assert!(((logits[0] - logits[9]).exp() - p[0] / p[9]).abs() < 1e-3 * (p[0] / p[9]), "{logits:?} {p:?}");
    }
    let text = sandbox.ok(&format!("predict photo.png {NET} --top 1"));
    assert_eq!(text.lines().count(), 2, "{text}");
    // More than there are is all there are.
    assert_eq!(sandbox.json(&format!("predict photo.png {NET} --top 99"))[0]["top"].as_array().unwrap().len(), 10);
}

#[test]
fn predict_with_own_class_names() {
    let sandbox = Sandbox::with_photo();
    sandbox.write("names.txt", "red thing\nblue thing\n\ngreen thing\n");
    let rows = sandbox.json("predict photo.png -m small -w random --classes names.txt");
    let mut names: Vec<&str> = rows[0]["top"].as_array().unwrap().iter().map(|t| t["name"].as_str().unwrap()).collect();
    names.sort();
    assert_eq!(names, ["blue thing", "green thing", "red thing"]);
}

#[test]
fn predict_raw_with_input_gradient() {
    let sandbox = Sandbox::with_photo();
    sandbox.photo("other.png", 40, 32);
    let predict = format!("predict photo.png other.png {NET} --size 24x36 --input-gradient");
    let raw = sandbox.raw(&predict);
    assert_eq!(raw.keys().collect::<Vec<_>>(), ["dx", "logits"]);
    assert_eq!((&raw["logits"].0[..], &raw["dx"].0[..]), (&[2, 10][..], &[2, 3, 24, 36][..]));
    assert!(raw["dx"].1.iter().any(|v| *v != 0.0));
    // Of the class that is named, not always of the best one.
    let rows = sandbox.json(&format!("predict photo.png other.png {NET} --size 24x36"));
    let best = |i: usize| rows[i]["top"][0]["index"].clone();
    let worst = rows[0]["top"][4]["index"].clone();
    let of = |class: &Value| sandbox.raw(&format!("{predict} --class {class}"))["dx"].1.clone();
    let half = raw["dx"].1.len() / 2;
    assert_eq!(of(&best(0))[..half], raw["dx"].1[..half]);
    assert_eq!(of(&best(1))[half..], raw["dx"].1[half..]);
    assert_ne!(of(&worst)[..half], raw["dx"].1[..half]);

    sandbox.photo("large.png", 80, 32);
    let says = ["--input-gradient of several images expects one size", "--size HxW"];
    sandbox.fails(2, &format!("predict photo.png large.png {NET} --size own --input-gradient --raw other.safetensors"), &says);
}

#[test]
fn eval_skips_a_broken_image_and_says_so() {
    let sandbox = Sandbox::new();
    for (folder, n) in [("cat", 3), ("dog", 2)] {
        (0..n).for_each(|i| sandbox.photo(&format!("set/{folder}/{i}.png"), 40 + i, 32));
    }
    sandbox.write("set/dog/broken.png", b"\x89PNG\r\n\x1a\n and no more");
    sandbox.write("set/dog/notes.txt", b"no image at all");
    sandbox.write("set/.hidden/a.png", b"no class at all");
    let (code, out, err) = read(sandbox.run(&format!("eval set {NET} --json --batch 2")));
    assert_eq!(code, Some(0), "{err}");
    assert!(err.starts_with("skipped: ") && err.contains("set/dog/broken.png") && err.lines().count() == 1, "{err}");
    let counts: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(keys(&counts), ["images", "top1", "top5"]);
    assert_eq!(counts["images"], 5);
    // The predictions of each image give the same count.
    let mut top = [0, 0];
    for (folder, class, n) in [("cat", 3, 3), ("dog", 5, 2)] {
        for i in 0..n {
            let rows = sandbox.json(&format!("predict set/{folder}/{i}.png {NET}"));
            let rank = rows[0]["top"].as_array().unwrap().iter().position(|t| t["index"] == class);
            top[0] += usize::from(rank == Some(0));
            top[1] += usize::from(rank.is_some());
        }
    }
    assert_eq!((&counts["top1"], &counts["top5"]), (&json!(top[0]), &json!(top[1])));
    let (_, text, _) = read(sandbox.run(&format!("eval set {NET} -q")));
    assert!(text.contains("cat") && text.contains(&format!("top-1 {}/5", top[0])), "{text}");
}

#[test]
fn eval_among_classes_and_its_pictures() {
    let sandbox = Sandbox::new();
    for (folder, n) in [("cat", 3), ("dog", 2)] {
        (0..n).for_each(|i| sandbox.photo(&format!("set/{folder}/{i}.png"), 40 + i, 32));
    }
    let raw = sandbox.raw(&format!("eval set {NET} -q"));
    let (shape, confusion) = &raw["confusion"];
    assert_eq!(shape, &[10, 10]);
    let row = |class: usize| confusion[10 * class..][..10].iter().sum::<f32>();
    assert_eq!((row(3), row(5), confusion.iter().sum::<f32>()), (3.0, 2.0, 5.0));
    for picture in ["confusion", "mistakes"] {
        assert!(sandbox.path(format!("convscope-out/{picture}-resnet20_cifar.png")).is_file(), "{picture}");
    }
    // With one answer to choose from it is right.
    let counts = sandbox.json(&format!("eval set {NET} --among cat"));
    assert_eq!((&counts["images"], &counts["top1"]), (&json!(3), &json!(3)));
    let both = sandbox.json(&format!("eval set {NET} --among dog,cat"));
    assert_eq!((&both["images"], &both["top5"]), (&json!(5), &json!(5)));
    sandbox.fails(2, &format!("eval set {NET} --among cow"), &["no class \"cow\""]);
}

/// PyTorch's results on the same files with the same weights.
#[test]
fn eval_of_cifar10() {
    for (network, file, right) in
        [("resnet20-cifar", "resnet20-12fca82f.th", 804), ("resnet32-cifar", "resnet32-d509ac18.th", 840)]
    {
        let (Some(images), Some(weights)) = (shared("cifar10-test"), shared(&format!("weights/{file}"))) else { return };
        let counts = Sandbox::new().json(&format!("eval {images} -m {network} -w {weights}"));
        assert_eq!((&counts["images"], &counts["top1"]), (&json!(1000), &json!(right)), "{network}");
    }
}

#[test]
fn a_photo_of_a_cat() {
    let (Some(photo), Some(weights)) = (shared("photos/val/cat/cat.4001.jpg"), shared("weights/resnet32-d509ac18.th")) else {
        return;
    };
    // The network is known by its tensors.
    let rows = Sandbox::new().json(&format!("predict {photo} -w {weights}"));
    assert_eq!((&rows[0]["top"][0]["name"], &rows[0]["image"]), (&json!("cat"), &json!(photo)), "{rows}");
}

#[test]
fn trace_in_four_formats() {
    let sandbox = Sandbox::with_photo();
    let trace = format!("trace photo.png {NET} --backward");
    let text = sandbox.ok(&trace);
    assert!(text.contains("layer3.2.conv2") && text.contains("backward") && text.contains("conv2d.dgrad"), "{text}");
    for flag in ["--format json", "--json"] {
        let nodes: Value = serde_json::from_str(&sandbox.ok(&format!("{trace} {flag}"))).unwrap();
        let conv = nodes.as_array().unwrap().iter().find(|n| n["layer"] == "layer2.0.conv1").unwrap();
        assert_eq!((&conv["shape"], &conv["forward"][0]["op"]), (&json!([1, 32, 16, 16]), &json!("conv2d.fwd")));
        assert!(conv["forward"][0]["flops"].as_u64() > Some(0) && conv["backward"][0]["op"] == "conv2d.dgrad", "{conv}");
    }
    let chrome: Value = serde_json::from_str(&sandbox.ok(&format!("{trace} --format chrome"))).unwrap();
    let events = chrome.get("traceEvents").unwrap_or(&chrome).as_array().unwrap();
    assert!(events.len() > 60 && events.iter().all(|e| e["ph"].is_string()), "{chrome}");
    let dot = sandbox.ok(&format!("{trace} --format dot"));
    assert!(dot.starts_with("digraph") && dot.trim_end().ends_with('}') && dot.contains("layer3.2.conv2"), "{dot}");
    assert!(!sandbox.ok(&format!("trace photo.png {NET}")).contains("dgrad"));
}

#[test]
fn models() {
    let sandbox = Sandbox::new();
    let rows = sandbox.json("models");
    let find = |name: &str| rows.as_array().unwrap().iter().find(|r| r["name"] == name).unwrap();
    assert_eq!((&find("vgg16")["parameters"], &find("vgg16")["classes"]), (&json!(138_357_544), &json!(1000)));
    assert_eq!(find("resnet50")["weights"]["url"], "https://download.pytorch.org/models/resnet50-0676ba61.pth");
    assert!(find("small")["weights"].is_null());
    let text = sandbox.ok("models");
    assert!(rows.as_array().unwrap().iter().all(|r| text.contains(r["name"].as_str().unwrap())), "{text}");
}

#[test]
fn convert_keeps_the_predictions() {
    let sandbox = Sandbox::with_photo();
    let wrapped: Vec<_> = sandbox
        .checkpoint("plain.safetensors", "resnet20-cifar")
        .into_iter()
        .map(|(name, shape, values)| (format!("module.{name}"), shape, values))
        .collect();
    sandbox.write("torch.th", torch::checkpoint(&wrapped));
    let predict = |weights: &str| sandbox.raw(&format!("predict photo.png -w {weights}"))["logits"].clone();
    let want = predict("plain.safetensors");
    assert_eq!(predict("torch.th"), want);
    // With the network named, and without.
    sandbox.ok("convert torch.th named.safetensors -m resnet20-cifar");
    let text = sandbox.ok("convert torch.th free.safetensors");
    assert!(text.contains("wrote free.safetensors") && text.lines().count() == 1, "{text}");
    for file in ["named.safetensors", "free.safetensors"] {
        assert_eq!(predict(file), want, "{file}");
    }
    for (dtype, within) in [("f16", 1e-2), ("bf16", 5e-2)] {
        sandbox.ok(&format!("convert torch.th half.safetensors --dtype {dtype}"));
        let (got, scale) = (predict("half.safetensors").1, want.1.iter().fold(0.0f32, |m, v| m.max(v.abs())));
        assert!(
            got != want.1 && got.iter().zip(&want.1).all(|(a, b)| (a - b).abs() < within * scale),
            "{dtype}: {got:?} {want:?}"
        );
    }
    let Some(real) = shared("weights/resnet20-12fca82f.th") else { return };
    sandbox.ok(&format!("convert {real} real.safetensors"));
    assert_eq!(predict("real.safetensors"), predict(&real));
}
