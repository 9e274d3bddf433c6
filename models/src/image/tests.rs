//! Tests of preprocessing against Pillow's, torchvision's and Keras' results, and of its limits.

use std::path::PathBuf;

use image::Rgb;
use proptest::prelude::*;
use safetensors::SafeTensors;
use serde_json::Value;

use super::*;

fn goldens() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/goldens")
}

fn png(name: &str) -> Vec<u8> {
    std::fs::read(goldens().join("png").join(format!("{name}.png"))).unwrap()
}

fn gradient(w: u32, h: u32) -> RgbImage {
    RgbImage::from_fn(w, h, |x, y| Rgb([(x * 5) as u8, (y * 3) as u8, (x * y) as u8]))
}

fn jpeg(name: &str) -> Vec<u8> {
    std::fs::read(goldens().join("jpeg").join(format!("{name}.jpg"))).unwrap()
}

/// Files that cover every path of the decoders.
fn varied() -> Vec<Vec<u8>> {
    let jpegs = ["420_even", "cmyk", "restarts", "progressive_420", "progressive_restarts"].map(jpeg);
    let pngs = ["rgb_23x41", "grey16", "palette_alpha"].map(png);
    jpegs.into_iter().chain(pngs).collect()
}

fn message(result: Result<RgbImage, ImageError>) -> String {
    let message = result.unwrap_err().to_string();
    assert!(!message.contains('\n'), "{message}");
    message
}

/// The description of a case, as the script writes it.
fn preprocess_of(case: &Value) -> Preprocess {
    let number = |v: &Value| v.as_u64().unwrap() as usize;
    let resize = &case["resize"];
    Preprocess {
        resize: match resize[0].as_str() {
            None => Resize::None,
            Some("short") => Resize::ShortSide(number(&resize[1])),
            Some(_) => Resize::Exact { h: number(&resize[1]), w: number(&resize[2]) },
        },
        filter: match case["filter"].as_str().unwrap() {
            "nearest" => Filter::Nearest,
            "box" => Filter::Box,
            "bilinear" => Filter::Bilinear,
            "bicubic" => Filter::Bicubic,
            "lanczos" => Filter::Lanczos,
            other => panic!("{other}"),
        },
        crop: case["crop"].as_array().map(|c| (number(&c[0]), number(&c[1]))),
        normalization: match case["normalization"].as_str().unwrap() {
            "imagenet" => Normalization::IMAGENET,
            "caffe" => Normalization::CAFFE,
            other => panic!("{other}"),
        },
    }
}

#[test]
fn equals_pillow_and_torchvision_bit_for_bit() {
    let bytes = std::fs::read(goldens().join("preprocess.safetensors")).unwrap();
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    let goldens = SafeTensors::deserialize(&bytes).unwrap();
    let cases: Vec<Value> = serde_json::from_str(&header.metadata().as_ref().unwrap()["cases"]).unwrap();
    assert!(cases.len() > 30);
    for case in &cases {
        let name = case["name"].as_str().unwrap();
        let image = decode(&png(case["png"].as_str().unwrap()), name).unwrap();
        let prepared = preprocess_of(case).prepare(&image).unwrap();
        let golden = |part: &str| goldens.tensor(&format!("{name}.{part}")).unwrap();
        assert_eq!(golden("shown").shape(), [prepared.h, prepared.w, 3], "{name}");
        assert!(golden("shown").data() == prepared.shown.as_raw(), "{name}: other bytes");
        let bits: Vec<u8> = prepared.data.iter().flat_map(|v| v.to_le_bytes()).collect();
        assert!(golden("data").data() == bits, "{name}: other bits");
    }
}

#[test]
fn jpeg_equals_libjpeg_bit_for_bit() {
    let bytes = std::fs::read(goldens().join("jpeg.safetensors")).unwrap();
    let goldens = SafeTensors::deserialize(&bytes).unwrap();
    assert!(goldens.len() > 25);
    for (name, golden) in goldens.tensors() {
        let image = read_image(&self::goldens().join("jpeg").join(format!("{name}.jpg"))).unwrap();
        assert_eq!(golden.shape(), [image.height() as usize, image.width() as usize, 3], "{name}");
        assert!(golden.data() == image.as_raw(), "{name}: other bytes");
    }
}

#[test]
fn the_longer_side_is_rounded_down() {
    assert_eq!(Resize::ShortSide(256).size(375, 500), (256, 341));
    assert_eq!(Resize::ShortSide(256).size(500, 375), (341, 256));
    assert_eq!(Resize::ShortSide(7).size(9, 200), (7, 155));
    assert_eq!(Resize::ShortSide(32).size(32, 32), (32, 32));
}

#[test]
fn the_inverse_gives_the_bytes_back() {
    let image = decode(&png("ramp_16x16"), "ramp").unwrap();
    for n in [Normalization::IMAGENET, Normalization::UNIT, Normalization::BYTES, Normalization::CAFFE] {
        assert_eq!(n.invert(&n.apply(&image), 16, 16).unwrap(), image, "{n:?}");
        assert_eq!(n.invert(&[0.0; 5], 1, 2), None);
    }
    let wild = Normalization::BYTES.invert(&[-3.0, 999.0, f32::NAN], 1, 1).unwrap();
    assert_eq!(wild.into_raw(), [0, 255, 0]);
}

#[test]
fn a_crop_of_a_resize_is_what_it_says() {
    let image = gradient(53, 31);
    for filter in [Filter::Nearest, Filter::Box, Filter::Bilinear, Filter::Bicubic, Filter::Lanczos] {
        let whole = resize(&image, 70, 24, filter).unwrap();
        let crop = Preprocess {
            resize: Resize::Exact { h: 24, w: 70 },
            filter,
            crop: Some((11, 41)),
            normalization: Normalization::BYTES,
        };
        let shown = crop.prepare(&image).unwrap().shown;
        // 13 and 29 pixels are spare: 6.5 and 14.5 round to the even 6 and 14.
        assert_eq!(shown, image::imageops::crop_imm(&whole, 14, 6, 41, 11).to_image(), "{filter:?}");
    }
}

#[test]
fn thin_images_cost_no_more_than_others() {
    let thin = gradient(1, 20_000);
    let prepared = Preprocess::IMAGENET.prepare(&thin).unwrap();
    assert_eq!((prepared.h, prepared.w, prepared.data.len()), (224, 224, 3 * 224 * 224));
    let whole = Preprocess { crop: None, ..Preprocess::IMAGENET };
    let message = whole.prepare(&thin).unwrap_err().to_string();
    assert!(message.starts_with("an image of 1 x 20000 would be resized to 256 x 5120000 pixels"), "{message}");
}

#[test]
fn sizes_without_pixels_are_refused() {
    let image = gradient(4, 3);
    for (resize, crop) in [(Resize::ShortSide(0), None), (Resize::Exact { h: 2, w: 0 }, None), (Resize::None, Some((0, 2)))] {
        let error = Preprocess { resize, crop, ..Preprocess::IMAGENET }.prepare(&image).unwrap_err();
        assert!(error.to_string().ends_with("has no pixels: both sides must be at least 1"));
    }
    assert!(Preprocess::IMAGENET.prepare(&RgbImage::new(0, 5)).is_err());
    assert!(super::resize(&image, 0, 2, Filter::Box).is_err());
    let vast = Resize::ShortSide(usize::MAX);
    assert!(Preprocess { resize: vast, crop: None, ..Preprocess::IMAGENET }.prepare(&image).is_err());
}

#[test]
fn bombs_are_refused_by_their_header() {
    let mut bomb = png("rgb_9x14");
    bomb[16..24].copy_from_slice(&[0, 0, 0x4E, 0x20, 0, 0, 0x4E, 0x20]);
    let crc = crc32(&bomb[12..29]);
    bomb[29..33].copy_from_slice(&crc.to_be_bytes());
    let text = message(decode(&bomb, "bomb.png"));
    assert!(text.starts_with("image bomb.png has 20000 x 20000 pixels, more than the 89478485"), "{text}");

    let mut bomb = jpeg("444");
    let frame = bomb.windows(2).position(|m| m == [0xFF, 0xC0]).unwrap();
    bomb[frame + 5..frame + 9].copy_from_slice(&[0xEA, 0x60, 0xEA, 0x60]);
    assert!(message(decode(&bomb, "bomb.jpg")).starts_with("image bomb.jpg has 60000 x 60000 pixels"));
}

fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32| if crc & 1 == 1 { 0xEDB8_8320 ^ (crc >> 1) } else { crc >> 1 };
    !bytes.iter().fold(!0, |crc, &byte| (0..8).fold(crc ^ u32::from(byte), |crc, _| step(crc)))
}

#[test]
fn other_files_are_named() {
    assert_eq!(message(decode(b"", "a")), "a is empty, expected a PNG or JPEG image");
    assert_eq!(message(decode(b"hello, world", "a")), "a is of an unknown kind, expected a PNG or JPEG image");
    assert_eq!(message(decode(b"GIF89a and so on", "a")), "a is a Gif file, expected a PNG or JPEG image");
    let missing = message(read_image(Path::new("no/such/file.png")));
    assert!(missing.starts_with("cannot read image no/such/file.png: "), "{missing}");
    assert!(prepare_file(&goldens(), &Preprocess::IMAGENET).is_err(), "a folder");
}

#[test]
fn every_truncation_is_an_error() {
    for whole in varied() {
        decode(&whole, "whole").unwrap();
        let is_png = whole[0] == 0x89;
        let picture_ends = whole.len() - if is_png { 12 } else { 0 }; // the PNG's IEND chunk
        for length in 0..picture_ends {
            message(decode(&whole[..length], "part"));
        }
    }
}

#[test]
fn what_follows_the_end_of_a_jpeg_does_not_matter() {
    let mut bytes = jpeg("444");
    let alone = decode(&bytes, "alone").unwrap();
    bytes.extend([0xFF, 0xDA, 1, 2, 3]);
    assert_eq!(decode(&bytes, "followed").unwrap(), alone);
}

proptest! {
    #[test]
    fn random_damage_never_panics(
        file in prop::sample::select(varied()),
        hits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let mut bytes = file;
        for (position, value) in hits {
            let position = position.index(bytes.len());
            bytes[position] = value;
        }
        if let Err(error) = decode(&bytes, "hit") {
            prop_assert!(!error.to_string().contains('\n'));
        }
    }
}
