//! Photos as network input.

use crate::methods::VizError;
use convscope_engine::Tensor;
use convscope_kernels::{Buffer, DType};
use convscope_models::image::{Prepared, Preprocess, prepare_file};
use convscope_models::network::Network;
use image::RgbImage;
use std::path::Path;

/// A photo, prepared for a network.
///
/// ```
/// use convscope_models::Model;
/// use convscope_viz::Photo;
/// let model = Model::builtin()?;
/// let photo = Photo::open("sample:cat", &model.network)?;
/// assert_eq!(photo.input.shape()[..], [1, 3, 176, 176]);
/// assert_eq!(photo.shown.dimensions(), (176, 176));
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Photo {
    /// The crop that the network sees.
    pub shown: RgbImage,
    /// The normalised crop, `[1, c, h, w]`.
    pub input: Tensor,
}

impl Photo {
    /// A PNG or JPEG file (or `sample:cat`, `sample:coffee`), resized, cropped and normalised for the network.
    ///
    /// # Errors
    /// [`VizError`] if the file cannot be read or decoded, or the network has more input channels than a photo.
    pub fn open(path: impl AsRef<Path>, network: &Network) -> Result<Self, VizError> {
        Self::prepare(path, network, &network.preprocess)
    }

    /// A photo with another preparation, for example of another size.
    ///
    /// # Errors
    /// As [`Photo::open`]; also [`VizError`] if the result would be empty or too large.
    pub fn prepare(path: impl AsRef<Path>, network: &Network, preprocess: &Preprocess) -> Result<Self, VizError> {
        let prepared = prepare_file(path.as_ref(), preprocess)?;
        let input = batch(&[&prepared], network)?;
        Ok(Photo { shown: prepared.shown, input })
    }

    /// `[height, width]` in pixels.
    pub fn size(&self) -> [usize; 2] {
        [self.shown.height() as usize, self.shown.width() as usize]
    }
}

/// Prepared photos of one size in one tensor, `[n, c, h, w]`.
///
/// # Errors
/// [`VizError`] if the network has more input channels than photos, or the photos differ in size.
pub fn batch(photos: &[&Prepared], network: &Network) -> Result<Tensor, VizError> {
    let (h, w) = photos.first().map_or((0, 0), |photo| (photo.h, photo.w));
    let channels = network.input.channels;
    let shape = [photos.len(), channels, h, w];
    let mut data = Buffer::new(DType::F32, shape.iter().product());
    for (slot, photo) in data.as_mut_slice::<f32>().chunks_exact_mut((channels * h * w).max(1)).zip(photos) {
        let planes = photo.planes(channels);
        let planes = planes.ok_or_else(|| VizError::Channels { network: network.name.clone(), channels })?;
        if (photo.h, photo.w) != (h, w) {
            return Err(VizError::Sizes { first: [h, w], other: [photo.h, photo.w] });
        }
        slot.copy_from_slice(planes);
    }
    Ok(Tensor::new(shape, data)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use convscope_models::families::build;

    #[test]
    fn a_batch_holds_its_photos_in_order() {
        let network = build("small", Some(3)).unwrap();
        let photo = |side: u32, red: u8| {
            Preprocess { crop: None, ..Preprocess::IMAGENET }
                .square(side as usize)
                .prepare(&RgbImage::from_pixel(side, side, image::Rgb([red, 0, 0])))
                .unwrap()
        };
        let (a, b, c) = (photo(8, 10), photo(8, 200), photo(9, 0));
        let both = batch(&[&a, &b], &network).unwrap();
        assert_eq!(both.shape()[..], [2, 3, 8, 8]);
        assert_eq!(both.f32(), [&a.data[..], &b.data[..]].concat());
        assert_eq!(batch(&[&a, &c], &network).unwrap_err().to_string(), "photos of one batch have one size: 8x8 and 9x9 differ");
    }
}
