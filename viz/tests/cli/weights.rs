//! Weights that cannot be used.

use super::support::{Sandbox, noise, shared};
use super::torch;
use std::fs;
use std::net::TcpListener;

const PREDICT: &str = "predict photo.png -m resnet20-cifar -w";

/// Refused with a network named, with the network to be guessed, and by `convert`.
fn refused(sandbox: &Sandbox, file: &str, says: &[&str]) {
    sandbox.fails(1, &format!("{PREDICT} {file}"), says);
    sandbox.fails(1, &format!("gradcam photo.png -w {file} --raw raw.safetensors"), says);
    sandbox.fails(1, &format!("convert {file} out.safetensors"), says);
    sandbox.fails(1, &format!("convert {file} out.safetensors -m resnet20-cifar"), says);
}

#[test]
fn no_file_of_weights() {
    let sandbox = Sandbox::with_photo();
    refused(&sandbox, "missing.pth", &["cannot read weights missing.pth"]);
    sandbox.write("empty.th", b"");
    refused(&sandbox, "empty.th", &["cannot read weights empty.th", "empty"]);
    fs::create_dir(sandbox.path("folder.pth")).unwrap();
    refused(&sandbox, "folder.pth", &["cannot read weights folder.pth", "folder"]);
    sandbox.write("noise.safetensors", noise(4000));
    refused(&sandbox, "noise.safetensors", &["noise.safetensors cannot be used as weights"]);
    sandbox.write("keras.hdf5", [b"\x89HDF\r\n\x1a\n".as_slice(), &noise(500)].concat());
    refused(&sandbox, "keras.hdf5", &["keras.hdf5 cannot be used as weights", "HDF5"]);
    refused(&sandbox, "photo.png", &["photo.png cannot be used as weights"]);
    // A name nearly right.
    sandbox.write("resnet20.th", b"x");
    sandbox.fails(1, &format!("{PREDICT} resent20.th"), &["resnet20.th"]);
}

#[test]
fn truncated() {
    let sandbox = Sandbox::with_photo();
    let tensors = sandbox.checkpoint("good.safetensors", "resnet20-cifar");
    let mut files =
        vec![("cut.safetensors", fs::read(sandbox.path("good.safetensors")).unwrap()), ("cut.pth", torch::checkpoint(&tensors))];
    if let Some(legacy) = shared("weights/resnet20-12fca82f.th") {
        files.push(("cut.th", fs::read(legacy).unwrap()));
    }
    for (name, whole) in files {
        for keep in [9, 300, whole.len() / 2, whole.len() - 100] {
            sandbox.write(name, &whole[..keep]);
            refused(&sandbox, name, &[name]);
        }
    }
}

#[test]
fn malicious_pickles_run_nothing() {
    let sandbox = Sandbox::with_photo();
    for (name, bytes) in torch::malicious(sandbox.path("marker").to_str().unwrap()) {
        sandbox.write(name, bytes);
        // `fails` compares the folder before and after, so that a marker would be seen.
        refused(&sandbox, name, &[name, "os.system"]);
    }
}

#[test]
fn tensors_of_another_network() {
    let sandbox = Sandbox::with_photo();
    let mut tensors = sandbox.checkpoint("resnet20.safetensors", "resnet20-cifar");
    let lines = sandbox.fails_with_list(1, "predict photo.png -m resnet18 -w resnet20.safetensors", &["resnet18"]);
    let all = lines.join("\n");
    for part in ["missing", "unexpected", "conv1.weight", "[64, 3, 7, 7]", "[16, 3, 3, 3]"] {
        assert!(all.contains(part), "{part}: {all}");
    }
    assert!(lines.len() > 3 && lines.iter().skip(1).all(|l| l.starts_with(' ')), "{all}");

    // One name misspelt: both sides point at each other.
    let wrong = tensors.iter().position(|t| t.0 == "layer2.1.conv2.weight").unwrap();
    tensors[wrong].0 = "layer2.1.covn2.weight".into();
    sandbox.save_tensors("misspelt.safetensors", &tensors);
    let all = sandbox.fails_with_list(1, &format!("{PREDICT} misspelt.safetensors"), &[]).join("\n");
    assert_eq!(all.matches("layer2.1.conv2.weight").count(), 2, "{all}");
    assert_eq!(all.matches("layer2.1.covn2.weight").count(), 2, "{all}");
    sandbox.fails(1, "predict photo.png -w misspelt.safetensors", &["misspelt.safetensors fits no known network", "-m"]);
}

#[test]
fn not_a_number() {
    let sandbox = Sandbox::with_photo();
    let mut tensors = sandbox.checkpoint("nan.safetensors", "resnet20-cifar");
    let bad = tensors.iter().position(|t| t.0 == "layer3.0.bn1.weight").unwrap();
    tensors[bad].2[5] = f32::NAN;
    sandbox.save_tensors("nan.safetensors", &tensors);
    sandbox.write("nan.pth", torch::checkpoint(&tensors));
    for name in ["nan.safetensors", "nan.pth"] {
        refused(&sandbox, name, &[name, "layer3.0.bn1.weight", "1 NaN", "index 5"]);
    }
}

#[test]
fn weights_that_overflow() {
    let sandbox = Sandbox::with_photo();
    let mut tensors = sandbox.checkpoint("large.safetensors", "resnet20-cifar");
    tensors.iter_mut().filter(|t| t.0.ends_with("conv1.weight")).for_each(|t| t.2.fill(3e38));
    sandbox.save_tensors("large.safetensors", &tensors);
    for command in ["predict", "features", "gradcam"] {
        let says = ["the weights or the input are broken"];
        sandbox.fails(1, &format!("{command} photo.png -m resnet20-cifar -w large.safetensors --raw raw.safetensors"), &says);
    }
}

#[test]
fn none_given() {
    let sandbox = Sandbox::with_photo();
    let path = sandbox.path("torch-home/hub/checkpoints/resnet50-0676ba61.pth");
    let says = ["resnet50-0676ba61.pth", "https://download.pytorch.org/models/resnet50-0676ba61.pth", path.to_str().unwrap()];
    sandbox.fails(1, "predict photo.png -m resnet50", &says);
    sandbox.fails(1, "gradcam photo.png -m resnet50", &["-w hf:timm/resnet50.tv_in1k", "-w random"]);
    sandbox.fails(1, "filters -m small", &["nobody published weights for small", "-w"]);
    sandbox.fails(1, "filters -m resnet20-cifar", &["github.com/akamaster", "resnet20-12fca82f.th"]);
    // Found where PyTorch would have put it.
    sandbox.checkpoint("whatever.safetensors", "resnet20-cifar");
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::rename(sandbox.path("whatever.safetensors"), path.with_file_name("resnet20-12fca82f.th")).unwrap();
    sandbox.ok("predict photo.png -m resnet20-cifar");
}

#[test]
fn hub_addresses() {
    let sandbox = Sandbox::with_photo();
    for address in ["hf:", "hf:resnet", "hf:../etc/passwd", "hf:a/b/../c", "hf:a/b@"] {
        let says = [address, "is no hub address", "hf:owner/repo"];
        sandbox.fails(2, &format!("{PREDICT} {address}"), &says);
        sandbox.fails(2, &format!("convert {address} out.safetensors"), &says);
    }
}

#[test]
fn the_hub_out_of_reach() {
    let address = "hf:timm/resnet18.tv_in1k";
    let parts = ["model.safetensors", "timm/resnet18.tv_in1k/resolve/main/model.safetensors", "models--timm--resnet18.tv_in1k"];
    let offline = Sandbox::with_photo().env("HF_HUB_OFFLINE", "1");
    let says: Vec<&str> = parts.into_iter().chain(["HF_HUB_OFFLINE", "https://huggingface.co"]).collect();
    offline.fails(1, &format!("{PREDICT} {address}"), &says);
    offline.fails(1, &format!("convert {address} out.safetensors"), &says);

    // A port that nobody listens on.
    let endpoint = format!("http://{}", TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap());
    let closed = Sandbox::with_photo().env("HF_ENDPOINT", &endpoint);
    let (code, out, err) = super::support::read(closed.run(&format!("{PREDICT} {address}/model.safetensors")));
    assert_eq!((code, out.as_str()), (Some(1), ""));
    assert!(err.starts_with("error: ") && err.lines().count() == 1, "{err}");
    assert!(parts.iter().all(|part| err.contains(part)) && err.contains(&endpoint), "{err}");
    assert!(!closed.path("convscope-out").exists());
}
