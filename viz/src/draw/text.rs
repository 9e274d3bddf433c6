//! Text in pictures: measured, shortened, wrapped, anti-aliased.

use ab_glyph::{Font as _, FontRef, GlyphId, PxScale, ScaleFont, point};
use std::sync::OnceLock;

/// A typeface; both are bundled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Font {
    /// Ubuntu Light.
    Sans,
    /// Hack Regular, monospaced.
    Mono,
}

/// Style of a text. Sizes are device pixels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Style {
    /// The typeface.
    pub font: Font,
    /// Font size: pixels per em.
    pub size: f32,
    /// Extra thickness of strokes, in pixels.
    pub embolden: f32,
    /// The colour.
    pub color: [u8; 3],
}

/// Horizontal alignment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Align {
    /// Left.
    Left,
    /// Centre.
    Center,
    /// Right.
    Right,
}

impl Font {
    fn face(self) -> &'static FontRef<'static> {
        static SANS: OnceLock<FontRef<'static>> = OnceLock::new();
        static MONO: OnceLock<FontRef<'static>> = OnceLock::new();
        let (cell, bytes) = match self {
            Font::Sans => (&SANS, epaint_default_fonts::UBUNTU_LIGHT),
            Font::Mono => (&MONO, epaint_default_fonts::HACK_REGULAR),
        };
        cell.get_or_init(|| FontRef::try_from_slice(bytes).expect("the font inside the program is whole"))
    }

    fn other(self) -> Font {
        if self == Font::Sans { Font::Mono } else { Font::Sans }
    }

    /// The font that has `c`: this one, else the other, else this one with its box for missing characters.
    fn holding(self, c: char) -> (Font, GlyphId) {
        let own = self.face().glyph_id(c);
        if own.0 == 0 {
            let other = self.other().face().glyph_id(c);
            if other.0 != 0 {
                return (self.other(), other);
            }
        }
        (self, own)
    }
}

/// Coverage of a text, 0..=1, in rows of `width` pixels; (`left`, `top`) is the offset from the pen's start on the baseline.
pub(crate) struct Ink {
    pub left: i32,
    pub top: i32,
    pub width: usize,
    pub coverage: Vec<f32>,
}

impl Style {
    /// ab_glyph measures a size from ascender to descender; sizes here are the em.
    fn scale(&self, font: Font) -> PxScale {
        let face = font.face();
        let em = face.units_per_em().unwrap_or(1000.0);
        PxScale::from(self.size * face.height_unscaled() / em)
    }

    /// Pen positions of the characters, and the total width.
    fn layout(&self, text: &str) -> (Vec<(Font, GlyphId, f32)>, f32) {
        let mut pen = 0.0;
        let mut previous: Option<(Font, GlyphId)> = None;
        let mut glyphs = Vec::new();
        for c in text.chars() {
            let (font, id) = self.font.holding(if c.is_control() { ' ' } else { c });
            let scaled = font.face().as_scaled(self.scale(font));
            if let Some((f, last)) = previous.filter(|p| p.0 == font) {
                debug_assert!(f == font);
                pen += scaled.kern(last, id);
            }
            glyphs.push((font, id, pen));
            pen += scaled.h_advance(id);
            previous = Some((font, id));
        }
        (glyphs, pen)
    }

    /// Width of `text` in pixels.
    pub fn width(&self, text: &str) -> u32 {
        (self.layout(text).1 + self.embolden).ceil().max(0.0) as u32
    }

    /// From the top of the line to the baseline.
    pub fn ascent(&self) -> u32 {
        self.font.face().as_scaled(self.scale(self.font)).ascent().round() as u32
    }

    /// From one line to the next.
    pub fn line_height(&self) -> u32 {
        (self.size * 1.3).round() as u32
    }

    /// `text`, shortened with an ellipsis to `max` pixels.
    pub fn ellipsize(&self, text: &str, max: u32) -> String {
        // A glyph is about a pixel wide at least, so that the end of an endless text need not be measured.
        let beginning: Vec<char> = text.chars().take(2 * max as usize + 64).collect();
        let whole = beginning.len() == text.chars().take(beginning.len() + 1).count();
        if whole && self.width(text) <= max {
            return text.to_string();
        }
        let cut = |kept: usize| format!("{}…", beginning[..kept].iter().collect::<String>().trim_end());
        let fits = |kept: usize| self.width(&cut(kept)) <= max;
        let (mut least, mut most) = (0, beginning.len().saturating_sub(1));
        while least < most {
            let middle = (least + most).div_ceil(2);
            if fits(middle) { least = middle } else { most = middle - 1 }
        }
        // Kerning makes a longer text narrower at times.
        let kept = (0..=(least + 3).min(beginning.len().saturating_sub(1))).rev().find(|kept| fits(*kept));
        kept.map(cut).unwrap_or_default()
    }

    /// Lines of at most `max` pixels, broken at spaces; a longer word gets an ellipsis.
    pub fn wrap(&self, text: &str, max: u32) -> Vec<String> {
        let mut lines: Vec<String> = Vec::new();
        for word in text.split_whitespace() {
            if let Some(line) = lines.last_mut() {
                let longer = format!("{line} {word}");
                if self.width(&longer) <= max {
                    *line = longer;
                    continue;
                }
            }
            lines.push(self.ellipsize(word, max));
        }
        lines
    }

    /// The coverage of `text`.
    pub(crate) fn ink(&self, text: &str) -> Ink {
        let outlines: Vec<_> = self
            .layout(text)
            .0
            .into_iter()
            .flat_map(|(font, id, pen)| {
                // Bold: the glyph twice, with an offset.
                let shifts = if self.embolden > 0.0 { vec![0.0, self.embolden] } else { vec![0.0] };
                shifts.into_iter().filter_map(move |dx| {
                    let glyph = id.with_scale_and_position(self.scale(font), point(pen + dx, 0.0));
                    font.face().outline_glyph(glyph)
                })
            })
            .collect();
        let bounds = outlines.iter().map(|o| o.px_bounds()).reduce(|a, b| ab_glyph::Rect {
            min: point(a.min.x.min(b.min.x), a.min.y.min(b.min.y)),
            max: point(a.max.x.max(b.max.x), a.max.y.max(b.max.y)),
        });
        let Some(bounds) = bounds else {
            return Ink { left: 0, top: 0, width: 0, coverage: Vec::new() };
        };
        let (width, height) = (bounds.width().ceil() as usize, bounds.height().ceil() as usize);
        let mut coverage = vec![0.0f32; width * height];
        for outline in outlines {
            let own = outline.px_bounds();
            let (x0, y0) = ((own.min.x - bounds.min.x) as usize, (own.min.y - bounds.min.y) as usize);
            outline.draw(|x, y, c| {
                if let Some(cell) = coverage.get_mut((y0 + y as usize) * width + x0 + x as usize) {
                    *cell = cell.max(c.min(1.0));
                }
            });
        }
        Ink { left: bounds.min.x as i32, top: bounds.min.y as i32, width, coverage }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn style(font: Font, size: f32) -> Style {
        Style { font, size, embolden: 0.0, color: [0; 3] }
    }

    #[test]
    fn widths_grow_with_text_and_size() {
        let s = style(Font::Sans, 12.0);
        assert_eq!(s.width(""), 0);
        assert!(s.width("ab") > s.width("a"));
        assert!(style(Font::Sans, 24.0).width("abc") > s.width("abc") * 3 / 2);
        let mono = style(Font::Mono, 20.0);
        assert_eq!(mono.width("1111"), mono.width("8.,0"));
        // Missing from both fonts: a box, not a panic.
        assert!(s.width("漢字") > 0);
    }

    #[test]
    fn ellipsis_keeps_within_the_width() {
        let s = style(Font::Sans, 12.0);
        let long = "a very long class name that nobody can read";
        let cut = s.ellipsize(long, 90);
        assert!(cut.ends_with('…') && s.width(&cut) <= 90 && cut.len() > 8, "{cut}");
        assert_eq!(s.ellipsize("cat", 90), "cat");
        assert_eq!(s.ellipsize("cat", 1), "");
        assert_eq!(s.ellipsize("", 1), "");
        // The longest beginning that fits, and an endless name takes no endless time.
        for max in 20..120 {
            let fits = |kept: &usize| s.width(&format!("{}…", long[..*kept].trim_end())) <= max;
            let longest = (0..long.len()).rev().find(fits).map(|kept| format!("{}…", long[..kept].trim_end()));
            assert_eq!(s.ellipsize(long, max), longest.unwrap_or_default(), "{max}");
        }
        assert!(s.width(&s.ellipsize(&"name".repeat(1_000_000), 90)) <= 90);
    }

    #[test]
    fn wrapping_loses_no_word() {
        let s = style(Font::Sans, 12.0);
        let text = "seed 1 · steps 40 · preset chollet1 · convscope 0.1.0";
        let lines = s.wrap(text, 120);
        assert!(lines.len() > 1 && lines.iter().all(|l| s.width(l) <= 120), "{lines:?}");
        assert_eq!(lines.join(" "), text);
        assert!(s.wrap("  ", 120).is_empty());
    }

    #[test]
    fn ink_lies_on_the_baseline() {
        let ink = style(Font::Sans, 40.0).ink("H");
        let height = (ink.coverage.len() / ink.width) as i32;
        assert!(ink.top < -20 && ink.top + height <= 1, "{} {height}", ink.top);
        assert!(ink.coverage.contains(&1.0));
        let bold = Style { embolden: 2.0, ..style(Font::Sans, 40.0) }.ink("H");
        assert!(bold.coverage.iter().sum::<f32>() > 1.2 * ink.coverage.iter().sum::<f32>());
        assert!(style(Font::Sans, 40.0).ink(" ").coverage.is_empty());
    }
}
