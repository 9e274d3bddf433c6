//! Resizing, bit-exact to Pillow (`Resample.c` and, for nearest neighbour, `Geometry.c`).
//!
//! When shrinking, a filter is stretched by the scale (antialiasing). It is sampled at pixel centres, normalised in f64 and
//! rounded to 22-bit fixed point. Rows are convolved first and rounded to bytes, then columns. Columns come first if the height
//! shrinks by more than twice the factor of the width (Pillow 13; older versions always begin with rows, a difference of 1 in
//! some bytes of tall images). All known crates differ by one or more in a fifth of the bytes.

use std::f64::consts::PI;
use std::ops::Range;

use image::RgbImage;
use serde::{Deserialize, Serialize};

use super::{ImageError, MAX_PIXELS};

/// Fraction bits of a coefficient. With bytes, and sums of |coefficients| up to 2, an i32 cannot overflow.
const PRECISION: u32 = 22;

/// Resampling filter, by Pillow's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Filter {
    /// Nearest neighbour, without antialiasing.
    Nearest,
    /// Mean of the covered pixels.
    Box,
    /// Triangle: torchvision's default.
    Bilinear,
    /// Keys' cubic with a = -0.5: timm's default.
    Bicubic,
    /// Sinc windowed by a sinc of three times its width.
    Lanczos,
}

impl Filter {
    /// Half the width of the filter at scale 1.
    fn support(self) -> f64 {
        match self {
            Self::Nearest => 0.0,
            Self::Box => 0.5,
            Self::Bilinear => 1.0,
            Self::Bicubic => 2.0,
            Self::Lanczos => 3.0,
        }
    }

    /// Unnormalised weight at a distance from the centre.
    fn weight(self, x: f64) -> f64 {
        let sinc = |x: f64| if x == 0.0 { 1.0 } else { (x * PI).sin() / (x * PI) };
        let d = x.abs();
        match self {
            Self::Box if -0.5 < x && x <= 0.5 => 1.0,
            Self::Bilinear if d < 1.0 => 1.0 - d,
            Self::Bicubic if d < 1.0 => (1.5 * d - 2.5) * d * d + 1.0,
            Self::Bicubic if d < 2.0 => (((d - 5.0) * d + 8.0) * d - 4.0) * -0.5,
            Self::Lanczos if (-3.0..3.0).contains(&x) => sinc(x) * sinc(x / 3.0),
            _ => 0.0,
        }
    }
}

/// A region of a resized image, within its bounds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Region {
    pub x: usize,
    pub y: usize,
    pub w: usize,
    pub h: usize,
}

/// `PIL.Image.resize((w, h), filter)` of an RGB image.
///
/// # Errors
/// [`ImageError`] if a side is zero or the result would have more than [`MAX_PIXELS`].
pub fn resize(image: &RgbImage, w: usize, h: usize, filter: Filter) -> Result<RgbImage, ImageError> {
    let (from_w, from_h) = image.dimensions();
    for (what, w, h) in [("an image", from_w as usize, from_h as usize), ("a resize", w, h)] {
        if w == 0 || h == 0 {
            return Err(ImageError::Empty { what, w, h });
        }
    }
    if (w as u64).saturating_mul(h as u64) > MAX_PIXELS {
        return Err(ImageError::ResizedTooLarge { from_w, from_h, w, h });
    }
    Ok(resize_region(image, (w, h), Region { x: 0, y: 0, w, h }, filter))
}

/// The pixels of `region` in the image resized to `(w, h)`, without the rest. No side is zero.
pub(super) fn resize_region(image: &RgbImage, (w, h): (usize, usize), region: Region, filter: Filter) -> RgbImage {
    let (from_w, from_h) = (image.width() as usize, image.height() as usize);
    let Region { x, y, w: region_w, h: region_h } = region;
    let bytes = if filter == Filter::Nearest || (from_w, from_h) == (w, h) {
        let columns = nearest(from_w, w, x, region_w);
        let rows = nearest(from_h, h, y, region_h);
        pick(image, &columns, &rows)
    } else {
        let mut columns = taps(from_w, w, x, region_w, filter);
        let mut rows = taps(from_h, h, y, region_h, filter);
        // The source region under the output region.
        let (from_columns, from_rows) = (rebase(&mut columns), rebase(&mut rows));
        let width = from_columns.len();
        let source = cut(image, from_columns, from_rows);
        let (lost_w, lost_h) = (from_w as i64 - w as i64, from_h as i64 - h as i64);
        if lost_h > 0 && lost_h > 2 * lost_w {
            convolve_rows(&convolve_columns(&source, width, &rows), width, &columns)
        } else {
            convolve_columns(&convolve_rows(&source, width, &columns), region_w, &rows)
        }
    };
    RgbImage::from_raw(region_w as u32, region_h as u32, bytes).expect("as many bytes as the region has")
}

/// The taps of an output pixel along one axis: source pixels with fixed-point weights.
struct Taps {
    start: usize,
    weights: Vec<i32>,
}

/// The taps of the pixels `start..start + count` for a resize from `from` to `to` pixels: `precompute_coeffs` and
/// `normalize_coeffs_8bpc`.
fn taps(from: usize, to: usize, start: usize, count: usize, filter: Filter) -> Vec<Taps> {
    let scale = from as f64 / to as f64;
    let stretch = scale.max(1.0);
    let support = filter.support() * stretch;
    let shrink = 1.0 / stretch;
    let taps_of = |i: usize| {
        let centre = (i as f64 + 0.5) * scale;
        let low = (centre - support + 0.5).max(0.0) as usize;
        let high = ((centre + support + 0.5) as usize).min(from);
        let weights: Vec<f64> = (low..high).map(|j| filter.weight((j as f64 - centre + 0.5) * shrink)).collect();
        let sum: f64 = weights.iter().sum();
        let fixed = |weight: f64| {
            let weight = if sum == 0.0 { weight } else { weight / sum };
            (weight * f64::from(1 << PRECISION) + 0.5f64.copysign(weight)) as i32
        };
        Taps { start: low, weights: weights.into_iter().map(fixed).collect() }
    };
    (start..start + count).map(taps_of).collect()
}

/// Makes the starts relative to the first source pixel in use; returns the range of source pixels.
fn rebase(taps: &mut [Taps]) -> Range<usize> {
    let first = taps.iter().map(|t| t.start).min().unwrap_or(0);
    let end = taps.iter().map(|t| t.start + t.weights.len()).max().unwrap_or(0);
    for t in taps {
        t.start -= first;
    }
    first..end
}

/// Rounds a fixed-point sum, which already includes one half, to a byte.
fn to_byte(sum: i32) -> u8 {
    (sum >> PRECISION).clamp(0, 255) as u8
}

/// Rows of `w` RGB pixels to rows of one pixel per tap.
fn convolve_rows(rows: &[u8], w: usize, columns: &[Taps]) -> Vec<u8> {
    let mut out = vec![0; rows.len() / w * columns.len()];
    for (row, out) in rows.chunks_exact(w * 3).zip(out.chunks_exact_mut(columns.len() * 3)) {
        for (Taps { start, weights }, out) in columns.iter().zip(out.as_chunks_mut::<3>().0) {
            let mut sum = [1i32 << (PRECISION - 1); 3];
            for (pixel, &weight) in row[start * 3..].as_chunks::<3>().0.iter().zip(weights) {
                for c in 0..3 {
                    sum[c] += i32::from(pixel[c]) * weight;
                }
            }
            *out = sum.map(to_byte);
        }
    }
    out
}

/// Rows of `w` RGB pixels to one row per tap.
fn convolve_columns(source: &[u8], w: usize, rows: &[Taps]) -> Vec<u8> {
    let mut out = Vec::with_capacity(rows.len() * w * 3);
    let mut sum = vec![0i32; w * 3];
    for Taps { start, weights } in rows {
        sum.fill(1 << (PRECISION - 1));
        for (row, &weight) in source[start * w * 3..].chunks_exact(w * 3).zip(weights) {
            for (sum, &byte) in sum.iter_mut().zip(row) {
                *sum += i32::from(byte) * weight;
            }
        }
        out.extend(sum.iter().map(|&sum| to_byte(sum)));
    }
    out
}

/// Source positions of the pixels `start..start + count`: `ImagingScaleAffine`, which accumulates the scale instead of
/// multiplying.
fn nearest(from: usize, to: usize, start: usize, count: usize) -> Vec<usize> {
    let scale = from as f64 / to as f64;
    let positions = std::iter::successors(Some(scale * 0.5), |position| Some(position + scale));
    positions.skip(start).take(count).map(|position| (position as usize).min(from - 1)).collect()
}

/// The pixels at the given columns and rows.
fn pick(image: &RgbImage, columns: &[usize], rows: &[usize]) -> Vec<u8> {
    let (pixels, width) = (image.as_raw().as_chunks::<3>().0, image.width() as usize);
    rows.iter().flat_map(|row| columns.iter().flat_map(move |column| pixels[row * width + column])).collect()
}

/// The pixels of adjacent columns and rows.
fn cut(image: &RgbImage, columns: Range<usize>, rows: Range<usize>) -> Vec<u8> {
    let stride = image.width() as usize * 3;
    let mut bytes = Vec::with_capacity(3 * columns.len() * rows.len());
    for row in image.as_raw()[rows.start * stride..rows.end * stride].chunks_exact(stride) {
        bytes.extend_from_slice(&row[columns.start * 3..columns.end * 3]);
    }
    bytes
}

/// A region of an image.
pub fn crop(image: &RgbImage, x: usize, y: usize, w: usize, h: usize) -> RgbImage {
    RgbImage::from_raw(w as u32, h as u32, cut(image, x..x + w, y..y + h)).expect("as many bytes as pixels")
}
