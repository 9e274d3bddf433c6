//! Resizing of maps and pictures.

use super::{DrawError, check_pixels, check_shape};
use image::imageops::{self, FilterType};
use image::{Rgb, RgbImage};

/// Means over blocks of `k` x `k` values, `[h, w]` to `[ceil(h/k), ceil(w/k)]`; edge blocks may be smaller.
///
/// # Errors
/// [`DrawError::Length`] or [`DrawError::Empty`].
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

/// Repeats every pixel `k` x `k` times.
///
/// # Errors
/// [`DrawError::TooLarge`].
pub fn nearest(picture: &RgbImage, k: u32) -> Result<RgbImage, DrawError> {
    let (w, h) = (u64::from(picture.width()) * u64::from(k), u64::from(picture.height()) * u64::from(k));
    check_pixels(w, h)?;
    Ok(RgbImage::from_fn(w as u32, h as u32, |x, y| *picture.get_pixel(x / k, y / k)))
}

/// Pictures with a shorter side below this keep sharp pixels.
const TINY: u32 = 64;

/// Fits a picture into `max_w` x `max_h`, keeping its aspect ratio: tiny pictures by an integer factor and nearest neighbour,
/// others by interpolation, up or down.
///
/// ```
/// use convscope_viz::draw::resize::fit;
/// let photo = image::RgbImage::new(1000, 500);
/// assert_eq!(fit(&photo, 300, 300)?.dimensions(), (300, 150));
/// # Ok::<_, convscope_viz::draw::DrawError>(())
/// ```
///
/// # Errors
/// [`DrawError::Empty`] for an empty picture, [`DrawError::TooLarge`].
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

/// Integer scaling between a cell's content and its drawing; one of the factors is 1.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fitting {
    pub grow: u32,
    pub shrink: usize,
    /// Width and height as drawn.
    pub shown: (u32, u32),
}

impl Fitting {
    /// Enlarges to at most `target`, keeps sizes up to twice the target, shrinks larger ones.
    pub fn new((w, h): (usize, usize), target: u32) -> Fitting {
        let side = w.max(h);
        let grow = (target as usize / side).max(1);
        let shrink = side.div_ceil(2 * target as usize);
        let shown = |n: usize| (n.div_ceil(shrink) * grow) as u32;
        Fitting { grow: grow as u32, shrink, shown: (shown(w), shown(h)) }
    }

    /// Description of the scaling.
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

/// A map through a function to colours, one pixel per value.
pub(crate) fn paint(map: &[f32], h: usize, w: usize, color: impl Fn(f32) -> [u8; 3]) -> Result<RgbImage, DrawError> {
    check_shape("the map", map, 1, h, w)?;
    Ok(RgbImage::from_fn(w as u32, h as u32, |x, y| Rgb(color(map[y as usize * w + x as usize]))))
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert!(nearest(&RgbImage::new(10, 10), 1_000_000).is_err());
        assert!(fit(&RgbImage::new(0, 0), 10, 10).is_err());
    }
}
