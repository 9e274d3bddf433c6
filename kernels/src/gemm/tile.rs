//! The register tile: the innermost loop of every product, one version per instruction set.
//!
//! A tile multiplies a panel of `a` (`MR` rows, k-major) by a panel of `b` (`NR` columns, k-major) and keeps all `MR x NR` sums in
//! registers: each step loads `NR` numbers of `b`, broadcasts `MR` numbers of `a`, and does `MR * NR` multiply-adds.

/// Largest `MR * NR` of any tile.
pub(crate) const MAX_TILE: usize = 12 * 32;

/// One register tile.
pub(crate) trait Tile: 'static {
    /// Rows of the tile: width of a panel of `a`.
    const MR: usize;
    /// Columns of the tile: width of a panel of `b`.
    const NR: usize;
    /// `sums[MR,NR] = sum_k a[k,MR]^T b[k,NR]`. Panics if a panel is shorter than `k` steps.
    fn multiply(k: usize, a: &[f32], b: &[f32], sums: &mut [f32; MAX_TILE]);
}

/// 4 x 16 sums in whatever registers the compiler finds.
pub(crate) struct Portable;

impl Tile for Portable {
    const MR: usize = 4;
    const NR: usize = 16;
    fn multiply(k: usize, a: &[f32], b: &[f32], sums: &mut [f32; MAX_TILE]) {
        let mut acc = [[0.0f32; 16]; 4];
        for (a, b) in a[..k * 4].chunks_exact(4).zip(b[..k * 16].chunks_exact(16)) {
            for i in 0..4 {
                for j in 0..16 {
                    acc[i][j] += a[i] * b[j];
                }
            }
        }
        for (i, row) in acc.iter().enumerate() {
            sums[i * 16..][..16].copy_from_slice(row);
        }
    }
}

#[cfg(target_arch = "x86_64")]
pub(crate) use x86::{Avx2, Avx512};

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{MAX_TILE, Tile};
    use std::arch::x86_64::*;

    /// 6 x 16 sums: 12 of 16 registers, 2 for `b`, 1 to broadcast `a`.
    pub(crate) struct Avx2;

    impl Tile for Avx2 {
        const MR: usize = 6;
        const NR: usize = 16;
        fn multiply(k: usize, a: &[f32], b: &[f32], sums: &mut [f32; MAX_TILE]) {
            assert!(a.len() >= k * 6 && b.len() >= k * 16 && crate::simd::avx2());
            // SAFETY: the lengths and the instruction set were just checked.
            unsafe { avx2(k, a.as_ptr(), b.as_ptr(), sums) }
        }
    }

    /// # Safety
    /// AVX2 and FMA must be there, `a` and `b` valid for `6 k` and `16 k` numbers.
    #[target_feature(enable = "avx2,fma")]
    unsafe fn avx2(k: usize, mut a: *const f32, mut b: *const f32, sums: &mut [f32; MAX_TILE]) {
        let mut acc = [[_mm256_setzero_ps(); 2]; 6];
        for _ in 0..k {
            // SAFETY: the caller vouches for k steps.
            unsafe {
                let (b0, b1) = (_mm256_loadu_ps(b), _mm256_loadu_ps(b.add(8)));
                for (i, acc) in acc.iter_mut().enumerate() {
                    let x = _mm256_set1_ps(*a.add(i));
                    acc[0] = _mm256_fmadd_ps(x, b0, acc[0]);
                    acc[1] = _mm256_fmadd_ps(x, b1, acc[1]);
                }
                a = a.add(6);
                b = b.add(16);
            }
        }
        for (i, acc) in acc.iter().enumerate() {
            for (j, v) in acc.iter().enumerate() {
                // SAFETY: 6 x 16 <= MAX_TILE.
                unsafe { _mm256_storeu_ps(sums.as_mut_ptr().add(i * 16 + j * 8), *v) }
            }
        }
    }

    /// 12 x 32 sums: 24 of 32 registers, 2 for `b`, the broadcast comes with the multiply.
    pub(crate) struct Avx512;

    impl Tile for Avx512 {
        const MR: usize = 12;
        const NR: usize = 32;
        fn multiply(k: usize, a: &[f32], b: &[f32], sums: &mut [f32; MAX_TILE]) {
            assert!(a.len() >= k * 12 && b.len() >= k * 32 && crate::simd::avx512());
            // SAFETY: the lengths and the instruction set were just checked.
            unsafe { avx512(k, a.as_ptr(), b.as_ptr(), sums) }
        }
    }

    /// # Safety
    /// AVX-512 F must be there, `a` and `b` valid for `12 k` and `32 k` numbers.
    #[target_feature(enable = "avx512f")]
    unsafe fn avx512(k: usize, mut a: *const f32, mut b: *const f32, sums: &mut [f32; MAX_TILE]) {
        let mut acc = [[_mm512_setzero_ps(); 2]; 12];
        for _ in 0..k {
            // SAFETY: the caller vouches for k steps.
            unsafe {
                let (b0, b1) = (_mm512_loadu_ps(b), _mm512_loadu_ps(b.add(16)));
                for (i, acc) in acc.iter_mut().enumerate() {
                    let x = _mm512_set1_ps(*a.add(i));
                    acc[0] = _mm512_fmadd_ps(x, b0, acc[0]);
                    acc[1] = _mm512_fmadd_ps(x, b1, acc[1]);
                }
                a = a.add(12);
                b = b.add(32);
            }
        }
        for (i, acc) in acc.iter().enumerate() {
            for (j, v) in acc.iter().enumerate() {
                // SAFETY: 12 x 32 = MAX_TILE.
                unsafe { _mm512_storeu_ps(sums.as_mut_ptr().add(i * 32 + j * 16), *v) }
            }
        }
    }
}
