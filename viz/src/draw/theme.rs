//! Colours, sizes and fonts of a page.

use super::text::{Font, Style};

/// The theme of a page. Lengths are logical pixels; [`Theme::px`] converts to device pixels.
#[derive(Debug, Clone, PartialEq)]
pub struct Theme {
    /// Background.
    pub page: [u8; 3],
    /// Titles and captions.
    pub ink: [u8; 3],
    /// Labels, numbers, metadata.
    pub muted: [u8; 3],
    /// Hairlines and background of bars.
    pub rule: [u8; 3],
    /// Bars.
    pub bar: [u8; 3],
    /// Accent: the target class, warnings.
    pub accent: [u8; 3],
    /// Background of blank cells.
    pub blank: [u8; 3],
    /// Device pixels per logical pixel, at least 1.
    pub zoom: u32,
}

impl Theme {
    /// White page, the default.
    pub fn light() -> Theme {
        Theme {
            page: [0xff; 3],
            ink: [0x1a; 3],
            muted: [0x66; 3],
            rule: [0xe5; 3],
            bar: [0xb8, 0xc4, 0xd0],
            accent: [0xff, 0x66, 0x00],
            blank: [0xd9; 3],
            zoom: 2,
        }
    }

    /// Near-black page for dark slides.
    pub fn dark() -> Theme {
        Theme {
            page: [0x11; 3],
            ink: [0xee; 3],
            muted: [0x99; 3],
            rule: [0x33; 3],
            bar: [0x5b, 0x6b, 0x7b],
            accent: [0xff, 0x66, 0x00],
            blank: [0x3a; 3],
            zoom: 2,
        }
    }

    /// Device pixels of a logical length.
    pub fn px(&self, logical: u32) -> u32 {
        logical * self.zoom.max(1)
    }

    /// A text style: `size` in logical pixels per em, `weight` as extra logical thickness of strokes (the fonts have one weight
    /// each).
    fn style(&self, font: Font, size: f32, weight: f32, color: [u8; 3]) -> Style {
        let zoom = self.zoom.max(1) as f32;
        Style { font, size: size * zoom, embolden: weight * zoom, color }
    }

    /// The title of a page.
    pub fn title(&self) -> Style {
        self.style(Font::Sans, 18.0, 0.75, self.ink)
    }

    /// The line below the title.
    pub fn subtitle(&self) -> Style {
        self.style(Font::Sans, 13.0, 0.25, self.muted)
    }

    /// The heading of a panel.
    pub fn caption(&self) -> Style {
        self.style(Font::Sans, 13.0, 0.5, self.ink)
    }

    /// Running text beside pictures.
    pub fn body(&self) -> Style {
        self.style(Font::Sans, 13.0, 0.25, self.ink)
    }

    /// Small labels and metadata.
    pub fn small(&self) -> Style {
        self.style(Font::Sans, 11.0, 0.25, self.muted)
    }

    /// Numbers in columns, monospaced.
    pub fn figures(&self) -> Style {
        self.style(Font::Mono, 10.0, 0.0, self.muted)
    }
}

impl Default for Theme {
    fn default() -> Theme {
        Theme::light()
    }
}
