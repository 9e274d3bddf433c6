//! How the parts of a strided input gradient become one.

use crate::core::table::Accum;
use crate::ops::conv2d::Conv2dSpec;
use crate::simd::{Kernel, Vector};

/// Puts a plane of `dx` together from the residues of its stride.
pub(in crate::ops::conv2d) struct Mosaic<'a> {
    pub s: &'a Conv2dSpec,
    /// For each residue, row by row, its plane (null: zeros) and the length of its rows.
    pub parts: &'a [(*const f32, usize)],
    pub plane: &'a mut [f32],
    pub accum: Accum,
}

impl Kernel for Mosaic<'_> {
    type Out = ();
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let Mosaic { s, parts, plane, accum } = self;
        let across = s.stride[1].min(s.w);
        for (y, to) in plane.chunks_exact_mut(s.w).enumerate() {
            let (parts, row) = (&parts[y % s.stride[0] * across..][..across], y / s.stride[0]);
            let &[a, b] = parts else {
                for (x, to) in to.iter_mut().enumerate() {
                    let (part, w) = parts[x % across];
                    // SAFETY: the plane of a residue has a number for each place of its own.
                    accum.put(to, if part.is_null() { 0.0 } else { unsafe { *part.add(row * w + x / across) } });
                }
                continue;
            };
            for x in (0..to.len()).step_by(2 * V::LANES) {
                let here = (to.len() - x).min(2 * V::LANES);
                // SAFETY: as above; the even places are one more where their number is odd.
                unsafe {
                    let load = |(part, w): (*const f32, usize), n: usize| match part.is_null() {
                        true => V::splat(0.0),
                        false => V::load_first(part.add(row * w + x / 2), n),
                    };
                    let mut pair = [0.0f32; 32];
                    V::join2([load(a, here.div_ceil(2)), load(b, here / 2)], pair.as_mut_ptr());
                    for half in (0..here).step_by(V::LANES) {
                        let (n, to) = ((here - half).min(V::LANES), to[x + half..].as_mut_ptr());
                        let v = V::load(pair.as_ptr().add(half));
                        if accum == Accum::Add { v.add(V::load_first(to, n)) } else { v }.store_first(to, n);
                    }
                }
            }
        }
    }
}
