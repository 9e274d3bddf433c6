//! Tiles of images, and their transform.

use super::Problem;
use super::transform::Patch;
use crate::simd::{Kernel, Vector};
use std::marker::PhantomData;
use std::ops::Range;

/// Tiles of one row of tiles within a block.
pub(in crate::conv2d) struct Segment {
    pub image: usize,
    pub ty: usize,
    pub tx: usize,
    /// Place of the first one in the block, and how many.
    pub offset: usize,
    pub len: usize,
}

/// Some tiles, of the images' rows of tiles in order.
pub(in crate::conv2d) struct Block {
    pub segments: Vec<Segment>,
    pub tiles: usize,
    /// Tiles, rounded up to whole vectors.
    pub width: usize,
}

impl Block {
    pub fn new(tiles: Range<usize>, [th, tw]: [usize; 2], lanes: usize) -> Self {
        let mut segments = Vec::new();
        let mut t = tiles.start;
        while t < tiles.end {
            let len = (tw - t % tw).min(tiles.end - t);
            let (ty, image) = (t / tw % th, t / tw / th);
            segments.push(Segment { image, ty, tx: t % tw, offset: t - tiles.start, len });
            t += len;
        }
        Block { segments, tiles: tiles.len(), width: tiles.len().next_multiple_of(lanes) }
    }

    /// Numbers from one point of the transformed input (or product) of `channels` to the next: an odd number of cache lines, for
    /// a power of two would put all points into the same few places of L1.
    pub fn point(&self, channels: usize) -> usize {
        (channels * self.width).next_multiple_of(32) + 16
    }
}

/// The transformed patches of some channels of a block: patches of `P x P` whose corners lie `M` apart.
pub(in crate::conv2d) struct Transformed<'a, X, const M: usize, const P: usize, const A: usize> {
    pub p: &'a Problem,
    pub x: &'a [f32],
    pub block: &'a Block,
    pub channels: Range<usize>,
    /// `[point][channel][tile]` from the first of the channels on.
    pub to: *mut f32,
    /// Distance of the points.
    pub point: usize,
    pub transform: PhantomData<X>,
}

impl<X: Patch<P, A>, const M: usize, const P: usize, const A: usize> Kernel for Transformed<'_, X, M, P, A> {
    type Out = ();
    #[inline(always)]
    #[allow(clippy::needless_range_loop)] // Indices are what unrolls.
    unsafe fn run<V: Vector>(self) {
        let Self { p, x, block, channels, to, point, .. } = self;
        let width = block.width;
        for (slot, c) in channels.enumerate() {
            for s in &block.segments {
                let plane = &x[(s.image * p.c + c) * p.h * p.w..][..p.h * p.w];
                for t in (0..s.len).step_by(V::LANES) {
                    let from = ((s.tx + t) * M) as isize - p.pad[1] as isize;
                    // Lanes beyond the segment belong to the next one, which comes later; beyond the block there are no lanes.
                    let (at, room) = (s.offset + t, V::LANES.min(width - s.offset - t));
                    // SAFETY: rows lie inside of the plane; `room` tiles from this one on exist in every point of this channel.
                    unsafe {
                        let mut rows = [[V::splat(0.0); A]; P];
                        for i in 0..P {
                            let y = (s.ty * M + i) as isize - p.pad[0] as isize;
                            if y >= 0 && y < p.h as isize {
                                rows[i] = X::along(patches::<V, M, P>(plane.as_ptr().add(y as usize * p.w), p.w, from));
                            }
                        }
                        for j in 0..A {
                            let mut column = [V::splat(0.0); P];
                            for i in 0..P {
                                column[i] = rows[i][j];
                            }
                            let points = X::along(column);
                            for i in 0..A {
                                let to = to.add((i * A + j) * point + slot * width + at);
                                if room == V::LANES { points[i].store(to) } else { points[i].store_first(to, room) }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// A row of `LANES` patches whose first numbers lie `M` apart, from place `x` of a row of `len` numbers on: the numbers of each,
/// one patch a lane.
///
/// # Safety
/// As [`Vector`].
#[inline(always)]
unsafe fn patches<V: Vector, const M: usize, const P: usize>(row: *const f32, len: usize, x: isize) -> [V; P] {
    // SAFETY: only places inside the row are read.
    unsafe {
        let mut numbers = [V::splat(0.0); P];
        let l = V::LANES as isize;
        let (a, b) = (V::load_within(row, len, x), V::load_within(row, len, x + l));
        if M == 4 {
            let (c, d) = (V::load_within(row, len, x + 2 * l), V::load_within(row, len, x + 3 * l));
            numbers[..M].copy_from_slice(&V::unzip4([a, b, c, d])[..M]);
        } else {
            numbers[..M].copy_from_slice(&V::unzip(a, b)[..M]);
        }
        // What a patch shares with the next one: that one's first numbers.
        for j in M..P {
            let next = x + l * M as isize + (j - M) as isize;
            let next = if next >= 0 && next < len as isize { *row.offset(next) } else { 0.0 };
            numbers[j] = numbers[j - M].shift_in(next);
        }
        numbers
    }
}
