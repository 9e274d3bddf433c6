//! From an image file to a network's input, bit-exact to Pillow and torchvision.
//!
//! The steps are decode ([`read_image`]), resize ([`Filter`]), centre crop, scale and normalise ([`Normalization`]).
//! [`Preprocess`] describes them and [`Prepared`] is the result.
//!
//! ```
//! use convscope_models::builtin::SAMPLES;
//! use convscope_models::image::{Preprocess, decode};
//!
//! let photo = decode(SAMPLES[0].jpeg, SAMPLES[0].name)?;
//! let input = Preprocess::IMAGENET.prepare(&photo)?;
//! assert_eq!((input.h, input.w, input.data.len()), (224, 224, 3 * 224 * 224));
//! assert_eq!(input.shown.dimensions(), (224, 224));
//! # Ok::<(), convscope_models::image::ImageError>(())
//! ```

mod decode;
mod jpeg;
mod normalize;
mod resize;

use std::fmt;
use std::path::{Path, PathBuf};

use image::RgbImage;
use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use decode::{decode, read_image};
pub use normalize::{ChannelOrder, Normalization};
pub use resize::{Filter, crop, resize};

use resize::Region;

/// Maximum pixels of an image, decoded or resized: Pillow's limit for its decompression-bomb warning. As RGB bytes it is 256 MiB.
pub const MAX_PIXELS: u64 = 89_478_485;

/// A failure to read or prepare an image. Each message is one line.
#[derive(Debug, Error)]
pub enum ImageError {
    /// The file cannot be read.
    #[error("cannot read image {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// The content is not an image of a supported kind.
    #[error("{name} is {found}, expected a PNG or JPEG image")]
    Format {
        /// Name of the image in messages.
        name: String,
        /// The detected kind.
        found: String,
    },
    /// The content is truncated or otherwise damaged, or of a variant that is not supported.
    #[error("image {name} cannot be decoded: {reason}")]
    Damaged {
        /// Name of the image in messages.
        name: String,
        /// The decoder's message.
        reason: String,
    },
    /// The file has more than [`MAX_PIXELS`].
    #[error("image {name} has {w} x {h} pixels, more than the {MAX_PIXELS} that are read: scale it down first")]
    TooLarge {
        /// Name of the image in messages.
        name: String,
        /// Width in pixels.
        w: u32,
        /// Height in pixels.
        h: u32,
    },
    /// The resized image would have more than [`MAX_PIXELS`].
    #[error(
        "an image of {from_w} x {from_h} would be resized to {w} x {h} pixels, more than {MAX_PIXELS}: crop it, or ask for less"
    )]
    ResizedTooLarge {
        /// Width before resizing.
        from_w: u32,
        /// Height before resizing.
        from_h: u32,
        /// Width after resizing.
        w: usize,
        /// Height after resizing.
        h: usize,
    },
    /// An image, resize or crop is empty.
    #[error("{what} of {w} x {h} has no pixels: both sides must be at least 1")]
    Empty {
        /// Which one is empty.
        what: &'static str,
        /// Width in pixels.
        w: usize,
        /// Height in pixels.
        h: usize,
    },
}

/// The size of an image before cropping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resize {
    /// The image keeps its size.
    None,
    /// The shorter side gets this length; the longer one keeps the aspect ratio, rounded down:
    /// `torchvision.transforms.Resize(n)`.
    ShortSide(usize),
    /// Exactly this size, regardless of the aspect ratio.
    Exact {
        /// Height in pixels.
        h: usize,
        /// Width in pixels.
        w: usize,
    },
}

impl Resize {
    /// Height and width of an `h` x `w` image after resizing.
    pub fn size(self, h: usize, w: usize) -> (usize, usize) {
        match self {
            Self::None => (h, w),
            Self::Exact { h, w } => (h, w),
            Self::ShortSide(n) if w <= h => (n.saturating_mul(h) / w.max(1), n),
            Self::ShortSide(n) => (n, n.saturating_mul(w) / h.max(1)),
        }
    }
}

/// Preparation of an image for a network.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Preprocess {
    /// Size before cropping.
    pub resize: Resize,
    /// Resampling filter.
    pub filter: Filter,
    /// Height and width of the centre crop, with black padding beyond the image: `torchvision.transforms.CenterCrop`.
    pub crop: Option<(usize, usize)>,
    /// Normalisation of the bytes.
    pub normalization: Normalization,
}

/// For example `224x224 whatever the proportions, nearest pixel, BGR 0 to 255, less 103.939, 116.779, 123.68`.
impl fmt::Display for Preprocess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.resize {
            Resize::None => f.write_str("own size")?,
            Resize::ShortSide(side) => write!(f, "shorter side {side}")?,
            Resize::Exact { h, w } => write!(f, "{h}x{w} whatever the proportions")?,
        }
        if let Some((h, w)) = self.crop {
            write!(f, ", crop {h}x{w}")?;
        }
        let filter = match self.filter {
            Filter::Nearest => "nearest pixel",
            Filter::Box => "box",
            Filter::Bilinear => "bilinear",
            Filter::Bicubic => "bicubic",
            Filter::Lanczos => "Lanczos",
        };
        write!(f, ", {filter}, {}", self.normalization)
    }
}

impl Preprocess {
    /// torchvision's preset for ImageNet classifiers: shorter side 256, crop 224, ImageNet's mean and standard deviation.
    pub const IMAGENET: Self = Self {
        resize: Resize::ShortSide(256),
        filter: Filter::Bilinear,
        crop: Some((224, 224)),
        normalization: Normalization::IMAGENET,
    };

    /// CIFAR ResNets': shorter side 32, crop 32, ImageNet's mean and standard deviation.
    pub const CIFAR: Self = Self { resize: Resize::ShortSide(32), crop: Some((32, 32)), ..Self::IMAGENET };

    /// This preset for squares of `side` pixels. A resize to an exact size stays one; any other becomes a resize of the shorter
    /// side and a crop.
    pub fn square(self, side: usize) -> Self {
        match self.resize {
            Resize::Exact { .. } => Self { resize: Resize::Exact { h: side, w: side }, crop: None, ..self },
            _ => Self { resize: Resize::ShortSide(side), crop: Some((side, side)), ..self },
        }
    }

    /// Resizes, crops and normalises an image. Pixels outside the crop are not computed, so a 1 x 20,000 image costs no more than
    /// another.
    ///
    /// # Errors
    /// [`ImageError`] if a side is zero or the result would have more than [`MAX_PIXELS`].
    pub fn prepare(&self, image: &RgbImage) -> Result<Prepared, ImageError> {
        let (from_w, from_h) = image.dimensions();
        let (full_h, full_w) = self.resize.size(from_h as usize, from_w as usize);
        let (h, w) = self.crop.unwrap_or((full_h, full_w));
        for (what, h, w) in [("an image", from_h as usize, from_w as usize), ("a resize", full_h, full_w), ("a crop", h, w)] {
            if h == 0 || w == 0 {
                return Err(ImageError::Empty { what, w, h });
            }
        }
        if (h as u64).saturating_mul(w as u64) > MAX_PIXELS {
            return Err(ImageError::ResizedTooLarge { from_w, from_h, w, h });
        }
        // Offset of the crop in the resized image, and its visible part.
        let (top, left) = (centred(full_h, h), centred(full_w, w));
        let region = Region { x: left.start, y: top.start, w: w.min(full_w), h: h.min(full_h) };
        let grey = (self.normalization.order == ChannelOrder::Grey).then(|| grey(image));
        let image = grey.as_ref().unwrap_or(image);
        let seen = resize::resize_region(image, (full_w, full_h), region, self.filter);
        let shown = if (left.border, top.border) == (0, 0) && (region.w, region.h) == (w, h) {
            seen
        } else {
            let mut canvas = RgbImage::new(w as u32, h as u32);
            image::imageops::replace(&mut canvas, &seen, left.border as i64, top.border as i64);
            canvas
        };
        Ok(Prepared { data: self.normalization.apply(&shown), h, w, shown })
    }
}

/// Luma of each pixel, rounded as Pillow's `convert("L")`.
fn grey(image: &RgbImage) -> RgbImage {
    let mut grey = image.clone();
    for pixel in grey.pixels_mut() {
        let [r, g, b] = pixel.0.map(u32::from);
        // ITU-R 601-2 in 16-bit fractions that sum to one, so white stays white.
        pixel.0 = [((r * 19_595 + g * 38_470 + b * 7_471 + 0x8000) >> 16) as u8; 3];
    }
    grey
}

/// A prepared image: the network's input, and the same crop for display.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// Normalised values `[3, h, w]`, planes in the order of [`Normalization::order`].
    pub data: Vec<f32>,
    /// Height in pixels.
    pub h: usize,
    /// Width in pixels.
    pub w: usize,
    /// The crop as RGB bytes.
    pub shown: RgbImage,
}

impl Prepared {
    /// The first `channels` planes: all three, or one for a grey network. `None` for more than three.
    pub fn planes(&self, channels: usize) -> Option<&[f32]> {
        self.data.get(..channels.checked_mul(self.h * self.w)?)
    }
}

/// One axis of a centre crop: its offset in the image, or the padding before the image.
struct Centred {
    start: usize,
    border: usize,
}

/// torchvision's `center_crop` along one axis: half pixels round to even (Python's `round`), padding rounds down.
fn centred(size: usize, crop: usize) -> Centred {
    match size.checked_sub(crop) {
        None => Centred { start: 0, border: (crop - size) / 2 },
        Some(spare) if spare % 2 == 0 => Centred { start: spare / 2, border: 0 },
        Some(spare) => Centred { start: (spare / 2).next_multiple_of(2), border: 0 },
    }
}

/// Reads and prepares an image file.
///
/// # Errors
/// As [`read_image`] and [`Preprocess::prepare`].
pub fn prepare_file(path: &Path, preprocess: &Preprocess) -> Result<Prepared, ImageError> {
    preprocess.prepare(&read_image(path)?)
}

#[cfg(test)]
mod tests;
