//! PNG and JPEG files to RGB bytes, as Pillow's `Image.open(path).convert("RGB")` gives them.
//!
//! Grey is repeated, palettes are looked up, alpha and transparent colours are dropped without blending, 16-bit colour keeps
//! its upper byte. 16-bit grey is clipped at 255, as Pillow does: such files mostly need scaling to 8 bits first. An
//! orientation noted in EXIF is not applied, nor is a colour profile.

use std::fs;
use std::io::Cursor;
use std::path::Path;

use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits, RgbImage};

use super::{ImageError, MAX_PIXELS};

/// What the decoder may allocate: the largest image as 16-bit RGBA, and some.
const MAX_ALLOC: u64 = 1 << 30;

/// Reads a PNG or JPEG file; the content decides which, not the name.
///
/// # Errors
/// If the file cannot be read, is of another kind, damaged, or has more than [`MAX_PIXELS`].
pub fn read_image(path: &Path) -> Result<RgbImage, ImageError> {
    let bytes = fs::read(path).map_err(|source| ImageError::Read { path: path.to_owned(), source })?;
    decode(&bytes, &path.display().to_string())
}

/// Decodes a PNG or JPEG file in memory; `name` is what messages call it.
///
/// # Errors
/// If the content is of another kind, damaged, or has more than [`MAX_PIXELS`].
pub fn decode(bytes: &[u8], name: &str) -> Result<RgbImage, ImageError> {
    let name = name.to_owned();
    let format = match image::guess_format(bytes) {
        Ok(format @ (ImageFormat::Png | ImageFormat::Jpeg)) => format,
        Ok(other) => return Err(ImageError::Format { name, found: format!("a {other:?} file") }),
        Err(_) if bytes.is_empty() => return Err(ImageError::Format { name, found: "empty".to_owned() }),
        Err(_) => return Err(ImageError::Format { name, found: "of an unknown kind".to_owned() }),
    };
    // The decoders' messages may run over several lines.
    let damaged = |reason: String| ImageError::Damaged {
        name: name.clone(),
        reason: reason.split_whitespace().collect::<Vec<_>>().join(" "),
    };
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    let mut limits = Limits::default();
    limits.max_alloc = Some(MAX_ALLOC);
    reader.limits(limits);
    let decoder = reader.into_decoder().map_err(|e| damaged(e.to_string()))?;
    let (w, h) = decoder.dimensions();
    if u64::from(w) * u64::from(h) > MAX_PIXELS {
        return Err(ImageError::TooLarge { name, w, h });
    }
    if format == ImageFormat::Jpeg && jpeg_is_truncated(bytes) {
        return Err(damaged("the file ends before the picture does".to_owned()));
    }
    let decoded = DynamicImage::from_decoder(decoder).map_err(|e| damaged(e.to_string()))?;
    Ok(to_rgb(decoded, format == ImageFormat::Png && is_grey(bytes)))
}

/// Whether a PNG has neither colour nor an alpha channel of its own (the colour type in its header is 0). The decoder makes alpha
/// of a transparent colour, so its output does not tell.
fn is_grey(png: &[u8]) -> bool {
    png.get(25) == Some(&0)
}

/// Whether a JPEG ends before its end marker. The decoder fills what is missing with grey and says nothing.
fn jpeg_is_truncated(jpeg: &[u8]) -> bool {
    let mut rest = jpeg;
    loop {
        // Stuffed zeros, restarts and fill bytes belong to the coded data, which is thus skipped like everything without a length.
        let is_marker = |pair: &[u8]| pair[0] == 0xFF && !matches!(pair[1], 0x00 | 0x01 | 0xD0..=0xD8 | 0xFF);
        let Some(marker) = rest.windows(2).position(is_marker) else { return true };
        if rest[marker + 1] == 0xD9 {
            return false;
        }
        let Some(&[high, low]) = rest.get(marker + 2..marker + 4) else { return true };
        let Some(after) = rest.get(marker + 2 + usize::from(u16::from_be_bytes([high, low]))..) else { return true };
        rest = after;
    }
}

/// Pillow's `convert("RGB")`; `grey` marks 16-bit values that are to be clipped rather than shifted.
fn to_rgb(image: DynamicImage, grey: bool) -> RgbImage {
    let (w, h) = (image.width(), image.height());
    let narrow =
        |samples: Vec<u16>| -> Vec<u8> { samples.into_iter().map(|v| if grey { v.min(255) } else { v >> 8 } as u8).collect() };
    let (samples, channels) = match image {
        DynamicImage::ImageRgb8(rgb) => return rgb,
        DynamicImage::ImageLuma8(i) => (i.into_raw(), 1),
        DynamicImage::ImageLumaA8(i) => (i.into_raw(), 2),
        DynamicImage::ImageRgba8(i) => (i.into_raw(), 4),
        DynamicImage::ImageLuma16(i) => (narrow(i.into_raw()), 1),
        DynamicImage::ImageLumaA16(i) => (narrow(i.into_raw()), 2),
        DynamicImage::ImageRgb16(i) => (narrow(i.into_raw()), 3),
        DynamicImage::ImageRgba16(i) => (narrow(i.into_raw()), 4),
        other => return other.into_rgb8(), // floats: neither PNG nor JPEG has them
    };
    let pixel = |p: &[u8]| if channels < 3 { [p[0]; 3] } else { [p[0], p[1], p[2]] };
    let bytes = samples.chunks_exact(channels).flat_map(pixel).collect();
    RgbImage::from_raw(w, h, bytes).expect("three bytes a pixel")
}
