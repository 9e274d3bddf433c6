//! The epilogue: sums in the order `[pixel, channel]` become planes, with bias, residual and activation.

use super::microkernel::panel_width;
use crate::core::table::Accum;
use crate::core::threads::Shared;
use crate::simd::{Kernel, Vector};

/// Bytes of a cache line.
const LINE: usize = 64;
/// Bytes from which on an output is longer than what a core can hope to find in its caches.
const STREAMED: usize = 8 << 20;

/// Destination of the sums, and the epilogue's operands.
pub(super) struct ConvOutput<'a> {
    pub out: Shared,
    pub len: usize,
    pub bias: Option<&'a [f32]>,
    pub residual: Option<&'a [f32]>,
    pub relu: bool,
    pub accum: Accum,
}

impl<'a> ConvOutput<'a> {
    pub fn new(out: &mut [f32], bias: Option<&'a [f32]>, residual: Option<&'a [f32]>, relu: bool, accum: Accum) -> Self {
        ConvOutput { out: Shared(out.as_mut_ptr()), len: out.len(), bias, residual, relu, accum }
    }

    /// Whether planes of this length are stored past the caches: they would not stay there until they are read, and the lines that
    /// are overwritten need not be read first.
    pub fn streams<V: Vector>(&self, plane: usize) -> bool {
        let lines = 4 * V::LANES == LINE && plane.is_multiple_of(V::LANES) && (self.out.get() as usize).is_multiple_of(LINE);
        lines && self.accum == Accum::Write && 4 * self.len >= STREAMED
    }
}

/// Turns the sums of a panel `[pixel, panel]` into planes, and stores them.
pub(super) struct PanelEpilogue<'a> {
    pub output: &'a ConvOutput<'a>,
    pub sums: &'a [f32],
    pub pixels: usize,
    pub channels: usize,
    /// Offset of the first pixel of the first channel, and stride of a channel.
    pub start: usize,
    pub plane: usize,
}

impl Kernel for PanelEpilogue<'_> {
    type Out = ();
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let PanelEpilogue { output, sums, pixels, channels, start, plane } = self;
        let width = panel_width::<V>();
        assert!(sums.len() >= pixels.next_multiple_of(V::LANES) * width && channels <= width);
        assert!(channels == 0 || start + (channels - 1) * plane + pixels <= output.len);
        let plain = output.residual.is_none() && output.accum == Accum::Write;
        let streams = output.streams::<V>(plane) && start.is_multiple_of(V::LANES);
        let mut block = [0.0f32; 16 * 16];
        for c0 in (0..channels).step_by(V::LANES) {
            for p0 in (0..pixels).step_by(V::LANES) {
                let (n, rows) = (V::LANES.min(pixels - p0), V::LANES.min(channels - c0));
                let at = start + c0 * plane + p0;
                // SAFETY: whole blocks of sums are there; the written range lies inside the output, and the residual is
                // as long (asserted); it is this task's alone.
                unsafe {
                    let (from, out) = (sums.as_ptr().add(p0 * width + c0), output.out.get().add(at));
                    if plain && !streams && n == V::LANES && rows == V::LANES {
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
                        if streams && n == V::LANES {
                            v.stream(to);
                        } else {
                            v.store_first(to, n);
                        }
                    }
                }
            }
        }
        if streams {
            // SAFETY: the instructions are here.
            unsafe { V::fence() }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::buffer::Buffer;
    use crate::core::device::DType;
    use crate::simd;

    /// Stores a panel of sums at `start` of an output.
    struct Panel<'a>(&'a ConvOutput<'a>, usize, usize);

    const PIXELS: usize = 37;

    impl Kernel for Panel<'_> {
        /// Whether it was stored past the caches, and whether a vector is a line.
        type Out = [bool; 2];
        #[inline(always)]
        unsafe fn run<V: Vector>(self) -> [bool; 2] {
            let Panel(output, start, plane) = self;
            let mut sums = Buffer::new(DType::F32, PIXELS.next_multiple_of(V::LANES) * panel_width::<V>());
            sums.as_mut_slice::<f32>().iter_mut().enumerate().for_each(|(i, v)| *v = i as f32);
            let store =
                PanelEpilogue { output, sums: sums.as_slice(), pixels: PIXELS, channels: panel_width::<V>() - 1, start, plane };
            // SAFETY: the instructions are here, and nobody else writes.
            unsafe { V::run(store) }
            for c in 0..panel_width::<V>() - 1 {
                for i in 0..PIXELS {
                    let at = start + c * plane + i;
                    let sum = (i * panel_width::<V>() + c) as f32;
                    let expected = output.residual.map_or(sum, |r| (sum + r[at]).max(0.0));
                    // SAFETY: inside the output.
                    assert_eq!(unsafe { *output.out.get().add(at) }, expected, "channel {c}, pixel {i}");
                }
            }
            [output.streams::<V>(plane), 4 * V::LANES == LINE]
        }
    }

    #[test]
    fn long_outputs_are_stored_past_the_caches_and_short_ones_are_not() {
        for len in [STREAMED / 4, STREAMED / 8] {
            let (mut out, mut residual) = (Buffer::new(DType::F32, len), Buffer::new(DType::F32, len));
            residual.as_mut_slice::<f32>().iter_mut().enumerate().for_each(|(i, v)| *v = (i % 7) as f32 - 900.0);
            for start in [0, 16, 5] {
                for residual in [None, Some(residual.as_slice())] {
                    let output = ConvOutput::new(out.as_mut_slice(), None, residual, residual.is_some(), Accum::Write);
                    // SAFETY: the kernel stays inside its output.
                    let [streamed, line] = unsafe { simd::dispatch(Panel(&output, start, 1024)) };
                    assert_eq!(streamed, line && 4 * len >= STREAMED);
                }
            }
        }
    }
}
