//! Random augmentation that preserves a photo's class.

use super::random::Stream;
use super::recipe::Augment;
use crate::image::{Filter, ImageError, Normalization, crop, resize};
use image::RgbImage;

/// A rectangle `[x, y, w, h]`.
type Rect = [usize; 4];

/// Aspect ratios of crops and erased rectangles.
const CROP_RATIO: f32 = 4.0 / 3.0;
const ERASE_RATIO: f32 = 3.0;
/// Erased shares of the area.
const ERASE_AREA: [f32; 2] = [0.02, 0.25];

/// Luma coefficients of red, green and blue (ITU-R BT.601, as in Pillow).
const GREY: [f32; 3] = [0.299, 0.587, 0.114];

impl Augment {
    /// An augmented view of `photo` as normalised planes `[3, size, size]`.
    pub(super) fn apply(
        &self,
        photo: &RgbImage,
        size: usize,
        normalization: &Normalization,
        stream: &mut Stream,
    ) -> Result<Vec<f32>, ImageError> {
        let (w, h) = (photo.width() as usize, photo.height() as usize);
        let [x, y, cut_w, cut_h] = rectangle([self.crop, 1.0], CROP_RATIO, [w, h], stream).unwrap_or_else(|| {
            let side = w.min(h);
            [(w - side) / 2, (h - side) / 2, side, side]
        });
        let mut view = resize(&crop(photo, x, y, cut_w, cut_h), size, size, Filter::Bilinear)?;
        if self.flip && stream.chance(0.5) {
            image::imageops::flip_horizontal_in_place(&mut view);
        }
        if self.jitter > 0.0 {
            jitter(&mut view, [0; 3].map(|_| stream.between(1.0 - self.jitter, 1.0 + self.jitter)));
        }
        let mut planes = normalization.apply(&view);
        if stream.chance(self.erase)
            && let Some([x, y, w, h]) = rectangle(ERASE_AREA, ERASE_RATIO, [size, size], stream)
        {
            for row in planes.chunks_exact_mut(size).enumerate().filter(|(i, _)| (y..y + h).contains(&(i % size))) {
                // The network's mean if it subtracts one, else black.
                row.1[x..x + w].fill(0.0);
            }
        }
        Ok(planes)
    }
}

/// A random rectangle within `[w, h]`, with an area share within `shares` and an aspect ratio of at most `ratio`; `None` if ten
/// draws do not fit.
pub(super) fn rectangle(shares: [f32; 2], ratio: f32, [w, h]: [usize; 2], stream: &mut Stream) -> Option<Rect> {
    for _ in 0..10 {
        let area = stream.between(shares[0], shares[1]) * (w * h) as f32;
        let ratio = stream.between(-ratio.ln(), ratio.ln()).exp();
        let [cut_w, cut_h] = [(area * ratio).sqrt(), (area / ratio).sqrt()].map(|side| side.round() as usize);
        if (1..=w).contains(&cut_w) && (1..=h).contains(&cut_h) {
            return Some([stream.below(w - cut_w + 1), stream.below(h - cut_h + 1), cut_w, cut_h]);
        }
    }
    None
}

/// Changes brightness, contrast (about the mean luma) and saturation (about each pixel's luma), in this order, with one rounding.
fn jitter(image: &mut RgbImage, [brightness, contrast, saturation]: [f32; 3]) {
    let grey = |p: [f32; 3]| GREY[0] * p[0] + GREY[1] * p[1] + GREY[2] * p[2];
    let sums = image.pixels().fold([0u64; 3], |sums, p| [0, 1, 2].map(|c| sums[c] + u64::from(p[c])));
    let count = (image.width() * image.height()).max(1) as f32;
    let mean = brightness * grey(sums.map(|s| s as f32 / count));
    for pixel in image.pixels_mut() {
        let [r, g, b] = pixel.0.map(|v| contrast * (brightness * f32::from(v)) + (1.0 - contrast) * mean);
        let own = (1.0 - saturation) * grey([r, g, b]);
        // The cast saturates.
        pixel.0 = [r, g, b].map(|v| (saturation * v + own + 0.5) as u8);
    }
}

#[cfg(test)]
mod tests {
    use super::super::random::Purpose;
    use super::*;

    fn photo() -> RgbImage {
        RgbImage::from_fn(60, 40, |x, y| image::Rgb([4 * x as u8, 6 * y as u8, 90]))
    }

    #[test]
    fn without_changes_it_is_the_photo() {
        let plain = Augment { crop: 1.0, flip: false, jitter: 0.0, erase: 0.0 };
        let square = RgbImage::from_fn(40, 40, |x, y| image::Rgb([4 * x as u8, 6 * y as u8, 90]));
        let mut stream = Stream::new(0, Purpose::Split);
        let whole = |w: usize, h: usize| rectangle([1.0, 1.0], 1.0, [w, h], &mut Stream::new(0, Purpose::Split));
        assert_eq!((whole(40, 40), whole(60, 40)), (Some([0, 0, 40, 40]), None));
        let planes = plain.apply(&square, 40, &Normalization::BYTES, &mut stream).unwrap();
        assert!(planes[3200..].iter().all(|v| *v == 90.0));
    }

    #[test]
    fn every_change_changes_and_repeats() {
        let none = Augment { crop: 1.0, flip: false, jitter: 0.0, erase: 0.0 };
        let view = |augment: &Augment, i| {
            augment.apply(&photo(), 32, &Normalization::UNIT, &mut Stream::new(3, Purpose::Image(0, i))).unwrap()
        };
        for augment in [
            Augment { crop: 0.1, ..none },
            Augment { flip: true, ..none },
            Augment { jitter: 0.5, ..none },
            Augment { erase: 1.0, ..none },
        ] {
            let views: Vec<_> = (0..20).map(|i| view(&augment, i)).collect();
            assert!(views.iter().any(|v| *v != views[0]), "{augment:?}");
            assert!(views.iter().flatten().all(|v| (0.0..=1.0).contains(v)), "{augment:?}");
            assert_eq!(views[7], view(&augment, 7));
        }
    }

    #[test]
    fn jitter_of_one_is_nothing() {
        let mut image = photo();
        jitter(&mut image, [1.0; 3]);
        assert_eq!(image, photo());
        jitter(&mut image, [1.0, 1.0, 0.0]);
        assert!(image.pixels().all(|p| p[0] == p[1] && p[1] == p[2]));
        jitter(&mut image, [9.0, 1.0, 1.0]);
        assert_eq!(image.get_pixel(59, 39).0, [255; 3]);
    }
}
