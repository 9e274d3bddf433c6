//! Usage errors: exit code 2 and a suggestion.

use super::support::{NET, Sandbox};

#[test]
fn networks() {
    let sandbox = Sandbox::with_photo();
    sandbox.fails(2, "summary -m resnet51", &["there is no network \"resnet51\"; nearest: ", "resnet50"]);
    sandbox.fails(2, "predict photo.png -m vgg61 -w random", &["\"vgg61\"", "vgg16"]);
    sandbox.fails(2, "summary -w random", &["which network?", "-m resnet50", "convscope models"]);
    sandbox.fails(2, "predict photo.png -w random", &["which network?", "-m"]);
    sandbox.fails(2, "summary -m small --classes 0", &["--classes 0"]);
    sandbox.fails(1, "summary -m small --classes none.txt", &["--classes none.txt", "neither a number nor a readable file"]);
}

#[test]
fn layers() {
    let sandbox = Sandbox::with_photo();
    for (typed, says) in [
        ("layer1.0.covn1", vec!["resnet20-cifar has no layer \"layer1.0.covn1\"", "nearest: layer1.0.conv1"]),
        ("layer4", vec!["no layer \"layer4\"", "layer3"]),
        ("99999", vec!["has layers 0 to", "not 99999"]),
        ("conv1:16", vec!["layer conv1 has channels 0 to 15, not 16"]),
        ("conv1:-1", vec!["channels 0 to 15, not -1"]),
        ("conv1:a:b:c", vec!["does not choose a layer", "layer:channel"]),
        ("conv1:pre", vec!["':pre'", "conv1"]),
        ("", vec!["does not choose a layer", "conv1"]),
    ] {
        for command in ["features photo.png", "filters", "gradcam photo.png", "ascent"] {
            sandbox.fails(2, &format!("{command} {NET} --layer={typed}"), &says);
        }
    }
    sandbox.fails(2, &format!("filters {NET} -l all"), &["many layers; name one"]);
    sandbox.fails(2, &format!("features photo.png {NET} -l conv1,bn1,"), &["does not choose a layer"]);
    sandbox.fails(2, &format!("filters {NET} -l relu"), &["relu is ReLU and has no filters", "such as conv1"]);
    sandbox.fails(2, &format!("filters {NET} -l linear"), &["linear is Linear and has no filters", "such as conv1"]);
    let says = ["linear has no height and width", "such as layer3.2"];
    sandbox.fails(2, &format!("gradcam photo.png {NET} -l linear"), &says);
}

#[test]
fn classes() {
    let sandbox = Sandbox::with_photo();
    for (typed, says) in [
        ("zebra", vec!["there is no class \"zebra\"", "nearest names are", "\"bird\""]),
        ("10", vec!["there is no class 10: the classes are 0 to 9"]),
        ("r", vec!["class \"r\" could be any of", "\"airplane\" (0)", "\"bird\" (2)"]),
        ("cat,dgo", vec!["\"dgo\"", "\"dog\" (5)"]),
    ] {
        sandbox.fails(2, &format!("gradcam photo.png {NET} -c {typed}"), &says);
        sandbox.fails(2, &format!("ascent {NET} -c {typed}"), &says);
    }
    let dx = format!("predict photo.png {NET} --raw raw.safetensors --input-gradient --class");
    sandbox.fails(2, &format!("{dx} zebra"), &["no class \"zebra\""]);
    sandbox.fails(2, &format!("predict photo.png {NET} --input-gradient"), &["add --raw"]);
    sandbox.fails(2, &format!("predict photo.png {NET} --class cat"), &["--input-gradient"]);
}

#[test]
fn choices() {
    let sandbox = Sandbox::with_photo();
    for (typed, says) in [
        ("features photo.png --preset cholet1", vec!["cholet1", "chollet1"]),
        ("gradcam photo.png --preset torch", vec!["torch", "chollet1, pytorch"]),
        ("ascent -l conv1 --preset keras", vec!["keras", "kerasblog", "keras-io"]),
        ("features photo.png --sort size", vec!["size", "index, mean, sparsity"]),
        ("features photo.png --scale wide", vec!["--scale wide"]),
        ("features photo.png --scale 3,1", vec!["--scale 3,1"]),
        ("trace photo.png --format xml", vec!["xml", "text, json, dot, chrome"]),
        ("gradcam photo.png --class 1 --top 2", vec!["--class", "--top", "cannot be used with"]),
        ("predict photo.png --threads 0", vec!["--threads", "1..=1024"]),
        ("predict photo.png --threads 65535", vec!["--threads", "1..=1024"]),
        ("predict photo.png --top 0", vec!["--top", "from 1 up"]),
        ("gradcam photo.png --top 0", vec!["--top", "from 1 up"]),
        ("ascent -l conv1 --best 0", vec!["--best", "from 1 up"]),
        ("eval . --batch 0", vec!["--batch", "1.."]),
        ("predict photo.png --treads 2", vec!["--treads", "--threads"]),
        ("preddict photo.png", vec!["preddict", "predict"]),
        ("ascent -l conv1 --channels 3-99", vec!["--channels 3-99", "below 16"]),
        ("ascent -l conv1 --channels 9-3", vec!["--channels 9-3"]),
        ("ascent -l conv1:1 --channels 3", vec!["names a channel already"]),
    ] {
        sandbox.fails(2, &format!("{typed} {NET}"), &says);
    }
}

#[test]
fn sizes() {
    let sandbox = Sandbox::with_photo();
    for size in ["0x5", "abc", "5x", "0", "-3", "9000", "3x4x5", "1e3"] {
        let says = [format!("--size {size}"), "HxW".to_string()];
        let says: Vec<&str> = says.iter().map(String::as_str).collect();
        for command in ["predict photo.png", "features photo.png", "gradcam photo.png", "summary", "ascent -l conv1"] {
            sandbox.fails(2, &format!("{command} {NET} --size={size}"), &says);
        }
    }
    sandbox.fails(2, "summary -m vgg16 --size 16", &["16x16 is too small for vgg16", "at least 32x32"]);
}

#[test]
fn devices_and_kernels() {
    let sandbox = Sandbox::with_photo();
    let predict = format!("predict photo.png {NET}");
    for device in ["gpu", "cuda:x", "cpu0"] {
        sandbox.fails(2, &format!("{predict} --device {device}"), &[device, "auto, cpu or cuda:N"]);
    }
    // No machine has so many, and one without a driver says that.
    sandbox.fails(1, &format!("{predict} --device cuda:14"), &["device cuda:14 cannot be used"]);
    sandbox.fails(2, &format!("{predict} --precision f8"), &["--precision f8", "f32, tf32, f16, bf16"]);
    for (kernel, says) in [
        ("conv2d.fwd=fastest", vec!["conv2d.fwd", "\"fastest\"", "naive"]),
        ("conv.fwd=naive", vec!["\"conv.fwd\"", "conv2d.fwd"]),
        ("naive", vec!["naive"]),
    ] {
        sandbox.fails(2, &format!("{predict} --kernel {kernel}"), &says);
        let forced = Sandbox::with_photo().env("CONVSCOPE_KERNEL", kernel);
        forced.fails(2, &predict, &says);
    }
}

/// Nothing typed at all: the help, but no success.
#[test]
fn nothing() {
    let (code, out, err) = super::support::read(Sandbox::new().run(""));
    assert_eq!((code, out.as_str()), (Some(2), ""));
    assert!(err.contains("Usage: convscope") && err.contains("gradcam") && !err.contains("error:"), "{err}");
}

#[test]
fn help_is_plain_text_in_a_pipe() {
    let sandbox = Sandbox::new();
    for (args, says) in [("--help", "gradcam"), ("help ascent", "--preset"), ("--version", env!("CARGO_PKG_VERSION"))] {
        let text = sandbox.ok(args);
        assert!(text.contains(says) && !text.contains('\u{1b}'), "{text}");
    }
}

/// An option without effect is refused, not ignored.
#[test]
fn options_without_effect() {
    let sandbox = Sandbox::with_photo();
    sandbox.fails(2, &format!("gradcam photo.png {NET} -l layer1:3"), &["--layer layer1:3", "leave out the channel"]);
    sandbox.fails(2, &format!("trace photo.png {NET} --raw raw.safetensors"), &["--raw: trace writes no raw values"]);
    sandbox.fails(2, "models --raw raw.safetensors", &["--raw: models writes no raw values"]);
    sandbox.fails(2, "summary -m vgg16 --size own", &["--size own", "HxW"]);
    sandbox.fails(2, &format!("features photo.png {NET} --preset chollet1 --dark"), &["cannot be used with"]);
    Sandbox::with_photo().env("CONVSCOPE_ISA", "axv2").fails(2, &format!("predict photo.png {NET}"), &["\"axv2\"", "avx2"]);
}

/// The last of two equal options counts, an error names the help of its command, and no file is suspected behind a misspelt option.
#[test]
fn options() {
    let sandbox = Sandbox::with_photo();
    let top = |args: &str| sandbox.json(&format!("predict photo.png {NET} {args}"))[0]["top"].as_array().unwrap().len();
    assert_eq!(top("--top 2 --top 3"), 3);
    sandbox.fails(2, "gradcam photo.png --target cat", &["unexpected argument '--target'", "see convscope gradcam --help"]);
    sandbox.fails(2, "bench kernels --nonsense", &["see convscope bench kernels --help"]);
    let (_, _, err) = super::support::read(sandbox.run("gradcam photo.png --target cat"));
    assert!(!err.contains("-- --target"), "{err}");
    let (code, _, err) = super::support::read(sandbox.run(&format!("predict photo.png {NET} --threads 1000")));
    assert!(code == Some(0) && err.starts_with("note: --threads 1000: ") && err.lines().count() == 1, "{err}");
    sandbox.ok(&format!("predict photo.png {NET} --threads 1000 -q"));
}
