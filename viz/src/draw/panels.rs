//! Pictures side by side with captions, then a list of bars: the page of a heat map.

use super::figure::Block;
use super::overlay::{Overlay, contours};
use super::resize::{fit, paint};
use super::scale::{Health, short};
use super::text::Align;
use super::{BarList, Canvas, Colormap, DrawError, Limits, Range, ScaleBar, Theme};
use crate::map::Map;
use image::{Rgb, RgbImage};

/// Contour levels, as fractions of the maximum.
const CONTOURS: [f32; 2] = [0.5, 0.8];

/// One panel. A map of any size is resized once ([`Map::resized`]), to the photo's size.
#[derive(Debug, Clone)]
pub enum Panel<'a> {
    /// A picture.
    Picture {
        /// Caption above.
        caption: String,
        /// The picture.
        picture: &'a RgbImage,
    },
    /// A map in colours, with a scale bar.
    Heat {
        /// Caption above.
        caption: String,
        /// The values.
        map: &'a Map,
        /// Colour map; a diverging one gets a symmetric range.
        colormap: Colormap,
        /// Range; by default zero to the maximum, symmetric for a diverging map.
        range: Option<Range>,
        /// Quantity of the values.
        quantity: String,
    },
    /// A map over a photo.
    Overlay {
        /// Caption above.
        caption: String,
        /// The photo.
        photo: &'a RgbImage,
        /// The map, in 0..=1.
        map: &'a Map,
        /// Style of the overlay.
        style: Overlay,
        /// Whether contour lines mark half and four fifths of the maximum.
        contours: bool,
    },
}

/// Panels of one height, with bars on the right.
#[derive(Debug, Clone)]
pub struct Panels<'a> {
    /// Panels, left to right.
    pub panels: Vec<Panel<'a>>,
    /// Bars, for example of the top classes.
    pub bars: Option<BarList>,
}

/// Maximum panel size, in logical pixels.
const HEIGHT: u32 = 260;
const WIDTH: u32 = 360;
/// Minimum column width, for caption and scale bar.
const MIN_COLUMN: u32 = 150;
/// Space between panels, in logical pixels.
pub(crate) const GAP: u32 = 20;

impl Panels<'_> {
    /// Displayed size of photos, and so of maps.
    fn shown(&self, theme: &Theme) -> Result<(u32, u32), DrawError> {
        let (max_w, max_h) = (theme.px(WIDTH), theme.px(HEIGHT));
        let photo = self.panels.iter().find_map(|p| match p {
            Panel::Picture { picture: photo, .. } | Panel::Overlay { photo, .. } => Some(*photo),
            Panel::Heat { .. } => None,
        });
        if let Some(photo) = photo {
            return Ok(fit(photo, max_w, max_h)?.dimensions());
        }
        match self.panels.first() {
            Some(Panel::Heat { map, .. }) => {
                let [h, w] = map.size();
                let factor = (max_w as f32 / w as f32).min(max_h as f32 / h as f32);
                let scaled = |n: usize| ((n as f32 * factor).round() as u32).max(1);
                Ok((scaled(w), scaled(h)))
            }
            _ => Err(DrawError::Empty("the row of panels".into())),
        }
    }

    /// The panels for [`super::Figure::panels`].
    pub(crate) fn prepare(&self, theme: &Theme) -> Result<Vec<Column>, DrawError> {
        let shown = self.shown(theme)?;
        self.panels.iter().map(|p| p.prepare(shown, theme)).collect()
    }
}

impl Panel<'_> {
    /// `shown` is the displayed size of photos and maps.
    fn prepare(&self, (shown_w, shown_h): (u32, u32), theme: &Theme) -> Result<Column, DrawError> {
        let column = |caption: &str, detail: String, picture: RgbImage| Column {
            caption: caption.into(),
            detail,
            picture,
            word: None,
            scale_bar: None,
            framed: false,
        };
        match self {
            Panel::Picture { caption, picture } => {
                let shown = fit(picture, theme.px(WIDTH), theme.px(HEIGHT))?;
                Ok(column(caption, format!("{} × {}", picture.width(), picture.height()), shown))
            }
            Panel::Heat { caption, map, colormap, range, quantity } => {
                let (values, [h, w]) = (map.values(), map.size());
                let limits = if colormap.is_diverging() { Limits::Symmetric } else { Limits::ZeroMax };
                let health = Health::of(values);
                let range = range.or_else(|| limits.range(values));
                let word = match (health, range) {
                    (Health::Dead, _) => Some("zero everywhere".to_string()),
                    (Health::NotFinite, _) | (_, None) => Some("not a number anywhere".to_string()),
                    _ => None,
                };
                let range_or_unit = range.unwrap_or(Range { lo: 0.0, hi: 1.0 });
                let picture = if word.is_some() {
                    RgbImage::from_pixel(shown_w, shown_h, Rgb(theme.blank))
                } else {
                    let (shown_h, shown_w) = (shown_h as usize, shown_w as usize);
                    let shown = map.resized(shown_h, shown_w)?;
                    paint(shown.values(), shown_h, shown_w, |v| colormap.rgb(range_or_unit.unit(v)))?
                };
                let mut made = column(caption, format!("{w} × {h}, bilinear"), picture);
                if word.is_none() {
                    let mut bar = ScaleBar::new(*colormap, range, quantity.clone());
                    bar.length = (shown_w / theme.zoom.max(1)).max(MIN_COLUMN);
                    bar.ends = colormap.is_diverging().then(|| ("against".into(), "for".into()));
                    made.scale_bar = Some(bar);
                }
                made.framed = colormap.is_diverging();
                made.word = word;
                Ok(made)
            }
            Panel::Overlay { caption, photo, map, style, contours: lines } => {
                let fitted = |p: &RgbImage| fit(p, theme.px(WIDTH), theme.px(HEIGHT));
                let over = |p: &RgbImage| map.resized(p.height() as usize, p.width() as usize);
                // The reference styles work at the photo's size, convscope's at the displayed size.
                let (mut picture, heat) = if matches!(style, Overlay::Chollet1 | Overlay::Pytorch) {
                    let heat = over(photo)?;
                    (fitted(&style.apply(photo, &heat)?)?, heat)
                } else {
                    let shown = fitted(photo)?;
                    let heat = over(&shown)?;
                    (style.apply(&shown, &heat)?, heat)
                };
                let mut detail = match style {
                    Overlay::Proportional(_) => String::new(),
                    Overlay::Blend(map, alpha) => format!("{map}, opacity {}", short(*alpha)),
                    Overlay::Chollet1 => "jet × 0.4 added to the photo".into(),
                    Overlay::Pytorch => "jet and photo, half and half".into(),
                };
                let max = map.values().iter().copied().filter(|v| v.is_finite()).fold(0.0, f32::max);
                if *lines && max > 0.0 {
                    let levels = CONTOURS.map(|c| c * max.min(1.0));
                    let (h, w) = (picture.height() as usize, picture.width() as usize);
                    contours(&mut picture, &*heat.resized(h, w)?, &levels, 1.1 * theme.zoom as f32)?;
                    detail = "lines at 50 % and 80 % of max".into();
                }
                Ok(column(caption, detail, picture))
            }
        }
    }
}

/// A drawable panel: caption, detail, picture, scale bar, top to bottom.
pub(crate) struct Column {
    caption: String,
    detail: String,
    picture: RgbImage,
    /// The reason for a blank picture.
    word: Option<String>,
    scale_bar: Option<ScaleBar>,
    /// Whether the picture needs a border, as its colours contain the page's.
    framed: bool,
}

impl Block for Column {
    fn size(&self, theme: &Theme) -> (u32, u32) {
        let scale = self.scale_bar.as_ref().map_or(0, |b| theme.px(8) + b.size(theme).1);
        let heading = theme.caption().line_height() + theme.small().line_height() + theme.px(4);
        (self.picture.width().max(theme.px(MIN_COLUMN)), heading + self.picture.height() + scale)
    }

    fn draw(&self, canvas: &mut Canvas, x: i32, mut y: i32, theme: &Theme) {
        let (width, height) = self.picture.dimensions();
        for (text, style) in [(&self.caption, theme.caption()), (&self.detail, theme.small())] {
            canvas.text(x, y, &style.ellipsize(text, self.size(theme).0), &style, Align::Left);
            y += style.line_height() as i32;
        }
        y += theme.px(4) as i32;
        if self.framed {
            canvas.frame(x - 1, y - 1, width + 2, height + 2, 1, theme.rule);
        }
        canvas.blit(&self.picture, x, y);
        if let Some(word) = &self.word {
            let middle = y + (height as i32 - theme.small().line_height() as i32) / 2;
            canvas.text(x + width as i32 / 2, middle, word, &theme.small(), Align::Center);
        }
        if let Some(bar) = &self.scale_bar {
            bar.draw(canvas, x, y + (height + theme.px(8)) as i32, theme);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAT: [f32; 4] = [0.0, 0.5, 0.25, 1.0];

    fn row(photo: &RgbImage, values: &[f32]) -> Vec<Column> {
        let map = &Map::new(values.to_vec(), 2, 2).unwrap();
        let heat = Panel::Heat {
            caption: "Heat map".into(),
            map,
            colormap: Colormap::Inferno,
            range: None,
            quantity: "evidence".into(),
        };
        let overlay = Panel::Overlay {
            caption: "Overlay".into(),
            photo,
            map,
            style: Overlay::Proportional(Colormap::Inferno),
            contours: true,
        };
        let input = Panel::Picture { caption: "Input".into(), picture: photo };
        Panels { panels: vec![input, heat, overlay], bars: None }.prepare(&Theme::light()).unwrap()
    }

    #[test]
    fn every_panel_has_the_size_of_the_photo() {
        for (w, h) in [(32, 32), (640, 480), (300, 900), (1, 1), (4000, 30)] {
            let photo = RgbImage::from_pixel(w, h, Rgb([90, 120, 30]));
            let row = row(&photo, &HEAT);
            let sizes: Vec<_> = row.iter().map(|c| c.picture.dimensions()).collect();
            assert!(sizes.iter().all(|s| *s == sizes[0]), "{w}x{h}: {sizes:?}");
            let (shown_w, shown_h) = sizes[0];
            assert!(shown_w <= 2 * WIDTH && shown_h <= 2 * HEIGHT && shown_w.max(shown_h) >= 256, "{w}x{h}: {sizes:?}");
        }
    }

    #[test]
    fn nothing_to_show_is_said() {
        let photo = RgbImage::from_pixel(64, 64, Rgb([90, 120, 30]));
        let dead = row(&photo, &[0.0; 4]);
        assert_eq!(dead[1].word.as_deref(), Some("zero everywhere"));
        assert!(dead[1].scale_bar.is_none());
        assert_eq!(dead[2].detail, "");
        assert_eq!(row(&photo, &[f32::NAN; 4])[1].word.as_deref(), Some("not a number anywhere"));
        assert!(row(&photo, &HEAT)[1].word.is_none());
        assert!(Panels { panels: vec![], bars: None }.prepare(&Theme::light()).is_err());
    }

    #[test]
    fn signed_maps_say_what_the_colours_mean() {
        let map = Map::new(vec![-1.0, 0.0, 0.5, 0.25], 2, 2).unwrap();
        let heat =
            Panel::Heat { caption: String::new(), map: &map, colormap: Colormap::RdBu, range: None, quantity: String::new() };
        let row = Panels { panels: vec![heat], bars: None }.prepare(&Theme::light()).unwrap();
        let bar = row[0].scale_bar.as_ref().unwrap();
        assert_eq!(bar.ends, Some(("against".into(), "for".into())));
        assert_eq!(bar.range.unwrap().lo, -bar.range.unwrap().hi);
    }
}
