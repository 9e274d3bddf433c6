//! PNG and JPEG files to RGB bytes, as Pillow's `Image.open(path).convert("RGB")` gives them.
//!
//! Grey is repeated, palettes are looked up, alpha and transparent colours are dropped without blending, 16-bit colour keeps
//! its upper byte. 16-bit grey is clipped at 255, as Pillow does: such files mostly need scaling to 8 bits first. An
//! orientation noted in EXIF is not applied, nor is a colour profile.

use std::fs;
use std::io::Cursor;
use std::path::Path;

use image::codecs::png::PngDecoder;
use image::{DynamicImage, ImageDecoder, ImageFormat, Limits, RgbImage};

use crate::builtin;

use super::jpeg::{self, JpegError};
use super::{ImageError, MAX_PIXELS};

/// Memory limit of the decoder: the largest image as 16-bit RGBA, with a margin.
const MAX_ALLOC: u64 = 1 << 30;

/// Reads a PNG or JPEG file, detected by its content. `sample:cat` and the like are bundled photos ([`crate::builtin::SAMPLES`]).
///
/// # Errors
/// [`ImageError`] if the file is unreadable, of another kind, damaged, or has more than [`MAX_PIXELS`].
pub fn read_image(path: &Path) -> Result<RgbImage, ImageError> {
    let text = path.to_string_lossy();
    if let Some(sample) = builtin::SAMPLES.iter().find(|s| s.name == text) {
        return decode(sample.jpeg, sample.name);
    }
    let bytes = fs::read(path).map_err(|source| ImageError::Read { path: path.to_owned(), source })?;
    decode(&bytes, &path.display().to_string())
}

/// Decodes a PNG or JPEG file in memory; `name` is its name in messages.
///
/// # Errors
/// [`ImageError`] if the content is of another kind, damaged, or has more than [`MAX_PIXELS`].
pub fn decode(bytes: &[u8], name: &str) -> Result<RgbImage, ImageError> {
    let name = name.to_owned();
    match image::guess_format(bytes) {
        Ok(ImageFormat::Png) => decode_png(bytes, name),
        Ok(ImageFormat::Jpeg) => jpeg::decode(bytes).map_err(|e| match e {
            JpegError::TooLarge(w, h) => ImageError::TooLarge { name, w, h },
            JpegError::Damaged(reason) => ImageError::Damaged { name, reason: reason.to_owned() },
        }),
        Ok(other) => Err(ImageError::Format { name, found: format!("a {other:?} file") }),
        Err(_) if bytes.is_empty() => Err(ImageError::Format { name, found: "empty".to_owned() }),
        Err(_) => Err(ImageError::Format { name, found: "of an unknown kind".to_owned() }),
    }
}

fn decode_png(bytes: &[u8], name: String) -> Result<RgbImage, ImageError> {
    // The decoder's messages may have several lines.
    let damaged = |e: image::ImageError| ImageError::Damaged {
        name: name.clone(),
        reason: e.to_string().split_whitespace().collect::<Vec<_>>().join(" "),
    };
    if let Some(len) = palette(bytes).filter(|len| !len.is_multiple_of(3) || *len > 3 * 256) {
        return Err(ImageError::Damaged { name, reason: format!("a palette of {len} bytes") });
    }
    let mut limits = Limits::default();
    limits.max_alloc = Some(MAX_ALLOC);
    let decoder = PngDecoder::with_limits(Cursor::new(bytes), limits).map_err(damaged)?;
    let (w, h) = decoder.dimensions();
    if u64::from(w) * u64::from(h) > MAX_PIXELS {
        return Err(ImageError::TooLarge { name, w, h });
    }
    if filtered_bytes(bytes, w, h) > MOST_DEFLATE * bytes.len() as u64 {
        return Err(ImageError::Damaged { name, reason: format!("{} bytes cannot hold {w} x {h} pixels", bytes.len()) });
    }
    let decoded = DynamicImage::from_decoder(decoder).map_err(damaged)?;
    Ok(to_rgb(decoded, is_grey(bytes)))
}

/// Bytes of a PNG's palette; the decoder allocates whole colours for them.
fn palette(png: &[u8]) -> Option<usize> {
    let mut rest = png.get(8..)?;
    // A chunk: length of the data, type, data, checksum.
    while let Some((head, data)) = rest.split_first_chunk::<8>() {
        let (len, kind) = (u32::from_be_bytes([head[0], head[1], head[2], head[3]]) as usize, &head[4..]);
        match kind {
            b"PLTE" => return Some(len),
            b"IDAT" => return None,
            _ => rest = data.get(len.checked_add(4)?..)?,
        }
    }
    None
}

/// Maximum expansion of a byte by deflate.
const MOST_DEFLATE: u64 = 1032;

/// Minimum size of a PNG's uncompressed data: its rows with a byte before each. Interlacing adds to it.
fn filtered_bytes(png: &[u8], w: u32, h: u32) -> u64 {
    let [depth, colour] = [24, 25].map(|index| png.get(index).copied().unwrap_or(0));
    let samples = match colour {
        2 => 3,
        4 => 2,
        6 => 4,
        _ => 1, // grey, or a palette index
    };
    u64::from(h) * (1 + (u64::from(w) * samples * u64::from(depth)).div_ceil(8))
}

/// Whether a PNG has neither a colour type nor an alpha channel in its header. The decoder's output hides this: it turns a
/// transparent colour into alpha.
fn is_grey(png: &[u8]) -> bool {
    png.get(25) == Some(&0)
}

/// Pillow's `convert("RGB")`; `grey` marks 16-bit values, which are clipped instead of shifted.
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
        other => return other.into_rgb8(), // floats, which no PNG has
    };
    let pixel = |p: &[u8]| if channels < 3 { [p[0]; 3] } else { [p[0], p[1], p[2]] };
    let bytes = samples.chunks_exact(channels).flat_map(pixel).collect();
    RgbImage::from_raw(w, h, bytes).expect("three bytes a pixel")
}
