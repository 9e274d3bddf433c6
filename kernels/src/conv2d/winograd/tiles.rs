//! Tiles of images, and their transform.

use super::Problem;
use super::transform::{Patch, two_axes};
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
        Block { segments, width: tiles.len().next_multiple_of(lanes) }
    }

    /// Numbers from one point of the transformed input (or product) of `channels` to the next: an odd number of cache lines, for
    /// a power of two would put all points into the same few places of L1.
    pub fn point(&self, channels: usize) -> usize {
        (channels * self.width).next_multiple_of(32) + 16
    }
}

/// Numbers from one phase to the next in a scratch of phases: room for a vector that overhangs.
pub(super) const fn phase(width: usize) -> usize {
    width + 16
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
    unsafe fn run<V: Vector>(self) {
        let Self { p, x, block, channels, to, point, .. } = self;
        let width = block.width;
        let apart = phase(width);
        // Widest: all tiles of a block in one row, with a vector of overhang on both sides of splitting.
        let longest = block.segments.iter().map(|s| s.len).max().unwrap_or(0).next_multiple_of(V::LANES);
        let mut line = vec![0.0f32; (longest + V::LANES) * M + P];
        let mut phases = vec![0.0f32; P * P * apart]; // [P, P, tiles]: element (i, j) of the patches of all tiles
        for (slot, c) in channels.enumerate() {
            for s in &block.segments {
                let x0 = (s.tx * M) as isize - p.pad[1] as isize;
                let plane = &x[(s.image * p.c + c) * p.h * p.w..][..p.h * p.w];
                for i in 0..P {
                    let y = (s.ty * M + i) as isize - p.pad[0] as isize;
                    let to = &mut phases[i * P * apart..][..P * apart];
                    if y < 0 || y >= p.h as isize {
                        to.chunks_exact_mut(apart).for_each(|f| f[s.offset..s.offset + s.len].fill(0.0));
                        continue;
                    }
                    // What the tiles see of this row, with the padding; what overhangs is not looked at.
                    let row = &plane[y as usize * p.w..][..p.w];
                    let need = s.len.next_multiple_of(V::LANES) * M + P;
                    let from = if x0 >= 0 && x0 as usize + need <= row.len() {
                        row[x0 as usize..].as_ptr()
                    } else {
                        let (before, start) = ((-x0).max(0) as usize, x0.max(0) as usize);
                        line[..before.min(need)].fill(0.0);
                        let there = row[start.min(row.len())..].len().min(need - before);
                        line[before..before + there].copy_from_slice(&row[start..start + there]);
                        line[before + there..need].fill(0.0);
                        line.as_ptr()
                    };
                    for t in (0..s.len).step_by(V::LANES) {
                        // SAFETY: `need` numbers are there (row, or line, whose rest only overhanging lanes see); a phase has room
                        // for an overhanging vector.
                        unsafe {
                            let to = to.as_mut_ptr().add(s.offset + t);
                            let from = from.add(t * M);
                            for (j, v) in split::<V, M>(from).into_iter().enumerate().take(M) {
                                v.store(to.add(j * apart));
                            }
                            // What patches share with the next ones: their last elements.
                            if P > M {
                                for (j, v) in split::<V, M>(from.add(P - M)).into_iter().enumerate().take(M).skip(2 * M - P) {
                                    v.store(to.add((j + P - M) * apart));
                                }
                            }
                        }
                    }
                }
            }
            for t in (0..width).step_by(V::LANES) {
                // SAFETY: tiles t .. t + LANES exist in every phase and in every point of this channel.
                unsafe {
                    let (from, to) = (phases.as_ptr().add(t), to.add(slot * width + t));
                    two_axes!(V, X::along, [P, A], from, apart, to, point);
                }
            }
        }
    }
}

/// The phases modulo `M` of `M * LANES` numbers, in the first `M` places.
#[inline(always)]
unsafe fn split<V: Vector, const M: usize>(p: *const f32) -> [V; 4] {
    // SAFETY: the caller's.
    unsafe {
        if M == 4 {
            V::split4(p)
        } else {
            let [a, b] = V::split2(p);
            [a, b, b, b]
        }
    }
}
