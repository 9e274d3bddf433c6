//! From tensors to pictures, for results of gradient ascent and preprocessing.
//!
//! Tensors are `[3, h, w]` in row-major order; the first channel is shown as red.

use super::{DrawError, Range, check_shape};
use image::{Rgb, RgbImage};

/// Standardisation of the well-known gradient ascent scripts: subtract the mean of all values, divide by (standard deviation +
/// `eps`), multiply by `gain`, add `offset`, clip to [0, `white`], multiply by 255 / `white`, truncate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Standardize {
    /// Standard deviation of the result, before clipping.
    pub gain: f32,
    /// Mean of the result.
    pub offset: f32,
    /// Added to the standard deviation.
    pub eps: f32,
    /// The value of white: 1 or 255.
    pub white: f32,
    /// Pixels cropped at each edge, after the statistics.
    pub crop: usize,
}

impl Standardize {
    /// Chollet's book of 2017, 5.4.2 (and, before it, the Keras blog).
    pub const CHOLLET1: Self = Self { gain: 0.1, offset: 0.5, eps: 1e-5, white: 1.0, crop: 0 };
    /// keras.io, *Visualizing what convnets learn* (2020): cropped by 25.
    pub const KERAS_IO: Self = Self { gain: 0.15, crop: 25, ..Self::CHOLLET1 };
    /// Chollet's books of 2021 and 2025, and the feature-map grids: in units of 255, no epsilon.
    pub const CHOLLET2: Self = Self { gain: 64.0, offset: 128.0, eps: 0.0, white: 255.0, crop: 25 };

    /// The picture of `x`, `[3, h, w]`. The standard deviation is the population's, over all three channels together. NaN becomes
    /// 0, as does a constant with `eps` = 0.
    ///
    /// # Errors
    /// [`DrawError::Length`] or [`DrawError::Empty`] if `x` is not `[3, h, w]`.
    pub fn picture(&self, x: &[f32], h: usize, w: usize) -> Result<RgbImage, DrawError> {
        check_shape("the picture tensor", x, 3, h, w)?;
        let inside = |n: usize| n.checked_sub(2 * self.crop).filter(|n| *n > 0);
        let (Some(inner_h), Some(inner_w)) = (inside(h), inside(w)) else {
            return Err(DrawError::Size {
                what: "the picture tensor".into(),
                got: format!("{w}x{h}"),
                want: format!("more than {0}x{0} (a crop of {1} at each edge)", 2 * self.crop, self.crop),
            });
        };
        let n = x.len() as f64;
        let mean = x.iter().map(|v| f64::from(*v)).sum::<f64>() / n;
        let variance = x.iter().map(|v| (f64::from(*v) - mean).powi(2)).sum::<f64>() / n;
        let (mean, std) = (mean as f32, variance.sqrt() as f32);
        Ok(assemble(inner_h, inner_w, |c, row, col| {
            let v = x[(c * h + row + self.crop) * w + col + self.crop];
            let v = (v - mean) / (std + self.eps) * self.gain + self.offset;
            (v.clamp(0.0, self.white) * (255.0 / self.white)) as u8 // the cast takes NaN to 0
        }))
    }
}

/// Undoes a normalisation: `x * std + mean` per channel (ImageNet: mean .485 .456 .406, std .229 .224 .225), rounded to 8 bits.
/// Mean 0 and std 1 show values in 0..=1.
///
/// ```
/// use convscope_viz::draw::deprocess::denormalize;
/// let picture = denormalize(&[0.0, 1.0, 0.5], 1, 1, [0.0; 3], [1.0; 3])?;
/// assert_eq!(picture.get_pixel(0, 0).0, [0, 255, 128]);
/// # Ok::<_, convscope_viz::draw::DrawError>(())
/// ```
///
/// # Errors
/// [`DrawError::Length`] or [`DrawError::Empty`] if `x` is not `[3, h, w]`.
pub fn denormalize(x: &[f32], h: usize, w: usize, mean: [f32; 3], std: [f32; 3]) -> Result<RgbImage, DrawError> {
    check_shape("the picture tensor", x, 3, h, w)?;
    Ok(assemble(h, w, |c, row, col| ((x[(c * h + row) * w + col] * std[c] + mean[c]).clamp(0.0, 1.0) * 255.0).round() as u8))
}

/// Shows signed values, such as first-layer filters: `range.lo` is black, `range.hi` full colour. With a symmetric range, zero is
/// mid-grey.
///
/// # Errors
/// [`DrawError::Length`] or [`DrawError::Empty`] if `x` is not `[3, h, w]`.
pub fn signed(x: &[f32], h: usize, w: usize, range: Range) -> Result<RgbImage, DrawError> {
    check_shape("the filter", x, 3, h, w)?;
    Ok(assemble(h, w, |c, row, col| (range.unit(x[(c * h + row) * w + col]) * 255.0).round() as u8))
}

/// A picture from a function of (channel, row, column).
fn assemble(h: usize, w: usize, value: impl Fn(usize, usize, usize) -> u8) -> RgbImage {
    RgbImage::from_fn(w as u32, h as u32, |x, y| Rgb(std::array::from_fn(|c| value(c, y as usize, x as usize))))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// mean 5.5, population standard deviation 3.452053 over 0..=11.
    fn ramp() -> Vec<f32> {
        (0..12).map(|i| i as f32).collect()
    }

    /// numpy, `x = np.arange(12, dtype=np.float32)` through the book's `deprocess_image`, and through the others.
    #[test]
    fn recipes_as_numpy() {
        let raw = |r: Standardize| Standardize { crop: 0, ..r }.picture(&ramp(), 2, 2).unwrap().into_raw();
        // Interleaved: pixel i holds values i, i + 4, i + 8.
        assert_eq!(raw(Standardize::CHOLLET1), EXPECT_CHOLLET1);
        assert_eq!(raw(Standardize::KERAS_IO), EXPECT_KERAS_IO);
        assert_eq!(raw(Standardize::CHOLLET2), EXPECT_CHOLLET2);
    }
    const EXPECT_CHOLLET1: [u8; 12] = [86, 116, 145, 94, 123, 153, 101, 131, 160, 109, 138, 168];
    const EXPECT_KERAS_IO: [u8; 12] = [66, 110, 155, 77, 121, 166, 88, 133, 177, 99, 144, 188];
    const EXPECT_CHOLLET2: [u8; 12] = [26, 100, 174, 44, 118, 192, 63, 137, 211, 81, 155, 229];

    #[test]
    fn the_crop_comes_after_the_statistics() {
        let x: Vec<f32> = (0..3 * 5 * 6).map(|i| (i * i % 37) as f32).collect();
        let whole = Standardize { crop: 0, ..Standardize::KERAS_IO }.picture(&x, 5, 6).unwrap();
        let cropped = Standardize { crop: 1, ..Standardize::KERAS_IO }.picture(&x, 5, 6).unwrap();
        assert_eq!(cropped.dimensions(), (4, 3));
        for (col, row, p) in cropped.enumerate_pixels() {
            assert_eq!(p, whole.get_pixel(col + 1, row + 1));
        }
        let message = Standardize::KERAS_IO.picture(&x, 5, 6).unwrap_err().to_string();
        assert!(message.contains("6x5") && message.contains("50x50"), "{message}");
    }

    #[test]
    fn constants_and_nan_do_not_panic() {
        let grey = Standardize::CHOLLET1.picture(&[7.0; 12], 2, 2).unwrap();
        assert!(grey.pixels().all(|p| p.0 == [127, 127, 127]));
        let black = Standardize::CHOLLET2;
        assert!(Standardize { crop: 0, ..black }.picture(&[7.0; 12], 2, 2).unwrap().iter().all(|v| *v == 0));
        assert!(Standardize::CHOLLET1.picture(&[f32::NAN; 12], 2, 2).unwrap().iter().all(|v| *v == 0));
        assert!(Standardize::CHOLLET1.picture(&[0.0; 11], 2, 2).is_err());
    }

    #[test]
    fn denormalize_and_signed() {
        let x = [0.0, 1.0, -9.0];
        let p = denormalize(&x, 1, 1, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]).unwrap();
        assert_eq!(p.get_pixel(0, 0).0, [124, 173, 0]);
        let range = Range::new(-2.0, 2.0).unwrap();
        assert_eq!(signed(&[0.0, 2.0, -1.0], 1, 1, range).unwrap().get_pixel(0, 0).0, [128, 255, 64]);
    }
}
