//! The cells of a grid as pictures, for pages with their own text.

use super::{DrawError, ScaleBar, check_pixels};
use image::{Pixel, RgbImage, Rgba, RgbaImage};

/// Content of a cell.
#[derive(Debug, Clone, PartialEq)]
pub enum CellContent {
    /// Its picture.
    Picture(RgbImage),
    /// Blank, with the reason: `dead`.
    Word(String),
}

/// The cells of a [`super::Grid`] as pictures, for pages with their own text.
#[derive(Debug, Clone)]
pub struct Cells {
    /// In the order of the grid's cells.
    pub pictures: Vec<CellContent>,
    /// Width and height of each cell.
    pub size: (u32, u32),
    /// Colour scale.
    pub scale: Option<ScaleBar>,
    /// Scaling and clipping of the maps, in words.
    pub note: String,
    /// Whether cells need a border, as their colours contain the page's.
    pub(super) framed: bool,
}

impl Cells {
    /// All cells in one picture, along the rows with `gap` pixels in between. Gaps are transparent and blank cells a faint grey,
    /// which suits a page of any colour.
    ///
    /// # Errors
    /// [`DrawError::TooLarge`].
    pub fn sheet(&self, columns: usize, gap: u32) -> Result<RgbaImage, DrawError> {
        const FAINT: Rgba<u8> = Rgba([128, 128, 128, 64]);
        let ((w, h), columns) = (self.size, columns.clamp(1, self.pictures.len().max(1)) as u64);
        let rows = (self.pictures.len() as u64).div_ceil(columns);
        let length = |n: u64, side: u32| (n * u64::from(side + gap)).saturating_sub(u64::from(gap));
        let (width, height) = (length(columns, w), length(rows, h));
        check_pixels(width, height)?;
        let mut sheet = RgbaImage::new(width as u32, height as u32);
        for (i, shown) in self.pictures.iter().enumerate() {
            let (x, y) = (i as u64 % columns * u64::from(w + gap), i as u64 / columns * u64::from(h + gap));
            let pixel = |px: u32, py: u32| match shown {
                CellContent::Picture(picture) => picture.get_pixel(px, py).to_rgba(),
                CellContent::Word(_) => FAINT,
            };
            image::imageops::replace(&mut sheet, &RgbaImage::from_fn(w, h, pixel), x as i64, y as i64);
        }
        Ok(sheet)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draw::{Cell, Colormap, Grid, Pixels};

    #[test]
    fn sheets_have_transparent_gaps() {
        let (a, b) = ([0.0, 1.0, 2.0, 4.0], [0.0; 4]);
        let cell = |values| Cell { label: String::new(), value: None, pixels: Pixels::Map { values, h: 2, w: 2 } };
        let cells = Grid::new(vec![cell(&a), cell(&b), cell(&a)]).pictures(2).unwrap();
        assert_eq!((cells.size, &cells.pictures[1]), ((2, 2), &CellContent::Word("dead".into())));
        let sheet = cells.sheet(2, 3).unwrap();
        assert_eq!(sheet.dimensions(), (2 + 3 + 2, 2 + 3 + 2));
        let [r, g, b] = Colormap::Viridis.rgb(1.0);
        assert_eq!(sheet.get_pixel(1, 1).0, [r, g, b, 255]);
        assert_eq!(sheet.get_pixel(1, 6).0, [r, g, b, 255]); // the third, in the second row
        assert_eq!(sheet.get_pixel(3, 0).0[3], 0); // the gap
        assert_eq!(sheet.get_pixel(6, 6).0[3], 0); // no fourth cell
        assert_eq!(sheet.get_pixel(6, 0).0, [128, 128, 128, 64]); // dead
    }
}
