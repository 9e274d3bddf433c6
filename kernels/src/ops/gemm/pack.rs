//! Copies of operands in panels, in the order in which register tiles read them.

use crate::core::buffer::Buffer;
use crate::core::device::DType;
use crate::core::threads::split_range;
use crate::simd::{self, Vector};
use rayon::prelude::*;
use std::ops::Range;

/// Steps of a panel at most: 48 columns of `KC` numbers are 36 KiB, the part of L1 that a panel of `b` may take.
pub(super) const KC: usize = 192;

/// A matrix operand that can pack itself: `lanes` rows of A, or columns of B, each of length `k`.
///
/// Convolution implements it over images, so that the im2col matrix is never stored.
pub(crate) trait PackSource: Sync {
    /// Fills `panel[k * width + lane]` for `lanes` x `ks`. Lanes beyond `lanes.len()` up to `width` are left alone.
    fn pack(&self, lanes: Range<usize>, ks: Range<usize>, width: usize, panel: &mut [f32]);
}

/// A matrix in memory.
pub(crate) struct Matrix<'a> {
    pub data: &'a [f32],
    /// Distance between neighbouring lanes.
    pub lane_stride: usize,
    /// Distance between neighbouring steps.
    pub k_stride: usize,
}

impl PackSource for Matrix<'_> {
    fn pack(&self, lanes: Range<usize>, ks: Range<usize>, width: usize, panel: &mut [f32]) {
        if self.lane_stride == 1 {
            for (k, row) in ks.zip(panel.chunks_exact_mut(width)) {
                row[..lanes.len()].copy_from_slice(&self.data[k * self.k_stride + lanes.start..][..lanes.len()]);
            }
        } else if self.k_stride == 1 {
            let from = &self.data[lanes.start * self.lane_stride + ks.start..];
            simd::transpose(from, self.lane_stride, [lanes.len(), ks.len()], panel, width);
        } else {
            for (k, row) in ks.zip(panel.chunks_exact_mut(width)) {
                lanes.clone().zip(row).for_each(|(lane, d)| *d = self.data[lane * self.lane_stride + k * self.k_stride]);
            }
        }
    }
}

/// The steps of a product in blocks of nearly equal length, at least one (a product of no steps still has biases).
pub(super) fn k_blocks(k: usize) -> impl Iterator<Item = Range<usize>> + Clone {
    let kc = k.div_ceil(k.div_ceil(KC).max(1)).max(1);
    // Without steps there is one block, and nothing in it.
    split_range(0..k.max(1), kc).map(move |ks| ks.start..ks.end.min(k))
}

/// Numbers in `a` once packed.
pub(crate) fn packed_len<V: Vector>(m: usize, k: usize) -> usize {
    m.next_multiple_of(V::ROWS) * k
}

/// All of `a` in panels: `[k block][m panel][k][ROWS]`.
pub(crate) fn pack_a<V: Vector>(a: &dyn PackSource, m: usize, k: usize) -> Buffer {
    let mut out = Buffer::new(DType::F32, packed_len::<V>(m, k));
    pack_a_into::<V>(a, m, k, out.as_mut_slice());
    out
}

/// As [`pack_a`], into `packed_len` numbers.
pub(crate) fn pack_a_into<V: Vector>(a: &dyn PackSource, m: usize, k: usize, out: &mut [f32]) {
    pack_panels(a, m, V::ROWS, k, out);
}

/// All of an operand in panels of `width` lanes: `[k block][panel][k][width]`.
pub(super) fn pack_panels(operand: &dyn PackSource, lanes: usize, width: usize, k: usize, out: &mut [f32]) {
    let panels = lanes.div_ceil(width);
    let mut rest = out;
    let mut chunks = Vec::new();
    for ks in k_blocks(k) {
        for p in 0..panels {
            let (panel, tail) = std::mem::take(&mut rest).split_at_mut(width * ks.len());
            rest = tail;
            chunks.push((p * width..lanes.min((p + 1) * width), ks.clone(), panel));
        }
    }
    chunks.into_par_iter().for_each(|(lanes, ks, panel)| pack_panel(operand, lanes, ks, width, panel));
}

pub(crate) fn pack_panel(operand: &dyn PackSource, lanes: Range<usize>, ks: Range<usize>, width: usize, panel: &mut [f32]) {
    // Lanes that do not exist are multiplied too, up to a whole vector, though nobody looks at the sums.
    let vector = lanes.len().next_multiple_of(16).min(width);
    if lanes.len() < vector {
        panel.chunks_exact_mut(width).for_each(|line| line[lanes.len()..vector].fill(0.0));
    }
    operand.pack(lanes, ks, width, panel);
}
