//! How sums that lie pixel by pixel become planes.

use super::tile::panel;
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

impl<'a> Output<'a> {
    pub fn new(out: &mut [f32], bias: Option<&'a [f32]>, residual: Option<&'a [f32]>, relu: bool, accum: Accum) -> Self {
        Output { out: Shared(out.as_mut_ptr()), len: out.len(), bias, residual, relu, accum }
    }
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
