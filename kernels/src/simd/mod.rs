//! Which vector instructions may be used, decided once at run time, and one way to write a kernel for all of them.
//!
//! A kernel is written once over `Vector` and instantiated per instruction set by `Vector::run`, inside which everything
//! marked `inline(always)` is compiled with those instructions.

#[cfg(target_arch = "aarch64")]
mod arm;
pub(crate) mod elementwise;
pub mod finite;
mod portable;
pub(crate) mod rows;
#[cfg(test)]
mod tests;
#[cfg(target_arch = "x86_64")]
mod x86;

#[cfg(target_arch = "aarch64")]
pub(crate) use arm::Neon;
pub(crate) use portable::Portable;
#[cfg(target_arch = "x86_64")]
pub(crate) use x86::{Avx2, Avx512};

use crate::core::device::Device;
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

impl Isa {
    /// As in the names of rows and in `CONVSCOPE_ISA`.
    pub const fn name(self) -> &'static str {
        match self {
            Isa::Portable => "portable",
            Isa::Neon => "neon",
            Isa::Avx2 => "avx2",
            Isa::Avx512 => "avx512",
        }
    }
}

impl std::fmt::Display for Isa {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str(self.name())
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
pub(crate) fn cap() -> crate::core::error::Result<Isa> {
    match std::env::var("CONVSCOPE_ISA").as_deref() {
        Err(_) | Ok("" | "avx512") => Ok(Isa::Avx512),
        Ok("avx2") => Ok(Isa::Avx2),
        Ok("neon") => Ok(Isa::Neon),
        Ok("portable") => Ok(Isa::Portable),
        Ok(other) => Err(crate::core::error::Error::BadIsa(other.to_string())),
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

/// Whether the instructions of `V` are here.
pub(crate) fn here<V: Vector>() -> bool {
    // An Arm machine is never asked for AVX, so the order of the enum decides.
    best() >= V::ISA
}

/// Row columns: the same of a CPU row.
pub(crate) fn on_cpu<V: Vector>(_: Device) -> bool {
    here::<V>()
}

/// # Panics
/// If the instructions of `V` are not here. Every safe function that runs a kernel on `V` begins with this.
pub(crate) fn require<V: Vector>() {
    assert!(here::<V>(), "this machine lacks the instructions of {}", V::ISA);
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
    /// Stores a whole cache line past the caches, where a vector is one; `p` is aligned to it. [`Vector::fence`] must follow before
    /// another thread reads it.
    #[inline(always)]
    unsafe fn stream(self, p: *mut f32) {
        // SAFETY: as the caller's.
        unsafe { self.store(p) }
    }
    /// Orders streamed stores before all later ones.
    #[inline(always)]
    unsafe fn fence() {}
    /// Asks for the cache line at `p`, which may be any address.
    unsafe fn prefetch(p: *const f32);
    /// Every second number of `a` followed by `b`: those at even places, those at odd places.
    unsafe fn unzip(a: Self, b: Self) -> [Self; 2];
    /// The same of `2 * LANES` numbers at `p`.
    #[inline(always)]
    unsafe fn deinterleave(p: *const f32) -> [Self; 2] {
        // SAFETY: as the caller's.
        unsafe { Self::unzip(Self::load(p), Self::load(p.add(Self::LANES))) }
    }
    /// The same of the first `n` numbers; the others are zero.
    #[inline(always)]
    unsafe fn deinterleave_first(p: *const f32, n: usize) -> [Self; 2] {
        // SAFETY: as the caller's; masked loads end with the `n` numbers.
        unsafe {
            if n >= 2 * Self::LANES {
                return Self::deinterleave(p);
            }
            let beyond = Self::load_first(p.wrapping_add(Self::LANES), n.saturating_sub(Self::LANES));
            Self::unzip(Self::load_first(p, n.min(Self::LANES)), beyond)
        }
    }
    /// Transposes a block of `LANES x LANES` numbers: `to[j * to_stride + i] = from[i * from_stride + j]`.
    unsafe fn transpose(from: *const f32, from_stride: usize, to: *mut f32, to_stride: usize);
    /// The inverse of [`Vector::deinterleave`].
    unsafe fn interleave(v: [Self; 2], p: *mut f32);
    /// The first `n <= LANES` lanes.
    unsafe fn mask_first(n: usize) -> Self::Mask;
    /// Where `self > o`.
    unsafe fn gt(self, o: Self) -> Self::Mask;
    /// Where `self > o`, or `self` is NaN.
    unsafe fn gt_or_nan(self, o: Self) -> Self::Mask;
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

/// Transposes a matrix: `to[j * to_stride + i] = from[i * from_stride + j]` for `rows` x `columns` of `from`.
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
    struct Transpose<'a>(&'a [f32], usize, [usize; 2], *mut f32, usize);
    impl Kernel for Transpose<'_> {
        type Out = ();
        #[inline(always)]
        unsafe fn run<V: Vector>(self) {
            let Transpose(from, from_stride, [rows, columns], to, to_stride) = self;
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
            Avx512::run(Transpose(from, from_stride, [wide, columns], to, to_stride));
            let rest = &from[wide * from_stride..];
            return Avx2::run(Transpose(rest, from_stride, [rows - wide, columns], to.add(wide), to_stride));
        }
        dispatch(Transpose(from, from_stride, [rows, columns], to, to_stride))
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
