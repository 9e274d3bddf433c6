//! Statistics of stored values of any type.

use crate::weights::StoredType;
use half::{bf16, f16};

/// Statistics of a tensor. Extremes, mean and deviation cover finite values, and are `None` without any.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stats {
    /// Number of values.
    pub count: usize,
    /// Minimum.
    pub min: Option<f64>,
    /// Maximum.
    pub max: Option<f64>,
    /// Mean.
    pub mean: Option<f64>,
    /// Standard deviation, with divisor n.
    pub std: Option<f64>,
    /// Number of exact zeros.
    pub zeros: usize,
    /// Number of NaN.
    pub nan: usize,
    /// Number of infinities of either sign.
    pub infinite: usize,
}

/// Statistics of little-endian values, summed in f64. Trailing bytes of an incomplete value are ignored.
pub fn stats(dtype: StoredType, bytes: &[u8]) -> Stats {
    macro_rules! of {
        ($stored:ty, $to_f64:expr) => {
            Stats::of(bytes.as_chunks().0.iter().map(|value| $to_f64(<$stored>::from_le_bytes(*value))))
        };
    }
    match dtype {
        StoredType::F64 => of!(f64, |v| v),
        StoredType::F32 => of!(f32, f64::from),
        StoredType::F16 => of!(f16, f64::from),
        StoredType::BF16 => of!(bf16, f64::from),
        StoredType::I64 => of!(i64, |v| v as f64),
        StoredType::I32 => of!(i32, f64::from),
        StoredType::I16 => of!(i16, f64::from),
        StoredType::I8 => of!(i8, f64::from),
        StoredType::U64 => of!(u64, |v| v as f64),
        StoredType::U32 => of!(u32, f64::from),
        StoredType::U16 => of!(u16, f64::from),
        StoredType::U8 | StoredType::Bool => of!(u8, f64::from),
    }
}

impl Stats {
    /// Two passes: the deviation around a known mean is precise even for a large mean.
    fn of(values: impl Iterator<Item = f64> + Clone) -> Self {
        let mut stats = Stats { count: 0, min: None, max: None, mean: None, std: None, zeros: 0, nan: 0, infinite: 0 };
        let (mut min, mut max, mut sum) = (f64::INFINITY, f64::NEG_INFINITY, 0.0);
        for value in values.clone() {
            stats.count += 1;
            stats.zeros += usize::from(value == 0.0);
            stats.nan += usize::from(value.is_nan());
            stats.infinite += usize::from(value.is_infinite());
            if value.is_finite() {
                (min, max, sum) = (min.min(value), max.max(value), sum + value);
            }
        }
        let finite = stats.count - stats.nan - stats.infinite;
        if finite > 0 {
            let mean = sum / finite as f64;
            let squares: f64 = values.filter(|v| v.is_finite()).map(|v| (v - mean).powi(2)).sum();
            (stats.min, stats.max) = (Some(min), Some(max));
            (stats.mean, stats.std) = (Some(mean), Some((squares / finite as f64).sqrt()));
        }
        stats
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn f32s(values: &[f32]) -> Vec<u8> {
        values.iter().flat_map(|v| v.to_le_bytes()).collect()
    }

    #[test]
    fn of_finite_values() {
        let s = stats(StoredType::F32, &f32s(&[1.0, -3.0, 0.0, -0.0, f32::NAN, f32::NEG_INFINITY, 4.0]));
        assert_eq!((s.count, s.zeros, s.nan, s.infinite), (7, 2, 1, 1));
        assert_eq!((s.min, s.max, s.mean), (Some(-3.0), Some(4.0), Some(0.4)));
        // Mean of squares 26 / 5, less 0.16.
        assert!((s.std.unwrap() - 5.04f64.sqrt()).abs() < 1e-12);
    }

    #[test]
    fn of_nothing() {
        let none = Stats { count: 0, min: None, max: None, mean: None, std: None, zeros: 0, nan: 0, infinite: 0 };
        assert_eq!(stats(StoredType::F16, &[]), none);
        assert_eq!(stats(StoredType::F32, &f32s(&[f32::NAN])), Stats { count: 1, nan: 1, ..none });
    }

    #[test]
    fn of_every_type() {
        let minus_two: [(StoredType, Vec<u8>); 8] = [
            (StoredType::F64, (-2f64).to_le_bytes().to_vec()),
            (StoredType::F32, (-2f32).to_le_bytes().to_vec()),
            (StoredType::F16, f16::from_f32(-2.0).to_le_bytes().to_vec()),
            (StoredType::BF16, bf16::from_f32(-2.0).to_le_bytes().to_vec()),
            (StoredType::I64, (-2i64).to_le_bytes().to_vec()),
            (StoredType::I32, (-2i32).to_le_bytes().to_vec()),
            (StoredType::I16, (-2i16).to_le_bytes().to_vec()),
            (StoredType::I8, (-2i8).to_le_bytes().to_vec()),
        ];
        for (dtype, bytes) in minus_two {
            assert_eq!((stats(dtype, &bytes).mean, stats(dtype, &bytes).count), (Some(-2.0), 1), "{dtype}");
        }
        for dtype in [StoredType::U64, StoredType::U32, StoredType::U16, StoredType::U8, StoredType::Bool] {
            let mut bytes = vec![0; dtype.size()];
            bytes[0] = 1;
            assert_eq!((stats(dtype, &bytes).max, stats(dtype, &bytes).count), (Some(1.0), 1), "{dtype}");
        }
    }
}
