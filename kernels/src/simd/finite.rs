//! Whether numbers are finite: weights are looked through before they are used, at the speed of memory.

use crate::simd::{self, Kernel, Vector};
use rayon::prelude::*;

/// Numbers that are looked through at a time.
const BLOCK: usize = 1 << 16;

/// Whether all numbers are finite: `v - v` is zero, but NaN for NaN and infinities, and NaN stays in a sum.
struct AllFinite<'a>(&'a [f32]);

impl Kernel for AllFinite<'_> {
    type Out = bool;
    #[inline(always)]
    unsafe fn run<V: Vector>(self) -> bool {
        const AT_ONCE: usize = 4;
        let whole = self.0.chunks_exact(AT_ONCE * V::LANES);
        let rest = whole.remainder();
        // SAFETY: each chunk holds as many numbers as are loaded.
        let sum = unsafe {
            let mut sums = [V::splat(0.0); AT_ONCE];
            for chunk in whole {
                for (i, sum) in sums.iter_mut().enumerate() {
                    let v = V::load(chunk.as_ptr().add(i * V::LANES));
                    *sum = sum.add(v.sub(v));
                }
            }
            sums.into_iter().map(|sum| sum.sum()).sum::<f32>()
        };
        sum == 0.0 && rest.iter().all(|v| v.is_finite())
    }
}

/// Index of the first NaN or infinity. On threads: the pages of a mapped file are found on the way.
pub fn first_non_finite(values: &[f32]) -> Option<usize> {
    // SAFETY: no pointers.
    let block = values.par_chunks(BLOCK).position_first(|block| unsafe { !simd::dispatch(AllFinite(block)) })?;
    let start = block * BLOCK;
    values[start..].iter().position(|value| !value.is_finite()).map(|offset| start + offset)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_non_finite_value_is_found_anywhere() {
        let mut values = vec![f32::MAX; 200_000];
        values[17] = f32::MIN;
        values[18] = -0.0;
        values[19] = f32::MIN_POSITIVE / 2.0;
        assert_eq!(first_non_finite(&values), None);
        assert_eq!(first_non_finite(&[]), None);
        for index in [199_999, 131_072, 65_536, 65_535, 0] {
            for bad in [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                values[index] = bad;
                assert_eq!(first_non_finite(&values), Some(index));
            }
        }
    }
}
