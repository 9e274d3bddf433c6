//! A page for drawing: rectangles, frames, pictures, text, all clipped to the page.

use super::overlay::blend;
use super::text::{Align, Style};
use super::{DrawError, check_pixels};
use image::{Rgb, RgbImage};

/// An RGB page. Coordinates are device pixels, x to the right, y down.
#[derive(Debug, Clone)]
pub struct Canvas {
    image: RgbImage,
}

impl Canvas {
    /// A page of one colour.
    ///
    /// # Errors
    /// [`DrawError::Empty`] or [`DrawError::TooLarge`].
    pub fn new(width: u32, height: u32, color: [u8; 3]) -> Result<Canvas, DrawError> {
        check_pixels(width.into(), height.into())?;
        Ok(Canvas { image: RgbImage::from_pixel(width, height, Rgb(color)) })
    }

    /// The finished picture.
    pub fn into_image(self) -> RgbImage {
        self.image
    }

    /// A filled rectangle.
    pub fn fill(&mut self, x: i32, y: i32, width: u32, height: u32, color: [u8; 3]) {
        let clip = |start: i32, length: u32, end: u32| {
            let stop = (i64::from(start) + i64::from(length)).clamp(0, end.into());
            (i64::from(start).clamp(0, end.into()) as u32)..(stop as u32)
        };
        let columns = clip(x, width, self.image.width());
        for row in clip(y, height, self.image.height()) {
            for column in columns.clone() {
                self.image.put_pixel(column, row, Rgb(color));
            }
        }
    }

    /// The outline of a rectangle, drawn inside it.
    pub fn frame(&mut self, x: i32, y: i32, width: u32, height: u32, thickness: u32, color: [u8; 3]) {
        let (right, bottom) = (width.saturating_sub(thickness) as i32, height.saturating_sub(thickness) as i32);
        self.fill(x, y, width, thickness, color);
        self.fill(x, y + bottom, width, thickness, color);
        self.fill(x, y, thickness, height, color);
        self.fill(x + right, y, thickness, height, color);
    }

    /// A picture with its top left corner at (x, y).
    pub fn blit(&mut self, picture: &RgbImage, x: i32, y: i32) {
        image::imageops::replace(&mut self.image, picture, x.into(), y.into());
    }

    /// One line of text: `y` is the top of the line, `x` its start, middle or end.
    pub fn text(&mut self, x: i32, y: i32, text: &str, style: &Style, align: Align) {
        let shift = match align {
            Align::Left => 0,
            Align::Center => style.width(text) as i32 / 2,
            Align::Right => style.width(text) as i32,
        };
        let ink = style.ink(text);
        let (left, top) = (x - shift + ink.left, y + style.ascent() as i32 + ink.top);
        for (i, alpha) in ink.coverage.iter().enumerate().filter(|(_, c)| **c > 0.0) {
            let (px, py) = (left + (i % ink.width) as i32, top + (i / ink.width) as i32);
            if let (Ok(px), Ok(py)) = (u32::try_from(px), u32::try_from(py))
                && let Some(pixel) = self.image.get_pixel_mut_checked(px, py)
            {
                pixel.0 = blend(pixel.0, style.color, *alpha);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draw::Theme;

    #[test]
    fn rectangles_are_cut_at_the_edge() {
        let mut c = Canvas::new(4, 3, [0; 3]).unwrap();
        c.fill(-5, 1, 7, 100, [9; 3]);
        c.fill(i32::MAX - 1, 0, u32::MAX, 1, [7; 3]);
        let on: Vec<_> = c.image.enumerate_pixels().filter(|p| p.2.0 == [9; 3]).map(|p| (p.0, p.1)).collect();
        assert_eq!(on, [(0, 1), (1, 1), (0, 2), (1, 2)]);
        let mut c = Canvas::new(5, 4, [0; 3]).unwrap();
        c.frame(0, 0, 5, 4, 1, [1; 3]);
        assert_eq!(c.image.pixels().filter(|p| p.0 == [0; 3]).count(), 3 * 2);
        assert!(Canvas::new(0, 5, [0; 3]).is_err());
        assert!(Canvas::new(1 << 20, 1 << 20, [0; 3]).is_err());
    }

    #[test]
    fn text_is_drawn_where_it_is_aligned() {
        let style = Theme::light().title();
        let extent = |align| {
            let mut c = Canvas::new(200, 60, [255; 3]).unwrap();
            c.text(100, 10, "Hill", &style, align);
            let xs: Vec<u32> = c.image.enumerate_pixels().filter(|p| p.2.0[0] < 128).map(|p| p.0).collect();
            (*xs.iter().min().unwrap(), *xs.iter().max().unwrap())
        };
        assert!(extent(Align::Left).0 >= 100);
        assert!(extent(Align::Right).1 <= 100);
        let (l, r) = extent(Align::Center);
        assert!((l + r).abs_diff(200) <= 4, "{l} {r}");
        // Drawing outside the page has no effect.
        Canvas::new(3, 3, [255; 3]).unwrap().text(-500, -500, "Hill", &style, Align::Left);
    }
}
