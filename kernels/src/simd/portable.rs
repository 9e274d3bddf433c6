//! Vectors for whatever the compiler makes of them.

use super::{Isa, Kernel, Vector};

/// Four numbers in an array, for whatever the compiler makes of it.
#[derive(Clone, Copy)]
pub struct Portable([f32; 4]);

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
    unsafe fn interleave([a, b]: [Self; 2], p: *mut f32) {
        (0..4).for_each(|i| (*p.add(2 * i), *p.add(2 * i + 1)) = (a.0[i], b.0[i]))
    }
    #[inline(always)]
    unsafe fn mask_first(n: usize) -> [bool; 4] {
        [0, 1, 2, 3].map(|i| i < n)
    }
    #[inline(always)]
    unsafe fn gt(self, o: Self) -> [bool; 4] {
        [0, 1, 2, 3].map(|i| self.0[i] > o.0[i])
    }
    #[inline(always)]
    unsafe fn gt_or_nan(self, o: Self) -> [bool; 4] {
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
