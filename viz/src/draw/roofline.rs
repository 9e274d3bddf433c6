//! The roofline plot (Williams, Waterman & Patterson 2009): rate over arithmetic intensity, under the machine's two roofs. The
//! format is SVG; a dot's title appears under the pointer.

use std::fmt::Write;

const WIDTH: f64 = 1280.0;
const HEIGHT: f64 = 800.0;
/// Plot area: left, top, right, bottom.
const AREA: [f64; 4] = [80.0, 92.0, 1030.0, 730.0];
/// Okabe and Ito's colour-blind-safe palette, without yellow.
const COLORS: [&str; 7] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#555555"];
/// Round numbers of a decade: ends and labels of axes.
const ROUND: [f64; 3] = [1.0, 2.0, 5.0];
const FONT: f64 = 12.0;
/// Radii of the dots: legend, minimum, maximum.
const RADIUS: [f64; 3] = [6.0, 3.5, 17.0];
/// Maximum labelled layers.
const NAMED: usize = 16;

/// A logarithmic axis from the value `low` at pixel `from` to `high` at pixel `to`.
struct Axis {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
}

impl Axis {
    /// An axis between round numbers around the values.
    fn around(values: impl Iterator<Item = f64> + Clone, from: f64, to: f64) -> Self {
        let round = |v: f64, up: bool| {
            let decade = 10f64.powf(v.log10().floor());
            let mut steps = ROUND.map(|r| r * decade).into_iter().chain([10.0 * decade]);
            if up { steps.find(|s| *s >= v).unwrap_or(v) } else { steps.rfind(|s| *s <= v).unwrap_or(v) }
        };
        let low = round(values.clone().fold(f64::INFINITY, f64::min), false);
        Axis { low, high: round(values.fold(0.0, f64::max), true).max(10.0 * low), from, to }
    }

    fn at(&self, v: f64) -> f64 {
        self.from + (self.to - self.from) * (v / self.low).ln() / (self.high / self.low).ln()
    }

    /// Ticks: value, label if the number is round, whether it begins a decade.
    fn ticks(&self) -> Vec<(f64, Option<String>, bool)> {
        let decades = self.low.log10().floor() as i32..=self.high.log10().ceil() as i32;
        let tick = |decade: i32, i: u32| {
            let v = f64::from(i) * 10f64.powi(decade);
            // As many decimals as the decade needs.
            let label = ROUND.contains(&f64::from(i)).then(|| format!("{v:.*}", decade.min(0).unsigned_abs() as usize));
            (v, label, i == 1)
        };
        let all = decades.flat_map(|d| (1..10).map(move |i| tick(d, i)));
        // Exact ends, independent of the logarithm's rounding.
        all.filter(|(v, ..)| (0.999 * self.low..=1.001 * self.high).contains(v)).collect()
    }
}

/// A plot of measured rates under the roofs of a machine.
///
/// ```
/// use convscope_viz::draw::{Roofline, RooflinePoint};
/// let point = RooflinePoint {
///     intensity: 30.0,
///     rate: 8e10,
///     seconds: 1e-3,
///     series: "conv2d / direct".into(),
///     label: "layer1.conv1".into(),
///     about: "layer1.conv1: 80 GFLOP/s".into(),
/// };
/// let machine = Roofline { flops: 1e11, one_thread: 5e10, threads: 2, bandwidth: 2e10, ..Roofline::new("Roofline", "a machine") };
/// let svg = Roofline { points: vec![point], ..machine }.svg();
/// assert!(svg.starts_with("<svg") && svg.contains("layer1.conv1"));
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Roofline {
    /// Title above the plot.
    pub title: String,
    /// Subtitle.
    pub subtitle: String,
    /// Peak of the whole machine in operations per second: the flat roof.
    pub flops: f64,
    /// Peak of one thread in operations per second: a dashed roof, if there are more threads.
    pub one_thread: f64,
    /// Number of threads.
    pub threads: usize,
    /// Memory bandwidth in bytes per second: the sloped roof.
    pub bandwidth: f64,
    /// Measurements. On the slope memory is the limit, under the flat roof arithmetic; a dot above the slope has its operands in
    /// a cache.
    pub points: Vec<RooflinePoint>,
}

/// A dot of a [`Roofline`].
#[derive(Debug, Clone, PartialEq)]
pub struct RooflinePoint {
    /// Operations per byte of operands.
    pub intensity: f64,
    /// Operations per second.
    pub rate: f64,
    /// Total seconds: the area of the dot.
    pub seconds: f64,
    /// Name in the legend; each name has one mark.
    pub series: String,
    /// Label beside the dot, if there is space.
    pub label: String,
    /// Text under the pointer.
    pub about: String,
}

struct Dot<'a> {
    x: f64,
    y: f64,
    radius: f64,
    /// Index in the legend.
    series: usize,
    label: &'a str,
    about: &'a str,
}

/// Left, top, right, bottom.
type Rect = [f64; 4];

fn overlap(a: &Rect, b: &Rect) -> bool {
    a[0] < b[2] && b[0] < a[2] && a[1] < b[3] && b[1] < a[3]
}

impl Roofline {
    /// A plot without points, for a machine of one operation and one byte per second.
    pub fn new(title: impl Into<String>, subtitle: impl Into<String>) -> Self {
        let (title, subtitle) = (title.into(), subtitle.into());
        Roofline { title, subtitle, flops: 1.0, one_thread: 1.0, threads: 1, bandwidth: 1.0, points: Vec::new() }
    }

    /// The SVG text.
    pub fn svg(&self) -> String {
        // Longest times are drawn first, below the others, and are labelled first.
        let mut points: Vec<&RooflinePoint> = self.points.iter().collect();
        points.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
        let longest = points.first().map_or(1.0, |p| p.seconds);
        let ridge = self.flops / self.bandwidth;
        let [left, top, right, bottom] = AREA;
        let x = Axis::around(points.iter().map(|p| p.intensity).chain([ridge / 4.0, ridge * 4.0]), left, right);
        // Space above the roof for its label.
        let y = Axis::around(points.iter().map(|p| p.rate / 1e9).chain([self.flops / 0.8e9, self.one_thread / 1e9]), bottom, top);
        let mut legend: Vec<&str> = Vec::new();
        for point in &points {
            if !legend.contains(&point.series.as_str()) {
                legend.push(&point.series);
            }
        }

        let mut out = self.frame(&x, &y);
        self.roofs(&mut out, &x, &y);
        let dots: Vec<Dot> = points
            .iter()
            .map(|p| Dot {
                x: x.at(p.intensity),
                y: y.at(p.rate / 1e9),
                radius: (RADIUS[2] * (p.seconds / longest).sqrt()).max(RADIUS[1]),
                series: legend.iter().position(|s| *s == p.series).unwrap_or(0),
                label: &p.label,
                about: &p.about,
            })
            .collect();
        self.draw_dots(&mut out, &dots, &x, &y);
        for (i, series) in legend.iter().enumerate() {
            let y = top + 8.0 + 22.0 * i as f64;
            circle(&mut out, [right + 24.0, y], RADIUS[0], i, series);
            text(&mut out, [right + 36.0, y + 4.0], "start", FONT, series);
        }
        out + "</svg>\n"
    }

    /// Background, title, grid and axes.
    fn frame(&self, x: &Axis, y: &Axis) -> String {
        let [left, top, right, bottom] = AREA;
        let mut out = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{HEIGHT}\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
         font-family=\"Helvetica, Arial, sans-serif\" fill=\"#222\">\n<rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"white\"/>\n"
        );
        text(&mut out, [left, 40.0], "start", 22.0, &self.title);
        text(&mut out, [left, 64.0], "start", 14.0, &self.subtitle);
        for (v, label, major) in x.ticks() {
            line(&mut out, [x.at(v), top, x.at(v), bottom], if major { "#ccc" } else { "#f0f0f0" }, "1");
            text(&mut out, [x.at(v), bottom + 20.0], "middle", FONT, &label.unwrap_or_default());
        }
        for (v, label, major) in y.ticks() {
            line(&mut out, [left, y.at(v), right, y.at(v)], if major { "#ccc" } else { "#f0f0f0" }, "1");
            text(&mut out, [left - 8.0, y.at(v) + 4.0], "end", FONT, &label.unwrap_or_default());
        }
        text(&mut out, [(left + right) / 2.0, bottom + 48.0], "middle", 14.0, "arithmetic intensity, FLOP per byte of operands");
        let (cx, cy) = (left - 52.0, (top + bottom) / 2.0);
        let _ = writeln!(out, r#"<g transform="rotate(-90 {cx} {cy})">"#);
        text(&mut out, [cx, cy], "middle", 14.0, "GFLOP/s (direct count)");
        out + "</g>\n"
    }

    /// The memory's slope up to the ridge, then the arithmetic roof; one thread's roof dashed.
    fn roofs(&self, out: &mut String, x: &Axis, y: &Axis) {
        let roof = |flops: f64, style: &str| {
            let ridge = flops / self.bandwidth;
            // The slope leaves the plot at the left or at the bottom.
            let start = x.low.max(y.low * 1e9 / self.bandwidth);
            let points = [(start, start * self.bandwidth), (ridge, flops), (x.high, flops)];
            let points = points.map(|(i, rate)| format!("{:.1},{:.1}", x.at(i), y.at(rate / 1e9))).join(" ");
            format!("<polyline points=\"{points}\" fill=\"none\" stroke=\"#222\" {style}/>\n")
        };
        if self.threads > 1 {
            *out += &roof(self.one_thread, r#"stroke-width="1" stroke-dasharray="5 4""#);
        }
        *out += &roof(self.flops, r#"stroke-width="2.5" stroke-linejoin="round""#);
        // At the ridge, where no dots are.
        let ridge = x.at(self.flops / self.bandwidth);
        text(out, [ridge + 8.0, y.at(self.flops / 1e9) - 7.0], "start", 13.0, &format!("{:.0} GFLOP/s", self.flops / 1e9));
        if self.threads > 1 {
            text(out, [x.to - 8.0, y.at(self.one_thread / 1e9) - 6.0], "end", FONT, "one thread");
        }
        // Along the slope, at half of its visible height.
        let (low, ridge) = (x.low.max(y.low * 1e9 / self.bandwidth), self.flops / self.bandwidth);
        let middle = (low * ridge).sqrt();
        let at = |i: f64| [x.at(i), y.at(i * self.bandwidth / 1e9)];
        let ([x0, y0], [x1, y1], [cx, cy]) = (at(low), at(ridge), at(middle));
        let angle = (y1 - y0).atan2(x1 - x0).to_degrees();
        let _ = writeln!(out, r#"<g transform="rotate({angle:.1} {cx:.1} {cy:.1})">"#);
        text(out, [cx, cy - 8.0], "middle", 13.0, &format!("memory {:.0} GB/s", self.bandwidth / 1e9));
        *out += "</g>\n";
    }

    /// Dots, and a label for each layer with free space beside one of its dots.
    fn draw_dots(&self, out: &mut String, dots: &[Dot], x: &Axis, y: &Axis) {
        let [left, top, right, bottom] = AREA;
        let mut taken: Vec<Rect> =
            dots.iter().map(|d| [d.x - d.radius, d.y - d.radius, d.x + d.radius, d.y + d.radius]).collect();
        // Labels avoid the roofs' lines and their labels.
        for (flops, above) in [(self.flops, 20.0), (self.one_thread, 4.0)] {
            for px in (left as usize..right as usize).step_by(4).map(|px| px as f64) {
                let intensity = x.low * (x.high / x.low).powf((px - x.from) / (x.to - x.from));
                let roof = y.at((intensity * self.bandwidth).min(flops) / 1e9);
                taken.push([px, roof - above, px + 4.0, roof + 3.0]);
            }
            let roof = y.at(flops / 1e9);
            taken.push([right - 100.0, roof - 22.0, right, roof]);
        }
        for d in dots {
            circle(out, [d.x, d.y], d.radius, d.series, d.about);
        }
        let (mut labels, mut named) = (String::new(), Vec::new());
        for d in dots {
            if named.len() == NAMED || named.contains(&d.label) {
                continue;
            }
            let (w, h) = (0.56 * FONT * d.label.chars().count() as f64 + 4.0, FONT + 1.0);
            let candidates = [3.0, 12.0, 24.0].into_iter().flat_map(|far| {
                let far = d.radius + far;
                let near = 0.7 * far;
                [
                    [d.x + far, d.y - h / 2.0],
                    [d.x - far - w, d.y - h / 2.0],
                    [d.x - w / 2.0, d.y - far - h],
                    [d.x - w / 2.0, d.y + far],
                    [d.x + near, d.y - near - h],
                    [d.x + near, d.y + near],
                    [d.x - near - w, d.y - near - h],
                    [d.x - near - w, d.y + near],
                ]
            });
            let mut rects = candidates.map(|[x, y]| [x, y, x + w, y + h]);
            let free =
                |r: &Rect| r[0] > left && r[2] < right && r[1] > top && r[3] < bottom && !taken.iter().any(|t| overlap(t, r));
            let Some(r) = rects.find(free) else { continue };
            // A line from the dot to a distant label's nearest point.
            let (nx, ny) = (d.x.clamp(r[0], r[2]), d.y.clamp(r[1], r[3]));
            if (nx - d.x).hypot(ny - d.y) > d.radius + 9.0 {
                line(&mut labels, [d.x, d.y, nx, ny], "#222", "0.7");
            }
            text(&mut labels, [r[0] + 2.0, r[3] - 3.0], "start", FONT, d.label);
            taken.push(r);
            named.push(d.label);
        }
        *out += &labels;
    }
}

/// The mark of a series: full, hollow or ringed, each in all colours.
fn circle(out: &mut String, [x, y]: [f64; 2], radius: f64, series: usize, title: &str) {
    let color = COLORS[series % COLORS.len()];
    let (fill, stroke) = [(color, "white"), ("white", color), (color, "black")][series / COLORS.len() % 3];
    let (title, width) = (escape(title), if stroke == "white" { 1.0 } else { 1.8 });
    let _ = writeln!(
        out,
        r#"<circle cx="{x:.1}" cy="{y:.1}" r="{radius:.1}" fill="{fill}" fill-opacity="0.85" stroke="{stroke}" stroke-width="{width}"><title>{title}</title></circle>"#
    );
}

fn line(out: &mut String, [x1, y1, x2, y2]: [f64; 4], color: &str, width: &str) {
    let _ = writeln!(out, r#"<path d="M{x1:.1} {y1:.1}L{x2:.1} {y2:.1}" stroke="{color}" stroke-width="{width}"/>"#);
}

fn text(out: &mut String, [x, y]: [f64; 2], anchor: &str, size: f64, text: &str) {
    if text.is_empty() {
        return;
    }
    let text = escape(text);
    let _ = writeln!(out, r#"<text x="{x:.1}" y="{y:.1}" text-anchor="{anchor}" font-size="{size}">{text}</text>"#);
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tags close in the order in which they open, attributes are quoted, and no number is NaN or infinite.
    fn assert_well_formed(svg: &str) {
        let mut open = Vec::new();
        for element in svg.split('<').skip(1) {
            let (tag, content) = element.split_once('>').expect("every tag ends");
            assert!(!content.contains('>') && !content.contains('"'), "{element}");
            assert_eq!(tag.matches('"').count() % 2, 0, "{tag}");
            let name = tag.split_whitespace().next().unwrap();
            match name.strip_prefix('/') {
                Some(name) => assert_eq!(open.pop(), Some(name)),
                None if tag.ends_with('/') => {}
                None => open.push(name),
            }
        }
        assert!(open.is_empty(), "{open:?}");
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    }

    #[test]
    fn the_picture_is_well_formed_and_names_its_points() {
        let point = |(label, seconds): (&str, f64)| RooflinePoint {
            intensity: 100.0,
            rate: 1e8 / seconds,
            seconds,
            series: "conv2d.fwd / fast".into(),
            label: label.into(),
            about: format!("{label}: fast"),
        };
        let machine = Roofline { flops: 1e11, one_thread: 5e10, threads: 2, bandwidth: 2e10, ..Roofline::new("<Roofs>", "") };
        let points: Vec<_> = [("layer1.0.conv1", 2e-3), ("<&\">", 5e-2), ("layer2", 5e-4)].map(point).into();
        let picture = Roofline { points, ..machine.clone() }.svg();
        assert_well_formed(&picture);
        for part in [
            "&lt;Roofs&gt;",
            "layer1.0.conv1</text>",
            "&lt;&amp;&quot;&gt;</text>",
            "conv2d.fwd / fast</text>",
            "memory 20 GB/s",
            "100 GFLOP/s",
        ] {
            assert!(picture.contains(part), "{part}");
        }
        // Three dots and the legend.
        assert_eq!(picture.matches("<title>").count(), 4);
        // Without measurements, the plot shows the machine.
        assert_well_formed(&Roofline { threads: 1, ..machine }.svg());
    }

    #[test]
    fn axes_end_at_round_numbers() {
        let axis = Axis::around([0.3, 15.0].into_iter(), 0.0, 200.0);
        assert!(axis.at(0.2).abs() < 1e-9 && (axis.at(2.0) - 100.0).abs() < 1e-9 && (axis.at(20.0) - 200.0).abs() < 1e-9);
        let labels: Vec<String> = axis.ticks().into_iter().filter_map(|t| t.1).collect();
        assert_eq!(labels, ["0.2", "0.5", "1", "2", "5", "10", "20"]);
        assert_eq!(axis.ticks().iter().filter(|t| t.2).count(), 2);
    }
}
