//! Plain grids without text, and the fill order of grids.

use super::{Canvas, DrawError};
use image::RgbImage;

/// The fill order of a grid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Order {
    /// Row by row.
    #[default]
    RowMajor,
    /// Column by column, as in Chollet's first book.
    ColumnMajor,
}

impl Order {
    /// (row, column) of cell `i` in a grid of `rows` x `columns`.
    pub(crate) fn position(self, i: usize, rows: usize, columns: usize) -> (usize, usize) {
        match self {
            Order::RowMajor => (i / columns, i % columns),
            Order::ColumnMajor => (i % rows, i / rows),
        }
    }
}

/// Pictures of one size in a plain grid, with `margin` black pixels in between and black in missing cells. Keras' scripts stitch
/// pictures in this way: 8 x 8, margin 5, [`Order::ColumnMajor`] for `chollet1`, [`Order::RowMajor`] for `kerasblog` and
/// `keras-io`.
///
/// # Errors
/// [`DrawError`] if there are no pictures, they differ in size, or the grid would be too large.
pub fn tile(pictures: &[RgbImage], rows: usize, columns: usize, margin: u32, order: Order) -> Result<RgbImage, DrawError> {
    let first = pictures.first().ok_or_else(|| DrawError::Empty("the grid".into()))?;
    let (w, h) = first.dimensions();
    if pictures.len() > rows.saturating_mul(columns) {
        return Err(DrawError::Size {
            what: format!("a grid for {} pictures", pictures.len()),
            got: format!("{columns}x{rows}"),
            want: "a place for each".into(),
        });
    }
    if let Some(odd) = pictures.iter().find(|p| p.dimensions() != (w, h)) {
        return Err(DrawError::Size {
            what: "a picture of the grid".into(),
            got: format!("{}x{}", odd.width(), odd.height()),
            want: format!("{w}x{h} like the first"),
        });
    }
    let length = |n: usize, side: u32| {
        let n = n as u64;
        (n.saturating_mul(u64::from(side)).saturating_add((n - 1).saturating_mul(margin.into()))).min(u32::MAX.into()) as u32
    };
    let mut canvas = Canvas::new(length(columns, w), length(rows, h), [0; 3])?;
    for (i, picture) in pictures.iter().enumerate() {
        let (row, column) = order.position(i, rows, columns);
        canvas.blit(picture, (column as u32 * (w + margin)) as i32, (row as u32 * (h + margin)) as i32);
    }
    Ok(canvas.into_image())
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::Rgb;

    #[test]
    fn tiles_as_keras() {
        let pictures: Vec<RgbImage> = (0..64).map(|i| RgbImage::from_pixel(3, 2, Rgb([i as u8 + 1; 3]))).collect();
        let at = |p: &RgbImage, row: u32, col: u32| p.get_pixel(col * (3 + 5), row * (2 + 5)).0[0];
        let down = tile(&pictures, 8, 8, 5, Order::ColumnMajor).unwrap();
        assert_eq!(down.dimensions(), (8 * 3 + 7 * 5, 8 * 2 + 7 * 5));
        assert_eq!([at(&down, 1, 0), at(&down, 0, 1), at(&down, 7, 7)], [2, 9, 64]); // filter i + 8 j at row i, column j
        let along = tile(&pictures, 8, 8, 5, Order::RowMajor).unwrap();
        assert_eq!([at(&along, 1, 0), at(&along, 0, 1), at(&along, 7, 7)], [9, 2, 64]);
        // The margin and missing pictures are black.
        assert_eq!(along.get_pixel(3, 0).0, [0; 3]);
        assert_eq!(along.get_pixel(7, 0).0, [0; 3]);
        assert_eq!(along.get_pixel(8, 0).0, [2; 3]);
        let short = tile(&pictures[..63], 8, 8, 5, Order::RowMajor).unwrap();
        assert_eq!(at(&short, 7, 7), 0);
        assert!(tile(&pictures, 8, 7, 5, Order::RowMajor).is_err());
        assert!(tile(&[], 8, 7, 5, Order::RowMajor).is_err());
        assert!(tile(&[RgbImage::new(2, 2), RgbImage::new(2, 3)], 1, 2, 5, Order::RowMajor).is_err());
    }

    #[test]
    fn column_major_with_a_remainder() {
        assert_eq!(Order::ColumnMajor.position(2, 2, 3), (0, 1));
        assert_eq!(Order::RowMajor.position(4, 2, 3), (1, 1));
    }
}
