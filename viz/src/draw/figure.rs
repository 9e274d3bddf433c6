//! A page: title, subtitle, hairline, body, metadata.

use super::panels::GAP;
use super::text::{Align, Style};
use super::{Canvas, DrawError, Grid, Panels, Theme};
use image::RgbImage;

/// A block with a size, drawn at a position. Sizes and positions are device pixels.
pub trait Block {
    /// Width and height in device pixels.
    fn size(&self, theme: &Theme) -> (u32, u32);
    /// Draws the block with its top left corner at (x, y).
    fn draw(&self, canvas: &mut Canvas, x: i32, y: i32, theme: &Theme);
}

/// Blocks side by side, their tops aligned.
pub struct BlockRow<'a> {
    /// The blocks, from the left.
    pub blocks: Vec<&'a dyn Block>,
    /// Logical pixels between them.
    pub gap: u32,
}

impl Block for BlockRow<'_> {
    fn size(&self, theme: &Theme) -> (u32, u32) {
        let sizes: Vec<_> = self.blocks.iter().map(|b| b.size(theme)).collect();
        let gaps = theme.px(self.gap) * sizes.len().saturating_sub(1) as u32;
        (sizes.iter().map(|s| s.0).sum::<u32>() + gaps, sizes.iter().map(|s| s.1).max().unwrap_or(0))
    }

    fn draw(&self, canvas: &mut Canvas, mut x: i32, y: i32, theme: &Theme) {
        for block in &self.blocks {
            block.draw(canvas, x, y, theme);
            x += (block.size(theme).0 + theme.px(self.gap)) as i32;
        }
    }
}

/// A page with title, subtitle and metadata around its body, so that every picture names its content, network, layer and
/// settings.
///
/// ```
/// use convscope_viz::draw::{Colormap, Figure, Range, ScaleBar};
/// let bar = ScaleBar::new(Colormap::Viridis, Some(Range { lo: 0.0, hi: 4.0 }), "activation");
/// let page = Figure::new("Feature maps · vgg16 · block1_conv1").metadata("seed 0 · convscope 0.1.0").stack(&[&bar]);
/// assert!(page.is_ok());
/// ```
#[derive(Debug, Clone, Default)]
pub struct Figure {
    title: String,
    subtitle: String,
    warning: String,
    metadata: String,
    theme: Theme,
}

const MARGIN: u32 = 24;
/// Space between the parts of a page.
const SPACE: u32 = 14;
/// Space around the hairline below the title.
const RULE_ABOVE: u32 = 8;
const RULE_BELOW: u32 = 12;
/// Minimum width of a title, even over a single small map.
const TEXT_WIDTH: u32 = 420;

impl Figure {
    /// A light page with this title.
    pub fn new(title: impl Into<String>) -> Figure {
        Figure { title: title.into(), ..Figure::default() }
    }

    /// Sets the line below the title.
    pub fn subtitle(mut self, text: impl Into<String>) -> Figure {
        self.subtitle = text.into();
        self
    }

    /// Sets a warning to the reader, in the accent colour.
    pub fn warning(mut self, text: impl Into<String>) -> Figure {
        self.warning = text.into();
        self
    }

    /// Sets the bottom line: seed, steps, preset, version.
    pub fn metadata(mut self, text: impl Into<String>) -> Figure {
        self.metadata = text.into();
        self
    }

    /// Sets a theme other than [`Theme::light`].
    pub fn theme(mut self, theme: Theme) -> Figure {
        self.theme = theme;
        self
    }

    /// A grid of maps or pictures: one page for every 256 cells, in order.
    ///
    /// ```
    /// use convscope_viz::draw::{Cell, Figure, Grid, Pixels};
    /// let (bright, dark) = ([0.0, 1.0, 2.0, 3.0], [0.0; 4]);
    /// let cell = |label: &str, values| Cell { label: label.into(), value: None, pixels: Pixels::Map { values, h: 2, w: 2 } };
    /// let grid = Grid::new(vec![cell("#0", &bright), cell("#1", &dark)]);
    /// let pages = Figure::new("Feature maps").grid(&grid)?;
    /// assert_eq!(pages.len(), 1);
    /// # Ok::<_, convscope_viz::draw::DrawError>(())
    /// ```
    ///
    /// # Errors
    /// [`DrawError`] if there are no cells, they differ in size, or a page would be too large.
    pub fn grid(&self, grid: &Grid) -> Result<Vec<RgbImage>, DrawError> {
        let pages = grid.pages(&self.theme)?;
        let count = pages.len();
        pages
            .iter()
            .enumerate()
            .map(|(i, page)| {
                let mut figure = self.clone();
                if count > 1 {
                    let which = format!("page {} of {count}", i + 1);
                    figure.subtitle = join(&[&self.subtitle, &which]);
                }
                figure.metadata = join(&[&self.metadata, page.note()]);
                match page.scale_bar() {
                    Some(bar) => figure.stack(&[page, bar]),
                    None => figure.stack(&[page]),
                }
            })
            .collect()
    }

    /// Panels side by side, and the bars right of them.
    ///
    /// ```
    /// use convscope_viz::Map;
    /// use convscope_viz::draw::{Colormap, Figure, Overlay, Panel, Panels};
    /// let photo = image::RgbImage::from_pixel(80, 60, image::Rgb([90, 120, 30]));
    /// let map = Map::new(vec![0.0, 0.2, 0.6, 1.0], 2, 2)?;
    /// let input = Panel::Picture { caption: "input".into(), picture: &photo };
    /// let style = Overlay::Proportional(Colormap::Inferno);
    /// let overlay = Panel::Overlay { caption: "overlay".into(), photo: &photo, map: &map, style, contours: true };
    /// let page = Figure::new("Grad-CAM").panels(&Panels { panels: vec![input, overlay], bars: None })?;
    /// assert!(page.width() > page.height());
    /// # Ok::<_, convscope_viz::draw::DrawError>(())
    /// ```
    ///
    /// # Errors
    /// [`DrawError`] if there are no panels, or the page would be too large.
    pub fn panels(&self, panels: &Panels) -> Result<RgbImage, DrawError> {
        let columns = panels.prepare(&self.theme)?;
        let columns = columns.iter().map(|c| c as &dyn Block);
        let bars = panels.bars.iter().map(|b| b as &dyn Block);
        self.stack(&[&BlockRow { blocks: columns.chain(bars).collect(), gap: GAP }])
    }

    /// Any blocks, one below the other.
    ///
    /// # Errors
    /// [`DrawError::TooLarge`].
    pub fn stack(&self, blocks: &[&dyn Block]) -> Result<RgbImage, DrawError> {
        let theme = &self.theme;
        let sizes: Vec<_> = blocks.iter().map(|b| b.size(theme)).collect();
        let warning = Style { color: theme.accent, ..theme.caption() };
        let head = [(&self.title, theme.title()), (&self.subtitle, theme.subtitle()), (&self.warning, warning)];
        let foot = (&self.metadata, theme.small());
        let words = head.iter().chain([&foot]).map(|(text, style)| style.width(text)).max().unwrap_or(0);
        let width = sizes.iter().map(|s| s.0).max().unwrap_or(0).max(words.min(theme.px(TEXT_WIDTH)));
        let wrapped = |(text, style): (&String, Style)| (style.wrap(text, width), style);
        let (head, foot) = (head.map(wrapped), wrapped(foot));

        let lines = |(lines, style): &(Vec<String>, Style)| style.line_height() * lines.len() as u32;
        let has_foot = u32::from(!foot.0.is_empty());
        let (margin, space) = (theme.px(MARGIN), theme.px(SPACE));
        let height = margin * 2
            + head.iter().map(lines).sum::<u32>()
            + theme.px(RULE_ABOVE + RULE_BELOW)
            + sizes.iter().map(|s| s.1 + space).sum::<u32>()
            + lines(&foot) * has_foot;
        let mut canvas = Canvas::new(width + 2 * margin, height, theme.page)?;
        let x = margin as i32;
        let mut y = margin as i32;
        let write = |canvas: &mut Canvas, y: &mut i32, (lines, style): &(Vec<String>, Style)| {
            for line in lines {
                canvas.text(x, *y, line, style, Align::Left);
                *y += style.line_height() as i32;
            }
        };
        for part in &head {
            write(&mut canvas, &mut y, part);
        }
        y += theme.px(RULE_ABOVE) as i32;
        canvas.fill(x, y, width, theme.zoom, theme.rule);
        y += theme.px(RULE_BELOW) as i32;
        for (block, size) in blocks.iter().zip(&sizes) {
            block.draw(&mut canvas, x, y, theme);
            y += (size.1 + space) as i32;
        }
        write(&mut canvas, &mut y, &foot);
        Ok(canvas.into_image())
    }
}

/// The non-empty parts, joined by a middle dot.
fn join(parts: &[&str]) -> String {
    parts.iter().filter(|p| !p.is_empty()).copied().collect::<Vec<_>>().join(" · ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draw::{Colormap, ScaleBar};

    #[test]
    fn a_long_title_makes_the_page_higher_not_wider() {
        let bar = ScaleBar::new(Colormap::Viridis, None, "");
        let page = |title: String| Figure::new(title).metadata("made so").stack(&[&bar]).unwrap();
        let [short, long, longer] = ["Short".into(), "word ".repeat(40), "word ".repeat(80)].map(page);
        assert!(short.width() < long.width());
        assert_eq!(long.width(), longer.width());
        assert!(longer.height() > long.height() + 100);
    }

    #[test]
    fn dark_pages_and_the_same_bytes_twice() {
        let bar = ScaleBar::new(Colormap::Inferno, None, "x");
        let figure = Figure::new("Title").theme(Theme::dark());
        let page = figure.stack(&[&BlockRow { blocks: vec![&bar, &bar], gap: 10 }]).unwrap();
        assert_eq!(page.get_pixel(0, 0).0, [0x11; 3]);
        assert_eq!(page, figure.stack(&[&BlockRow { blocks: vec![&bar, &bar], gap: 10 }]).unwrap());
    }
}
