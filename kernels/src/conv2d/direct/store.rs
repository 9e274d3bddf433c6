//! How sums that lie pixel by pixel become planes.

use super::tile::panel;
use crate::conv2d::Conv2dSpec;
use crate::simd::{Kernel, Vector};
use crate::table::Accum;
use crate::threads::Shared;

/// What becomes of the sums.
pub(super) struct Output<'a> {
    pub out: Shared,
    pub len: usize,
    pub bias: Option<&'a [f32]>,
    pub residual: Option<&'a [f32]>,
    pub relu: bool,
    pub accum: Accum,
}

/// Turns the sums of a panel `[pixel, panel]` into planes, and stores them.
pub(super) struct Store<'a> {
    pub output: &'a Output<'a>,
    pub sums: &'a [f32],
    pub pixels: usize,
    pub channels: usize,
    /// Place of the first pixel of the first channel, and from one channel to the next.
    pub start: usize,
    pub plane: usize,
}

impl Kernel for Store<'_> {
    type Out = ();
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let Store { output, sums, pixels, channels, start, plane } = self;
        let width = panel::<V>();
        assert!(sums.len() >= pixels.next_multiple_of(V::LANES) * width && channels <= width);
        assert!(channels == 0 || start + (channels - 1) * plane + pixels <= output.len);
        let plain = output.residual.is_none() && output.accum == Accum::Write;
        let mut block = [0.0f32; 16 * 16];
        for c0 in (0..channels).step_by(V::LANES) {
            for p0 in (0..pixels).step_by(V::LANES) {
                let (n, rows) = (V::LANES.min(pixels - p0), V::LANES.min(channels - c0));
                let at = start + c0 * plane + p0;
                // SAFETY: whole blocks of sums are there; the places lie inside the output, as long as which the residual is
                // (asserted), and are this task's alone.
                unsafe {
                    let (from, out) = (sums.as_ptr().add(p0 * width + c0), output.out.get().add(at));
                    if plain && n == V::LANES && rows == V::LANES {
                        V::transpose(from, width, out, plane);
                        continue;
                    }
                    V::transpose(from, width, block.as_mut_ptr(), V::LANES);
                    for c in 0..rows {
                        let to = out.add(c * plane);
                        let mut v = V::load(block.as_ptr().add(c * V::LANES));
                        if let Some(residual) = output.residual {
                            let from = residual.as_ptr().add(at + c * plane);
                            v = v.add(V::load_first(from, n));
                            if output.relu {
                                // In this order NaN stays NaN.
                                v = V::splat(0.0).max(v);
                            }
                        }
                        if output.accum == Accum::Add {
                            v = v.add(V::load_first(to, n));
                        }
                        v.store_first(to, n);
                    }
                }
            }
        }
    }
}

/// Puts a plane of `dx` together from the residues of its stride.
pub(super) struct Mosaic<'a> {
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
