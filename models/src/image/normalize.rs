//! From bytes to normalised values, and back.

use image::{Rgb, RgbImage};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Order of the planes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChannelOrder {
    /// Red first: torchvision and most newer networks.
    Rgb,
    /// Blue first: Caffe's networks, through OpenCV.
    Bgr,
    /// Three times the luma of Pillow's `convert("L")`; a grey network takes the first plane.
    Grey,
}

/// `(byte / scale - mean) / std` per channel, in f32 and in this order, which is bit-exact to torchvision's `ToTensor` and
/// `Normalize`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Normalization {
    /// The order of the planes, and of `mean` and `std`.
    pub order: ChannelOrder,
    /// 255 for values from 0 to 1, 1 for bytes.
    pub scale: f32,
    /// Mean per channel.
    pub mean: [f32; 3],
    /// Standard deviation per channel.
    pub std: [f32; 3],
}

/// Channel order and range, such as `RGB -1 to 1`; with different channels, their means and deviations.
impl fmt::Display for Normalization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let order = match self.order {
            ChannelOrder::Rgb => "RGB",
            ChannelOrder::Bgr => "BGR",
            ChannelOrder::Grey => "grey",
        };
        let (top, [mean, ..], [std, ..]) = (255.0 / self.scale, self.mean, self.std);
        if self.mean == [mean; 3] && self.std == [std; 3] {
            return write!(f, "{order} {} to {}", (0.0 - mean) / std, (top - mean) / std);
        }
        write!(f, "{order} 0 to {top}")?;
        for (word, values, nothing) in [("less", self.mean, [0.0; 3]), ("over", self.std, [1.0; 3])] {
            if values != nothing {
                write!(f, ", {word} {}, {}, {}", values[0], values[1], values[2])?;
            }
        }
        Ok(())
    }
}

impl Normalization {
    /// Mean and standard deviation of ImageNet, from torchvision.
    pub const IMAGENET: Self =
        Self { order: ChannelOrder::Rgb, scale: 255.0, mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] };

    /// Values between 0 and 1.
    pub const UNIT: Self = Self { order: ChannelOrder::Rgb, scale: 255.0, mean: [0.0; 3], std: [1.0; 3] };

    /// Bytes, 0 to 255.
    pub const BYTES: Self = Self { scale: 1.0, ..Self::UNIT };

    /// Keras' "caffe" mode, of the original VGG: BGR, ImageNet's mean subtracted, no scaling.
    pub const CAFFE: Self = Self { order: ChannelOrder::Bgr, scale: 1.0, mean: [103.939, 116.779, 123.68], std: [1.0; 3] };

    /// The channel of a pixel in plane `c`.
    fn channel(&self, c: usize) -> usize {
        match self.order {
            ChannelOrder::Rgb | ChannelOrder::Grey => c,
            ChannelOrder::Bgr => 2 - c,
        }
    }

    /// The planes `[3, h, w]` of an image; for [`ChannelOrder::Grey`] the image is already grey.
    pub fn apply(&self, image: &RgbImage) -> Vec<f32> {
        let mut data = Vec::with_capacity(image.len());
        for c in 0..3 {
            let channel = self.channel(c);
            let table: [f32; 256] = std::array::from_fn(|byte| (byte as f32 / self.scale - self.mean[c]) / self.std[c]);
            data.extend(image.pixels().map(|pixel| table[usize::from(pixel[channel])]));
        }
        data
    }

    /// The image of normalised planes `[3, h, w]`: rounded to nearest, clipped to bytes, NaN black. The inverse of
    /// [`apply`](Self::apply). `None` if the length of `data` is not `3 * h * w`.
    pub fn invert(&self, data: &[f32], h: usize, w: usize) -> Option<RgbImage> {
        let plane = h.checked_mul(w)?;
        if data.len() != plane.checked_mul(3)? {
            return None;
        }
        let byte = |c: usize, i: usize| {
            let value = (data[c * plane + i] * self.std[c] + self.mean[c]) * self.scale;
            value.round_ties_even() as u8 // saturates
        };
        let planes = [0, 1, 2].map(|channel| self.channel(channel)); // the exchange of blue and red is its own inverse
        let pixel = |i: usize| Rgb(planes.map(|c| byte(c, i)));
        let (w32, h32) = (u32::try_from(w).ok()?, u32::try_from(h).ok()?);
        Some(RgbImage::from_fn(w32, h32, |x, y| pixel(y as usize * w + x as usize)))
    }
}
