//! From coefficients to samples, from subsampled planes to full size, and from planes to RGB, as libjpeg-turbo does by default
//! ("fancy upsampling").

use image::RgbImage;

use super::idct::inverse_dct;
use super::{Component, Frame, JpegError};

/// Colour space of the components.
#[derive(Clone, Copy, Debug)]
pub(super) enum ColourSpace {
    Grey,
    Rgb,
    YCbCr,
    /// Inverted, as Adobe writes it and Pillow reads it.
    Cmyk,
    /// CMYK with CMY transformed to YCbCr.
    Ycck,
}

/// Samples, row-major.
struct Plane {
    w: usize,
    h: usize,
    samples: Vec<u8>,
}

impl Plane {
    fn row(&self, y: usize) -> &[u8] {
        &self.samples[y * self.w..][..self.w]
    }
}

/// The image of a completely read frame.
pub(super) fn to_rgb(frame: Frame, space: ColourSpace) -> Result<RgbImage, JpegError> {
    let Frame { w, h, h_max, v_max, components, .. } = frame;
    let full_size = |c: Component| {
        let factors = (h_max / c.h, v_max / c.v);
        samples(c).map(|plane| enlarge(plane, factors))
    };
    let planes = components.into_iter().map(full_size).collect::<Result<Vec<_>, _>>()?;
    let mut bytes = Vec::with_capacity(w * h * 3);
    for y in 0..h {
        let rows: Vec<&[u8]> = planes.iter().map(|plane| plane.row(y)).collect();
        bytes.extend((0..w).flat_map(|x| match space {
            ColourSpace::Grey => [rows[0][x]; 3],
            ColourSpace::Rgb => [rows[0][x], rows[1][x], rows[2][x]],
            ColourSpace::YCbCr => ycc_to_rgb(rows[0][x], rows[1][x], rows[2][x]),
            ColourSpace::Cmyk => [rows[0][x], rows[1][x], rows[2][x]].map(|ink| darken(ink, rows[3][x])),
            ColourSpace::Ycck => {
                let inverse = ycc_to_rgb(rows[0][x], rows[1][x], rows[2][x]);
                inverse.map(|ink| darken(255 - ink, rows[3][x]))
            }
        }));
    }
    Ok(RgbImage::from_raw(w as u32, h as u32, bytes).expect("three bytes a pixel"))
}

/// Dequantisation and inverse DCT, without padding.
fn samples(component: Component) -> Result<Plane, JpegError> {
    let Component { quantisation, samples_w: w, samples_h: h, blocks_w, blocks_h, coefficients, .. } = component;
    let quantisation = quantisation.ok_or("a component is in no scan")?;
    let mut padded = vec![0; blocks_w * 8 * blocks_h * 8];
    for (i, block) in coefficients.iter().enumerate() {
        let corner = i / blocks_w * 8 * blocks_w * 8 + i % blocks_w * 8;
        for (y, row) in inverse_dct(block, &quantisation).iter().enumerate() {
            padded[corner + y * blocks_w * 8..][..8].copy_from_slice(row);
        }
    }
    let samples = padded.chunks_exact(blocks_w * 8).take(h).flat_map(|row| &row[..w]).copied().collect();
    Ok(Plane { w, h, samples })
}

/// Upsamples a plane by integer factors. Doubling weighs the nearer sample by 3/4 and the farther one by 1/4, unless the plane is
/// too narrow; other factors repeat samples.
fn enlarge(plane: Plane, factors: (usize, usize)) -> Plane {
    let smooth = plane.w > 2;
    let Plane { w, h, .. } = plane;
    let mut samples = Vec::with_capacity(w * factors.0 * h * factors.1);
    // The two neighbouring rows of an output row, nearer one first; at the edge both are the same.
    let between = |y: usize| {
        let far = if y.is_multiple_of(2) { (y / 2).saturating_sub(1) } else { (y / 2 + 1).min(h - 1) };
        plane.row(y / 2).iter().zip(plane.row(far)).map(|(&near, &far)| 3 * u32::from(near) + u32::from(far))
    };
    match factors {
        (1, 1) => return plane,
        (2, 1) if smooth => {
            for y in 0..h {
                let row: Vec<u32> = plane.row(y).iter().map(|&v| u32::from(v)).collect();
                double(&row, 1, 2, 2, &mut samples);
            }
        }
        (1, 2) => {
            for y in 0..2 * h {
                let round = 1 + y as u32 % 2;
                samples.extend(between(y).map(|sum| ((sum + round) >> 2) as u8));
            }
        }
        (2, 2) if smooth => {
            for y in 0..2 * h {
                double(&between(y).collect::<Vec<_>>(), 8, 7, 4, &mut samples);
            }
        }
        (across, down) => {
            for y in 0..h * down {
                samples.extend(plane.row(y / down).iter().flat_map(|&v| std::iter::repeat_n(v, across)));
            }
        }
    }
    Plane { w: w * factors.0, h: h * factors.1, samples }
}

/// Doubles a row. Sums are rounded by `left` or `right`, alternately, before the shift by `shift`, so that the mean brightness is
/// preserved.
fn double(row: &[u32], left: u32, right: u32, shift: u32, out: &mut Vec<u8>) {
    for (i, &near) in row.iter().enumerate() {
        let before = row[i.saturating_sub(1)];
        let after = row[(i + 1).min(row.len() - 1)];
        out.push(((3 * near + before + left) >> shift) as u8);
        out.push(((3 * near + after + right) >> shift) as u8);
    }
}

/// JFIF's colours in 16-bit fixed point.
fn ycc_to_rgb(y: u8, cb: u8, cr: u8) -> [u8; 3] {
    const HALF: i32 = 1 << 15;
    let (y, cb, cr) = (i32::from(y), i32::from(cb) - 128, i32::from(cr) - 128);
    let r = y + ((91_881 * cr + HALF) >> 16); // 1.402
    let g = y + ((-22_554 * cb - 46_802 * cr + HALF) >> 16); // 0.34414, 0.71414
    let b = y + ((116_130 * cb + HALF) >> 16); // 1.772
    [r, g, b].map(|v| v.clamp(0, 255) as u8)
}

/// Pillow's CMYK to RGB for an inverted ink and inverted black: their product, with Pillow's rounding.
fn darken(ink: u8, black: u8) -> u8 {
    let black = i32::from(black);
    let product = (255 - i32::from(ink)) * black + 128;
    (black - (((product >> 8) + product) >> 8)).clamp(0, 255) as u8
}
