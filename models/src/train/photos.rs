//! Decoded photos, in memory up to a limit.

use crate::image::{Filter, ImageError, Resize, read_image, resize};
use image::RgbImage;
use rayon::prelude::*;
use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Photos of known classes, shrunk for training.
#[derive(Debug)]
pub struct Photos {
    items: Vec<Photo>,
    short_side: usize,
}

#[derive(Debug)]
struct Photo {
    path: PathBuf,
    class: usize,
    /// `None` beyond the memory limit: the photo is decoded on each use.
    pixels: Option<RgbImage>,
}

impl Photos {
    /// Decodes every file, in parallel, and shrinks photos with a shorter side above `short_side` to it. Pixels stay in memory up
    /// to `memory` bytes. Returns the photos, and the errors of files that cannot be decoded. `done` is called after each file.
    pub fn read(
        files: Vec<(PathBuf, usize)>,
        short_side: usize,
        memory: usize,
        done: &(dyn Fn() + Sync),
    ) -> (Self, Vec<ImageError>) {
        let used = AtomicUsize::new(0);
        let read = files.into_par_iter().map(|(path, class)| {
            let pixels = shrunk(&path, short_side);
            done();
            let pixels = pixels?;
            let bytes = pixels.as_raw().len();
            let fits = used.fetch_add(bytes, Ordering::Relaxed) + bytes <= memory;
            Ok(Photo { path, class, pixels: fits.then_some(pixels) })
        });
        let (items, broken): (Vec<_>, Vec<_>) = read.collect::<Vec<_>>().into_iter().partition(Result::is_ok);
        let items = items.into_iter().filter_map(Result::ok).collect();
        (Photos { items, short_side }, broken.into_iter().filter_map(Result::err).collect())
    }

    /// Number of photos.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether there are no photos.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Bytes of the pixels in memory.
    pub fn bytes(&self) -> usize {
        self.items.iter().filter_map(|p| p.pixels.as_ref()).map(|p| p.as_raw().len()).sum()
    }

    /// The class of a photo.
    pub fn class(&self, i: usize) -> usize {
        self.items[i].class
    }

    /// The pixels of a photo.
    ///
    /// # Errors
    /// [`ImageError`] if the photo is not in memory and its file can no longer be read.
    pub fn pixels(&self, i: usize) -> Result<Cow<'_, RgbImage>, ImageError> {
        let photo = &self.items[i];
        match &photo.pixels {
            Some(pixels) => Ok(Cow::Borrowed(pixels)),
            None => shrunk(&photo.path, self.short_side).map(Cow::Owned),
        }
    }
}

fn shrunk(path: &std::path::Path, short_side: usize) -> Result<RgbImage, ImageError> {
    let image = read_image(path)?;
    let (w, h) = (image.width() as usize, image.height() as usize);
    if w.min(h) <= short_side {
        return Ok(image);
    }
    let (h, w) = Resize::ShortSide(short_side).size(h, w);
    resize(&image, w, h, Filter::Bilinear)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broken_files_are_named_and_memory_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        for i in 0..4u8 {
            let pixel = |x, y| image::Rgb([x as u8, y as u8, 40 * i]);
            RgbImage::from_fn(50, 30, pixel).save(path(&format!("{i}.png"))).unwrap();
        }
        std::fs::write(path("2.png"), "no image").unwrap();
        let files: Vec<_> = (0..4).map(|i| (path(&format!("{i}.png")), i)).collect();
        let read = |memory| Photos::read(files.clone(), 20, memory, &|| {});
        let ((all, broken), (none, _)) = (read(usize::MAX), read(0));
        assert_eq!((all.len(), broken.len()), (3, 1));
        assert!(broken[0].to_string().contains("2.png"));
        assert_eq!([0, 1, 2].map(|i| all.class(i)), [0, 1, 3]);
        for i in 0..3 {
            let (kept, again) = (all.pixels(i).unwrap(), none.pixels(i).unwrap());
            assert!(matches!((&kept, &again), (Cow::Borrowed(_), Cow::Owned(_))));
            assert_eq!(kept, again);
            assert_eq!(kept.dimensions(), (33, 20));
        }
    }
}
