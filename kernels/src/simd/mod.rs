//! One way to write a kernel for the vector instructions of all instruction sets.
//!
//! [`Portable`] is everywhere, `Avx2` and `Avx512` on x86-64, `Neon` on 64-bit Arm: a row of each is named under `cfg(target_arch)`.
//!
//! A kernel is written once over [`Vector`] and instantiated per instruction set by [`Vector::run`], inside which everything
//! marked `inline(always)` is compiled with those instructions. The example `add_row` makes rows of a table of one.
//!
//! ```
//! use convscope_kernels::simd::{self, Kernel, Portable, Vector};
//!
//! /// The sum of some numbers.
//! struct Sum<'a>(&'a [f32]);
//!
//! impl Kernel for Sum<'_> {
//!     type Out = f32;
//!     #[inline(always)]
//!     unsafe fn run<V: Vector>(self) -> f32 {
//!         // SAFETY: the caller has the instructions; a chunk has at most `V::LANES` numbers.
//!         unsafe { self.0.chunks(V::LANES).fold(V::splat(0.0), |sum, x| sum.add(V::load_first(x.as_ptr(), x.len()))).sum() }
//!     }
//! }
//!
//! // SAFETY: every machine has the baseline, and the kernel holds no pointer.
//! assert_eq!(unsafe { Portable::run(Sum(&[1.0, 2.0, 3.0, 4.0, 5.0])) }, 15.0);
//! # #[cfg(target_arch = "x86_64")]
//! if simd::here::<simd::Avx2>() {
//!     // SAFETY: the instructions are here.
//!     assert_eq!(unsafe { simd::Avx2::run(Sum(&[1.0, 2.0, 3.0, 4.0, 5.0])) }, 15.0);
//! }
//! ```

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
pub use arm::Neon;
pub use portable::Portable;
#[cfg(target_arch = "x86_64")]
pub use x86::{Avx2, Avx512};

pub use crate::core::isa::Isa;

/// Whether this machine has the instructions of `V`, and `CONVSCOPE_ISA` allows them.
pub fn here<V: Vector>() -> bool {
    // An Arm machine is never asked for AVX, so the order of the enum decides.
    Isa::best() >= V::ISA
}

/// Asserts that this machine has the instructions of `V`. Every safe function that runs a kernel on `V` begins with this.
///
/// # Panics
/// If the instructions are not here.
pub fn require<V: Vector>() {
    assert!(here::<V>(), "{} is not here, or CONVSCOPE_ISA excludes it: does the row say `.isa(V::ISA)`?", V::ISA);
}

/// A computation over vectors of any width: `run` is instantiated per instruction set and must be `inline(always)`.
pub trait Kernel {
    /// The result.
    type Out;
    /// Computes with vectors of type `V`.
    ///
    /// # Safety
    /// The instructions of `V` must be there, and whatever pointers `self` holds must be valid as it documents.
    unsafe fn run<V: Vector>(self) -> Self::Out;
}

mod sealed {
    /// Kernels trust the sizes and instructions of a vector, so only this crate has vectors.
    pub trait Sealed {}
    impl Sealed for super::Portable {}
    #[cfg(target_arch = "x86_64")]
    impl Sealed for super::Avx2 {}
    #[cfg(target_arch = "x86_64")]
    impl Sealed for super::Avx512 {}
    #[cfg(target_arch = "aarch64")]
    impl Sealed for super::Neon {}
}

/// A register of `f32` numbers and the instructions that kernels use.
///
/// # Safety of every method
/// The instructions must be there ([`here`]); pointers must be valid for the numbers that are read or written.
#[allow(clippy::missing_safety_doc)]
pub trait Vector: sealed::Sealed + Copy + Send + Sync + 'static {
    /// The instruction set.
    const ISA: Isa;
    /// Numbers in a register.
    const LANES: usize;
    /// Rows of the register tile of a product (see `gemm::tile`): 3 vectors wide, it should fill the registers.
    const ROWS: usize;
    /// Some of the lanes.
    type Mask: Copy;

    /// Runs `kernel`, compiled with these instructions.
    unsafe fn run<K: Kernel>(kernel: K) -> K::Out;

    /// `v` in every lane.
    unsafe fn splat(v: f32) -> Self;
    /// `LANES` numbers at `p`.
    unsafe fn load(p: *const f32) -> Self;
    /// The first `n <= LANES` numbers; the others are zero.
    unsafe fn load_first(p: *const f32, n: usize) -> Self;
    /// Stores all numbers at `p`.
    unsafe fn store(self, p: *mut f32);
    /// Stores the first `n <= LANES` numbers at `p`.
    unsafe fn store_first(self, p: *mut f32, n: usize);
    /// `self + o`
    unsafe fn add(self, o: Self) -> Self;
    /// `self - o`
    unsafe fn sub(self, o: Self) -> Self;
    /// `self * o`
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
    /// `a` followed by `b`, as its numbers at even indices and its numbers at odd indices.
    unsafe fn unzip(a: Self, b: Self) -> [Self; 2];
    /// [`Vector::unzip`] of `2 * LANES` numbers at `p`: those at even indices, those at odd indices.
    #[inline(always)]
    unsafe fn deinterleave(p: *const f32) -> [Self; 2] {
        // SAFETY: as the caller's.
        unsafe { Self::unzip(Self::load(p), Self::load(p.add(Self::LANES))) }
    }
    /// [`Vector::deinterleave`] of the first `n` numbers; the others are zero.
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
    /// Stores `2 * LANES` numbers at `p`, `v[0]` at even and `v[1]` at odd indices: the inverse of [`Vector::deinterleave`].
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

/// As [`transpose`], into memory whose other elements other threads may write.
///
/// # Safety
/// `to` must be valid for the elements that are written, and no other thread may touch them.
pub(crate) unsafe fn transpose_to(from: &[f32], from_stride: usize, [rows, columns]: [usize; 2], to: *mut f32, to_stride: usize) {
    struct Transpose<'a>(&'a [f32], usize, [usize; 2], *mut f32, usize);
    impl Kernel for Transpose<'_> {
        type Out = ();
        #[inline(always)]
        unsafe fn run<V: Vector>(self) {
            let Transpose(from, from_stride, [rows, columns], to, to_stride) = self;
            let whole = |n: usize| n / V::LANES * V::LANES;
            // SAFETY: all elements lie inside both (asserted below for `from`, the caller's word for `to`).
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
        if Isa::best() == Isa::Avx512 && rows % 16 >= 8 {
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
    // SAFETY: Isa::best() has found the instructions; the pointers are the caller's.
    unsafe {
        match Isa::best() {
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
