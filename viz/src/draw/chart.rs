//! Line charts over numbered steps.

use super::figure::Block;
use super::scale::short;
use super::text::Align;
use super::{Canvas, DrawError, Limits, Range, Theme};

/// One line.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// Name in the legend.
    pub name: String,
    /// Values of steps 1, 2, ...
    pub values: Vec<f32>,
}

/// A line chart over numbered steps.
#[derive(Debug, Clone, PartialEq)]
pub struct Chart {
    title: String,
    /// Name of the steps, which count from 1.
    steps: String,
    series: Vec<Series>,
    range: Range,
}

/// Size of the plot, in logical pixels.
const SIZE: (u32, u32) = (380, 240);
const THICKNESS: u32 = 2;
const GAP: u32 = 6;
/// Width of the vertical axis' labels.
const MARGIN: u32 = 40;
/// Colours of lines after the first two, which have the theme's.
const MORE: [[u8; 3]; 2] = [[0x2a, 0x7f, 0xb8], [0x3a, 0x9a, 0x5b]];

impl Chart {
    /// A chart whose vertical axis starts at zero.
    ///
    /// ```
    /// use convscope_viz::draw::{Chart, Figure, Series};
    /// let loss = Series { name: "training".into(), values: vec![2.3, 1.1, 0.7] };
    /// let page = Figure::new("Training").stack(&[&Chart::new("Loss", "epoch", vec![loss])?])?;
    /// assert!(page.width() > 380);
    /// # Ok::<_, convscope_viz::draw::DrawError>(())
    /// ```
    ///
    /// # Errors
    /// [`DrawError`] if no line has a finite value.
    pub fn new(title: impl Into<String>, steps: impl Into<String>, series: Vec<Series>) -> Result<Self, DrawError> {
        let title = title.into();
        let all = || series.iter().flat_map(|s| &s.values);
        if !all().any(|v| v.is_finite()) {
            return Err(DrawError::Empty(format!("the chart of {title}")));
        }
        let range = Limits::ZeroMax.range(all()).unwrap_or(Range { lo: 0.0, hi: 1.0 });
        Ok(Chart { title, steps: steps.into(), series, range })
    }

    fn color(theme: &Theme, line: usize) -> [u8; 3] {
        match line {
            0 => theme.muted,
            1 => theme.accent,
            more => MORE[more % MORE.len()],
        }
    }
}

impl Block for Chart {
    fn size(&self, theme: &Theme) -> (u32, u32) {
        let (caption, small, figures) = (theme.caption(), theme.small(), theme.figures());
        let words = caption.line_height() + small.line_height() + figures.line_height() + theme.px(3 * GAP);
        (theme.px(MARGIN + SIZE.0 + GAP), words + theme.px(SIZE.1))
    }

    fn draw(&self, canvas: &mut Canvas, x: i32, mut y: i32, theme: &Theme) {
        let (caption, small, figures) = (theme.caption(), theme.small(), theme.figures());
        let gap = theme.px(GAP) as i32;
        let (left, width, height) = (x + theme.px(MARGIN) as i32, theme.px(SIZE.0), theme.px(SIZE.1));
        canvas.text(left, y, &self.title, &caption, Align::Left);
        y += caption.line_height() as i32;
        let mut pen = left;
        for (i, line) in self.series.iter().enumerate() {
            let key = theme.px(10);
            canvas.fill(pen, y + small.line_height() as i32 / 2, key, theme.px(THICKNESS), Self::color(theme, i));
            canvas.text(pen + key as i32 + gap, y, &line.name, &small, Align::Left);
            pen += (key + small.width(&line.name)) as i32 + 3 * gap;
        }
        y += small.line_height() as i32 + gap;

        let at = |v: f32| y + ((1.0 - self.range.unit(v)) * height as f32).round() as i32;
        for v in self.range.ticks(6) {
            canvas.fill(left, at(v), width, 1, theme.rule);
            canvas.text(left - gap, at(v) - figures.line_height() as i32 / 2, &short(v), &figures, Align::Right);
        }
        let steps = self.series.iter().map(|s| s.values.len()).max().unwrap_or(0);
        let across = |step: f32| step / (steps.max(2) - 1) as f32 * (width - 1) as f32;
        for (i, line) in self.series.iter().enumerate() {
            // Column by column: linear interpolation between steps.
            let value = |column: u32| {
                let step = column as f32 / (width - 1) as f32 * (steps.max(2) - 1) as f32;
                let (a, b) = (line.values.get(step as usize)?, line.values.get((step.ceil() as usize).min(steps - 1))?);
                Some(a + (b - a) * step.fract()).filter(|v| v.is_finite())
            };
            let mut last = None;
            for column in 0..width {
                let now = value(column).map(at);
                if let Some(now) = now {
                    let (top, bottom) = (now.min(last.unwrap_or(now)), now.max(last.unwrap_or(now)));
                    let thickness = theme.px(THICKNESS);
                    let y = top - thickness as i32 / 2;
                    canvas.fill(left + column as i32, y, 1, (bottom - top) as u32 + thickness, Self::color(theme, i));
                }
                last = now;
            }
        }
        y += height as i32 + gap;
        canvas.text(left, y, "1", &figures, Align::Left);
        canvas.text(left + across(0.5 * (steps.max(2) - 1) as f32) as i32, y, &self.steps, &small, Align::Center);
        canvas.text(left + width as i32, y, &steps.to_string(), &figures, Align::Right);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draw::Figure;

    #[test]
    fn lines_pass_through_their_numbers() {
        let series = |values: &[f32]| Series { name: "loss".into(), values: values.to_vec() };
        let chart = Chart::new("Loss", "epoch", vec![series(&[0.0, 1.0])]).unwrap();
        let theme = Theme { zoom: 1, ..Theme::light() };
        let (w, h) = chart.size(&theme);
        let mut canvas = Canvas::new(w, h, theme.page).unwrap();
        chart.draw(&mut canvas, 0, 0, &theme);
        let image = canvas.into_image();
        let top = theme.caption().line_height() + theme.small().line_height() + GAP;
        let line = |x: u32, y: u32| image.get_pixel(MARGIN + x, top + y).0 == theme.muted;
        assert!(line(0, SIZE.1) && line(SIZE.0 - 1, 0) && line(SIZE.0 / 2, SIZE.1 / 2));
        assert!(!line(0, 0) && !line(SIZE.0 / 2, SIZE.1 / 4));
        assert!(Chart::new("", "", vec![series(&[f32::NAN])]).is_err());
        for values in [&[2.0][..], &[1.0, f32::NAN, 3.0], &[-1.0, 5.0]] {
            assert!(
                Figure::new("f").stack(&[&Chart::new("", "", vec![series(values), series(&[])]).unwrap()]).is_ok(),
                "{values:?}"
            );
        }
    }
}
