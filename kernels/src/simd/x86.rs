//! AVX2 with FMA, and AVX-512.

use super::{Isa, Kernel, Vector};
use std::arch::x86_64::*;

/// Eight numbers in an AVX register.
#[derive(Clone, Copy)]
pub struct Avx2(__m256);

/// All bits in the first `n` of eight lanes.
///
/// # Safety
/// AVX2 must be there, and `n` be at most 8.
#[inline(always)]
unsafe fn first8(n: usize) -> __m256i {
    // SAFETY: the caller has AVX2.
    unsafe { _mm256_cmpgt_epi32(_mm256_set1_epi32(n as i32), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7)) }
}

#[allow(unsafe_op_in_unsafe_fn)] // SAFETY of the whole block: the trait's contract, which each call passes on.
impl Vector for Avx2 {
    const ISA: Isa = Isa::Avx2;
    const LANES: usize = 8;
    const ROWS: usize = 4;
    type Mask = __m256;
    unsafe fn run<K: Kernel>(kernel: K) -> K::Out {
        /// # Safety
        /// As [`Vector::run`].
        #[target_feature(enable = "avx2,fma")]
        unsafe fn inside<K: Kernel>(kernel: K) -> K::Out {
            kernel.run::<Avx2>()
        }
        inside(kernel)
    }
    #[inline(always)]
    unsafe fn splat(v: f32) -> Self {
        Avx2(_mm256_set1_ps(v))
    }
    #[inline(always)]
    unsafe fn load(p: *const f32) -> Self {
        Avx2(_mm256_loadu_ps(p))
    }
    #[inline(always)]
    unsafe fn load_first(p: *const f32, n: usize) -> Self {
        Avx2(_mm256_maskload_ps(p, first8(n)))
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut f32) {
        _mm256_storeu_ps(p, self.0)
    }
    #[inline(always)]
    unsafe fn store_first(self, p: *mut f32, n: usize) {
        _mm256_maskstore_ps(p, first8(n), self.0)
    }
    #[inline(always)]
    unsafe fn add(self, o: Self) -> Self {
        Avx2(_mm256_add_ps(self.0, o.0))
    }
    #[inline(always)]
    unsafe fn sub(self, o: Self) -> Self {
        Avx2(_mm256_sub_ps(self.0, o.0))
    }
    #[inline(always)]
    unsafe fn mul(self, o: Self) -> Self {
        Avx2(_mm256_mul_ps(self.0, o.0))
    }
    #[inline(always)]
    unsafe fn max(self, o: Self) -> Self {
        Avx2(_mm256_max_ps(self.0, o.0))
    }
    #[inline(always)]
    unsafe fn mul_add(self, b: Self, c: Self) -> Self {
        Avx2(_mm256_fmadd_ps(self.0, b.0, c.0))
    }
    #[inline(always)]
    unsafe fn prefetch(p: *const f32) {
        _mm_prefetch::<_MM_HINT_T0>(p.cast());
    }
    #[inline(always)]
    unsafe fn unzip(Avx2(a): Self, Avx2(b): Self) -> [Self; 2] {
        // Within the 128-bit halves first, then the quarters in order.
        let order = |v| Avx2(_mm256_castpd_ps(_mm256_permute4x64_pd::<0b11_01_10_00>(_mm256_castps_pd(v))));
        [order(_mm256_shuffle_ps::<0b10_00_10_00>(a, b)), order(_mm256_shuffle_ps::<0b11_01_11_01>(a, b))]
    }
    #[inline(always)]
    unsafe fn transpose(from: *const f32, from_stride: usize, to: *mut f32, to_stride: usize) {
        // Pairs of rows, then fours, then eights: each step doubles the run of one column. Loops, for closures may not be inlined.
        let (mut r, mut t, mut u) = ([_mm256_setzero_ps(); 8], [_mm256_setzero_ps(); 8], [_mm256_setzero_ps(); 8]);
        for (i, row) in r.iter_mut().enumerate() {
            *row = _mm256_loadu_ps(from.add(i * from_stride));
        }
        for i in (0..8).step_by(2) {
            t[i] = _mm256_unpacklo_ps(r[i], r[i + 1]);
            t[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
        }
        // u[4 h + j]: column j of each half, of rows 4 h .. 4 h + 4.
        for i in (0..8).step_by(4) {
            for pair in 0..2 {
                let (a, b) = (t[i + pair], t[i + 2 + pair]);
                u[i + 2 * pair] = _mm256_shuffle_ps::<0b01_00_01_00>(a, b);
                u[i + 2 * pair + 1] = _mm256_shuffle_ps::<0b11_10_11_10>(a, b);
            }
        }
        for j in 0..4 {
            _mm256_storeu_ps(to.add(j * to_stride), _mm256_permute2f128_ps::<0x20>(u[j], u[j + 4]));
            _mm256_storeu_ps(to.add((j + 4) * to_stride), _mm256_permute2f128_ps::<0x31>(u[j], u[j + 4]));
        }
    }
    #[inline(always)]
    unsafe fn interleave([a, b]: [Self; 2], p: *mut f32) {
        let (low, high) = (_mm256_unpacklo_ps(a.0, b.0), _mm256_unpackhi_ps(a.0, b.0));
        _mm256_storeu_ps(p, _mm256_permute2f128_ps::<0x20>(low, high));
        _mm256_storeu_ps(p.add(8), _mm256_permute2f128_ps::<0x31>(low, high));
    }
    #[inline(always)]
    unsafe fn mask_first(n: usize) -> __m256 {
        _mm256_castsi256_ps(first8(n))
    }
    #[inline(always)]
    unsafe fn gt(self, o: Self) -> __m256 {
        _mm256_cmp_ps::<_CMP_GT_OQ>(self.0, o.0)
    }
    #[inline(always)]
    unsafe fn gt_or_nan(self, o: Self) -> __m256 {
        _mm256_or_ps(_mm256_cmp_ps::<_CMP_GT_OQ>(self.0, o.0), _mm256_cmp_ps::<_CMP_UNORD_Q>(self.0, self.0))
    }
    #[inline(always)]
    unsafe fn select(mask: __m256, yes: Self, no: Self) -> Self {
        Avx2(_mm256_blendv_ps(no.0, yes.0, mask))
    }
    #[inline(always)]
    unsafe fn store_first_whole(self, p: *mut u32, n: usize) {
        _mm256_maskstore_epi32(p.cast(), first8(n), _mm256_cvttps_epi32(self.0))
    }
}

/// Sixteen numbers in an AVX-512 register.
#[derive(Clone, Copy)]
pub struct Avx512(__m512);

impl Avx512 {
    /// Elements 0, 2, 4, .. (or, with `odd`, 1, 3, 5, ..) of `a` followed by `b`.
    ///
    /// # Safety
    /// AVX-512 F must be there.
    #[inline(always)]
    unsafe fn every_second(a: __m512, b: __m512, odd: i32) -> __m512 {
        // SAFETY: the caller has AVX-512 F.
        unsafe {
            let even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
            _mm512_permutex2var_ps(a, _mm512_add_epi32(even, _mm512_set1_epi32(odd)), b)
        }
    }
    /// `a` and `b` by turns, from their first numbers (or, with `from = 8`, from their ninth).
    ///
    /// # Safety
    /// AVX-512 F must be there.
    #[inline(always)]
    unsafe fn by_turns(a: __m512, b: __m512, from: i32) -> __m512 {
        // SAFETY: the caller has AVX-512 F.
        unsafe {
            let low = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
            _mm512_permutex2var_ps(a, _mm512_add_epi32(low, _mm512_set1_epi32(from)), b)
        }
    }
}

#[allow(unsafe_op_in_unsafe_fn)] // SAFETY of the whole block: the trait's contract, which each call passes on.
impl Vector for Avx512 {
    const ISA: Isa = Isa::Avx512;
    const LANES: usize = 16;
    const ROWS: usize = 8;
    type Mask = __mmask16;
    unsafe fn run<K: Kernel>(kernel: K) -> K::Out {
        /// # Safety
        /// As [`Vector::run`].
        #[target_feature(enable = "avx512f")]
        unsafe fn inside<K: Kernel>(kernel: K) -> K::Out {
            kernel.run::<Avx512>()
        }
        inside(kernel)
    }
    #[inline(always)]
    unsafe fn splat(v: f32) -> Self {
        Avx512(_mm512_set1_ps(v))
    }
    #[inline(always)]
    unsafe fn load(p: *const f32) -> Self {
        Avx512(_mm512_loadu_ps(p))
    }
    #[inline(always)]
    unsafe fn load_first(p: *const f32, n: usize) -> Self {
        Avx512(_mm512_maskz_loadu_ps(((1u32 << n) - 1) as __mmask16, p))
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut f32) {
        _mm512_storeu_ps(p, self.0)
    }
    #[inline(always)]
    unsafe fn store_first(self, p: *mut f32, n: usize) {
        _mm512_mask_storeu_ps(p, ((1u32 << n) - 1) as __mmask16, self.0)
    }
    #[inline(always)]
    unsafe fn add(self, o: Self) -> Self {
        Avx512(_mm512_add_ps(self.0, o.0))
    }
    #[inline(always)]
    unsafe fn sub(self, o: Self) -> Self {
        Avx512(_mm512_sub_ps(self.0, o.0))
    }
    #[inline(always)]
    unsafe fn mul(self, o: Self) -> Self {
        Avx512(_mm512_mul_ps(self.0, o.0))
    }
    #[inline(always)]
    unsafe fn max(self, o: Self) -> Self {
        Avx512(_mm512_max_ps(self.0, o.0))
    }
    #[inline(always)]
    unsafe fn mul_add(self, b: Self, c: Self) -> Self {
        Avx512(_mm512_fmadd_ps(self.0, b.0, c.0))
    }
    #[inline(always)]
    unsafe fn stream(self, p: *mut f32) {
        _mm512_stream_ps(p, self.0);
    }
    #[inline(always)]
    unsafe fn fence() {
        _mm_sfence();
    }
    #[inline(always)]
    unsafe fn prefetch(p: *const f32) {
        _mm_prefetch::<_MM_HINT_T0>(p.cast());
    }
    #[inline(always)]
    unsafe fn unzip(Avx512(a): Self, Avx512(b): Self) -> [Self; 2] {
        [Avx512(Self::every_second(a, b, 0)), Avx512(Self::every_second(a, b, 1))]
    }
    #[inline(always)]
    unsafe fn transpose(from: *const f32, from_stride: usize, to: *mut f32, to_stride: usize) {
        // As for AVX2, with one more step over quarters of a register.
        let (mut r, mut t, mut u) = ([_mm512_setzero_ps(); 16], [_mm512_setzero_ps(); 16], [_mm512_setzero_ps(); 16]);
        for (i, row) in r.iter_mut().enumerate() {
            *row = _mm512_loadu_ps(from.add(i * from_stride));
        }
        for i in (0..16).step_by(2) {
            t[i] = _mm512_unpacklo_ps(r[i], r[i + 1]);
            t[i + 1] = _mm512_unpackhi_ps(r[i], r[i + 1]);
        }
        // u[4 q + j]: column j of each quarter, of rows 4 q .. 4 q + 4.
        for i in (0..16).step_by(4) {
            for pair in 0..2 {
                let (a, b) = (t[i + pair], t[i + 2 + pair]);
                u[i + 2 * pair] = _mm512_shuffle_ps::<0b01_00_01_00>(a, b);
                u[i + 2 * pair + 1] = _mm512_shuffle_ps::<0b11_10_11_10>(a, b);
            }
        }
        for j in 0..4 {
            // Quarters 0 and 2, and 1 and 3, of rows 0..8 and 8..16.
            let (even, even8) = (
                _mm512_shuffle_f32x4::<0b10_00_10_00>(u[j], u[j + 4]),
                _mm512_shuffle_f32x4::<0b10_00_10_00>(u[j + 8], u[j + 12]),
            );
            let (odd, odd8) = (
                _mm512_shuffle_f32x4::<0b11_01_11_01>(u[j], u[j + 4]),
                _mm512_shuffle_f32x4::<0b11_01_11_01>(u[j + 8], u[j + 12]),
            );
            _mm512_storeu_ps(to.add(j * to_stride), _mm512_shuffle_f32x4::<0b10_00_10_00>(even, even8));
            _mm512_storeu_ps(to.add((j + 4) * to_stride), _mm512_shuffle_f32x4::<0b10_00_10_00>(odd, odd8));
            _mm512_storeu_ps(to.add((j + 8) * to_stride), _mm512_shuffle_f32x4::<0b11_01_11_01>(even, even8));
            _mm512_storeu_ps(to.add((j + 12) * to_stride), _mm512_shuffle_f32x4::<0b11_01_11_01>(odd, odd8));
        }
    }
    #[inline(always)]
    unsafe fn interleave([a, b]: [Self; 2], p: *mut f32) {
        _mm512_storeu_ps(p, Self::by_turns(a.0, b.0, 0));
        _mm512_storeu_ps(p.add(16), Self::by_turns(a.0, b.0, 8));
    }
    #[inline(always)]
    unsafe fn mask_first(n: usize) -> __mmask16 {
        ((1u32 << n) - 1) as __mmask16
    }
    #[inline(always)]
    unsafe fn gt(self, o: Self) -> __mmask16 {
        _mm512_cmp_ps_mask::<_CMP_GT_OQ>(self.0, o.0)
    }
    #[inline(always)]
    unsafe fn gt_or_nan(self, o: Self) -> __mmask16 {
        _mm512_cmp_ps_mask::<_CMP_GT_OQ>(self.0, o.0) | _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(self.0, self.0)
    }
    #[inline(always)]
    unsafe fn select(mask: __mmask16, yes: Self, no: Self) -> Self {
        Avx512(_mm512_mask_blend_ps(mask, no.0, yes.0))
    }
    #[inline(always)]
    unsafe fn store_first_whole(self, p: *mut u32, n: usize) {
        _mm512_mask_storeu_epi32(p.cast(), ((1u32 << n) - 1) as __mmask16, _mm512_cvttps_epi32(self.0))
    }
}
