//! Changing the size of maps and pictures.

use super::{DrawError, check_pixels, check_shape};
use image::imageops::{self, FilterType};
use image::{Rgb, RgbImage};

/// Resizes a map of `h` x `w` values to `to_h` x `to_w`: bilinear, half-pixel centres, edges clamped. The same numbers as
/// `cv2.resize(map, (to_w, to_h), interpolation=cv2.INTER_LINEAR)` on float32, up to the last bits.
pub fn bilinear(map: &[f32], h: usize, w: usize, to_h: usize, to_w: usize) -> Result<Vec<f32>, DrawError> {
    check_shape("the map to resize", map, 1, h, w)?;
    check_pixels(to_w as u64, to_h as u64)?;
    let columns = taps(w, to_w);
    // Horizontal first, in the order OpenCV rounds.
    let across: Vec<f32> =
        map.chunks_exact(w).flat_map(|row| columns.iter().map(|t| row[t.0] * (1.0 - t.2) + row[t.1] * t.2)).collect(); // [h, to_w]
    let mut out = Vec::with_capacity(to_h * to_w);
    for (y0, y1, f) in taps(h, to_h) {
        let (upper, lower) = (&across[y0 * to_w..][..to_w], &across[y1 * to_w..][..to_w]);
        out.extend(upper.iter().zip(lower).map(|(a, b)| a * (1.0 - f) + b * f));
    }
    Ok(out)
}

/// For each of `to` samples the two source positions and the weight of the second.
fn taps(from: usize, to: usize) -> Vec<(usize, usize, f32)> {
    let step = from as f64 / to as f64;
    (0..to)
        .map(|i| {
            let x = ((i as f64 + 0.5) * step - 0.5) as f32;
            let floor = x.floor();
            if floor < 0.0 {
                return (0, 0, 0.0);
            }
            let left = (floor as usize).min(from - 1);
            (left, (left + 1).min(from - 1), x - floor)
        })
        .collect()
}

/// Means over blocks of `k` x `k` values, `[h, w]` to `[ceil(h/k), ceil(w/k)]`; blocks at the edge may be smaller.
pub fn box_mean(map: &[f32], h: usize, w: usize, k: usize) -> Result<Vec<f32>, DrawError> {
    check_shape("the map to shrink", map, 1, h, w)?;
    let k = k.max(1);
    let mut out = Vec::with_capacity(h.div_ceil(k) * w.div_ceil(k));
    for y in (0..h).step_by(k) {
        for x in (0..w).step_by(k) {
            let (rows, cols) = (k.min(h - y), k.min(w - x));
            let sum: f64 = (y..y + rows).flat_map(|r| &map[r * w + x..][..cols]).map(|v| f64::from(*v)).sum();
            out.push((sum / (rows * cols) as f64) as f32);
        }
    }
    Ok(out)
}

/// Every pixel becomes a square of `k` x `k`.
pub fn nearest(picture: &RgbImage, k: u32) -> Result<RgbImage, DrawError> {
    let (w, h) = (u64::from(picture.width()) * u64::from(k), u64::from(picture.height()) * u64::from(k));
    check_pixels(w, h)?;
    Ok(RgbImage::from_fn(w as u32, h as u32, |x, y| *picture.get_pixel(x / k, y / k)))
}

/// Pictures with a shorter side below this are shown as pixels, not smoothed: a CIFAR photo is its pixels.
const TINY: u32 = 64;

/// Fits a picture into `max_w` x `max_h` for display, keeping its proportions: tiny pictures by a whole factor with
/// nearest neighbour, others smoothly, up or down.
pub fn fit(picture: &RgbImage, max_w: u32, max_h: u32) -> Result<RgbImage, DrawError> {
    let (w, h) = picture.dimensions();
    check_pixels(w.into(), h.into())?;
    let whole = (max_w / w).min(max_h / h);
    if w.min(h) < TINY && whole >= 1 {
        return nearest(picture, whole);
    }
    let factor = (f64::from(max_w) / f64::from(w)).min(f64::from(max_h) / f64::from(h));
    let scaled = |n: u32| ((f64::from(n) * factor).round() as u32).max(1);
    if (scaled(w), scaled(h)) == (w, h) {
        return Ok(picture.clone());
    }
    let filter = if factor < 1.0 { FilterType::Lanczos3 } else { FilterType::CatmullRom };
    Ok(imageops::resize(picture, scaled(w), scaled(h), filter))
}

/// Whole factors between what a cell holds and what is drawn: one of them is 1.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fitting {
    pub grow: u32,
    pub shrink: usize,
    /// Width and height as drawn.
    pub shown: (u32, u32),
}

impl Fitting {
    /// Grows to at most `target`; shows up to twice the target as it is; shrinks what is larger.
    pub fn new((w, h): (usize, usize), target: u32) -> Fitting {
        let side = w.max(h);
        let grow = (target as usize / side).max(1);
        let shrink = side.div_ceil(2 * target as usize);
        let shown = |n: usize| (n.div_ceil(shrink) * grow) as u32;
        Fitting { grow: grow as u32, shrink, shown: (shown(w), shown(h)) }
    }

    /// What was done, in words.
    pub fn note(&self, (w, h): (usize, usize), what: &str) -> String {
        if self.shrink > 1 {
            return format!("{what} {w} × {h}, shrunk {} times (averaged)", self.shrink);
        }
        match self.grow {
            1 => format!("{what} {w} × {h}, pixel for pixel"),
            k => format!("{what} {w} × {h}, enlarged {k} times (nearest)"),
        }
    }
}

/// A map through a function to colours, one pixel a value.
pub(crate) fn paint(map: &[f32], h: usize, w: usize, color: impl Fn(f32) -> [u8; 3]) -> Result<RgbImage, DrawError> {
    check_shape("the map", map, 1, h, w)?;
    Ok(RgbImage::from_fn(w as u32, h as u32, |x, y| Rgb(color(map[y as usize * w + x as usize]))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(a: &[f32], b: &[f32]) {
        assert_eq!(a.len(), b.len());
        for (i, (a, b)) in a.iter().zip(b).enumerate() {
            assert!((a - b).abs() <= 2e-7, "value {i}: {a} instead of {b}");
        }
    }

    /// Values made with `cv2.resize` of OpenCV 5.0.
    #[test]
    #[rustfmt::skip]
    fn bilinear_is_that_of_opencv() {
        let up = bilinear(&[0.1, 0.9, 0.3, 0.7, 0.2, 0.5], 2, 3, 5, 7).unwrap();
        close(&up, &[
            0.1,        0.21428572, 0.55714285, 0.9,        0.64285713, 0.3857143,  0.3,
            0.16,       0.2557143,  0.5428571,  0.83,       0.61142856, 0.39285716, 0.32000002,
            0.39999998, 0.42142856, 0.48571426, 0.54999995, 0.4857143,  0.42142856, 0.4,
            0.6399999,  0.5871428,  0.4285714,  0.27,       0.36,       0.45,       0.48,
            0.7,        0.6285714,  0.4142857,  0.2,        0.32857144, 0.45714286, 0.5,
        ]);
        let map: Vec<f32> = (0..35).map(|i| (i * 7 % 11) as f32 / 10.0).collect();
        close(&bilinear(&map, 5, 7, 3, 4).unwrap(), &[
            0.29166666, 0.5083333,  0.45000002, 0.575,
            0.85,       0.2875,     0.55,       0.5375,
            0.5833334,  0.34166664, 0.6041667,  0.40833333,
        ]);
        let squares: Vec<f32> = (0..16).map(|i| (i * i) as f32).collect();
        assert_eq!(bilinear(&squares, 4, 4, 2, 2).unwrap(), [10.5, 24.5, 114.5, 160.5]);
        assert_eq!(bilinear(&squares, 4, 4, 4, 4).unwrap(), squares);
        assert_eq!(bilinear(&[3.0], 1, 1, 2, 3).unwrap(), [3.0; 6]);
    }

    #[test]
    fn box_means_keep_the_edge() {
        let map = [1.0, 3.0, 10.0, 5.0, 7.0, 20.0, 2.0, 4.0, 6.0];
        assert_eq!(box_mean(&map, 3, 3, 2).unwrap(), [4.0, 15.0, 3.0, 6.0]);
    }

    #[test]
    fn fits_tiny_and_large() {
        let tiny = RgbImage::from_fn(32, 30, |x, y| Rgb([x as u8, y as u8, 0]));
        let shown = fit(&tiny, 500, 500).unwrap();
        assert_eq!(shown.dimensions(), (480, 450));
        assert_eq!(shown.get_pixel(15 * 3 + 14, 29), tiny.get_pixel(3, 1));
        assert_eq!(fit(&RgbImage::new(1000, 500), 300, 300).unwrap().dimensions(), (300, 150));
        assert_eq!(fit(&RgbImage::new(5000, 2), 300, 300).unwrap().dimensions(), (300, 1));
    }

    #[test]
    fn bad_shapes_are_errors() {
        assert_eq!(
            bilinear(&[0.0; 5], 2, 3, 4, 4).unwrap_err().to_string(),
            "the map to resize has 5 values, but its shape 2x3 needs 6"
        );
        assert!(bilinear(&[], 0, 3, 4, 4).is_err());
        assert!(bilinear(&[0.0], 1, 1, 0, 4).is_err());
        assert!(nearest(&RgbImage::new(10, 10), 1_000_000).is_err());
        assert!(fit(&RgbImage::new(0, 0), 10, 10).is_err());
    }
}
