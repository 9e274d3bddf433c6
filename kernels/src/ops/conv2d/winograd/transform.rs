//! Winograd's transforms along one axis, and along both of a tile.

use crate::simd::Vector;
use std::marker::PhantomData;

/// The transforms along one axis: `m` outputs from `a = m + 2` inputs and 3 kernel elements.
pub(in crate::ops::conv2d) trait Transform<const M: usize, const A: usize>: Sync + 'static {
    /// `G g`
    ///
    /// # Safety
    /// As [`Vector`].
    unsafe fn weight<V: Vector>(g: [V; 3]) -> [V; A];
    /// `B^T d`
    ///
    /// # Safety
    /// As [`Vector`].
    unsafe fn input<V: Vector>(d: [V; A]) -> [V; A];
    /// `A^T m`
    ///
    /// # Safety
    /// As [`Vector`].
    unsafe fn output<V: Vector>(m: [V; A]) -> [V; M];
    /// `A y`: the transpose of `output`.
    ///
    /// # Safety
    /// As [`Vector`].
    unsafe fn spread<V: Vector>(y: [V; M]) -> [V; A];
    /// `G^T p`: the transpose of `weight`.
    ///
    /// # Safety
    /// As [`Vector`].
    unsafe fn weight_back<V: Vector>(p: [V; A]) -> [V; 3];
}

/// F(2,3), from the points 0, 1, -1, infinity.
pub(in crate::ops::conv2d) struct F2;

impl Transform<2, 4> for F2 {
    #[inline(always)]
    unsafe fn weight<V: Vector>([a, b, c]: [V; 3]) -> [V; 4] {
        // SAFETY: the caller's; so below.
        unsafe {
            let half = V::splat(0.5);
            let ends = a.add(c);
            [a, ends.add(b).mul(half), ends.sub(b).mul(half), c]
        }
    }
    #[inline(always)]
    unsafe fn input<V: Vector>([a, b, c, d]: [V; 4]) -> [V; 4] {
        // SAFETY: the caller's.
        unsafe { [a.sub(c), b.add(c), c.sub(b), b.sub(d)] }
    }
    #[inline(always)]
    unsafe fn output<V: Vector>([a, b, c, d]: [V; 4]) -> [V; 2] {
        // SAFETY: the caller's.
        unsafe { [a.add(b).add(c), b.sub(c).sub(d)] }
    }
    #[inline(always)]
    unsafe fn spread<V: Vector>([a, b]: [V; 2]) -> [V; 4] {
        // SAFETY: the caller's.
        unsafe { [a, a.add(b), a.sub(b), V::splat(0.0).sub(b)] }
    }
    #[inline(always)]
    unsafe fn weight_back<V: Vector>([a, b, c, d]: [V; 4]) -> [V; 3] {
        // SAFETY: the caller's.
        unsafe {
            let half = V::splat(0.5);
            let middle = b.add(c).mul(half);
            [a.add(middle), b.sub(c).mul(half), middle.add(d)]
        }
    }
}

/// F(4,3), from the points 0, 1, -1, 2, -2, infinity.
pub(in crate::ops::conv2d) struct F4;

impl Transform<4, 6> for F4 {
    #[inline(always)]
    unsafe fn weight<V: Vector>([a, b, c]: [V; 3]) -> [V; 6] {
        // SAFETY: the caller's; so below.
        unsafe {
            let [two, four, quarter, sixth, twenty_fourth] = [2.0, 4.0, 0.25, -1.0 / 6.0, 1.0 / 24.0].map(|v| V::splat(v));
            let (even, even2, odd2) = (a.add(c), c.mul_add(four, a), b.mul(two));
            [
                a.mul(quarter),
                even.add(b).mul(sixth),
                even.sub(b).mul(sixth),
                even2.add(odd2).mul(twenty_fourth),
                even2.sub(odd2).mul(twenty_fourth),
                c,
            ]
        }
    }
    #[inline(always)]
    unsafe fn input<V: Vector>([a, b, c, d, e, f]: [V; 6]) -> [V; 6] {
        // SAFETY: the caller's.
        unsafe {
            let [two, minus4, minus5] = [2.0, -4.0, -5.0].map(|v| V::splat(v));
            let (p, q) = (c.mul_add(minus4, e), b.mul_add(minus4, d));
            let (r, s) = (e.sub(c), d.sub(b).mul(two));
            let ends = |x: V, y: V, z: V| y.mul_add(minus5, z).sub(x.mul(minus4));
            [ends(a, c, e), p.add(q), p.sub(q), r.add(s), r.sub(s), ends(b, d, f)]
        }
    }
    #[inline(always)]
    unsafe fn output<V: Vector>([a, b, c, d, e, f]: [V; 6]) -> [V; 4] {
        // SAFETY: the caller's.
        unsafe {
            let [two, four, eight] = [2.0, 4.0, 8.0].map(|v| V::splat(v));
            let (s, t, u, v) = (b.add(c), b.sub(c), d.add(e), d.sub(e));
            [a.add(s).add(u), v.mul_add(two, t), u.mul_add(four, s), v.mul_add(eight, t).add(f)]
        }
    }
    #[inline(always)]
    unsafe fn spread<V: Vector>([a, b, c, d]: [V; 4]) -> [V; 6] {
        // SAFETY: the caller's.
        unsafe {
            let [two, four, eight] = [2.0, 4.0, 8.0].map(|v| V::splat(v));
            let (even, odd) = (a.add(c), b.add(d));
            let (even2, odd2) = (c.mul_add(four, a), d.mul_add(eight, b.mul(two)));
            [a, even.add(odd), even.sub(odd), even2.add(odd2), even2.sub(odd2), d]
        }
    }
    #[inline(always)]
    unsafe fn weight_back<V: Vector>([a, b, c, d, e, f]: [V; 6]) -> [V; 3] {
        // SAFETY: the caller's.
        unsafe {
            let [quarter, sixth, twelfth, twenty_fourth] = [0.25, 1.0 / 6.0, 1.0 / 12.0, 1.0 / 24.0].map(|v| V::splat(v));
            let (ones, twos) = (b.add(c).mul(sixth), d.add(e));
            [
                twos.mul_add(twenty_fourth, a.mul(quarter)).sub(ones),
                d.sub(e).mul_add(twelfth, c.sub(b).mul(sixth)),
                twos.mul_add(sixth, f).sub(ones),
            ]
        }
    }
}

/// A transform of patches of `P x P` to `A x A`.
pub(in crate::ops::conv2d) trait Patch<const P: usize, const A: usize>: Sync + 'static {
    /// # Safety
    /// As [`Vector`].
    unsafe fn along<V: Vector>(d: [V; P]) -> [V; A];
}

/// Transform of the input of a convolution.
pub(in crate::ops::conv2d) struct Input<T, const M: usize>(PhantomData<T>);

impl<T: Transform<M, A>, const M: usize, const A: usize> Patch<A, A> for Input<T, M> {
    #[inline(always)]
    unsafe fn along<V: Vector>(d: [V; A]) -> [V; A] {
        // SAFETY: the caller's.
        unsafe { T::input(d) }
    }
}

/// Transform of the gradient of its output.
pub(in crate::ops::conv2d) struct Spread<T>(PhantomData<T>);

impl<T: Transform<M, A>, const M: usize, const A: usize> Patch<M, A> for Spread<T> {
    #[inline(always)]
    unsafe fn along<V: Vector>(d: [V; M]) -> [V; A] {
        // SAFETY: the caller's.
        unsafe { T::spread(d) }
    }
}

/// A transform along the columns of a tile of `$a x $a`, then along the rows, one tile a lane: element (i, j) is `$load`, and what
/// comes of it goes to `$store`. A macro, for closures are not inlined.
macro_rules! two_axes {
    ($v:ty, $transform:path, [$a:expr, $b:expr], |$i:ident, $j:ident| $load:expr, |$oi:ident, $oj:ident, $out:ident| $store:expr) => {
        let mut half = [[<$v>::splat(0.0); $a]; $b];
        for $j in 0..$a {
            let column = std::array::from_fn(|$i| $load);
            for (row, v) in half.iter_mut().zip($transform(column)) {
                row[$j] = v;
            }
        }
        for ($oi, row) in half.into_iter().enumerate() {
            for ($oj, $out) in $transform(row).into_iter().enumerate() {
                $store;
            }
        }
    };
}

pub(in crate::ops::conv2d) use two_axes;
