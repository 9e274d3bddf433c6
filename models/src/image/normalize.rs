//! From bytes to the numbers a network was trained on, and back.

use image::{Rgb, RgbImage};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The order of the planes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChannelOrder {
    /// Red first: torchvision, and everything younger.
    Rgb,
    /// Blue first: networks that came from Caffe through OpenCV.
    Bgr,
    /// Three times the luma of Pillow's `convert("L")`, of which a network for grey images takes the first.
    Grey,
}

/// `(byte / scale - mean) / std` per channel, computed in f32 in this order: the very steps of torchvision's `ToTensor` and
/// `Normalize`, so that the bits are theirs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Normalization {
    /// The order of the planes, and of `mean` and `std`.
    pub order: ChannelOrder,
    /// 255 for networks that count from 0 to 1, 1 for those that take bytes.
    pub scale: f32,
    /// Subtracted per channel.
    pub mean: [f32; 3],
    /// Divided by per channel.
    pub std: [f32; 3],
}

/// The channels and their range, `RGB -1 to 1`; if it is not the same for all, what is subtracted and what they are divided by.
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
    /// Mean and standard deviation of ImageNet as torchvision gives them.
    pub const IMAGENET: Self =
        Self { order: ChannelOrder::Rgb, scale: 255.0, mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] };

    /// Values between 0 and 1.
    pub const UNIT: Self = Self { order: ChannelOrder::Rgb, scale: 255.0, mean: [0.0; 3], std: [1.0; 3] };

    /// The bytes themselves, 0 to 255.
    pub const BYTES: Self = Self { scale: 1.0, ..Self::UNIT };

    /// The original VGG's and Keras' "caffe" mode: BGR, the mean of ImageNet subtracted, no scaling.
    pub const CAFFE: Self = Self { order: ChannelOrder::Bgr, scale: 1.0, mean: [103.939, 116.779, 123.68], std: [1.0; 3] };

    /// The byte of a pixel that plane `c` is made of.
    fn channel(&self, c: usize) -> usize {
        match self.order {
            ChannelOrder::Rgb | ChannelOrder::Grey => c,
            ChannelOrder::Bgr => 2 - c,
        }
    }

    /// The planes `[3, h, w]` of an image, which for [`ChannelOrder::Grey`] is grey already.
    pub fn apply(&self, image: &RgbImage) -> Vec<f32> {
        let mut data = Vec::with_capacity(image.len());
        for c in 0..3 {
            let channel = self.channel(c);
            let table: [f32; 256] = std::array::from_fn(|byte| (byte as f32 / self.scale - self.mean[c]) / self.std[c]);
            data.extend(image.pixels().map(|pixel| table[usize::from(pixel[channel])]));
        }
        data
    }

    /// The picture of normalised planes `[3, h, w]`: the nearest bytes, values outside of the range clipped, NaN black. The
    /// inverse of [`apply`](Self::apply). `None` if `data` has another length than `3 * h * w`.
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
