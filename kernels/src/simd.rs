//! Which vector instructions may be used, decided once at run time, and one way to write a kernel for all of them.
//!
//! A kernel is written once over `Vector` and instantiated per instruction set by `Vector::run`, inside which everything
//! marked `inline(always)` is compiled with those instructions.

use std::sync::OnceLock;

/// Instruction sets that rows are written for, weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Isa {
    /// Whatever the compiler's baseline gives.
    Portable,
    /// Arm's 128-bit vectors.
    Neon,
    /// AVX2 with FMA.
    Avx2,
    /// AVX-512 F.
    Avx512,
}

impl std::fmt::Display for Isa {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str(match self {
            Isa::Portable => "portable",
            Isa::Neon => "neon",
            Isa::Avx2 => "avx2",
            Isa::Avx512 => "avx512",
        })
    }
}

/// The best instruction set of this machine, capped by `CONVSCOPE_ISA` (`portable`, `neon`, `avx2`, `avx512`) if that is set.
pub fn best() -> Isa {
    static BEST: OnceLock<Isa> = OnceLock::new();
    *BEST.get_or_init(|| {
        // A wrong value is reported by check_environment; here it caps nothing.
        detect().min(cap().unwrap_or(Isa::Avx512))
    })
}

/// What `CONVSCOPE_ISA` allows.
pub(crate) fn cap() -> crate::error::Result<Isa> {
    match std::env::var("CONVSCOPE_ISA").as_deref() {
        Err(_) | Ok("" | "avx512") => Ok(Isa::Avx512),
        Ok("avx2") => Ok(Isa::Avx2),
        Ok("neon") => Ok(Isa::Neon),
        Ok("portable") => Ok(Isa::Portable),
        Ok(other) => Err(crate::error::Error::BadIsa(other.to_string())),
    }
}

#[cfg(target_arch = "x86_64")]
fn detect() -> Isa {
    let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
    match avx2 {
        true if is_x86_feature_detected!("avx512f") => Isa::Avx512,
        true => Isa::Avx2,
        false => Isa::Portable,
    }
}

/// NEON is part of the baseline of 64-bit Arm.
#[cfg(target_arch = "aarch64")]
fn detect() -> Isa {
    Isa::Neon
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn detect() -> Isa {
    Isa::Portable
}

/// Row columns: whether a row of any machine is here.
pub(crate) fn always() -> bool {
    true
}

/// Row columns: whether the instructions of `V` are here.
pub(crate) fn here<V: Vector>() -> bool {
    // An Arm machine is never asked for AVX, so the order of the enum decides.
    best() >= V::ISA
}

/// A computation over vectors of any width: `run` is instantiated per instruction set and must be `inline(always)`.
pub(crate) trait Kernel {
    type Out;
    /// # Safety
    /// The instructions of `V` must be there, and whatever pointers `self` holds must be valid as it documents.
    unsafe fn run<V: Vector>(self) -> Self::Out;
}

/// A register of `f32` numbers and the instructions that kernels use.
///
/// # Safety of every method
/// The instructions must be there ([`here`]); pointers must be valid for the numbers that are read or written.
#[allow(clippy::missing_safety_doc)]
pub(crate) trait Vector: Copy + Send + Sync + 'static {
    const ISA: Isa;
    /// Numbers in a register.
    const LANES: usize;
    /// Rows of the register tile of a product (see `gemm::tile`): 3 vectors wide, it should fill the registers.
    const ROWS: usize;
    /// Some of the lanes.
    type Mask: Copy;

    /// Runs `kernel`, compiled with these instructions.
    unsafe fn run<K: Kernel>(kernel: K) -> K::Out;

    unsafe fn splat(v: f32) -> Self;
    unsafe fn load(p: *const f32) -> Self;
    /// The first `n <= LANES` numbers; the others are zero.
    unsafe fn load_first(p: *const f32, n: usize) -> Self;
    unsafe fn store(self, p: *mut f32);
    unsafe fn store_first(self, p: *mut f32, n: usize);
    unsafe fn add(self, o: Self) -> Self;
    unsafe fn sub(self, o: Self) -> Self;
    unsafe fn mul(self, o: Self) -> Self;
    /// The larger number; `o` where either is NaN.
    unsafe fn max(self, o: Self) -> Self;
    /// `self * b + c`
    unsafe fn mul_add(self, b: Self, c: Self) -> Self;
    /// Asks for the cache line at `p`, which may be any address.
    unsafe fn prefetch(p: *const f32);
    /// Every second number of `a` followed by `b`: those at even places, those at odd places.
    unsafe fn unzip(a: Self, b: Self) -> [Self; 2];
    /// The same of `2 * LANES` numbers at `p`.
    #[inline(always)]
    unsafe fn split2(p: *const f32) -> [Self; 2] {
        // SAFETY: as the caller's.
        unsafe { Self::unzip(Self::load(p), Self::load(p.add(Self::LANES))) }
    }
    /// Every fourth of `4 * LANES` numbers at `p`.
    #[inline(always)]
    unsafe fn split4(p: *const f32) -> [Self; 4] {
        // SAFETY: as the caller's.
        unsafe {
            // Split by two twice: numbers 0 2 4 .. and 1 3 5 .. first.
            let mut halves = [[0.0f32; 32]; 2];
            for i in 0..2 {
                let [even, odd] = Self::split2(p.add(2 * i * Self::LANES));
                even.store(halves[0].as_mut_ptr().add(i * Self::LANES));
                odd.store(halves[1].as_mut_ptr().add(i * Self::LANES));
            }
            let [a, c] = Self::split2(halves[0].as_ptr());
            let [b, d] = Self::split2(halves[1].as_ptr());
            [a, b, c, d]
        }
    }
    /// Turns a block of `LANES x LANES` numbers: `to[j * to_stride + i] = from[i * from_stride + j]`.
    unsafe fn transpose(from: *const f32, from_stride: usize, to: *mut f32, to_stride: usize);
    /// The inverse of [`Vector::split2`].
    unsafe fn join2(v: [Self; 2], p: *mut f32);
    /// The inverse of [`Vector::split4`].
    #[inline(always)]
    unsafe fn join4([a, b, c, d]: [Self; 4], p: *mut f32) {
        // SAFETY: as the caller's.
        unsafe {
            let mut halves = [[0.0f32; 32]; 2];
            Self::join2([a, c], halves[0].as_mut_ptr());
            Self::join2([b, d], halves[1].as_mut_ptr());
            for i in 0..2 {
                let at = i * Self::LANES;
                let pair = [Self::load(halves[0].as_ptr().add(at)), Self::load(halves[1].as_ptr().add(at))];
                Self::join2(pair, p.add(2 * at));
            }
        }
    }
    /// The first `n <= LANES` lanes.
    unsafe fn first(n: usize) -> Self::Mask;
    /// Where `self > o`.
    unsafe fn above(self, o: Self) -> Self::Mask;
    /// Where `self > o`, or `self` is NaN.
    unsafe fn beats(self, o: Self) -> Self::Mask;
    /// `yes` in the lanes of the mask, `no` in the others.
    unsafe fn select(mask: Self::Mask, yes: Self, no: Self) -> Self;
    /// Stores the first `n` numbers, which are whole and not negative, as integers.
    unsafe fn store_first_whole(self, p: *mut u32, n: usize);
    /// The sum of all lanes.
    #[inline(always)]
    unsafe fn sum(self) -> f32 {
        let mut lanes = [0.0f32; 16];
        // SAFETY: no vector is wider.
        unsafe { self.store(lanes.as_mut_ptr()) };
        let mut half = Self::LANES;
        while half > 1 {
            half /= 2;
            for i in 0..half {
                lanes[i] += lanes[i + half];
            }
        }
        lanes[0]
    }
}

/// Turns a matrix: `to[j * to_stride + i] = from[i * from_stride + j]` for `rows` x `columns` of `from`.
///
/// # Panics
/// If either slice is too short.
pub(crate) fn transpose(from: &[f32], from_stride: usize, sizes: [usize; 2], to: &mut [f32], to_stride: usize) {
    let [rows, columns] = sizes;
    assert!(rows == 0 || columns == 0 || to.len() >= (columns - 1) * to_stride + rows);
    // SAFETY: `to` is long enough (asserted).
    unsafe { transpose_to(from, from_stride, sizes, to.as_mut_ptr(), to_stride) }
}

/// As [`transpose`], into memory whose other places other threads may write.
///
/// # Safety
/// `to` must be valid for the places that are written, and no other thread may touch them.
pub(crate) unsafe fn transpose_to(from: &[f32], from_stride: usize, [rows, columns]: [usize; 2], to: *mut f32, to_stride: usize) {
    struct Turn<'a>(&'a [f32], usize, [usize; 2], *mut f32, usize);
    impl Kernel for Turn<'_> {
        type Out = ();
        #[inline(always)]
        unsafe fn run<V: Vector>(self) {
            let Turn(from, from_stride, [rows, columns], to, to_stride) = self;
            let whole = |n: usize| n / V::LANES * V::LANES;
            // SAFETY: all places lie inside both (asserted below for `from`, the caller's word for `to`).
            unsafe {
                for i in (0..whole(rows)).step_by(V::LANES) {
                    for j in (0..whole(columns)).step_by(V::LANES) {
                        let from = from.as_ptr().add(i * from_stride + j);
                        V::transpose(from, from_stride, to.add(j * to_stride + i), to_stride);
                    }
                }
                for i in 0..rows {
                    for j in if i < whole(rows) { whole(columns)..columns } else { 0..columns } {
                        *to.add(j * to_stride + i) = from[i * from_stride + j];
                    }
                }
            }
        }
    }
    if rows == 0 || columns == 0 {
        return;
    }
    assert!(from.len() >= (rows - 1) * from_stride + columns);
    // SAFETY: the instructions are here, AVX2 wherever AVX-512 is; the pointer is the caller's.
    unsafe {
        // Rows that do not fill the widest vector may fill the next.
        #[cfg(target_arch = "x86_64")]
        if best() == Isa::Avx512 && rows % 16 >= 8 {
            let wide = rows / 16 * 16;
            Avx512::run(Turn(from, from_stride, [wide, columns], to, to_stride));
            let rest = &from[wide * from_stride..];
            return Avx2::run(Turn(rest, from_stride, [rows - wide, columns], to.add(wide), to_stride));
        }
        dispatch(Turn(from, from_stride, [rows, columns], to, to_stride))
    }
}

/// Runs a kernel with the best instructions of this machine.
///
/// # Safety
/// Whatever pointers the kernel holds must be valid as it documents.
pub(crate) unsafe fn dispatch<K: Kernel>(kernel: K) -> K::Out {
    // SAFETY: best() has found the instructions; the pointers are the caller's.
    unsafe {
        match best() {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => Avx512::run(kernel),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => Avx2::run(kernel),
            #[cfg(target_arch = "aarch64")]
            Isa::Neon => Neon::run(kernel),
            _ => Portable::run(kernel),
        }
    }
}

/// Four numbers in an array, for whatever the compiler makes of it.
#[derive(Clone, Copy)]
pub(crate) struct Portable([f32; 4]);

impl Portable {
    #[inline(always)]
    fn zip(self, o: Self, f: impl Fn(f32, f32) -> f32) -> Self {
        Portable([0, 1, 2, 3].map(|i| f(self.0[i], o.0[i])))
    }
}

#[allow(unsafe_op_in_unsafe_fn)] // SAFETY of the whole block: the trait's contract, which each call passes on.
impl Vector for Portable {
    const ISA: Isa = Isa::Portable;
    const LANES: usize = 4;
    const ROWS: usize = 4;
    type Mask = [bool; 4];
    unsafe fn run<K: Kernel>(kernel: K) -> K::Out {
        kernel.run::<Self>()
    }
    #[inline(always)]
    unsafe fn splat(v: f32) -> Self {
        Portable([v; 4])
    }
    #[inline(always)]
    unsafe fn load(p: *const f32) -> Self {
        Portable(p.cast::<[f32; 4]>().read_unaligned())
    }
    #[inline(always)]
    unsafe fn load_first(p: *const f32, n: usize) -> Self {
        Portable([0, 1, 2, 3].map(|i| if i < n { *p.add(i) } else { 0.0 }))
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut f32) {
        p.cast::<[f32; 4]>().write_unaligned(self.0)
    }
    #[inline(always)]
    unsafe fn store_first(self, p: *mut f32, n: usize) {
        (0..n).for_each(|i| *p.add(i) = self.0[i])
    }
    #[inline(always)]
    unsafe fn add(self, o: Self) -> Self {
        self.zip(o, |a, b| a + b)
    }
    #[inline(always)]
    unsafe fn sub(self, o: Self) -> Self {
        self.zip(o, |a, b| a - b)
    }
    #[inline(always)]
    unsafe fn mul(self, o: Self) -> Self {
        self.zip(o, |a, b| a * b)
    }
    #[inline(always)]
    unsafe fn max(self, o: Self) -> Self {
        self.zip(o, |a, b| if a > b { a } else { b })
    }
    #[inline(always)]
    unsafe fn mul_add(self, b: Self, c: Self) -> Self {
        // Two roundings: a fused one would call a library function where the instruction is missing.
        self.mul(b).add(c)
    }
    #[inline(always)]
    unsafe fn prefetch(_: *const f32) {}
    #[inline(always)]
    unsafe fn unzip(Portable(a): Self, Portable(b): Self) -> [Self; 2] {
        [Portable([a[0], a[2], b[0], b[2]]), Portable([a[1], a[3], b[1], b[3]])]
    }
    #[inline(always)]
    unsafe fn transpose(from: *const f32, from_stride: usize, to: *mut f32, to_stride: usize) {
        for j in 0..4 {
            Portable([0, 1, 2, 3].map(|i| *from.add(i * from_stride + j))).store(to.add(j * to_stride));
        }
    }
    #[inline(always)]
    unsafe fn join2([a, b]: [Self; 2], p: *mut f32) {
        (0..4).for_each(|i| (*p.add(2 * i), *p.add(2 * i + 1)) = (a.0[i], b.0[i]))
    }
    #[inline(always)]
    unsafe fn first(n: usize) -> [bool; 4] {
        [0, 1, 2, 3].map(|i| i < n)
    }
    #[inline(always)]
    unsafe fn above(self, o: Self) -> [bool; 4] {
        [0, 1, 2, 3].map(|i| self.0[i] > o.0[i])
    }
    #[inline(always)]
    unsafe fn beats(self, o: Self) -> [bool; 4] {
        [0, 1, 2, 3].map(|i| self.0[i] > o.0[i] || self.0[i].is_nan())
    }
    #[inline(always)]
    unsafe fn select(mask: [bool; 4], yes: Self, no: Self) -> Self {
        Portable([0, 1, 2, 3].map(|i| if mask[i] { yes.0[i] } else { no.0[i] }))
    }
    #[inline(always)]
    unsafe fn store_first_whole(self, p: *mut u32, n: usize) {
        (0..n).for_each(|i| *p.add(i) = self.0[i] as u32)
    }
}

#[cfg(target_arch = "aarch64")]
pub(crate) use arm::Neon;

#[cfg(target_arch = "aarch64")]
mod arm {
    use super::{Isa, Kernel, Portable, Vector};
    use std::arch::aarch64::*;

    /// Four numbers in a NEON register.
    #[derive(Clone, Copy)]
    pub(crate) struct Neon(float32x4_t);

    #[allow(unsafe_op_in_unsafe_fn)] // SAFETY of the whole block: the trait's contract, which each call passes on.
    impl Vector for Neon {
        const ISA: Isa = Isa::Neon;
        const LANES: usize = 4;
        const ROWS: usize = 8;
        type Mask = uint32x4_t;
        unsafe fn run<K: Kernel>(kernel: K) -> K::Out {
            kernel.run::<Self>()
        }
        #[inline(always)]
        unsafe fn splat(v: f32) -> Self {
            Neon(vdupq_n_f32(v))
        }
        #[inline(always)]
        unsafe fn load(p: *const f32) -> Self {
            Neon(vld1q_f32(p))
        }
        #[inline(always)]
        unsafe fn load_first(p: *const f32, n: usize) -> Self {
            let mut all = [0.0f32; 4];
            Portable::load_first(p, n).store(all.as_mut_ptr());
            Self::load(all.as_ptr())
        }
        #[inline(always)]
        unsafe fn store(self, p: *mut f32) {
            vst1q_f32(p, self.0)
        }
        #[inline(always)]
        unsafe fn store_first(self, p: *mut f32, n: usize) {
            let mut all = [0.0f32; 4];
            self.store(all.as_mut_ptr());
            (0..n).for_each(|i| *p.add(i) = all[i])
        }
        #[inline(always)]
        unsafe fn add(self, o: Self) -> Self {
            Neon(vaddq_f32(self.0, o.0))
        }
        #[inline(always)]
        unsafe fn sub(self, o: Self) -> Self {
            Neon(vsubq_f32(self.0, o.0))
        }
        #[inline(always)]
        unsafe fn mul(self, o: Self) -> Self {
            Neon(vmulq_f32(self.0, o.0))
        }
        #[inline(always)]
        unsafe fn max(self, o: Self) -> Self {
            Neon(vbslq_f32(vcgtq_f32(self.0, o.0), self.0, o.0))
        }
        #[inline(always)]
        unsafe fn mul_add(self, b: Self, c: Self) -> Self {
            Neon(vfmaq_f32(c.0, self.0, b.0))
        }
        #[inline(always)]
        unsafe fn prefetch(_: *const f32) {}
        #[inline(always)]
        unsafe fn split2(p: *const f32) -> [Self; 2] {
            let v = vld2q_f32(p);
            [Neon(v.0), Neon(v.1)]
        }
        #[inline(always)]
        unsafe fn split4(p: *const f32) -> [Self; 4] {
            let v = vld4q_f32(p);
            [Neon(v.0), Neon(v.1), Neon(v.2), Neon(v.3)]
        }
        #[inline(always)]
        unsafe fn transpose(from: *const f32, from_stride: usize, to: *mut f32, to_stride: usize) {
            let [a, b, c, d] = [0, 1, 2, 3].map(|i| vld1q_f32(from.add(i * from_stride)));
            let (ab, cd) = (vtrnq_f32(a, b), vtrnq_f32(c, d));
            let halves =
                |x, y| [vcombine_f32(vget_low_f32(x), vget_low_f32(y)), vcombine_f32(vget_high_f32(x), vget_high_f32(y))];
            let ([r0, r2], [r1, r3]) = (halves(ab.0, cd.0), halves(ab.1, cd.1));
            for (j, row) in [r0, r1, r2, r3].into_iter().enumerate() {
                vst1q_f32(to.add(j * to_stride), row);
            }
        }
        #[inline(always)]
        unsafe fn join2([a, b]: [Self; 2], p: *mut f32) {
            vst2q_f32(p, float32x4x2_t(a.0, b.0))
        }
        #[inline(always)]
        unsafe fn join4([a, b, c, d]: [Self; 4], p: *mut f32) {
            vst4q_f32(p, float32x4x4_t(a.0, b.0, c.0, d.0))
        }
        #[inline(always)]
        unsafe fn unzip(a: Self, b: Self) -> [Self; 2] {
            [Neon(vuzp1q_f32(a.0, b.0)), Neon(vuzp2q_f32(a.0, b.0))]
        }
        #[inline(always)]
        unsafe fn first(n: usize) -> uint32x4_t {
            vcltq_u32(vld1q_u32([0, 1, 2, 3].as_ptr()), vdupq_n_u32(n as u32))
        }
        #[inline(always)]
        unsafe fn above(self, o: Self) -> uint32x4_t {
            vcgtq_f32(self.0, o.0)
        }
        #[inline(always)]
        unsafe fn beats(self, o: Self) -> uint32x4_t {
            // NaN is what does not equal itself.
            vorrq_u32(vcgtq_f32(self.0, o.0), vmvnq_u32(vceqq_f32(self.0, self.0)))
        }
        #[inline(always)]
        unsafe fn select(mask: uint32x4_t, yes: Self, no: Self) -> Self {
            Neon(vbslq_f32(mask, yes.0, no.0))
        }
        #[inline(always)]
        unsafe fn store_first_whole(self, p: *mut u32, n: usize) {
            let mut all = [0u32; 4];
            vst1q_u32(all.as_mut_ptr(), vcvtq_u32_f32(self.0));
            (0..n).for_each(|i| *p.add(i) = all[i])
        }
    }
}

#[cfg(target_arch = "x86_64")]
pub(crate) use x86::{Avx2, Avx512};

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{Isa, Kernel, Vector};
    use std::arch::x86_64::*;

    /// Eight numbers in an AVX register.
    #[derive(Clone, Copy)]
    pub(crate) struct Avx2(__m256);

    /// All bits in the first `n` of eight lanes.
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
            // Pairs of rows, then fours, then eights: each step doubles the run of one column.
            let r: [__m256; 8] = std::array::from_fn(|i| _mm256_loadu_ps(from.add(i * from_stride)));
            let t: [__m256; 8] = std::array::from_fn(|i| match i % 2 {
                0 => _mm256_unpacklo_ps(r[i], r[i + 1]),
                _ => _mm256_unpackhi_ps(r[i - 1], r[i]),
            });
            let u: [__m256; 8] = std::array::from_fn(|i| {
                let (four, pair) = (i / 4 * 4, i % 4 / 2);
                match i % 2 {
                    0 => _mm256_shuffle_ps::<0b01_00_01_00>(t[four + pair], t[four + 2 + pair]),
                    _ => _mm256_shuffle_ps::<0b11_10_11_10>(t[four + pair], t[four + 2 + pair]),
                }
            });
            for j in 0..4 {
                _mm256_storeu_ps(to.add(j * to_stride), _mm256_permute2f128_ps::<0x20>(u[j], u[j + 4]));
                _mm256_storeu_ps(to.add((j + 4) * to_stride), _mm256_permute2f128_ps::<0x31>(u[j], u[j + 4]));
            }
        }
        #[inline(always)]
        unsafe fn join2([a, b]: [Self; 2], p: *mut f32) {
            let (low, high) = (_mm256_unpacklo_ps(a.0, b.0), _mm256_unpackhi_ps(a.0, b.0));
            _mm256_storeu_ps(p, _mm256_permute2f128_ps::<0x20>(low, high));
            _mm256_storeu_ps(p.add(8), _mm256_permute2f128_ps::<0x31>(low, high));
        }
        #[inline(always)]
        unsafe fn first(n: usize) -> __m256 {
            _mm256_castsi256_ps(first8(n))
        }
        #[inline(always)]
        unsafe fn above(self, o: Self) -> __m256 {
            _mm256_cmp_ps::<_CMP_GT_OQ>(self.0, o.0)
        }
        #[inline(always)]
        unsafe fn beats(self, o: Self) -> __m256 {
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
    pub(crate) struct Avx512(__m512);

    impl Avx512 {
        /// Places 0, 2, 4, .. (or, with `odd`, 1, 3, 5, ..) of `a` followed by `b`.
        #[inline(always)]
        unsafe fn every_second(a: __m512, b: __m512, odd: i32) -> __m512 {
            // SAFETY: the caller has AVX-512 F.
            unsafe {
                let even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
                _mm512_permutex2var_ps(a, _mm512_add_epi32(even, _mm512_set1_epi32(odd)), b)
            }
        }
        /// `a` and `b` by turns, from their first numbers (or, with `from = 8`, from their ninth).
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
        unsafe fn prefetch(p: *const f32) {
            _mm_prefetch::<_MM_HINT_T0>(p.cast());
        }
        #[inline(always)]
        unsafe fn unzip(Avx512(a): Self, Avx512(b): Self) -> [Self; 2] {
            [Avx512(Self::every_second(a, b, 0)), Avx512(Self::every_second(a, b, 1))]
        }
        #[inline(always)]
        unsafe fn split4(p: *const f32) -> [Self; 4] {
            let v = [0, 16, 32, 48].map(|o| _mm512_loadu_ps(p.add(o)));
            let (even, odd) = (
                [Self::every_second(v[0], v[1], 0), Self::every_second(v[2], v[3], 0)],
                [Self::every_second(v[0], v[1], 1), Self::every_second(v[2], v[3], 1)],
            );
            [
                Avx512(Self::every_second(even[0], even[1], 0)),
                Avx512(Self::every_second(odd[0], odd[1], 0)),
                Avx512(Self::every_second(even[0], even[1], 1)),
                Avx512(Self::every_second(odd[0], odd[1], 1)),
            ]
        }
        #[inline(always)]
        unsafe fn transpose(from: *const f32, from_stride: usize, to: *mut f32, to_stride: usize) {
            // As for AVX2, with one more step over quarters of a register.
            let r: [__m512; 16] = std::array::from_fn(|i| _mm512_loadu_ps(from.add(i * from_stride)));
            let t: [__m512; 16] = std::array::from_fn(|i| match i % 2 {
                0 => _mm512_unpacklo_ps(r[i], r[i + 1]),
                _ => _mm512_unpackhi_ps(r[i - 1], r[i]),
            });
            // u[4 q + j]: column j of each quarter, of rows 4 q .. 4 q + 4.
            let u: [__m512; 16] = std::array::from_fn(|i| {
                let (four, pair) = (i / 4 * 4, i % 4 / 2);
                match i % 2 {
                    0 => _mm512_shuffle_ps::<0b01_00_01_00>(t[four + pair], t[four + 2 + pair]),
                    _ => _mm512_shuffle_ps::<0b11_10_11_10>(t[four + pair], t[four + 2 + pair]),
                }
            });
            for j in 0..4 {
                let (low, high) = ([u[j], u[j + 4]], [u[j + 8], u[j + 12]]);
                let even = |[a, b]: [__m512; 2]| _mm512_shuffle_f32x4::<0b10_00_10_00>(a, b);
                let odd = |[a, b]: [__m512; 2]| _mm512_shuffle_f32x4::<0b11_01_11_01>(a, b);
                // even: quarters 0 and 2 of rows 0..4, then of rows 4..8.
                let (e, o) = ([even(low), even(high)], [odd(low), odd(high)]);
                for (quarter, v) in [(0, even(e)), (1, even(o)), (2, odd(e)), (3, odd(o))] {
                    _mm512_storeu_ps(to.add((4 * quarter + j) * to_stride), v);
                }
            }
        }
        #[inline(always)]
        unsafe fn join2([a, b]: [Self; 2], p: *mut f32) {
            _mm512_storeu_ps(p, Self::by_turns(a.0, b.0, 0));
            _mm512_storeu_ps(p.add(16), Self::by_turns(a.0, b.0, 8));
        }
        #[inline(always)]
        unsafe fn join4([a, b, c, d]: [Self; 4], p: *mut f32) {
            for from in [0, 8] {
                let (ac, bd) = (Self::by_turns(a.0, c.0, from), Self::by_turns(b.0, d.0, from));
                let at = p.add(4 * from as usize);
                _mm512_storeu_ps(at, Self::by_turns(ac, bd, 0));
                _mm512_storeu_ps(at.add(16), Self::by_turns(ac, bd, 8));
            }
        }
        #[inline(always)]
        unsafe fn first(n: usize) -> __mmask16 {
            ((1u32 << n) - 1) as __mmask16
        }
        #[inline(always)]
        unsafe fn above(self, o: Self) -> __mmask16 {
            _mm512_cmp_ps_mask::<_CMP_GT_OQ>(self.0, o.0)
        }
        #[inline(always)]
        unsafe fn beats(self, o: Self) -> __mmask16 {
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
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Splitting and joining, masked loads and stores, of every vector that is here.
    struct Moves;

    impl Kernel for Moves {
        type Out = ();
        #[inline(always)]
        unsafe fn run<V: Vector>(self) {
            let from: Vec<f32> = (0..64).map(|i| i as f32).collect();
            let mut back = [0.0f32; 64];
            let mut lanes = [0.0f32; 16];
            let l = V::LANES;
            // SAFETY: 64 numbers hold four of the widest vectors.
            unsafe {
                for (j, v) in V::split4(from.as_ptr()).into_iter().enumerate() {
                    v.store(lanes.as_mut_ptr());
                    (0..l).for_each(|i| assert_eq!(lanes[i], (4 * i + j) as f32, "{} split4", V::ISA));
                }
                for (j, v) in V::split2(from.as_ptr()).into_iter().enumerate() {
                    v.store(lanes.as_mut_ptr());
                    (0..l).for_each(|i| assert_eq!(lanes[i], (2 * i + j) as f32, "{} split2", V::ISA));
                }
                V::join4(V::split4(from.as_ptr()), back.as_mut_ptr());
                assert_eq!(from[..4 * l], back[..4 * l]);
                back.fill(-1.0);
                V::join2(V::split2(from.as_ptr()), back.as_mut_ptr());
                assert_eq!(from[..2 * l], back[..2 * l]);
                let mut turned = [0.0f32; 256];
                let square: Vec<f32> = (0..256).map(|i| i as f32).collect();
                V::transpose(square.as_ptr(), l, turned.as_mut_ptr(), l);
                for i in 0..l * l {
                    assert_eq!(turned[i % l * l + i / l], square[i], "{} transpose", V::ISA);
                }
                for n in 0..=l {
                    back.fill(-1.0);
                    V::load_first(from.as_ptr().add(1), n).store(back.as_mut_ptr());
                    (0..l).for_each(|i| assert_eq!(back[i], if i < n { (i + 1) as f32 } else { 0.0 }));
                    back.fill(-1.0);
                    V::load(from.as_ptr()).store_first(back.as_mut_ptr(), n);
                    (0..l).for_each(|i| assert_eq!(back[i], if i < n { i as f32 } else { -1.0 }));
                    V::select(V::first(n), V::splat(1.0), V::splat(0.0)).store(back.as_mut_ptr());
                    (0..l).for_each(|i| assert_eq!(back[i], if i < n { 1.0 } else { 0.0 }));
                    let mut whole = [77; 16];
                    V::load(from.as_ptr()).store_first_whole(whole.as_mut_ptr(), n);
                    (0..l).for_each(|i| assert_eq!(whole[i], if i < n { i as u32 } else { 77 }));
                }
                assert_eq!(V::load(from.as_ptr()).sum(), (l * (l - 1) / 2) as f32);
                // Comparisons in the first lane; NaN is above nothing and beats everything.
                for (x, y, above, beats) in
                    [(1.0, 0.0, 1.0, 1.0), (0.0, 0.0, 0.0, 0.0), (f32::NAN, 0.0, 0.0, 1.0), (0.0, f32::NAN, 0.0, 0.0)]
                {
                    let (x, y, yes, no) = (V::splat(x), V::splat(y), V::splat(1.0), V::splat(0.0));
                    V::select(x.above(y), yes, no).store(lanes.as_mut_ptr());
                    assert_eq!(lanes[0], above, "{} above", V::ISA);
                    V::select(x.beats(y), yes, no).store(lanes.as_mut_ptr());
                    assert_eq!(lanes[0], beats, "{} beats", V::ISA);
                }
            }
        }
    }

    #[test]
    fn matrices_are_turned_at_odd_sizes() {
        for [rows, columns] in [[1, 1], [16, 16], [17, 35], [3, 40], [33, 5], [8, 21], [29, 18]] {
            let from: Vec<f32> = (0..rows * (columns + 3)).map(|i| i as f32).collect();
            let mut to = vec![-1.0; columns * (rows + 2)];
            transpose(&from, columns + 3, [rows, columns], &mut to, rows + 2);
            for (k, v) in to.iter().enumerate() {
                let (j, i) = (k / (rows + 2), k % (rows + 2));
                assert_eq!(*v, if i < rows { from[i * (columns + 3) + j] } else { -1.0 });
            }
        }
    }

    #[test]
    fn vectors_split_join_and_mask() {
        fn check<V: Vector>() {
            if here::<V>() {
                // SAFETY: the instructions are here, and Moves holds no pointers.
                unsafe { V::run(Moves) }
            }
        }
        check::<Portable>();
        #[cfg(target_arch = "x86_64")]
        {
            check::<Avx2>();
            check::<Avx512>();
        }
        #[cfg(target_arch = "aarch64")]
        check::<Neon>();
    }
}
