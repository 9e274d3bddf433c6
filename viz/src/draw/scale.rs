//! From values to [0, 1]: ranges, rules for ranges, and the labels of scale bars.

use super::DrawError;
use std::fmt;
use std::str::FromStr;

/// Percentile of |v| at the ends of a symmetric range; the few largest values would fade all others.
const SYMMETRIC_PERCENTILE: f32 = 99.0;

/// A range of values, `lo < hi`, both finite.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Range {
    /// The value at the lower end of the colour map.
    pub lo: f32,
    /// The value at the upper end.
    pub hi: f32,
}

/// Rule for a range.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Limits {
    /// Minimum to maximum of the finite values.
    MinMax,
    /// Zero to the maximum, for non-negative data (after a ReLU), so that zero keeps its colour.
    ZeroMax,
    /// Two percentiles, each in 0..=100, which clips outliers.
    Percentile(f32, f32),
    /// -r to r, where r is the 99th percentile of |v|, for signed data on a diverging map.
    Symmetric,
}

/// Pictures with a common range.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum RangeScope {
    /// Each picture has its own range.
    PerImage,
    /// All pictures of the figure share one range.
    Shared,
    /// A given range.
    Fixed(Range),
}

/// Classification of a map's values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Health {
    /// At least two different finite values.
    Alive,
    /// All finite values are zero: a channel without response.
    Dead,
    /// All finite values are equal.
    Constant(f32),
    /// No finite value.
    NotFinite,
}

impl Health {
    /// Classifies the values in one pass.
    pub fn of(values: &[f32]) -> Health {
        let mut finite = values.iter().copied().filter(|v| v.is_finite());
        match finite.next() {
            None => Health::NotFinite,
            Some(first) if finite.any(|v| v != first) => Health::Alive,
            Some(0.0) => Health::Dead,
            Some(first) => Health::Constant(first),
        }
    }
}

impl Range {
    /// The range from `lo` to `hi`.
    ///
    /// # Errors
    /// [`DrawError::Unknown`] unless both are finite and `lo < hi`.
    pub fn new(lo: f32, hi: f32) -> Result<Range, DrawError> {
        if lo.is_finite() && hi.is_finite() && lo < hi {
            return Ok(Range { lo, hi });
        }
        Err(DrawError::Unknown(format!("a range needs two finite numbers, the smaller first: got {lo},{hi}")))
    }

    /// Position of `v`: 0 at `lo`, 1 at `hi`, clamped; NaN stays NaN.
    pub fn unit(&self, v: f32) -> f32 {
        // In f64, as hi - lo of two finite f32 may overflow.
        let (lo, hi) = (f64::from(self.lo), f64::from(self.hi));
        (((f64::from(v) - lo) / (hi - lo)) as f32).clamp(0.0, 1.0)
    }

    /// About `count` round numbers inside the range (at most half as many more), ascending.
    pub fn ticks(&self, count: usize) -> Vec<f32> {
        let (lo, hi) = (f64::from(self.lo), f64::from(self.hi));
        let rough = (hi - lo) / count.max(1) as f64;
        let power = 10f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 2.5, 5.0, 10.0].into_iter().map(|m| m * power).find(|s| *s >= rough * 0.7);
        let step = step.unwrap_or(10.0 * power);
        let tolerance = step * 1e-4;
        let first = ((lo - tolerance) / step).ceil() as i64;
        let last = ((hi + tolerance) / step).floor() as i64;
        (first..=last).map(|i| (i as f64 * step) as f32).collect()
    }
}

impl Limits {
    /// The range of the finite `values`. `None` without finite values, or if all are equal (see [`Health`]).
    ///
    /// ```
    /// use convscope_viz::draw::{Limits, Range};
    /// assert_eq!(Limits::ZeroMax.range(&[0.5, 2.0, f32::NAN]), Some(Range { lo: 0.0, hi: 2.0 }));
    /// assert_eq!(Limits::ZeroMax.range(&[0.0, 0.0]), None);
    /// ```
    pub fn range<'a>(&self, values: impl IntoIterator<Item = &'a f32>) -> Option<Range> {
        let finite = values.into_iter().copied().filter(|v| v.is_finite());
        let (lo, hi) = match *self {
            Limits::MinMax => extremes(finite)?,
            Limits::ZeroMax => {
                let (lo, hi) = extremes(finite)?;
                (lo.min(0.0), hi.max(0.0))
            }
            Limits::Percentile(a, b) => {
                let mut sorted: Vec<f32> = finite.collect();
                sorted.sort_unstable_by(f32::total_cmp);
                let (lo, hi) = (percentile(&sorted, a)?, percentile(&sorted, b)?);
                // Percentiles of sparse data may coincide; then nothing is clipped.
                if lo < hi { (lo, hi) } else { (*sorted.first()?, *sorted.last()?) }
            }
            Limits::Symmetric => {
                let mut sorted: Vec<f32> = finite.map(f32::abs).collect();
                sorted.sort_unstable_by(f32::total_cmp);
                let r = percentile(&sorted, SYMMETRIC_PERCENTILE)?;
                let r = if r > 0.0 { r } else { *sorted.last()? };
                (-r, r)
            }
        };
        Range::new(lo, hi).ok()
    }
}

impl Limits {
    /// Description of the clipping; empty without.
    pub(crate) fn clipping(&self) -> &'static str {
        match self {
            Limits::MinMax | Limits::ZeroMax => "",
            Limits::Percentile(..) => ", scale clipped at percentiles",
            Limits::Symmetric => ", scale ends at the 99th percentile of |v|",
        }
    }
}

/// Minimum and maximum of finite values.
fn extremes(values: impl Iterator<Item = f32>) -> Option<(f32, f32)> {
    values.fold(None, |acc, v| match acc {
        None => Some((v, v)),
        Some((lo, hi)) => Some((lo.min(v), hi.max(v))),
    })
}

/// The `p`-th percentile of ascending values, with linear interpolation (numpy's default).
fn percentile(sorted: &[f32], p: f32) -> Option<f32> {
    let last = sorted.len().checked_sub(1)?;
    let x = f64::from(p.clamp(0.0, 100.0)) / 100.0 * last as f64;
    let i = x as usize;
    let (a, b) = (f64::from(sorted[i]), f64::from(sorted[(i + 1).min(last)]));
    Some((a + (b - a) * (x - i as f64)) as f32)
}

/// A number for a label: three significant digits, no trailing zeros, a minus sign instead of a hyphen (`4.2`, `−0.0314`,
/// `1.2e6`).
///
/// ```
/// assert_eq!(convscope_viz::draw::short(-0.03141), "−0.0314");
/// ```
pub fn short(v: f32) -> String {
    let text = significant(v, 3);
    if text.contains('.') && !text.contains('e') {
        return text.trim_end_matches('0').trim_end_matches('.').to_string();
    }
    text.replace(".0e", "e")
}

/// A number with `digits` significant digits, including zeros. Integer digits are exact below 100,000.
pub(crate) fn significant(v: f32, digits: i32) -> String {
    if !v.is_finite() {
        return if v.is_nan() {
            "NaN"
        } else if v > 0.0 {
            "∞"
        } else {
            "−∞"
        }
        .into();
    }
    let magnitude = v.abs();
    let text = if v == 0.0 {
        "0".into()
    } else if (1e-3..1e5).contains(&magnitude) {
        let decimals = (digits - 1 - magnitude.log10().floor() as i32).clamp(0, 6) as usize;
        format!("{magnitude:.decimals$}")
    } else {
        format!("{magnitude:.1e}").replace("e-", "e−")
    };
    if v < 0.0 { format!("−{text}") } else { text }
}

impl fmt::Display for RangeScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RangeScope::PerImage => f.write_str("per-image"),
            RangeScope::Shared => f.write_str("shared"),
            RangeScope::Fixed(r) => write!(f, "{},{}", r.lo, r.hi),
        }
    }
}

impl FromStr for RangeScope {
    type Err = DrawError;

    /// Parses `per-image`, `shared`, or two numbers `lo,hi`.
    fn from_str(s: &str) -> Result<Self, DrawError> {
        match s.to_lowercase().as_str() {
            "per-image" => return Ok(RangeScope::PerImage),
            "shared" => return Ok(RangeScope::Shared),
            _ => {}
        }
        let pair = s.split_once(',').and_then(|(a, b)| Some((a.trim().parse().ok()?, b.trim().parse().ok()?)));
        match pair {
            Some((lo, hi)) => Ok(RangeScope::Fixed(Range::new(lo, hi)?)),
            None => {
                Err(DrawError::Unknown(format!("unknown scale \"{s}\"; expected per-image, shared, or two numbers like 0,4.5")))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_ignore_what_is_not_finite() {
        let v = [1.0, f32::NAN, -2.0, f32::INFINITY, 4.0];
        assert_eq!(Limits::MinMax.range(&v), Some(Range { lo: -2.0, hi: 4.0 }));
        assert_eq!(Limits::ZeroMax.range(&[1.0, 3.0]), Some(Range { lo: 0.0, hi: 3.0 }));
        assert_eq!(Limits::MinMax.range(&[f32::NAN]), None);
        assert_eq!(Limits::Symmetric.range(&[]), None);
        for limits in [Limits::MinMax, Limits::ZeroMax, Limits::Percentile(1.0, 99.0), Limits::Symmetric] {
            assert_eq!(limits.range(&[0.0; 9]), None, "{limits:?}");
        }
        assert_eq!(Limits::MinMax.range(&[2.0; 9]), None);
        assert_eq!(Limits::ZeroMax.range(&[2.0; 9]), Some(Range { lo: 0.0, hi: 2.0 }));
    }

    #[test]
    fn percentiles_as_numpy() {
        // np.percentile(np.arange(11)**2, [10, 95]) == [1, 90.5]
        let v: Vec<f32> = (0..11).map(|i| (i * i) as f32).collect();
        assert_eq!(Limits::Percentile(10.0, 95.0).range(&v), Some(Range { lo: 1.0, hi: 90.5 }));
        // np.percentile(np.abs([-100..=100]), 99) == 100 - 1 (201 values): index 198 of the sorted magnitudes.
        let v: Vec<f32> = (-100..=100).map(|i| i as f32).collect();
        assert_eq!(Limits::Symmetric.range(&v), Some(Range { lo: -99.0, hi: 99.0 }));
        // One spike among zeros has a range.
        let mut sparse = vec![0.0; 1000];
        sparse[7] = -3.0;
        assert_eq!(Limits::Symmetric.range(&sparse), Some(Range { lo: -3.0, hi: 3.0 }));
        assert_eq!(Limits::Percentile(1.0, 99.0).range(&sparse), Some(Range { lo: -3.0, hi: 0.0 }));
    }

    #[test]
    fn unit_clamps_and_keeps_nan() {
        let r = Range::new(-1.0, 3.0).unwrap();
        assert_eq!([r.unit(-5.0), r.unit(1.0), r.unit(9.0)], [0.0, 0.5, 1.0]);
        assert!(r.unit(f32::NAN).is_nan());
        assert_eq!(Range::new(f32::MIN, f32::MAX).unwrap().unit(0.0), 0.5);
        assert!(Range::new(1.0, 1.0).is_err() && Range::new(0.0, f32::NAN).is_err());
    }

    #[test]
    fn health() {
        assert_eq!(Health::of(&[0.0, -0.0, f32::NAN]), Health::Dead);
        assert_eq!(Health::of(&[2.0, 2.0]), Health::Constant(2.0));
        assert_eq!(Health::of(&[f32::NAN, f32::INFINITY]), Health::NotFinite);
        assert_eq!(Health::of(&[0.0, 1e-30]), Health::Alive);
    }

    #[test]
    fn ticks_are_round() {
        assert_eq!(Range::new(0.0, 1.0).unwrap().ticks(5), [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]);
        assert_eq!(Range::new(-3.7, 3.7).unwrap().ticks(4), [-2.0, 0.0, 2.0]);
        assert_eq!(Range::new(0.0, 4.31).unwrap().ticks(4), [0.0, 1.0, 2.0, 3.0, 4.0]);
        assert_eq!(Range::new(10.1, 10.4).unwrap().ticks(3), [10.1, 10.2, 10.3, 10.4]);
        for (lo, hi) in [(f32::MIN, f32::MAX), (0.0, 1e-38), (1e8, 1.0001e8), (16_777_216.0, 16_777_218.0)] {
            let ticks = Range::new(lo, hi).unwrap().ticks(4);
            assert!((1..=12).contains(&ticks.len()), "{lo} {hi} {ticks:?}");
        }
    }

    #[test]
    fn short_numbers() {
        let table = [
            (0.0, "0"),
            (4.2, "4.2"),
            (0.5, "0.5"),
            (-0.03141, "−0.0314"),
            (123.4, "123"),
            (99999.0, "99999"),
            (1.2e6, "1.2e6"),
            (-2e-7, "−2e−7"),
            (f32::NAN, "NaN"),
            (f32::NEG_INFINITY, "−∞"),
        ];
        for (v, text) in table {
            assert_eq!(short(v), text);
        }
        assert_eq!([significant(-0.0705, 2), significant(123.4, 2), significant(1.02, 2)], ["−0.071", "123", "1.0"]);
    }

    #[test]
    fn scope_from_text() {
        assert_eq!("shared".parse::<RangeScope>().unwrap(), RangeScope::Shared);
        assert_eq!("-1, 2.5".parse::<RangeScope>().unwrap(), RangeScope::Fixed(Range { lo: -1.0, hi: 2.5 }));
        assert!("2,1".parse::<RangeScope>().unwrap_err().to_string().contains("smaller first"));
        assert!("globl".parse::<RangeScope>().unwrap_err().to_string().contains("per-image, shared"));
    }
}
