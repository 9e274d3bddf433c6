//! Images that cannot be used, and the smallest and largest ones.

use super::support::{NET, Sandbox, encoded, noise, photo};
use image::ImageFormat;
use std::fs;
use std::time::{Duration, Instant};

/// Every command that reads an image refuses it alike.
fn refused(sandbox: &Sandbox, file: &str, says: &[&str]) {
    let says: Vec<&str> = says.iter().copied().chain([file]).collect();
    for command in ["predict", "features", "gradcam", "trace"] {
        sandbox.fails(1, &format!("{command} {file} {NET}"), &says);
    }
    sandbox.fails(1, &format!("predict {file} {NET} --raw raw.safetensors --input-gradient"), &says);
    sandbox.fails(1, &format!("ascent --layer conv1:0 --start {file} {NET}"), &says);
}

#[test]
fn missing() {
    refused(&Sandbox::new(), "missing.png", &["cannot read image"]);
}

#[test]
fn empty() {
    let sandbox = Sandbox::new();
    sandbox.write("empty.png", b"");
    refused(&sandbox, "empty.png", &["is empty, expected a PNG or JPEG"]);
}

#[test]
fn a_folder() {
    let sandbox = Sandbox::new();
    fs::create_dir(sandbox.path("folder.png")).unwrap();
    refused(&sandbox, "folder.png", &["cannot read image"]);
}

#[test]
fn truncated() {
    let sandbox = Sandbox::new();
    for (name, format) in [("cut.png", ImageFormat::Png), ("cut.jpg", ImageFormat::Jpeg)] {
        let whole = encoded(&photo(64, 48), format);
        for keep in [12, whole.len() / 2, whole.len() - 20] {
            sandbox.write(name, &whole[..keep]);
            sandbox.fails(1, &format!("predict {name} {NET}"), &[name]);
        }
        refused(&sandbox, name, &["cannot be decoded"]);
    }
}

#[test]
fn of_another_kind() {
    let sandbox = Sandbox::new();
    sandbox.write("noise.jpg", noise(5000));
    refused(&sandbox, "noise.jpg", &["expected a PNG or JPEG"]);
    sandbox.write("text.png", "This is not a picture.\nIt has two lines.\n");
    refused(&sandbox, "text.png", &["expected a PNG or JPEG"]);
    sandbox.write("anim.gif", b"GIF89a\x01\0\x01\0\x80\0\0\0\0\0\xff\xff\xff,\0\0\0\0\x01\0\x01\0\0\x02\x02D\x01\0;");
    refused(&sandbox, "anim.gif", &["a Gif file, expected a PNG or JPEG"]);
}

#[test]
fn one_pixel() {
    let sandbox = Sandbox::new();
    sandbox.photo("dot.png", 1, 1);
    let says = ["dot.png", "1x1 is too small for vgg11", "features.", "needs at least 32x32"];
    sandbox.fails(1, "predict dot.png -m vgg11 -w random --size own", &says);
    sandbox.fails(1, "features dot.png -m vgg11 -w random --size own", &says);
    // Stretched to the network's size it is as good as any, and a fully convolutional network takes it as it is.
    for size in ["", "--size own"] {
        let rows = sandbox.json(&format!("predict dot.png {NET} {size}"));
        assert_eq!(rows[0]["top"].as_array().unwrap().len(), 5);
    }
    sandbox.ok(&format!("features dot.png {NET} --size own -l conv1,layer3"));
    sandbox.ok(&format!("gradcam dot.png {NET} --size own"));
}

/// A folder with one image that is too small for the network.
#[test]
fn one_pixel_in_a_folder() {
    let sandbox = Sandbox::new();
    sandbox.photo("set/1/dot.png", 1, 1);
    sandbox.fails(1, "eval set -m small -w random --size own", &["dot.png", "1x1 is too small for small"]);
}

/// 20,000 x 20,000 pixels, all black, as a real PNG with one bit a pixel.
#[test]
fn enormous() {
    let sandbox = Sandbox::new();
    let mut encoder = png::Encoder::new(fs::File::create(sandbox.path("huge.png")).unwrap(), 20_000, 20_000);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.set_depth(png::BitDepth::One);
    encoder.set_compression(png::Compression::Fastest);
    encoder.set_filter(png::Filter::NoFilter);
    encoder.write_header().unwrap().write_image_data(&vec![0; 20_000 * 2_500]).unwrap();
    let start = Instant::now();
    refused(&sandbox, "huge.png", &["20000 x 20000 pixels, more than", "scale it down"]);
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    // Not even the decoded bytes fit into the memory limit.
    #[cfg(target_os = "linux")]
    {
        let limited = std::process::Command::new("sh")
            .args(["-c", "ulimit -v 1000000; exec \"$0\" predict huge.png -m resnet20-cifar -w random --threads 2"])
            .arg(env!("CARGO_BIN_EXE_convscope"))
            .current_dir(sandbox.path(""))
            .output()
            .unwrap();
        let (code, _, err) = super::support::read(limited);
        assert_eq!(code, Some(1), "{err}");
        assert!(err.contains("more than"), "{err}");
    }
}

#[cfg(unix)]
#[test]
fn a_name_that_is_no_text() {
    use std::os::unix::ffi::OsStrExt;
    let sandbox = Sandbox::with_photo();
    let name = std::ffi::OsStr::from_bytes(b"caf\xe9.png");
    fs::rename(sandbox.path("photo.png"), sandbox.path(name)).unwrap();
    for command in ["predict", "features", "gradcam"] {
        let mut typed = sandbox.command(&format!("{command} {NET} --json"));
        let (code, out, err) = super::support::read(typed.arg(name).output().unwrap());
        assert_eq!((code, err.as_str()), (Some(0), ""), "{command}");
        assert!(out.contains("caf\u{fffd}.png"), "{out}");
    }
}

/// Layers that no memory holds are refused before the first one is computed. 8192 x 8192 pixels need 100 GB and more here.
#[test]
fn a_size_that_memory_does_not_hold() {
    let sandbox = Sandbox::with_photo();
    let free = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let free = free.lines().find_map(|l| l.strip_prefix("MemAvailable:")?.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    match free {
        Some(kb) if kb < 90_000_000 => {
            sandbox.fails(1, &format!("gradcam photo.png {NET} --size 8192x8192"), &["8192x8192", "GB", "--size"]);
            sandbox.fails(1, &format!("ascent -l layer3:0 {NET} --size 8192"), &["8192x8192", "GB", "--size"]);
        }
        _ => println!("skipped: this machine does not report its memory, or has more than the test can fill"),
    }
}
