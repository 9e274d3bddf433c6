//! Heat maps over photos: convscope's style, and those of two well-known tools.

use super::colormap::jet_opencv;
use super::{Colormap, DrawError};
use crate::map::Map;
use image::{Rgb, RgbImage, Rgba, RgbaImage};

/// Style of a heat map over a photo.
///
/// ```
/// use convscope_viz::Map;
/// use convscope_viz::draw::{Colormap, Overlay};
/// let photo = image::RgbImage::from_pixel(8, 6, image::Rgb([90, 120, 30]));
/// let heat = Map::new(vec![0.0, 0.2, 0.6, 1.0], 2, 2)?;
/// let picture = Overlay::Proportional(Colormap::Inferno).apply(&photo, &*heat.resized(6, 8)?)?;
/// assert_eq!(picture.get_pixel(7, 5).0, Colormap::Inferno.rgb(1.0));
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Overlay {
    /// Opacity proportional to the heat, over a desaturated photo.
    Proportional(Colormap),
    /// Constant opacity (0..=1), over the unchanged photo.
    Blend(Colormap, f32),
    /// Chollet, *Deep Learning with Python* (2017), 5.4.3: OpenCV's jet times 0.4 added to the photo, saturated.
    Chollet1,
    /// pytorch-grad-cam's `show_cam_on_image`: half jet, half photo, divided by the largest value.
    Pytorch,
}

impl Overlay {
    /// Draws `heat`, values in 0..=1, over `photo`. Values are clamped, and NaN counts as 0.
    ///
    /// # Errors
    /// [`DrawError::Size`] if the sizes differ; [`Map::resized`] changes the map's.
    pub fn apply(&self, photo: &RgbImage, heat: &Map) -> Result<RgbImage, DrawError> {
        let heat = opacities(heat, photo)?;
        let mixed = |colour: &dyn Fn(Rgb<u8>, f32) -> [u8; 3]| {
            let mut out = photo.clone();
            out.pixels_mut().zip(&heat).for_each(|(p, &t)| p.0 = colour(*p, t));
            out
        };
        Ok(match *self {
            Overlay::Proportional(map) => mixed(&|p, t| blend(desaturated(p.0), map.rgb(t), t)),
            Overlay::Blend(map, alpha) => mixed(&|p, t| blend(p.0, map.rgb(t), alpha.clamp(0.0, 1.0))),
            Overlay::Chollet1 => mixed(&|p, t| {
                let jet = jet_opencv((255.0 * t) as u8);
                // OpenCV rounds half to even when it writes a float picture.
                std::array::from_fn(|c| (f64::from(jet[c]) * 0.4 + f64::from(p.0[c])).round_ties_even() as u8)
            }),
            Overlay::Pytorch => pytorch(photo, &heat),
        })
    }
}

/// The heat of [`Overlay::Proportional`] alone, one pixel per value, with opacity as alpha channel, for a page that draws it over
/// a desaturated photo.
pub fn layer(colors: Colormap, heat: &Map) -> RgbaImage {
    let [h, w] = heat.size();
    RgbaImage::from_fn(w as u32, h as u32, |x, y| {
        let t = opacity(heat.values()[y as usize * w + x as usize]);
        let [r, g, b] = colors.rgb(t);
        Rgba([r, g, b, (255.0 * t).round() as u8])
    })
}

/// All in f32 and truncated at the end, as in numpy.
fn pytorch(photo: &RgbImage, heat: &[f32]) -> RgbImage {
    let sums: Vec<f32> = photo
        .pixels()
        .zip(heat)
        .flat_map(|(p, &t)| {
            let jet = jet_opencv((255.0 * t) as u8);
            (0..3).map(move |c| 0.5 * (f32::from(jet[c]) / 255.0) + 0.5 * (f32::from(p.0[c]) / 255.0))
        })
        .collect();
    // Never 0: every entry of jet has a channel of at least 128.
    let max = sums.iter().copied().fold(0.0, f32::max);
    let mut out = photo.clone();
    out.iter_mut().zip(sums).for_each(|(o, v)| *o = (255.0 * (v / max)) as u8);
    out
}

/// The values of a map of the picture's size, each as an [`opacity`].
fn opacities(heat: &Map, picture: &RgbImage) -> Result<Vec<f32>, DrawError> {
    let ([h, w], (width, height)) = (heat.size(), picture.dimensions());
    if (h, w) != (height as usize, width as usize) {
        let (got, want) = (format!("{w}x{h}"), format!("{width}x{height}"));
        return Err(DrawError::Size { what: "the heat map".into(), got, want });
    }
    Ok(heat.values().iter().copied().map(opacity).collect())
}

/// A value clamped to 0..=1, NaN as 0.
fn opacity(value: f32) -> f32 {
    if value.is_nan() { 0.0 } else { value.clamp(0.0, 1.0) }
}

/// Mostly grey and a little paler: the map's colours stand out, the photo stays recognisable.
fn desaturated(p: [u8; 3]) -> [u8; 3] {
    let luma = 0.299 * f32::from(p[0]) + 0.587 * f32::from(p[1]) + 0.114 * f32::from(p[2]);
    p.map(|v| (0.8 * luma + 0.2 * f32::from(v)).round() as u8)
}

/// Blends `over` on `under` with opacity `alpha`.
pub(crate) fn blend(under: [u8; 3], over: [u8; 3], alpha: f32) -> [u8; 3] {
    std::array::from_fn(|c| {
        let (u, o) = (f32::from(under[c]), f32::from(over[c]));
        (u + (o - u) * alpha).round() as u8
    })
}

/// Draws anti-aliased contour lines of `heat` (as in [`Overlay::apply`]) at `levels`, `thickness` pixels wide, white with a dark
/// halo for contrast.
///
/// # Errors
/// [`DrawError::Size`] if the sizes differ.
pub fn contours(picture: &mut RgbImage, heat: &Map, levels: &[f32], thickness: f32) -> Result<(), DrawError> {
    let heat = opacities(heat, picture)?;
    let (width, height) = (picture.width() as usize, picture.height() as usize);
    let at = |x: usize, y: usize| heat[y * width + x];
    for (x, y, pixel) in picture.enumerate_pixels_mut() {
        let (x, y) = (x as usize, y as usize);
        let (x0, x1) = (x.saturating_sub(1), (x + 1).min(width - 1));
        let (y0, y1) = (y.saturating_sub(1), (y + 1).min(height - 1));
        let gx = (at(x1, y) - at(x0, y)) / (x1 - x0).max(1) as f32;
        let gy = (at(x, y1) - at(x, y0)) / (y1 - y0).max(1) as f32;
        let slope = gx.hypot(gy);
        if slope < 1e-6 {
            continue; // flat: no line passes here, or it would fill the plateau
        }
        for level in levels {
            // Distance to the line in pixels, to first order.
            let distance = (at(x, y) - level).abs() / slope;
            let cover = |thick: f32| (thick / 2.0 + 0.5 - distance).clamp(0.0, 1.0);
            pixel.0 = blend(pixel.0, [0, 0, 0], 0.35 * cover(2.5 * thickness));
            pixel.0 = blend(pixel.0, [255, 255, 255], 0.95 * cover(thickness));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[rustfmt::skip]
    const PHOTO: [u8; 36] = [
        172, 47, 117, 192, 67, 251, 195, 103, 9, 211, 21, 242, 36, 87, 70, 216, 88, 140, 58, 193, 230, 39, 87, 174,
        88, 81, 165, 25, 77, 72, 9, 148, 115, 208, 243, 197,
    ];
    const HEAT: [f32; 4] = [0.0, 0.25, 0.6, 1.0];

    fn map(values: &[f32], h: usize, w: usize) -> Map {
        Map::new(values.to_vec(), h, w).unwrap()
    }

    /// The heat at the size of the photo.
    fn heat() -> Map {
        map(&HEAT, 2, 2).resized(3, 4).unwrap().into_owned()
    }

    fn photo() -> RgbImage {
        RgbImage::from_raw(4, 3, PHOTO.to_vec()).unwrap()
    }

    /// `cv2.imencode(".png", cv2.applyColorMap(np.uint8(255 * cv2.resize(heat, (4, 3))), cv2.COLORMAP_JET) * 0.4 + photo)`
    #[test]
    fn chollet1_is_that_of_opencv() {
        let out = Overlay::Chollet1.apply(&photo(), &heat()).unwrap();
        #[rustfmt::skip]
        assert_eq!(out.into_raw(), [
            172, 47, 168, 192, 67, 255, 195, 127, 111, 211, 71, 255, 36, 157, 172, 218, 190, 240, 126, 255, 255, 141,
            189, 174, 180, 183, 175, 127, 149, 72, 102, 148, 115, 255, 243, 197,
        ]);
    }

    /// `show_cam_on_image(photo / 255, cv2.resize(heat, (4, 3)), use_rgb=True)` of grad-cam 1.5.7.
    #[test]
    fn pytorch_is_that_of_grad_cam() {
        let out = Overlay::Pytorch.apply(&photo(), &heat()).unwrap();
        #[rustfmt::skip]
        assert_eq!(out.into_raw(), [
            88, 24, 125, 98, 34, 225, 100, 83, 135, 108, 74, 255, 18, 134, 166, 113, 175, 200, 116, 229, 162, 150, 175,
            89, 163, 172, 97, 143, 131, 36, 123, 75, 59, 172, 124, 101,
        ]);
    }

    #[test]
    fn proportional_leaves_silent_parts_alone() {
        let photo = RgbImage::from_pixel(2, 1, Rgb([200, 100, 50]));
        let out = Overlay::Proportional(Colormap::Inferno).apply(&photo, &map(&[0.0, 1.0], 1, 2)).unwrap();
        let luma: f32 = 0.299 * 200.0 + 0.587 * 100.0 + 0.114 * 50.0;
        assert_eq!(out.get_pixel(0, 0).0, [200.0, 100.0, 50.0].map(|v: f32| (0.8 * luma + 0.2 * v).round() as u8));
        assert_eq!(out.get_pixel(1, 0).0, Colormap::Inferno.rgb(1.0));
        let half = Overlay::Blend(Colormap::Grey, 0.5).apply(&photo, &map(&[1.0, f32::NAN], 1, 2)).unwrap();
        assert_eq!(half.get_pixel(0, 0).0, [228, 178, 153]);
        assert_eq!(half.get_pixel(1, 0).0, [100, 50, 25]);
    }

    #[test]
    fn the_layer_over_the_photo_is_the_overlay() {
        let colors = Colormap::Inferno;
        let (photo, heat, want) =
            (photo(), layer(colors, &heat()), Overlay::Proportional(colors).apply(&photo(), &heat()).unwrap());
        for ((p, l), w) in photo.pixels().zip(heat.pixels()).zip(want.pixels()) {
            let [r, g, b, alpha] = l.0;
            let got = blend(desaturated(p.0), [r, g, b], f32::from(alpha) / 255.0);
            assert!(got.iter().zip(w.0).all(|(a, b)| a.abs_diff(b) <= 1), "{got:?} {w:?}");
        }
        assert_eq!([heat.get_pixel(0, 0).0[3], heat.get_pixel(3, 2).0[3]], [0, 255]);
    }

    #[test]
    fn contours_follow_the_level() {
        let ramp: Vec<f32> = (0..21 * 5).map(|i| (i % 21) as f32 / 20.0).collect();
        let mut picture = RgbImage::from_pixel(21, 5, Rgb([100, 100, 100]));
        contours(&mut picture, &map(&ramp, 5, 21), &[0.5], 1.0).unwrap();
        assert!(picture.get_pixel(10, 2).0[0] > 240, "{:?}", picture.get_pixel(10, 2));
        assert!(picture.get_pixel(11, 2).0[0] < 100, "halo: {:?}", picture.get_pixel(11, 2));
        assert_eq!(picture.get_pixel(3, 2).0, [100, 100, 100]);
        let mut flat = RgbImage::from_pixel(4, 4, Rgb([100, 100, 100]));
        contours(&mut flat, &map(&[0.5; 16], 4, 4), &[0.5], 1.0).unwrap();
        assert!(flat.pixels().all(|p| p.0 == [100, 100, 100]));
    }

    #[test]
    fn a_map_of_another_size_is_an_error() {
        let small = map(&HEAT, 2, 2);
        let error = Overlay::Pytorch.apply(&photo(), &small).unwrap_err();
        assert_eq!(error.to_string(), "the heat map is 2x2 (width x height), but 4x3 is needed");
        assert!(contours(&mut photo(), &small, &[0.5], 1.0).is_err());
    }
}
