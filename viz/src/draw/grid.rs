//! Grids of equal cells: feature maps, filters, gradient ascent.

use super::cells::{CellContent, Cells};
use super::figure::Block;
use super::resize::{Fitting, box_mean, nearest, paint};
use super::scale::{Health, short, significant};
use super::text::Align;
use super::tile::Order;
use super::{Canvas, Colormap, DrawError, Limits, Range, RangeScope, ScaleBar, Theme, check_shape};
use image::{Rgb, RgbImage};
use std::borrow::Cow;

/// Content of a cell.
#[derive(Debug, Clone, Copy)]
pub enum Pixels<'a> {
    /// Values through the grid's colour map, `h` x `w` in row-major order.
    Map {
        /// The values.
        values: &'a [f32],
        /// Rows.
        h: usize,
        /// Columns.
        w: usize,
    },
    /// A picture.
    Picture(&'a RgbImage),
    /// Blank, with the reason: a flat grey cell with this word.
    Blank(&'a str),
}

/// One cell of a grid.
#[derive(Debug, Clone)]
pub struct Cell<'a> {
    /// Label below the cell on the left, for example `#17`.
    pub label: String,
    /// Text after the label, for example the score or the mean activation.
    pub value: Option<f32>,
    /// Content.
    pub pixels: Pixels<'a>,
}

/// Cells of one size with labels below. All maps have the same size, and so have all pictures.
#[derive(Debug, Clone)]
pub struct Grid<'a> {
    /// The cells, in order.
    pub cells: Vec<Cell<'a>>,
    /// Colour map of maps.
    pub colormap: Colormap,
    /// Rule for the range of maps.
    pub limits: Limits,
    /// Maps with a common range; shared means over all pages.
    pub scope: RangeScope,
    /// Quantity of maps, for the scale bar.
    pub quantity: String,
    /// A scale bar for pictures.
    pub picture_scale: Option<ScaleBar>,
    /// Number of columns; by default 8 up to 64 cells and 16 above.
    pub columns: Option<usize>,
    /// The order of the cells.
    pub order: Order,
}

/// Cells per page.
const PAGE: usize = 256;
const GAP: u32 = 4;

impl<'a> Grid<'a> {
    /// Cells on viridis from zero to the maximum over all, by rows.
    pub fn new(cells: Vec<Cell<'a>>) -> Grid<'a> {
        Grid {
            cells,
            colormap: Colormap::Viridis,
            limits: Limits::ZeroMax,
            scope: RangeScope::Shared,
            quantity: "activation".into(),
            picture_scale: None,
            columns: None,
            order: Order::RowMajor,
        }
    }

    /// Width and height of the cells' content before scaling; zero if all are blank.
    fn content_size(&self) -> Result<Option<(usize, usize)>, DrawError> {
        let mut size = None;
        for cell in &self.cells {
            let own = match cell.pixels {
                Pixels::Map { values, h, w } => {
                    check_shape(&format!("cell {}", cell.label), values, 1, h, w)?;
                    (w, h)
                }
                Pixels::Picture(p) if p.width() == 0 || p.height() == 0 => {
                    return Err(DrawError::Empty(format!("cell {}", cell.label)));
                }
                Pixels::Picture(p) => (p.width() as usize, p.height() as usize),
                Pixels::Blank(_) => continue,
            };
            let (w, h) = *size.get_or_insert(own);
            if own != (w, h) {
                return Err(DrawError::Size {
                    what: format!("cell {}", cell.label),
                    got: format!("{}x{}", own.0, own.1),
                    want: format!("{w}x{h} like the cells before it"),
                });
            }
        }
        Ok(size)
    }

    /// The common range of all maps, if shared.
    fn shared_range(&self) -> Option<Range> {
        let values = self.cells.iter().filter_map(|c| match c.pixels {
            Pixels::Map { values, .. } => Some(values),
            _ => None,
        });
        match self.scope {
            RangeScope::Fixed(range) => Some(range),
            RangeScope::Shared => self.limits.range(values.flatten()),
            RangeScope::PerImage => None,
        }
    }

    /// The pages for [`super::Figure::grid`].
    pub(crate) fn pages(&self, theme: &Theme) -> Result<Vec<GridPage>, DrawError> {
        let most = self.cells.len().min(PAGE);
        let columns = self.columns.unwrap_or(if most <= 64 { 8 } else { 16 }).clamp(1, most.max(1));
        // Fewer cells are drawn larger: a row is about as wide as the page's text.
        let side = match columns {
            1..=2 => 224,
            3..=5 => 128,
            _ if most <= 16 => 96,
            _ => 64,
        };
        let cells = self.pictures(theme.px(side))?;
        let framed = cells.framed;
        let drawn = |(cell, shown): (&Cell, &CellContent)| {
            let (label, value) = (cell.label.clone(), cell.value);
            match shown {
                CellContent::Picture(picture) => Drawn { label, value, picture: picture.clone(), word: None },
                CellContent::Word(word) => {
                    let picture = RgbImage::from_pixel(cells.size.0, cells.size.1, Rgb(theme.blank));
                    Drawn { label, value, picture, word: Some(word.clone()) }
                }
            }
        };
        let all = self.cells.chunks(PAGE).zip(cells.pictures.chunks(PAGE));
        let page = |(entries, shown): (&[Cell], &[CellContent])| GridPage {
            cells: entries.iter().zip(shown).map(drawn).collect(),
            size: cells.size,
            columns,
            order: self.order,
            note: cells.note.clone(),
            framed,
            scale_bar: cells.scale.clone(),
        };
        Ok(all.map(page).collect())
    }

    /// The cells as pictures of about `side` pixels, scaled by integer factors only.
    ///
    /// # Errors
    /// [`DrawError`] if there are no cells, or they differ in size.
    pub fn pictures(&self, side: u32) -> Result<Cells, DrawError> {
        if self.cells.is_empty() {
            return Err(DrawError::Empty("the grid".into()));
        }
        let content = self.content_size()?;
        let fitting = Fitting::new(content.unwrap_or((side as usize, side as usize)), side);
        let has_maps = self.cells.iter().any(|c| matches!(c.pixels, Pixels::Map { .. }));
        let range = self.shared_range();
        let scale = if has_maps {
            let mut bar = ScaleBar::new(self.colormap, range, self.quantity.clone());
            if self.scope == RangeScope::PerImage {
                bar.label = format!("{} (each map on its own scale)", self.quantity);
            }
            // Without a range there is no scale bar: every map is dead or blank.
            (range.is_some() || self.scope == RangeScope::PerImage).then_some(bar)
        } else {
            self.picture_scale.clone()
        };
        let mut note = content.map_or(String::new(), |c| fitting.note(c, if has_maps { "maps" } else { "pictures" }));
        if has_maps && !matches!(self.scope, RangeScope::Fixed(_)) {
            note += self.limits.clipping();
        }
        let pictures = self.cells.iter().map(|cell| self.show(cell, range, fitting)).collect::<Result<_, _>>()?;
        Ok(Cells { pictures, size: fitting.shown, scale, note, framed: has_maps && self.colormap.is_diverging() })
    }

    /// Drawable content of a cell.
    fn show(&self, cell: &Cell, shared: Option<Range>, fitting: Fitting) -> Result<CellContent, DrawError> {
        let (shown_w, shown_h) = fitting.shown;
        let word = |word: &str| Ok(CellContent::Word(word.to_string()));
        let picture = match cell.pixels {
            Pixels::Blank(text) => return word(text),
            Pixels::Picture(p) if fitting.shrink > 1 => {
                image::imageops::resize(p, shown_w, shown_h, image::imageops::FilterType::Lanczos3)
            }
            Pixels::Picture(p) => nearest(p, fitting.grow)?,
            Pixels::Map { values, h, w } => {
                let range = match (Health::of(values), shared.or_else(|| self.limits.range(values))) {
                    (Health::Dead, _) => return word("dead"),
                    (Health::NotFinite, _) => return word("NaN"),
                    (Health::Constant(v), None) => return word(&format!("= {}", short(v))),
                    (_, Some(range)) => range,
                    (Health::Alive, None) => return word("no range"),
                };
                let map: Cow<[f32]> =
                    if fitting.shrink > 1 { box_mean(values, h, w, fitting.shrink)?.into() } else { values.into() };
                let (h, w) = (h.div_ceil(fitting.shrink), w.div_ceil(fitting.shrink));
                let picture = paint(&map, h, w, |v| self.colormap.rgb(range.unit(v)))?;
                nearest(&picture, fitting.grow)?
            }
        };
        Ok(CellContent::Picture(picture))
    }
}

struct Drawn {
    label: String,
    value: Option<f32>,
    picture: RgbImage,
    word: Option<String>,
}

/// One page of a grid, ready to draw.
pub(crate) struct GridPage {
    cells: Vec<Drawn>,
    size: (u32, u32),
    columns: usize,
    order: Order,
    note: String,
    /// Whether cells need a border, as their colours contain the page's.
    framed: bool,
    scale_bar: Option<ScaleBar>,
}

impl GridPage {
    /// Scaling and clipping of maps, for the metadata line.
    pub fn note(&self) -> &str {
        &self.note
    }

    /// The scale bar below.
    pub fn scale_bar(&self) -> Option<&ScaleBar> {
        self.scale_bar.as_ref()
    }

    fn rows(&self) -> usize {
        self.cells.len().div_ceil(self.columns)
    }

    /// Horizontal and vertical distance between cells.
    fn pitch(&self, theme: &Theme) -> (u32, u32) {
        let labelled = self.cells.iter().any(|c| !c.label.is_empty() || c.value.is_some());
        let label = if labelled { theme.figures().line_height() + theme.px(3) } else { 0 };
        // A column is at least as wide as its labels.
        let figures = theme.figures();
        let widest = self.cells.iter().map(|c| figures.width(&c.text())).max().unwrap_or(0) + theme.px(4);
        (self.size.0.max(widest) + theme.px(GAP), self.size.1 + label + theme.px(GAP))
    }
}

impl Drawn {
    /// Label and value.
    fn text(&self) -> String {
        match self.value {
            Some(v) => format!("{}  {}", self.label, significant(v, 2)),
            None => self.label.clone(),
        }
    }
}

impl Block for GridPage {
    fn size(&self, theme: &Theme) -> (u32, u32) {
        let (across, down) = self.pitch(theme);
        (across * self.columns as u32 - theme.px(GAP), down * self.rows() as u32 - theme.px(GAP))
    }

    fn draw(&self, canvas: &mut Canvas, x: i32, y: i32, theme: &Theme) {
        let (across, down) = self.pitch(theme);
        let (width, height) = self.size;
        let figures = theme.figures();
        for (i, cell) in self.cells.iter().enumerate() {
            let (row, column) = self.order.position(i, self.rows(), self.columns);
            let (cx, cy) = (x + (column as u32 * across) as i32, y + (row as u32 * down) as i32);
            if self.framed {
                canvas.frame(cx - 1, cy - 1, width + 2, height + 2, 1, theme.rule);
            }
            canvas.blit(&cell.picture, cx, cy);
            if let Some(word) = &cell.word {
                let word = figures.ellipsize(word, width);
                let middle = cy + (height as i32 - figures.line_height() as i32) / 2;
                canvas.text(cx + width as i32 / 2, middle, &word, &figures, Align::Center);
            }
            let below = cy + (height + theme.px(2)) as i32;
            canvas.text(cx, below, &cell.text(), &figures, Align::Left);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell<'a>(label: &str, values: &'a [f32], h: usize, w: usize) -> Cell<'a> {
        Cell { label: label.into(), value: None, pixels: Pixels::Map { values, h, w } }
    }

    fn theme() -> Theme {
        Theme { zoom: 1, ..Theme::light() }
    }

    #[test]
    fn no_remainder_is_dropped() {
        let values = [0.0, 1.0, 2.0, 3.0];
        let sizes = |n: usize| {
            let grid = Grid::new((0..n).map(|i| cell(&format!("#{i}"), &values, 2, 2)).collect());
            let pages = grid.pages(&theme()).unwrap();
            pages.iter().map(|p| (p.cells.len(), p.columns, p.rows())).collect::<Vec<_>>()
        };
        assert_eq!(sizes(1), [(1, 1, 1)]);
        assert_eq!(sizes(13), [(13, 8, 2)]);
        assert_eq!(sizes(64), [(64, 8, 8)]);
        assert_eq!(sizes(65), [(65, 16, 5)]);
        assert_eq!(sizes(256), [(256, 16, 16)]);
        assert_eq!(sizes(600), [(256, 16, 16), (256, 16, 16), (88, 16, 6)]);
    }

    #[test]
    fn cells_are_drawn_exactly() {
        let (a, b) = ([0.0, 1.0, 2.0, 4.0], [0.0; 4]);
        let nan = [f32::NAN, 4.0, 0.0, 1.0];
        let grid = Grid::new(vec![cell("", &a, 2, 2), cell("", &b, 2, 2), cell("", &nan, 2, 2)]);
        let page = &grid.pages(&theme()).unwrap()[0];
        let (w, h) = page.size(&theme());
        assert_eq!((w, h), (3 * 128 + 2 * 4, 128));
        let mut canvas = Canvas::new(w, h, [255; 3]).unwrap();
        page.draw(&mut canvas, 0, 0, &theme());
        let image = canvas.into_image();
        let v = |t| Colormap::Viridis.rgb(t);
        assert_eq!(image.get_pixel(63, 63).0, v(0.0));
        assert_eq!(image.get_pixel(64, 63).0, v(0.25));
        assert_eq!(image.get_pixel(63, 64).0, v(0.5));
        assert_eq!(image.get_pixel(127, 127).0, v(1.0));
        assert_eq!(image.get_pixel(128, 0).0, [255; 3]); // the gap
        assert_eq!(image.get_pixel(132, 0).0, theme().blank); // dead
        assert_eq!(page.cells[1].word.as_deref(), Some("dead"));
        assert_eq!(image.get_pixel(264, 0).0, crate::draw::NAN_COLOR);
        assert_eq!(page.scale_bar().unwrap().range, Some(Range { lo: 0.0, hi: 4.0 }));
        assert_eq!(page.note(), "maps 2 × 2, enlarged 64 times (nearest)");
    }

    #[test]
    fn labels_carry_two_digits() {
        let drawn = |value| Drawn { label: "#17".into(), value, picture: RgbImage::new(1, 1), word: None }.text();
        assert_eq!([drawn(Some(4.2)), drawn(Some(0.0)), drawn(None)], ["#17  4.2", "#17  0", "#17"]);
    }

    #[test]
    fn scopes() {
        let (a, b, c) = ([0.0, 1.0], [0.0, 10.0], [3.0, 3.0]);
        let mut grid = Grid::new(vec![cell("a", &a, 1, 2), cell("b", &b, 1, 2), cell("c", &c, 1, 2)]);
        let first = |grid: &Grid| grid.pages(&theme()).unwrap().remove(0);
        let top = |page: &GridPage, i: usize| page.cells[i].picture.get_pixel(page.size.0 - 1, 0).0;
        let v = |t| Colormap::Viridis.rgb(t);
        assert_eq!([top(&first(&grid), 0), top(&first(&grid), 2)], [v(0.1), v(0.3)]);
        grid.scope = RangeScope::PerImage;
        assert_eq!([top(&first(&grid), 0), top(&first(&grid), 1)], [v(1.0), v(1.0)]);
        assert_eq!(first(&grid).scale_bar().unwrap().range, None);
        grid.limits = Limits::MinMax;
        assert_eq!(first(&grid).cells[2].word.as_deref(), Some("= 3"));
        grid.scope = RangeScope::Fixed(Range { lo: 0.0, hi: 2.0 });
        assert_eq!([top(&first(&grid), 0), top(&first(&grid), 1)], [v(0.5), v(1.0)]);
        // All dead: no range, no bar, no panic.
        let zero = [0.0; 2];
        let dead = Grid::new(vec![cell("a", &zero, 1, 2)]);
        assert!(first(&dead).scale_bar().is_none());
    }

    #[test]
    fn large_maps_shrink_by_whole_factors() {
        let values = vec![1.0; 1000 * 900];
        let grid = Grid::new(vec![cell("", &values, 1000, 900)]);
        let page = &grid.pages(&theme()).unwrap()[0];
        assert_eq!(page.size, (900usize.div_ceil(3) as u32, 1000usize.div_ceil(3) as u32));
        assert_eq!(page.cells[0].picture.dimensions(), page.size);
    }

    #[test]
    fn mixed_or_wrong_cells_are_errors() {
        let (a, b) = ([1.0; 4], [1.0; 6]);
        let error = |cells| Grid::new(cells).pages(&theme()).err().unwrap().to_string();
        assert_eq!(
            error(vec![cell("#0", &a, 2, 2), cell("#1", &b, 2, 3)]),
            "cell #1 is 3x2 (width x height), but 2x2 like the cells before it is needed"
        );
        assert!(error(vec![cell("#0", &a, 2, 3)]).contains("cell #0 has 4 values"));
        assert!(error(vec![]).contains("nothing to draw"));
        let blank = Cell { label: "#0".into(), value: None, pixels: Pixels::Blank("no gradient") };
        assert_eq!(Grid::new(vec![blank]).pages(&theme()).unwrap().len(), 1);
    }
}
