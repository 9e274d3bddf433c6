//! Loops over numbers in memory, a vector at a time: what elementwise kernels and sums are made of.
//!
//! These kernels do little arithmetic, so what counts is how often a number comes from memory. Maps read and write each once. Sums
//! go block by block ([`blocks`]): a block stays in L1 for as many sums as are wanted of it, its sums are rounded as `f32`, and
//! those of different blocks are added in `f64`.

use crate::core::table::Accum;
use crate::core::threads::par_items;
use crate::simd::{Kernel, Vector};

/// A function of `N` numbers, for all lanes of vectors at once.
pub(crate) trait Elementwise<const N: usize>: Copy + Send + Sync {
    /// # Safety
    /// As [`Vector`].
    unsafe fn of<V: Vector>(self, x: [V; N]) -> V;
}

/// An [`Elementwise`]: its name and parameters, the name of the vector type and of its arguments, its value.
macro_rules! elementwise_fn {
    ($(#[$doc:meta])* $name:ident { $($parameter:ident),* } $v:ident [$($x:ident),*] => $value:expr) => {
        $(#[$doc])*
        #[derive(Clone, Copy)]
        pub(crate) struct $name {
            $(pub $parameter: f32),*
        }
        impl $crate::simd::elementwise::Elementwise<{ <[&str]>::len(&[$(stringify!($x)),*]) }> for $name {
            #[inline(always)]
            #[allow(unused_unsafe)] // Some values need no instructions.
            unsafe fn of<$v: $crate::simd::Vector>(self, [$($x),*]: [$v; <[&str]>::len(&[$(stringify!($x)),*])]) -> $v {
                // SAFETY: the caller's.
                unsafe {
                    $(let $parameter = $v::splat(self.$parameter);)*
                    $value
                }
            }
        }
    };
}
pub(crate) use elementwise_fn;

elementwise_fn!(
    /// The same number everywhere.
    Constant { value } V [] => value
);
elementwise_fn!(
    /// The number itself.
    Same {} V [x] => x
);
elementwise_fn!(
    /// `(x - centre)^2`
    Square { centre } V [x] => x.sub(centre).mul(x.sub(centre))
);
elementwise_fn!(
    /// `(x - centre) * y`
    CentredProduct { centre } V [x, y] => x.sub(centre).mul(y)
);
elementwise_fn!(
    /// `(x - centre) * scale + shift`
    Affine { centre, scale, shift } V [x] => x.sub(centre).mul_add(scale, shift)
);

/// `f(x) + y`
#[derive(Clone, Copy)]
pub(crate) struct Plus<F>(pub F);

impl<F: Elementwise<1>> Elementwise<2> for Plus<F> {
    #[inline(always)]
    unsafe fn of<V: Vector>(self, [x, y]: [V; 2]) -> V {
        // SAFETY: the caller's.
        unsafe { self.0.of([x]).add(y) }
    }
}

/// `g(f(x, ..))`
#[derive(Clone, Copy)]
pub(crate) struct Then<F, G>(pub F, pub G);

impl<F: Elementwise<N>, G: Elementwise<1>, const N: usize> Elementwise<N> for Then<F, G> {
    #[inline(always)]
    unsafe fn of<V: Vector>(self, xs: [V; N]) -> V {
        // SAFETY: the caller's.
        unsafe { self.1.of([self.0.of(xs)]) }
    }
}

/// `out[i] (+)= f(xs[0][i], xs[1][i], ..)`
///
/// # Safety
/// As [`Vector`].
#[inline(always)]
pub(crate) unsafe fn map<V: Vector, const N: usize>(f: impl Elementwise<N>, xs: [&[f32]; N], out: &mut [f32], accum: Accum) {
    for x in xs {
        assert_eq!(x.len(), out.len());
    }
    // SAFETY: the caller's; all slices have the length that is passed.
    unsafe {
        match accum {
            Accum::Write => map_all::<V, N, false>(f, xs, out),
            Accum::Add => map_all::<V, N, true>(f, xs, out),
        }
    }
}

/// # Safety
/// As [`Vector`]; all slices are of one length.
#[inline(always)]
unsafe fn map_all<V: Vector, const N: usize, const ADD: bool>(f: impl Elementwise<N>, xs: [&[f32]; N], out: &mut [f32]) {
    let (len, out) = (out.len(), out.as_mut_ptr());
    let mut i = 0;
    // SAFETY: the caller's.
    unsafe {
        while i + V::LANES <= len {
            let mut value = f.of(load::<V, N>(xs, i));
            if ADD {
                value = V::load(out.add(i)).add(value);
            }
            value.store(out.add(i));
            i += V::LANES;
        }
        if i < len {
            let mut value = f.of(load_first::<V, N>(xs, i, len - i));
            if ADD {
                value = V::load_first(out.add(i), len - i).add(value);
            }
            value.store_first(out.add(i), len - i);
        }
    }
}

/// # Safety
/// As [`Vector`]; a vector from `i` on lies in each slice.
#[inline(always)]
unsafe fn load<V: Vector, const N: usize>(xs: [&[f32]; N], i: usize) -> [V; N] {
    // SAFETY: the caller's.
    unsafe {
        let mut v = [V::splat(0.0); N];
        for k in 0..N {
            v[k] = V::load(xs[k].as_ptr().add(i));
        }
        v
    }
}

/// # Safety
/// As [`Vector`]; `n` numbers from `i` on lie in each slice.
#[inline(always)]
unsafe fn load_first<V: Vector, const N: usize>(xs: [&[f32]; N], i: usize, n: usize) -> [V; N] {
    // SAFETY: the caller's.
    unsafe {
        let mut v = [V::splat(0.0); N];
        for k in 0..N {
            v[k] = V::load_first(xs[k].as_ptr().add(i), n);
        }
        v
    }
}

struct Map<'a, F, const N: usize> {
    f: F,
    xs: [&'a [f32]; N],
    out: &'a mut [f32],
    accum: Accum,
}

impl<F: Elementwise<N>, const N: usize> Kernel for Map<'_, F, N> {
    type Out = ();
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        // SAFETY: the caller's.
        unsafe { map::<V, N>(self.f, self.xs, self.out, self.accum) }
    }
}

/// [`map`] on all threads.
///
/// # Safety
/// As [`Vector`].
pub(crate) unsafe fn par_map<V: Vector, const N: usize>(f: impl Elementwise<N>, xs: [&[f32]; N], out: &mut [f32], accum: Accum) {
    par_items(out, 1, |first, out| {
        let xs = xs.map(|x| &x[first..first + out.len()]);
        // SAFETY: the caller's.
        unsafe { V::run(Map { f, xs, out, accum }) }
    });
}

struct MapPlanes<'a, F, const N: usize> {
    f: &'a F,
    first: usize,
    plane: usize,
    xs: [&'a [f32]; N],
    out: &'a mut [f32],
    accum: Accum,
}

impl<L: Elementwise<N>, F: Fn(usize) -> L, const N: usize> Kernel for MapPlanes<'_, F, N> {
    type Out = ();
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        for (i, out) in (self.first..).zip(self.out.chunks_exact_mut(self.plane)) {
            let mut xs = self.xs;
            for x in &mut xs {
                *x = &x[i * self.plane..][..self.plane];
            }
            // SAFETY: the caller's.
            unsafe { map::<V, N>((self.f)(i), xs, out, self.accum) }
        }
    }
}

/// [`map`] on all threads, with another function `f(i)` for each plane of `plane` numbers.
///
/// # Safety
/// As [`Vector`].
pub(crate) unsafe fn par_map_planes<V: Vector, L: Elementwise<N>, const N: usize>(
    f: impl Fn(usize) -> L + Sync,
    plane: usize,
    xs: [&[f32]; N],
    out: &mut [f32],
    accum: Accum,
) {
    let plane = plane.max(1);
    par_items(out, plane, |first, out| {
        // SAFETY: the caller's.
        unsafe { V::run(MapPlanes { f: &f, first, plane, xs, out, accum }) }
    });
}

/// Rows of `len` numbers, with row stride `stride`.
#[derive(Clone, Copy)]
pub(crate) struct Rows {
    pub start: usize,
    pub rows: usize,
    pub stride: usize,
    pub len: usize,
}

impl Rows {
    /// Count of numbers.
    pub fn count(&self) -> usize {
        self.rows * self.len
    }
}

/// The numbers of some rows in blocks, of which two fit into L1: ranges of a row, or several rows. Sums are cut by the sizes alone,
/// so they are the same on any number of threads.
pub(crate) fn blocks(all: Rows) -> impl Iterator<Item = Rows> {
    const BLOCK: usize = 1 << 11;
    let rows = (BLOCK / all.len.max(1)).max(1);
    (0..all.rows).step_by(rows).flat_map(move |r| {
        (0..all.len).step_by(BLOCK).map(move |i| Rows {
            start: all.start + r * all.stride + i,
            rows: rows.min(all.rows - r),
            stride: all.stride,
            len: BLOCK.min(all.len - i),
        })
    })
}

/// The sum of `f` over a block.
///
/// # Safety
/// As [`Vector`].
#[inline(always)]
pub(crate) unsafe fn sum_block<V: Vector, const N: usize>(f: impl Elementwise<N>, xs: [&[f32]; N], block: Rows) -> f32 {
    let Rows { start, rows, stride, len } = block;
    for x in xs {
        assert!(rows == 0 || start + (rows - 1) * stride + len <= x.len());
    }
    // SAFETY: the caller's; the rows lie inside.
    unsafe {
        // Four sums, because an addition takes as long as four loads.
        let mut sums = [V::splat(0.0); 4];
        for r in 0..rows {
            let mut i = start + r * stride;
            let end = i + len;
            while i + 4 * V::LANES <= end {
                for (k, sum) in sums.iter_mut().enumerate() {
                    *sum = sum.add(f.of(load::<V, N>(xs, i + k * V::LANES)));
                }
                i += 4 * V::LANES;
            }
            while i + V::LANES <= end {
                sums[0] = sums[0].add(f.of(load::<V, N>(xs, i)));
                i += V::LANES;
            }
            if i < end {
                let value = f.of(load_first::<V, N>(xs, i, end - i));
                sums[1] = sums[1].add(V::select(V::mask_first(end - i), value, V::splat(0.0)));
            }
        }
        sums[0].add(sums[1]).add(sums[2].add(sums[3])).sum()
    }
}

/// The sum of all numbers of some rows.
///
/// # Safety
/// As [`Vector`].
#[inline(always)]
pub(crate) unsafe fn sum<V: Vector>(x: &[f32], all: Rows) -> f64 {
    let mut sum = 0.0;
    for block in blocks(all) {
        // SAFETY: the caller's.
        sum += f64::from(unsafe { sum_block::<V, 1>(Same {}, [x], block) });
    }
    sum
}
