//! NEON.

use super::{Isa, Kernel, Portable, Vector};
use std::arch::aarch64::*;

/// Four numbers in a NEON register.
#[derive(Clone, Copy)]
pub struct Neon(float32x4_t);

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
    unsafe fn deinterleave(p: *const f32) -> [Self; 2] {
        let v = vld2q_f32(p);
        [Neon(v.0), Neon(v.1)]
    }
    #[inline(always)]
    unsafe fn transpose(from: *const f32, from_stride: usize, to: *mut f32, to_stride: usize) {
        let [a, b, c, d] = [0, 1, 2, 3].map(|i| vld1q_f32(from.add(i * from_stride)));
        let (ab, cd) = (vtrnq_f32(a, b), vtrnq_f32(c, d));
        let halves = |x, y| [vcombine_f32(vget_low_f32(x), vget_low_f32(y)), vcombine_f32(vget_high_f32(x), vget_high_f32(y))];
        let ([r0, r2], [r1, r3]) = (halves(ab.0, cd.0), halves(ab.1, cd.1));
        for (j, row) in [r0, r1, r2, r3].into_iter().enumerate() {
            vst1q_f32(to.add(j * to_stride), row);
        }
    }
    #[inline(always)]
    unsafe fn interleave([a, b]: [Self; 2], p: *mut f32) {
        vst2q_f32(p, float32x4x2_t(a.0, b.0))
    }
    #[inline(always)]
    unsafe fn unzip(a: Self, b: Self) -> [Self; 2] {
        [Neon(vuzp1q_f32(a.0, b.0)), Neon(vuzp2q_f32(a.0, b.0))]
    }
    #[inline(always)]
    unsafe fn mask_first(n: usize) -> uint32x4_t {
        vcltq_u32(vld1q_u32([0, 1, 2, 3].as_ptr()), vdupq_n_u32(n as u32))
    }
    #[inline(always)]
    unsafe fn gt(self, o: Self) -> uint32x4_t {
        vcgtq_f32(self.0, o.0)
    }
    #[inline(always)]
    unsafe fn gt_or_nan(self, o: Self) -> uint32x4_t {
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
