//! Tiles of images, and their transform.

use super::WinogradProblem;
use super::transform::{Patch, two_axes};
use crate::core::buffer::Buffer;
use crate::core::device::DType;
use crate::simd::{Kernel, Vector};
use std::marker::PhantomData;
use std::ops::Range;

/// Tiles of one row of tiles within a block.
pub(in crate::ops::conv2d) struct Segment {
    pub image: usize,
    pub ty: usize,
    pub tx: usize,
    /// Index of the first one in the block, and number of tiles.
    pub offset: usize,
    pub len: usize,
}

/// Some tiles, of the images' rows of tiles in order.
pub(in crate::ops::conv2d) struct Block {
    pub segments: Vec<Segment>,
    pub tiles: usize,
}

impl Block {
    pub fn new(tiles: Range<usize>, [th, tw]: [usize; 2]) -> Self {
        let mut segments = Vec::new();
        let mut t = tiles.start;
        while t < tiles.end {
            let len = (tw - t % tw).min(tiles.end - t);
            let (ty, image) = (t / tw % th, t / tw / th);
            segments.push(Segment { image, ty, tx: t % tw, offset: t - tiles.start, len });
            t += len;
        }
        Block { segments, tiles: tiles.len() }
    }
}

/// Pixels that are transposed at a time, where a row of tiles does not need more: with their sixteen channels they stay in L1.
const TURNED: usize = 512;

/// The transformed patches of a vector of channels of a block, one channel a lane: patches of `P x P` with a stride of `M` pixels.
pub(in crate::ops::conv2d) struct Transformed<'a, X, const M: usize, const P: usize, const A: usize> {
    pub p: &'a WinogradProblem,
    pub x: &'a [f32],
    pub block: &'a Block,
    /// As many as there are lanes, or the last ones.
    pub channels: Range<usize>,
    /// `[point][tile][lane]`
    pub to: *mut f32,
    /// Distances of the points and of the tiles.
    pub point: usize,
    pub tile: usize,
    pub transform: PhantomData<X>,
}

impl<X: Patch<P, A>, const M: usize, const P: usize, const A: usize> Kernel for Transformed<'_, X, M, P, A> {
    type Out = ();
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let Self { p, x, block, channels, to, point, tile, .. } = self;
        let most = (TURNED / (M * p.w)).max(1);
        // The pixels that so many rows of tiles see, and one more.
        let rows = p.h.min((most - 1) * M + P);
        let mut transposed = Buffer::new(DType::F32, (rows * p.w + 1) * V::LANES);
        let transposed = transposed.as_mut_slice::<f32>();
        for band in block.segments.chunk_by(|a, b| a.image == b.image).flat_map(|image| image.chunks(most)) {
            let area = Area::seen::<V>(p, band, M, P);
            let pixels = area.rows.len() * area.columns.len();
            let planes = &x[(band[0].image * p.c + channels.start) * p.h * p.w..][..channels.len() * p.h * p.w];
            // Behind the pixels lies one that is zero, for those beyond the edges.
            let nothing = pixels * V::LANES;
            transposed[nothing..][..V::LANES].fill(0.0);
            // SAFETY: `transposed` holds all pixels of the area (just sliced behind them).
            unsafe { area.transpose::<V>(p, planes, transposed.as_mut_ptr()) }
            let from = transposed.as_ptr();
            for s in band {
                let rows = offsets::<P>(s.ty * M, p.pad[0], &area.rows, area.columns.len() * V::LANES, nothing);
                for t in 0..s.len {
                    let columns = offsets::<P>((s.tx + t) * M, p.pad[1], &area.columns, V::LANES, nothing);
                    // SAFETY: the offsets lie in the area or behind it; this tile exists at every point.
                    unsafe {
                        let to = to.add((s.offset + t) * tile);
                        two_axes!(
                            V,
                            X::along,
                            [P, A],
                            |i, j| V::load(from.add((rows[i] + columns[j]).min(nothing))),
                            |i, j, v| v.store(to.add((i * A + j) * point))
                        );
                    }
                }
            }
        }
    }
}

/// Offsets of the rows or columns of a patch, with stride `step`; `nothing` for those outside of the image.
#[inline(always)]
fn offsets<const P: usize>(corner: usize, pad: usize, area: &Range<usize>, step: usize, nothing: usize) -> [usize; P] {
    std::array::from_fn(|i| match (corner + i).checked_sub(pad) {
        Some(at) if area.contains(&at) => (at - area.start) * step,
        _ => nothing,
    })
}

/// Part of an image.
struct Area {
    rows: Range<usize>,
    columns: Range<usize>,
}

impl Area {
    /// The input of neighbouring rows of tiles of one image: whole rows, if there is more than one.
    fn seen<V: Vector>(p: &WinogradProblem, band: &[Segment], m: usize, patch: usize) -> Self {
        let seen = |first: usize, last: usize, pad: usize, end: usize| {
            (first * m).saturating_sub(pad).min(end)..(last * m + patch).saturating_sub(pad).min(end)
        };
        let (first, last) = (&band[0], &band[band.len() - 1]);
        let mut columns = 0..p.w;
        if band.len() == 1 {
            columns = seen(first.tx, first.tx + first.len - 1, p.pad[1], p.w);
            // Enough for a vector, if there are so many.
            columns.start = columns.start.min(p.w.saturating_sub(V::LANES));
            columns.end = columns.end.max(p.w.min(columns.start + V::LANES));
        }
        Area { rows: seen(first.ty, last.ty, p.pad[0], p.h), columns }
    }

    /// Its pixels of some channels, one channel a lane: `[row][column][lane]`.
    ///
    /// # Safety
    /// As [`Vector`]; `planes` are at most a vector of them.
    #[inline(always)]
    unsafe fn transpose<V: Vector>(&self, p: &WinogradProblem, planes: &[f32], to: *mut f32) {
        let (plane, width) = (p.h * p.w, self.columns.len());
        // Whole rows follow each other.
        let (runs, pixels) = if width == p.w { (1, self.rows.len() * width) } else { (self.rows.len(), width) };
        for run in 0..runs {
            let start = (self.rows.start + run) * p.w + self.columns.start;
            // SAFETY: the pixels lie inside of the planes, of which a vector exists in the first case.
            unsafe {
                let to = to.add(run * width * V::LANES);
                if planes.len() == V::LANES * plane && pixels >= V::LANES {
                    for i in (0..pixels).step_by(V::LANES) {
                        // The last ones again rather than one by one.
                        let i = i.min(pixels - V::LANES);
                        V::transpose(planes.as_ptr().add(start + i), plane, to.add(i * V::LANES), V::LANES);
                    }
                } else {
                    for (lane, from) in planes.chunks_exact(plane).enumerate() {
                        for (i, v) in from[start..][..pixels].iter().enumerate() {
                            *to.add(i * V::LANES + lane) = *v;
                        }
                    }
                }
            }
        }
    }
}
