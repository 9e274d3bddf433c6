//! Places that cannot be written to: all files of a command or none.

use super::support::{NET, Sandbox, read};
use std::fs;

/// Commands that draw.
const DRAWING: [&str; 5] = [
    "features photo.png",
    "gradcam photo.png",
    "filters",
    "ascent -l conv1:0 --steps 1 -q",
    "report photo.png --steps 1 --channels 1 -q",
];

#[test]
fn a_file_where_the_folder_should_be() {
    let sandbox = Sandbox::with_photo();
    sandbox.write("taken", "a file");
    for command in DRAWING {
        sandbox.fails(1, &format!("{command} {NET} -o taken"), &["cannot write", "taken"]);
        sandbox.fails(1, &format!("{command} {NET} -o taken/deeper"), &["cannot write", "taken"]);
    }
}

#[test]
fn a_folder_where_a_picture_should_be() {
    let sandbox = Sandbox::with_photo();
    sandbox.ok(&format!("gradcam photo.png {NET} -c cat"));
    let json = sandbox.names("convscope-out").into_iter().find(|n| n.ends_with(".json")).unwrap();
    for name in [json.clone(), json.replace(".json", ".png")] {
        let sandbox = Sandbox::with_photo();
        fs::create_dir_all(sandbox.path("pictures").join(&name)).unwrap();
        sandbox.fails(1, &format!("gradcam photo.png {NET} -c cat -o pictures"), &["cannot write", &name]);
    }
}

#[cfg(unix)]
#[test]
fn a_folder_without_permission() {
    use std::os::unix::fs::PermissionsExt;
    let sandbox = Sandbox::with_photo();
    fs::create_dir(sandbox.path("locked")).unwrap();
    fs::set_permissions(sandbox.path("locked"), fs::Permissions::from_mode(0o555)).unwrap();
    if fs::write(sandbox.path("locked/try"), "").is_ok() {
        eprintln!("skipped: this user may write everywhere");
        return;
    }
    for command in DRAWING {
        sandbox.fails(1, &format!("{command} {NET} -o locked"), &["cannot write", "locked"]);
        sandbox.fails(1, &format!("{command} {NET} --raw locked/raw.safetensors"), &["cannot write", "locked"]);
    }
}

/// The numbers cannot be written: then there is no picture either, nor a folder for it.
#[test]
fn raw_without_a_place() {
    let sandbox = Sandbox::with_photo();
    fs::create_dir(sandbox.path("folder.safetensors")).unwrap();
    for (raw, says) in [("photo.png/raw.safetensors", ""), ("folder.safetensors", "it is a folder")] {
        for command in DRAWING.into_iter().chain(["predict photo.png"]) {
            sandbox.fails(1, &format!("{command} {NET} --raw {raw}"), &[&format!("cannot write {raw}"), says]);
        }
        sandbox.fails(1, &format!("gradcam photo.png {NET} --raw {raw} -o some/deep/folder"), &[says]);
        sandbox.fails(1, &format!("convert random {raw} -m small"), &["cannot write", raw, says]);
    }
    // Pictures of an earlier run stay as they were.
    sandbox.ok(&format!("gradcam photo.png {NET}"));
    sandbox.fails(1, &format!("gradcam photo.png {NET} --dark --raw folder.safetensors"), &["it is a folder"]);
    // A missing folder is made, as for pictures.
    sandbox.ok(&format!("gradcam photo.png {NET} --raw some/deep/raw.safetensors -q"));
    assert_eq!(sandbox.names("some/deep"), ["raw.safetensors"]);
}

#[test]
fn names_of_files() {
    let sandbox = Sandbox::with_photo();
    fs::copy(sandbox.path("photo.png"), sandbox.path("a.b (c)&d.png")).unwrap();
    let mut typed = sandbox.command(&format!("gradcam {NET} -c cat,dog -q"));
    assert!(typed.arg("a.b (c)&d.png").status().unwrap().success());
    let expected = [
        "cat-overlay.json",
        "cat-overlay.png",
        "cat.json",
        "cat.png",
        "dog-overlay.json",
        "dog-overlay.png",
        "dog.json",
        "dog.png",
    ]
    .map(|n| format!("gradcam-resnet20_cifar-LAYER-a.b__c__d-{n}"));
    let layer = sandbox.json(&format!("gradcam photo.png {NET} -o again"))["layer"].as_str().unwrap().to_string();
    assert_eq!(sandbox.names("convscope-out"), expected.map(|n| n.replace("LAYER", &layer)));
}

/// A reader may close the pipe early: `convscope models | head -1`.
#[cfg(unix)]
#[test]
fn a_reader_that_leaves() {
    let sandbox = Sandbox::with_photo();
    for args in ["models", "models --json", "summary -m resnet152", "--help", &format!("trace photo.png {NET}")] {
        let mut child =
            sandbox.command(args).stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let (code, _, err) = super::support::read(child.wait_with_output().unwrap());
        assert_eq!((code, err.as_str()), (Some(0), ""), "{args}");
    }
}

/// A disk that is full.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk() {
    if !std::path::Path::new("/dev/full").exists() {
        return;
    }
    let sandbox = Sandbox::new();
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let (code, _, err) = super::support::read(sandbox.command("models").stdout(full).output().unwrap());
    assert_eq!(code, Some(1));
    assert!(err.starts_with("error: cannot write") && err.lines().count() == 1, "{err}");
}

#[test]
fn a_folder_of_images_that_is_none() {
    let sandbox = Sandbox::with_photo();
    fs::create_dir_all(sandbox.path("empty/cat")).unwrap();
    sandbox.fails(1, &format!("eval missing {NET}"), &["cannot read the folder missing"]);
    sandbox.fails(1, &format!("eval photo.png {NET}"), &["cannot read the folder photo.png"]);
    sandbox.fails(1, &format!("eval empty {NET}"), &["empty holds no images", "one folder a class"]);
    sandbox.photo("other/zebra/a.png", 8, 8);
    sandbox.fails(1, &format!("eval other {NET}"), &["other/zebra", "named by the network's classes", "nearest"]);
}

/// Pictures of other photos, networks and options have names of their own; the same command replaces its own.
#[test]
fn no_picture_overwrites_another() {
    let sandbox = Sandbox::new();
    [("a/photo.png", 40, 32), ("b/photo.png", 32, 40)].iter().for_each(|(name, w, h)| sandbox.photo(name, *w, *h));
    let mut before = Vec::new();
    for (command, named) in [
        (format!("gradcam a/photo.png {NET} -c cat"), "gradcam-resnet20_cifar-layer3.2.relu_1-photo-cat.png"),
        (format!("gradcam b/photo.png {NET} -c cat"), "gradcam-resnet20_cifar-layer3.2.relu_1-photo-cat-2.png"),
        (format!("gradcam a/photo.png {NET} -c cat --size 48"), "gradcam-resnet20_cifar-layer3.2.relu_1-photo-cat-size48.png"),
        (format!("gradcam a/photo.png {NET} -c cat --dark"), "gradcam-resnet20_cifar-layer3.2.relu_1-photo-cat-dark.png"),
        (format!("features a/photo.png {NET} -l conv1"), "features-resnet20_cifar-conv1-photo.png"),
        (format!("features a/photo.png {NET} -l conv1 --sort mean"), "features-resnet20_cifar-conv1-photo-sortmean.png"),
        (format!("ascent {NET} -l conv1 --channels 0-1 --steps 2"), "ascent-resnet20_cifar-conv1-channels0_1-steps2.png"),
        (format!("ascent {NET} -l conv1 --channels 2,3 --steps 2"), "ascent-resnet20_cifar-conv1-channels2_3-steps2.png"),
        (format!("report a/photo.png {NET} --steps 2 --channels 1"), "report-photo.html"),
        (format!("report b/photo.png {NET} --steps 2 --channels 1"), "report-photo-2.html"),
    ] {
        let kept = sandbox.snapshot();
        sandbox.ok(&format!("{command} -q"));
        let now = sandbox.names("convscope-out");
        let added: Vec<&String> = now.iter().filter(|name| !before.contains(*name)).collect();
        assert!(added.iter().any(|name| *name == named), "{command}: {added:?}");
        for (path, content) in kept {
            assert_eq!(sandbox.snapshot().get(&path), Some(&content), "{command} changed {}", path.display());
        }
        // The same again, but for what changes no picture.
        sandbox.ok(&format!("{command} --json --threads 1"));
        assert_eq!(sandbox.names("convscope-out"), now, "{command}");
        before = now;
    }
}

/// Bad files are listed at the end, and the good ones have their results.
#[test]
fn a_bad_file_does_not_lose_the_good_ones() {
    let sandbox = Sandbox::with_photo();
    sandbox.photo("other.png", 36, 36);
    sandbox.write("broken.png", b"\x89PNG\r\n\x1a\n and no more");
    let args = format!("predict photo.png broken.png none.png other.png {NET} --size 32x32");
    let (code, out, err) = read(sandbox.run(&format!("{args} --raw raw.safetensors")));
    assert_eq!(code, Some(1), "{err}");
    let heads: Vec<&str> = out.lines().filter(|line| line.ends_with(".png")).collect();
    assert_eq!(heads, ["photo.png", "other.png"], "{out}");
    let lines: Vec<&str> = err.lines().collect();
    assert!(lines.len() == 3 && lines[0] == "error: 2 of 4 images failed:", "{err}");
    assert!(lines[1].contains("broken.png") && lines[2].contains("none.png"), "{err}");
    assert_eq!(sandbox.tensors("raw.safetensors")[0].1, [2, 10]);

    let (code, out, _) = read(sandbox.run(&format!("{args} --json")));
    let rows: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, rows.as_array().unwrap().len()), (Some(1), 4));
    assert!(rows[1]["error"].as_str().unwrap().contains("broken.png") && rows[3]["top"].is_array(), "{rows}");

    // None of them is good: as for a single one, nothing is printed or written.
    sandbox.fails_with_list(1, &format!("predict broken.png none.png {NET} --raw no.safetensors"), &["2 of 2 images failed"]);
}

/// The extension decides the format, before the work.
#[test]
fn raw_values_are_what_the_extension_says() {
    let sandbox = Sandbox::with_photo();
    let values = sandbox.raw(&format!("predict photo.png {NET}"))["logits"].1.clone();
    let numbers = |bytes: &[u8]| -> Vec<f32> {
        assert!(bytes.starts_with(b"\x93NUMPY"), "{:?}", &bytes[..8]);
        bytes[128..].chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
    };
    sandbox.ok(&format!("predict photo.png {NET} --raw new/x.npy -q"));
    assert_eq!(numbers(&fs::read(sandbox.path("new/x.npy")).unwrap()), values);
    sandbox.ok(&format!("gradcam photo.png {NET} --raw x.npz -q"));
    let mut archive = zip::ZipArchive::new(fs::File::open(sandbox.path("x.npz")).unwrap()).unwrap();
    let names: Vec<String> = archive.file_names().map(|name| name.unwrap().into_owned()).collect();
    assert_eq!(names, ["logits.npy", "map.npy", "heatmap.npy"]);
    let mut logits = Vec::new();
    std::io::copy(&mut archive.by_name("logits.npy").unwrap(), &mut logits).unwrap();
    assert_eq!(numbers(&logits), values);
    sandbox.ok(&format!("predict photo.png {NET} --raw x.csv -q"));
    let csv = fs::read_to_string(sandbox.path("x.csv")).unwrap();
    let third = csv.lines().nth(3).unwrap();
    assert_eq!((csv.lines().count(), third), (11, format!("logits,0,2,{}", values[2]).as_str()));
    sandbox.ok("convert random x2.npz -m small -q");
    assert!(sandbox.path("x2.npz").is_file());
    // Refused before the work: nothing is computed or written.
    sandbox.fails(2, &format!("predict photo.png {NET} --raw x.json"), &["x.json", ".safetensors, .npz, .npy or .csv"]);
    sandbox.fails(2, &format!("gradcam photo.png {NET} --raw x.npy"), &["x.npy", "one tensor", ".npz"]);
    sandbox.fails(2, "convert random x.txt -m small", &[".safetensors, .npz"]);
    sandbox.fails(2, "convert random y.npz -m small --dtype f16", &["only .safetensors holds f16"]);
    sandbox.fails(2, "convert random y.csv -m resnet20-cifar", &["100000", ".npz"]);
}
