//! Scale bars and lists of bars.

use super::figure::Block;
use super::scale::short;
use super::text::{Align, Style};
use super::{Canvas, Colormap, Range, Theme};

/// A colour map with its value range.
#[derive(Debug, Clone, PartialEq)]
pub struct ScaleBar {
    /// The colours.
    pub colormap: Colormap,
    /// Values at the ends. Without a range, the ends say "min" and "max", or "−r" and "r" of a symmetric map, for pictures with
    /// different ranges.
    pub range: Option<Range>,
    /// Quantity of the values; may be empty.
    pub label: String,
    /// Labels of the lower and the upper end, for example `("against", "for")`.
    pub ends: Option<(String, String)>,
    /// Length in logical pixels.
    pub length: u32,
}

const BAR_HEIGHT: u32 = 9;
const TICK: u32 = 4;
/// Logical pixels per tick label.
const TICK_SPACE: u32 = 48;

impl ScaleBar {
    /// A bar of 200 logical pixels.
    pub fn new(colormap: Colormap, range: Option<Range>, label: impl Into<String>) -> ScaleBar {
        ScaleBar { colormap, range, label: label.into(), ends: None, length: 200 }
    }

    fn heading(&self) -> bool {
        !self.label.is_empty() || self.ends.is_some()
    }

    /// Positions (0..=1) and texts below the bar.
    fn numbers(&self) -> Vec<(f32, String)> {
        match self.range {
            None if self.colormap.is_diverging() => vec![(0.0, "−r".into()), (0.5, "0".into()), (1.0, "r".into())],
            None => vec![(0.0, "min".into()), (1.0, "max".into())],
            Some(range) => {
                let ticks = range.ticks((self.length / TICK_SPACE).clamp(2, 8) as usize);
                ticks.into_iter().map(|v| (range.unit(v), short(v))).collect()
            }
        }
    }
}

impl Block for ScaleBar {
    fn size(&self, theme: &Theme) -> (u32, u32) {
        let heading = if self.heading() { theme.small().line_height() + theme.px(3) } else { 0 };
        let numbers = theme.px(TICK + 1) + theme.figures().line_height();
        (theme.px(self.length), heading + theme.px(BAR_HEIGHT) + numbers)
    }

    fn draw(&self, canvas: &mut Canvas, x: i32, mut y: i32, theme: &Theme) {
        let length = theme.px(self.length);
        let (small, figures) = (theme.small(), theme.figures());
        if self.heading() {
            let middle = x + length as i32 / 2;
            match &self.ends {
                Some((low, high)) => {
                    canvas.text(x, y, low, &small, Align::Left);
                    canvas.text(x + length as i32, y, high, &small, Align::Right);
                    let free = length.saturating_sub(2 * small.width(low).max(small.width(high)) + theme.px(12));
                    canvas.text(middle, y, &small.ellipsize(&self.label, free), &small, Align::Center);
                }
                None => {
                    // Round ticks rarely coincide with the ends: the exact range is on the right, if it fits.
                    let exact = self.range.map_or(String::new(), |r| format!("{} to {}", short(r.lo), short(r.hi)));
                    let label = small.ellipsize(&self.label, length);
                    canvas.text(x, y, &label, &small, Align::Left);
                    if small.width(&label) + theme.px(12) + small.width(&exact) <= length {
                        canvas.text(x + length as i32, y, &exact, &small, Align::Right);
                    }
                }
            }
            y += (small.line_height() + theme.px(3)) as i32;
        }
        for i in 0..length {
            let t = i as f32 / (length - 1).max(1) as f32;
            canvas.fill(x + i as i32, y, 1, theme.px(BAR_HEIGHT), self.colormap.rgb(t));
        }
        // A map with white needs a border.
        canvas.frame(x, y, length, theme.px(BAR_HEIGHT), 1, theme.rule);
        y += theme.px(BAR_HEIGHT) as i32;

        let mut free_from = i32::MIN;
        for (t, text) in self.numbers() {
            let at = x + (t * (length - theme.zoom) as f32).round() as i32;
            canvas.fill(at, y, theme.zoom, theme.px(TICK), theme.muted);
            let width = figures.width(&text) as i32;
            let left = (at - width / 2).clamp(x, (x + length as i32 - width).max(x));
            if left >= free_from {
                canvas.text(left, y + theme.px(TICK + 1) as i32, &text, &figures, Align::Left);
                free_from = left + width + theme.px(6) as i32;
            }
        }
    }
}

/// One bar of a list.
#[derive(Debug, Clone, PartialEq)]
pub struct Bar {
    /// Label on the left.
    pub label: String,
    /// Value: length of the bar, and the number on the right.
    pub value: f32,
    /// Whether the picture is about this bar.
    pub target: bool,
}

/// A list of labelled bars, for example the top classes with their probabilities.
///
/// ```
/// use convscope_viz::draw::{Bar, BarList, Figure};
/// let bars = vec![
///     Bar { label: "tabby cat".into(), value: 0.83, target: true },
///     Bar { label: "tiger cat".into(), value: 0.09, target: false },
/// ];
/// let page = Figure::new("Prediction").stack(&[&BarList { heading: "probability".into(), bars, full: 1.0 }])?;
/// assert!(page.width() > 300);
/// # Ok::<_, convscope_viz::draw::DrawError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct BarList {
    /// Heading above the bars.
    pub heading: String,
    /// The bars, top to bottom.
    pub bars: Vec<Bar>,
    /// The value of a full bar: 1 for probabilities. If a value is negative, zero is in the middle, and bars extend to `-full` on
    /// the left and `full` on the right.
    pub full: f32,
}

const BAR_LENGTH: u32 = 96;
const ROW: u32 = 23;
const THICKNESS: u32 = 10;
const LABEL_MAX: u32 = 170;
const GAP: u32 = 10;

impl BarList {
    /// Probabilities with three decimals.
    fn number(value: f32) -> String {
        if value.is_finite() { format!("{value:.3}").replace('-', "−") } else { short(value) }
    }

    /// The target's label is bold.
    fn label_style(bar: &Bar, theme: &Theme) -> Style {
        let mut style = theme.body();
        if bar.target {
            style.embolden *= 2.0;
        }
        style
    }

    /// Widths of labels and numbers, in device pixels.
    fn columns(&self, theme: &Theme) -> (u32, u32) {
        let figures = theme.figures();
        let labels = self.bars.iter().map(|b| Self::label_style(b, theme).width(&b.label)).max().unwrap_or(0);
        let numbers = self.bars.iter().map(|b| figures.width(&Self::number(b.value))).max().unwrap_or(0);
        (labels.min(theme.px(LABEL_MAX)), numbers)
    }
}

impl Block for BarList {
    fn size(&self, theme: &Theme) -> (u32, u32) {
        let (labels, numbers) = self.columns(theme);
        let width = labels + theme.px(BAR_LENGTH + 2 * GAP) + numbers;
        let heading = theme.caption().line_height() + theme.px(6);
        (width.max(theme.caption().width(&self.heading)), heading + theme.px(ROW) * self.bars.len() as u32)
    }

    fn draw(&self, canvas: &mut Canvas, x: i32, mut y: i32, theme: &Theme) {
        let (labels, _) = self.columns(theme);
        canvas.text(x, y, &self.heading, &theme.caption(), Align::Left);
        y += (theme.caption().line_height() + theme.px(6)) as i32;
        let bar_x = x + (labels + theme.px(GAP)) as i32;
        let number_x = bar_x + theme.px(BAR_LENGTH + GAP) as i32;
        let zero = if self.bars.iter().any(|b| b.value < 0.0) { theme.px(BAR_LENGTH) / 2 } else { 0 };
        let centred = |height: u32| theme.px(ROW).saturating_sub(height) as i32 / 2;
        for bar in &self.bars {
            let (body, mut figures) = (Self::label_style(bar, theme), theme.figures());
            if bar.target {
                figures.color = theme.ink;
            }
            let fraction = if bar.value.is_nan() { 0.0 } else { (bar.value.abs() / self.full).min(1.0) };
            let filled = (fraction * (theme.px(BAR_LENGTH) - zero) as f32).round() as u32;
            let from = if bar.value < 0.0 { zero - filled } else { zero };
            let text = body.ellipsize(&bar.label, labels.max(1));
            canvas.text(x, y + centred(body.line_height()), &text, &body, Align::Left);
            let bar_y = y + centred(theme.px(THICKNESS));
            canvas.fill(bar_x, bar_y, theme.px(BAR_LENGTH), theme.px(THICKNESS), theme.rule);
            let color = if bar.target { theme.accent } else { theme.bar };
            canvas.fill(bar_x + from as i32, bar_y, filled, theme.px(THICKNESS), color);
            if zero > 0 {
                canvas.fill(bar_x + zero as i32, bar_y - theme.px(2) as i32, theme.zoom, theme.px(THICKNESS + 4), theme.muted);
            }
            let number = Self::number(bar.value);
            canvas.text(number_x, y + centred(figures.line_height()), &number, &figures, Align::Left);
            y += theme.px(ROW) as i32;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(block: &dyn Block) -> image::RgbImage {
        let theme = Theme::light();
        let (w, h) = block.size(&theme);
        let mut canvas = Canvas::new(w, h, theme.page).unwrap();
        block.draw(&mut canvas, 0, 0, &theme);
        canvas.into_image()
    }

    #[test]
    fn a_scale_bar_runs_through_its_map() {
        let bar = ScaleBar::new(Colormap::Viridis, Some(Range { lo: 0.0, hi: 4.0 }), "");
        let image = drawn(&bar);
        assert_eq!(image.width(), 400);
        assert_eq!(image.get_pixel(1, 8).0, Colormap::Viridis.rgb(1.0 / 399.0));
        assert_eq!(image.get_pixel(398, 8).0, Colormap::Viridis.rgb(398.0 / 399.0));
        assert_eq!(bar.numbers().iter().map(|n| n.1.as_str()).collect::<Vec<_>>(), ["0", "1", "2", "3", "4"]);
    }

    #[test]
    fn the_target_is_accented_and_odd_values_do_not_break_the_list() {
        let bar = |label: &str, value, target| Bar { label: label.into(), value, target };
        let bars = vec![bar("cat", 0.5, true), bar("dog", f32::NAN, false), bar("", 9.0, false)];
        let image = drawn(&BarList { heading: "Top".into(), bars, full: 1.0 });
        let theme = Theme::light();
        let accent = image.pixels().filter(|p| p.0 == theme.accent).count();
        assert_eq!(accent as u32, theme.px(BAR_LENGTH) / 2 * theme.px(THICKNESS));
        let others = image.pixels().filter(|p| p.0 == theme.bar).count();
        assert_eq!(others as u32, theme.px(BAR_LENGTH) * theme.px(THICKNESS));
    }

    #[test]
    fn negative_bars_go_left_of_zero() {
        let bar = |value| Bar { label: String::new(), value, target: false };
        let bars = vec![bar(2.0), bar(-4.0), bar(-1.0)];
        let list = BarList { heading: String::new(), bars, full: 4.0 };
        let (image, theme) = (drawn(&list), Theme::light());
        // Start and end columns of the bar colour in each row.
        let top = image.height() - theme.px(ROW) * 3;
        let ends = |row: u32| {
            let y = top + theme.px(ROW) * row + theme.px(ROW) / 2;
            let columns: Vec<u32> = (0..image.width()).filter(|&x| image.get_pixel(x, y).0 == theme.bar).collect();
            (columns[0], columns[columns.len() - 1] + 1)
        };
        let (start, half) = (list.columns(&theme).0 + theme.px(GAP), theme.px(BAR_LENGTH) / 2);
        let zero = start + half;
        // The zero line covers the first pixels of bars to the right.
        assert_eq!(ends(0), (zero + theme.zoom, zero + half / 2));
        assert_eq!(ends(1), (start, zero));
        assert_eq!(ends(2), (zero - half / 4, zero));
    }
}
