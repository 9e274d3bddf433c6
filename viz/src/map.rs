//! Maps: two-dimensional arrays of values, and their resizing.

use std::borrow::Cow;

/// A non-empty two-dimensional array of values, row-major. Grad-CAM returns maps; overlays and panels draw them.
///
/// ```
/// use convscope_viz::Map;
/// let map = Map::new(vec![0.0, 1.0], 1, 2)?;
/// let wide = map.resized(1, 4)?;
/// assert_eq!(wide.values(), [0.0, 0.25, 0.75, 1.0]);
/// # Ok::<_, convscope_viz::MapError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Map {
    values: Vec<f32>,
    h: usize,
    w: usize,
}

/// Invalid sizes of a map.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MapError {
    /// The number of values differs from rows times columns.
    #[error("a map of {h}x{w} needs {} values and has {got}", h.saturating_mul(*w))]
    Length {
        /// Number of values.
        got: usize,
        /// Rows.
        h: usize,
        /// Columns.
        w: usize,
    },
    /// A side is zero.
    #[error("a map of {h}x{w} is empty")]
    Empty {
        /// Rows.
        h: usize,
        /// Columns.
        w: usize,
    },
}

impl Map {
    /// A map of `h` rows and `w` columns from row-major values.
    ///
    /// # Errors
    /// [`MapError`] if a side is zero or the number of values is not `h * w`.
    pub fn new(values: Vec<f32>, h: usize, w: usize) -> Result<Self, MapError> {
        check_sides(h, w)?;
        match h.checked_mul(w) {
            Some(count) if count == values.len() => Ok(Map { values, h, w }),
            _ => Err(MapError::Length { got: values.len(), h, w }),
        }
    }

    /// The values, row-major.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// `[rows, columns]`.
    pub fn size(&self) -> [usize; 2] {
        [self.h, self.w]
    }

    /// The map of `f` of each value.
    pub fn map(&self, f: impl FnMut(f32) -> f32) -> Map {
        Map { values: self.values.iter().copied().map(f).collect(), ..*self }
    }

    /// The map at `h` x `w`: bilinear, half-pixel centres, edges clamped. The result equals `cv2.resize(map, (w, h),
    /// interpolation=cv2.INTER_LINEAR)` on float32 up to rounding. A map of the same size is borrowed.
    ///
    /// # Errors
    /// [`MapError::Empty`] if a side is zero.
    pub fn resized(&self, h: usize, w: usize) -> Result<Cow<'_, Map>, MapError> {
        check_sides(h, w)?;
        if self.size() == [h, w] {
            return Ok(Cow::Borrowed(self));
        }
        let columns = samples(self.w, w);
        // Horizontal first, in the order OpenCV rounds.
        let rows = self.values.chunks_exact(self.w);
        let across: Vec<f32> = rows.flat_map(|row| columns.iter().map(|s| row[s.0] * (1.0 - s.2) + row[s.1] * s.2)).collect(); // [self.h, w]
        let mut values = Vec::with_capacity(h * w);
        for (upper, lower, share) in samples(self.h, h) {
            let (upper, lower) = (&across[upper * w..][..w], &across[lower * w..][..w]);
            values.extend(upper.iter().zip(lower).map(|(a, b)| a * (1.0 - share) + b * share));
        }
        Ok(Cow::Owned(Map { values, h, w }))
    }
}

fn check_sides(h: usize, w: usize) -> Result<(), MapError> {
    if h == 0 || w == 0 { Err(MapError::Empty { h, w }) } else { Ok(()) }
}

/// For each of `to` samples, two indices among `from` and the weight of the second.
fn samples(from: usize, to: usize) -> Vec<(usize, usize, f32)> {
    let step = from as f64 / to as f64;
    (0..to)
        .map(|i| {
            let x = ((i as f64 + 0.5) * step - 0.5) as f32;
            let floor = x.floor();
            if floor < 0.0 {
                return (0, 0, 0.0);
            }
            let left = (floor as usize).min(from - 1);
            (left, (left + 1).min(from - 1), x - floor)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(a: &[f32], b: &[f32]) {
        assert_eq!(a.len(), b.len());
        for (i, (a, b)) in a.iter().zip(b).enumerate() {
            assert!((a - b).abs() <= 2e-7, "value {i}: {a} instead of {b}");
        }
    }

    fn resized(values: &[f32], [h, w]: [usize; 2], to: [usize; 2]) -> Vec<f32> {
        Map::new(values.to_vec(), h, w).unwrap().resized(to[0], to[1]).unwrap().values().to_vec()
    }

    /// Values made with `cv2.resize` of OpenCV 5.0.
    #[test]
    #[rustfmt::skip]
    fn resize_is_that_of_opencv() {
        close(&resized(&[0.1, 0.9, 0.3, 0.7, 0.2, 0.5], [2, 3], [5, 7]), &[
            0.1,        0.21428572, 0.55714285, 0.9,        0.64285713, 0.3857143,  0.3,
            0.16,       0.2557143,  0.5428571,  0.83,       0.61142856, 0.39285716, 0.32000002,
            0.39999998, 0.42142856, 0.48571426, 0.54999995, 0.4857143,  0.42142856, 0.4,
            0.6399999,  0.5871428,  0.4285714,  0.27,       0.36,       0.45,       0.48,
            0.7,        0.6285714,  0.4142857,  0.2,        0.32857144, 0.45714286, 0.5,
        ]);
        let map: Vec<f32> = (0..35).map(|i| (i * 7 % 11) as f32 / 10.0).collect();
        close(&resized(&map, [5, 7], [3, 4]), &[
            0.29166666, 0.5083333,  0.45000002, 0.575,
            0.85,       0.2875,     0.55,       0.5375,
            0.5833334,  0.34166664, 0.6041667,  0.40833333,
        ]);
        let squares: Vec<f32> = (0..16).map(|i| (i * i) as f32).collect();
        assert_eq!(resized(&squares, [4, 4], [2, 2]), [10.5, 24.5, 114.5, 160.5]);
        assert_eq!(resized(&squares, [4, 4], [4, 4]), squares);
        assert_eq!(resized(&[3.0], [1, 1], [2, 3]), [3.0; 6]);
    }

    #[test]
    fn bad_sizes_are_errors() {
        assert_eq!(Map::new(vec![0.0; 5], 2, 3).unwrap_err().to_string(), "a map of 2x3 needs 6 values and has 5");
        assert_eq!(Map::new(vec![], 0, 3).unwrap_err().to_string(), "a map of 0x3 is empty");
        assert!(Map::new(vec![], usize::MAX, 2).is_err());
        assert!(Map::new(vec![0.0], 1, 1).unwrap().resized(0, 4).is_err());
    }
}
