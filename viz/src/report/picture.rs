//! Pictures and colour scales in HTML.

use crate::draw::{Colormap, ScaleBar, short};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{DynamicImage, ImageError};

/// An embedded picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// A PNG as `data:` URI.
    pub src: String,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Alternative text.
    pub alt: String,
}

impl Picture {
    /// A picture with an alternative text.
    ///
    /// # Errors
    /// [`ImageError`] if the PNG cannot be encoded, for lack of memory.
    pub fn new(picture: impl Into<DynamicImage>, alt: impl Into<String>) -> Result<Self, ImageError> {
        let picture = picture.into();
        let mut png = Vec::new();
        picture.write_with_encoder(PngEncoder::new_with_quality(&mut png, CompressionType::Best, FilterType::Adaptive))?;
        let src = format!("data:image/png;base64,{}", STANDARD.encode(png));
        Ok(Picture { src, width: picture.width(), height: picture.height(), alt: alt.into() })
    }
}

/// A scale bar in CSS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scale {
    /// Colours from the lower to the upper end, as the stops of a gradient.
    pub stops: String,
    /// Labels below: at the ends, or at the ends and the middle.
    pub numbers: Vec<String>,
    /// Quantity of the labels.
    pub label: String,
}

/// Number of colours between which linear interpolation has no visible error.
const STOPS: u8 = 16;

impl From<&ScaleBar> for Scale {
    fn from(bar: &ScaleBar) -> Self {
        let colour = |i: u8| {
            let [r, g, b] = bar.colormap.rgb(f32::from(i) / f32::from(STOPS));
            format!("#{r:02x}{g:02x}{b:02x}")
        };
        let numbers = match bar.range {
            None => vec!["min".into(), "max".into()],
            Some(range) if bar.colormap.is_diverging() || (bar.colormap == Colormap::Grey && range.lo == -range.hi) => {
                vec![short(range.lo), "0".into(), short(range.hi)]
            }
            Some(range) => vec![short(range.lo), short(range.hi)],
        };
        Scale { stops: (0..=STOPS).map(colour).collect::<Vec<_>>().join(","), numbers, label: bar.label.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draw::Range;
    use image::{Rgba, RgbaImage};

    #[test]
    fn pictures_come_back() {
        let picture = RgbaImage::from_fn(5, 3, |x, y| Rgba([x as u8 * 40, y as u8 * 80, 7, 200 - x as u8]));
        let made = Picture::new(picture.clone(), "five by three").unwrap();
        assert_eq!((made.width, made.height, made.alt.as_str()), (5, 3, "five by three"));
        let bytes = STANDARD.decode(made.src.strip_prefix("data:image/png;base64,").unwrap()).unwrap();
        assert_eq!(image::load_from_memory(&bytes).unwrap().to_rgba8(), picture);
    }

    #[test]
    fn scales_name_their_ends() {
        let scale = |map, range| Scale::from(&ScaleBar::new(map, range, "x"));
        let viridis = scale(Colormap::Viridis, Some(Range { lo: 0.0, hi: 4.25 }));
        assert_eq!(viridis.numbers, ["0", "4.25"]);
        assert!(viridis.stops.starts_with("#440154,") && viridis.stops.ends_with("#fde725"), "{}", viridis.stops);
        assert_eq!(scale(Colormap::RdBu, Some(Range { lo: -2.0, hi: 2.0 })).numbers, ["−2", "0", "2"]);
        assert_eq!(scale(Colormap::Viridis, None).numbers, ["min", "max"]);
    }
}
