//! A square table of values as colours, with row and column names.

use super::figure::Block;
use super::text::Align;
use super::{Canvas, Colormap, DrawError, Range, Theme, check_shape};
use image::imageops::rotate270;

/// A coloured matrix, such as a confusion matrix.
///
/// ```
/// use convscope_viz::draw::{Figure, Matrix};
/// let names = ["cat".to_string(), "dog".to_string()];
/// let matrix = Matrix::shares(&[0.9, 0.1, 0.2, 0.8], &names, ["true", "predicted"])?;
/// assert!(Figure::new("Confusion matrix").stack(&[&matrix]).is_ok());
/// # Ok::<_, convscope_viz::draw::DrawError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Matrix<'a> {
    /// Values, row-major, names squared of them.
    pub values: &'a [f32],
    /// Names of rows and columns.
    pub names: &'a [String],
    /// Titles of the rows, on the left, and of the columns, above.
    pub axes: [&'a str; 2],
    /// Colours; zero has the page's colour.
    pub colormap: Colormap,
    /// Range of the colours.
    pub range: Range,
}

/// Side of a cell with room for a text line, in logical pixels.
const CELL: u32 = 14;
/// Side of a cell in a matrix of more than [`NAMED`] rows, which has no names.
const SMALL: u32 = 2;
const NAMED: usize = 200;
const GAP: u32 = 6;
const LONGEST: u32 = 110;

impl<'a> Matrix<'a> {
    /// A matrix of shares, from 0 to 1.
    ///
    /// # Errors
    /// [`DrawError`] if the number of values is not the square of the number of names, or zero.
    pub fn shares(values: &'a [f32], names: &'a [String], axes: [&'a str; 2]) -> Result<Self, DrawError> {
        check_shape("the matrix", values, 1, names.len(), names.len())?;
        Ok(Matrix { values, names, axes, colormap: Colormap::Viridis, range: Range { lo: 0.0, hi: 1.0 } })
    }

    fn cell(&self, theme: &Theme) -> u32 {
        theme.px(if self.names.len() > NAMED { SMALL } else { CELL })
    }

    /// Width of the longest name, with spacing.
    fn margin(&self, theme: &Theme) -> u32 {
        let longest = self.names.iter().map(|n| theme.small().width(n)).max().unwrap_or(0);
        if self.names.len() > NAMED { 0 } else { longest.min(theme.px(LONGEST)) + theme.px(GAP) }
    }

    /// Height of the column title, and left offset of the row title.
    fn heading(&self, theme: &Theme) -> u32 {
        theme.caption().line_height() + theme.px(GAP)
    }
}

impl Block for Matrix<'_> {
    fn size(&self, theme: &Theme) -> (u32, u32) {
        let side = self.heading(theme) + self.margin(theme) + self.cell(theme) * self.names.len() as u32;
        (side, side)
    }

    fn draw(&self, canvas: &mut Canvas, x: i32, y: i32, theme: &Theme) {
        let (cell, margin, heading) = (self.cell(theme), self.margin(theme), self.heading(theme));
        let (count, small) = (self.names.len(), theme.small());
        let side = cell * count as u32;
        let (left, top) = (x + (heading + margin) as i32, y + (heading + margin) as i32);
        // Vertical text is drawn on a strip and rotated.
        let upright = |canvas: &mut Canvas, text: &str, style: &super::Style, length: u32, x: i32, bottom: i32| {
            if let Ok(mut strip) = Canvas::new(length.max(1), style.line_height(), theme.page) {
                strip.text(0, 0, text, style, Align::Left);
                canvas.blit(&rotate270(&strip.into_image()), x, bottom - length as i32);
            }
        };
        let caption = theme.caption();
        canvas.text(left, y, &caption.ellipsize(self.axes[1], side), &caption, Align::Left);
        let rows = caption.ellipsize(self.axes[0], side);
        upright(canvas, &rows, &caption, caption.width(&rows), x, top + caption.width(&rows) as i32);
        for (i, name) in self.names.iter().enumerate().filter(|_| margin > 0) {
            let at = i as i32 * cell as i32;
            let middle = (cell as i32 - small.line_height() as i32) / 2;
            let name = small.ellipsize(name, theme.px(LONGEST));
            canvas.text(left - theme.px(GAP) as i32, top + at + middle, &name, &small, Align::Right);
            upright(canvas, &name, &small, small.width(&name), left + at + middle, top - theme.px(GAP) as i32);
        }
        // Hairlines every fifth row and column guide the eye to the names.
        for i in (0..=count).filter(|i| i % 5 == 0 || *i == count) {
            let at = (i as u32 * cell) as i32;
            canvas.fill(left + at, top, 1, side, theme.rule);
            canvas.fill(left, top + at, side, 1, theme.rule);
        }
        for (i, v) in self.values.iter().enumerate().filter(|(_, v)| **v != 0.0) {
            let (row, column) = (i / count, i % count);
            let at = |k: usize| (k as u32 * cell) as i32;
            canvas.fill(left + at(column), top + at(row), cell, cell, self.colormap.rgb(self.range.unit(*v)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draw::Figure;

    #[test]
    fn cells_lie_where_their_names_are() {
        let names: Vec<String> = ["cat", "dog"].map(String::from).to_vec();
        let matrix = Matrix::shares(&[1.0, 0.0, 0.25, 0.75], &names, ["true", "said"]).unwrap();
        let theme = Theme { zoom: 1, ..Theme::light() };
        let (w, h) = matrix.size(&theme);
        let mut canvas = Canvas::new(w, h, theme.page).unwrap();
        matrix.draw(&mut canvas, 0, 0, &theme);
        let image = canvas.into_image();
        let v = |t| Colormap::Viridis.rgb(t);
        let pixel = |column: u32, row: u32| image.get_pixel(w - 7 - CELL * (1 - column), h - 7 - CELL * (1 - row)).0;
        assert_eq!([pixel(0, 0), pixel(1, 0), pixel(0, 1), pixel(1, 1)], [v(1.0), theme.page, v(0.25), v(0.75)]);
        assert!(Matrix::shares(&[1.0; 3], &names, ["", ""]).is_err());
        let many: Vec<String> = (0..300).map(|i| i.to_string()).collect();
        let values = vec![0.5; 90_000];
        assert!(Figure::new("many").stack(&[&Matrix::shares(&values, &many, ["a", "b"]).unwrap()]).is_ok());
    }
}
