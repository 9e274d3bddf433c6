//! conv2d.wgrad variant: the weight gradient by Winograd's transforms (see [`super`]).
//!
//! Computes  dw = G^T [ sum_tiles (A dout A^T) * (B^T x B) ] G, the transpose of what forward does with a weight
//! im2col wastes: nine multiplications a pixel and pair of channels, where tiles of 4x4 need 36 for 16 pixels.
//! This variant:  transforms tiles of `dout` and `x` once, one channel a lane, into panels that the register tile reads, multiplies
//!                them at each of the (m+2)^2 points over all tiles, and transforms 3x3 results back.
//! Loses when:    channels are few (the transforms then cost more than they save), or tiles are few for so large a weight.
//! Run:           CONVSCOPE_KERNEL=conv2d.wgrad=winograd_f4_avx2

use super::WinogradProblem;
use super::tiles::{Block, Transformed};
use super::transform::{Input, Patch, Spread, Transform, two_axes};
use crate::core::buffer::Buffer;
use crate::core::device::DType;
use crate::core::table::Accum;
use crate::core::threads::{Shared, split_range};
use crate::ops::conv2d::Conv2dSpec;
use crate::ops::gemm::microkernel::{Epilogue, Tile, WIDTH};
use crate::simd::{self, Kernel, Vector};
use rayon::prelude::*;
use std::marker::PhantomData;
use std::ops::Range;

/// Tiles that one task transforms, and steps of a product, at most: 48 columns of them are 24 KiB.
const BLOCK: usize = 128;
/// Numbers of both transformed operands at most. More tiles than fit are multiplied in turns.
const CAPACITY: usize = 2 << 20;
/// Numbers of the transformed operands that stay in L2, where a thread has them for itself.
const OWN: usize = 192 << 10;
/// Numbers of the products that a thread may have for itself.
const SMALL: usize = 256 << 10;
/// Tiles are split into at most this many partial products. Fixed, so that results do not depend on the thread count.
const MAX_SPLITS: usize = 32;
/// Reading the partial products back may cost at most `1 / LIGHT` of reading the operands.
const LIGHT: usize = 4;
/// With fewer splits, all threads share one partial product and split its output channels.
const MIN_SPLITS: usize = 4;
/// Output channels a task in that case, with [`WIDTH`] vectors of input channels.
const CHANNELS: usize = 64;

/// Partition of the rows of tiles of all images.
struct SumPartition {
    /// Partial products: one thread computes each, or all threads together a single one.
    splits: usize,
    /// Rows that are transformed at a time.
    rows: usize,
}

fn partition<const M: usize, const A: usize>(s: &Conv2dSpec) -> SumPartition {
    let p = WinogradProblem::forward(s);
    let (tiles, both, weight, [_, row]) = (p.count(M), s.c + s.oc, s.c * s.oc, p.tiles(M));
    let splits = (tiles * both / (LIGHT * weight)).min(MAX_SPLITS);
    let (splits, size) = match A * A * weight <= SMALL && splits >= MIN_SPLITS {
        true => (splits, (OWN / (A * A * both)).clamp(16, BLOCK)),
        false => (1, (CAPACITY / (A * A * both)).max(BLOCK)),
    };
    SumPartition { splits, rows: (size / row).max(1) }
}

/// Whether channels and tiles are many enough.
pub(in crate::ops::conv2d) fn preferred<const M: usize>(s: &Conv2dSpec) -> Result<(), &'static str> {
    let least = s.c.min(s.oc);
    if least < 16 {
        return Err("few channels: the transforms cost more than they save");
    }
    // A product of each point is as large as the weight, and is transformed once all tiles are in it.
    if 16 * WinogradProblem::forward(s).count(M) < least { Err("few tiles for so large a weight") } else { Ok(()) }
}

/// Bytes of the transformed operands and of the products.
pub(in crate::ops::conv2d) fn scratch<const M: usize, const A: usize>(s: &Conv2dSpec) -> usize {
    let (SumPartition { splits, rows }, p) = (partition::<M, A>(s), WinogradProblem::forward(s));
    let (threads, tiles) = (rayon::current_num_threads(), rows * p.tiles(M)[1]);
    let operands = (s.c + s.oc) * tiles.min(p.count(M)) * splits.min(threads);
    4 * A * A * (operands + if splits > 1 { s.c * s.oc * splits } else { CHANNELS * WIDTH * 16 * threads })
}

/// All tasks, by this thread alone or by all.
fn each<T: Send>(alone: bool, tasks: impl Iterator<Item = T>, run: impl Fn(T) + Sync + Send) {
    match alone {
        true => tasks.for_each(run),
        false => tasks.collect::<Vec<T>>().into_par_iter().with_max_len(1).for_each(run),
    }
}

/// Transformed tiles in panels `[point][panel of channels][tile][width]`, a width of whole vectors.
struct Panels {
    data: Buffer,
    channels: usize,
    width: usize,
    tiles: usize,
}

impl Panels {
    fn new(points: usize, channels: usize, width: usize, tiles: usize) -> Self {
        let data = Buffer::new(DType::F32, points * channels.next_multiple_of(width) * tiles);
        Panels { data, channels, width, tiles }
    }

    /// Offset of a tile of a channel.
    fn at(&self, point: usize, channel: usize, tile: usize) -> usize {
        let panels = self.channels.div_ceil(self.width);
        ((point * panels + channel / self.width) * self.tiles + tile) * self.width + channel % self.width
    }

    /// Fills the panels with the patches of `tiles`.
    fn fill<V: Vector, X: Patch<P, A>, const M: usize, const P: usize, const A: usize>(
        &mut self,
        p: &WinogradProblem,
        x: &[f32],
        tiles: Range<usize>,
        alone: bool,
    ) {
        assert!(self.width.is_multiple_of(V::LANES) && tiles.len() == self.tiles);
        let base = Shared(self.data.as_mut_slice::<f32>().as_mut_ptr());
        let me = &*self;
        let grid = p.tiles(M);
        let blocks = split_range(tiles.clone(), (BLOCK / grid[1]).max(1) * grid[1]);
        let tasks = blocks.flat_map(|b| split_range(0..me.channels, V::LANES).map(move |c| (b.clone(), c)));
        each(alone, tasks, |(some, channels)| {
            let to = me.at(0, channels.start, some.start - tiles.start);
            let kernel = Transformed::<X, M, P, A> {
                p,
                x,
                block: &Block::new(some.clone(), grid),
                channels,
                // SAFETY: an offset inside of the panels.
                to: unsafe { base.get().add(to) },
                point: me.at(1, 0, 0),
                tile: me.width,
                transform: PhantomData,
            };
            // SAFETY: the instructions are here (run); the panels hold all points of these tiles, whose vectors of these channels are
            // this task's alone.
            unsafe { V::run(kernel) }
        });
    }
}

/// The products of some output channels and some input channels, at all points.
struct Products<'a> {
    /// `[split][point][oc][c]` of these channels.
    sums: &'a [f32],
    oc: Range<usize>,
    c: Range<usize>,
}

/// `G^T p G` of one output channel.
struct Back<'a, T, const M: usize, const A: usize> {
    products: &'a Products<'a>,
    oc: usize,
    /// `[c, 3, 3]` of these input channels.
    dw: &'a mut [f32],
    accum: Accum,
    transform: PhantomData<T>,
}

impl<T: Transform<M, A>, const M: usize, const A: usize> Kernel for Back<'_, T, M, A> {
    type Out = ();
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let Self { products: Products { sums, oc: ocs, c: cs }, oc, dw, accum, .. } = self;
        let (ocs, cs, oc) = (ocs.len(), cs.len(), oc - ocs.start);
        let mut points = [0.0f32; 36 * 16];
        let mut taps = [0.0f32; 9 * 16];
        for c in (0..cs).step_by(V::LANES) {
            let n = V::LANES.min(cs - c);
            // SAFETY: n channels from c on exist at each point; the scratches have sixteen lanes.
            unsafe {
                for e in 0..A * A {
                    let mut sum = V::splat(0.0);
                    for split in sums.chunks_exact(A * A * ocs * cs) {
                        sum = sum.add(V::load_first(split[(e * ocs + oc) * cs + c..].as_ptr(), n));
                    }
                    sum.store(points.as_mut_ptr().add(e * 16));
                }
                let (from, to) = (points.as_ptr(), taps.as_mut_ptr());
                two_axes!(V, T::weight_back, [A, 3], |i, j| V::load(from.add((i * A + j) * 16)), |i, j, v| v
                    .store(to.add((i * 3 + j) * 16)));
            }
            for (lane, dw) in dw[9 * c..].chunks_exact_mut(9).take(n).enumerate() {
                dw.iter_mut().enumerate().for_each(|(i, v)| accum.put(v, taps[i * 16 + lane]));
            }
        }
    }
}

/// Adds the products of both operands' panels to `sums`, or begins them.
fn multiply<V: Vector>(points: usize, [a, b]: [&Panels; 2], [ocs, cs]: [Range<usize>; 2], sums: &mut [f32], add: bool) {
    simd::require::<V>();
    assert!(sums.len() == points * ocs.len() * cs.len() && a.tiles == b.tiles);
    assert!(ocs.end <= a.channels && cs.end <= b.channels && a.width.is_multiple_of(V::ROWS));
    assert!(ocs.start.is_multiple_of(V::ROWS) && cs.start.is_multiple_of(b.width) && b.width == WIDTH * V::LANES);
    let (pa, pb) = (a.data.as_slice::<f32>(), b.data.as_slice::<f32>());
    for e in 0..points {
        for k0 in (0..a.tiles).step_by(BLOCK) {
            for c in cs.clone().step_by(b.width) {
                for oc in ocs.clone().step_by(V::ROWS) {
                    let at = (e * ocs.len() + oc - ocs.start) * cs.len() + c - cs.start;
                    let tile = Tile {
                        k: BLOCK.min(a.tiles - k0),
                        a: pa[a.at(e, oc, k0)..].as_ptr(),
                        a_step: a.width,
                        b: pb[b.at(e, c, k0)..].as_ptr(),
                        b_step: b.width,
                        rows: V::ROWS.min(ocs.end - oc),
                        columns: b.width.min(cs.end - c),
                        c: sums[at..].as_mut_ptr(),
                        ldc: cs.len(),
                        add: add || k0 > 0,
                        epilogue: Epilogue::NONE,
                    };
                    // SAFETY: the instructions are here; the panels hold these steps of whole tiles, and the sums these channels
                    // (asserted).
                    unsafe { V::run(tile) }
                }
            }
        }
    }
}

pub(in crate::ops::conv2d) fn run<V: Vector, T: Transform<M, A>, const M: usize, const A: usize>(
    s: &Conv2dSpec,
    inputs: &[&Buffer],
    outputs: &mut [&mut Buffer],
    accum: Accum,
) {
    gradient::<V, T, M, A>(
        s,
        partition::<M, A>(s),
        [inputs[0].as_slice(), inputs[1].as_slice()],
        outputs[0].as_mut_slice(),
        accum,
    );
}

/// `dw [oc, c, 3, 3]` from `dout [n, oc, oh, ow]` and `x [n, c, h, w]`.
fn gradient<V: Vector, T: Transform<M, A>, const M: usize, const A: usize>(
    s: &Conv2dSpec,
    SumPartition { splits, rows }: SumPartition,
    [dout, x]: [&[f32]; 2],
    dw: &mut [f32],
    accum: Accum,
) {
    simd::require::<V>();
    assert!(dout.len() >= s.out_len() && x.len() >= s.in_len() && dw.len() == 9 * s.oc * s.c);
    let from = WinogradProblem::forward(s);
    // Tiles of `dout` are patches without overlap of an image that has the output's size and channels.
    let gradient = WinogradProblem { c: s.oc, h: from.oh, w: from.ow, pad: [0, 0], ..from };
    let (grid, panel) = (from.tiles(M), WIDTH * V::LANES);
    let packed = |rows: Range<usize>, alone: bool| {
        let tiles = rows.start * grid[1]..rows.end * grid[1];
        let mut a = Panels::new(A * A, s.oc, V::LANES.max(V::ROWS), tiles.len());
        let mut b = Panels::new(A * A, s.c, panel, tiles.len());
        a.fill::<V, Spread<T>, M, M, A>(&gradient, dout, tiles.clone(), alone);
        b.fill::<V, Input<T, M>, M, A, A>(&from, x, tiles, alone);
        [a, b]
    };
    let back = |products: &Products, oc: usize, dw: &mut [f32], accum: Accum| {
        // SAFETY: the instructions are here, and Back holds no pointers.
        unsafe { V::run(Back::<T, M, A> { products, oc, dw, accum, transform: PhantomData }) }
    };
    let all = from.n * grid[0];

    if splits > 1 {
        let weight = A * A * s.oc * s.c;
        let mut sums = Buffer::new(DType::F32, splits * weight);
        sums.as_mut_slice::<f32>().par_chunks_exact_mut(weight).with_max_len(1).enumerate().for_each(|(split, sums)| {
            let own = all * split / splits..all * (split + 1) / splits;
            // A split without rows is a sum of nothing.
            if own.is_empty() {
                sums.fill(0.0);
            }
            for turn in split_range(own.clone(), rows) {
                let add = turn.start > own.start;
                let [a, b] = packed(turn, true);
                multiply::<V>(A * A, [&a, &b], [0..s.oc, 0..s.c], sums, add);
            }
        });
        let products = Products { sums: sums.as_slice(), oc: 0..s.oc, c: 0..s.c };
        dw.par_chunks_exact_mut(9 * s.c).enumerate().for_each(|(oc, dw)| back(&products, oc, dw, accum));
        return;
    }
    let to = Shared(dw.as_mut_ptr());
    for turn in split_range(0..all, rows) {
        let accum = if turn.start == 0 { accum } else { Accum::Add };
        let [a, b] = packed(turn, false);
        let blocks = split_range(0..s.oc, CHANNELS).flat_map(|oc| split_range(0..s.c, panel).map(move |c| (oc.clone(), c)));
        let tasks: Vec<_> = blocks.collect();
        tasks.into_par_iter().with_max_len(1).for_each(|(ocs, cs)| {
            let mut sums = Buffer::new(DType::F32, A * A * ocs.len() * cs.len());
            multiply::<V>(A * A, [&a, &b], [ocs.clone(), cs.clone()], sums.as_mut_slice(), false);
            let products = Products { sums: sums.as_slice(), oc: ocs.clone(), c: cs.clone() };
            for oc in ocs {
                let (at, len) = (9 * (oc * s.c + cs.start), 9 * cs.len());
                // SAFETY: inside of dw (asserted), and this task's alone.
                back(&products, oc, unsafe { std::slice::from_raw_parts_mut(to.get().add(at), len) }, accum);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::super::F4;
    use super::*;

    /// The same gradient, however the tiles are shared out.
    struct Partitions;

    impl Kernel for Partitions {
        type Out = ();
        #[inline(always)]
        unsafe fn run<V: Vector>(self) {
            let s = Conv2dSpec { padding: [1, 0, 2, 1], ..Conv2dSpec::simple(2, 53, 18, 13, 70, 3) };
            let numbers = |len: usize| (0..len).map(|i| ((i * 7919) % 1013) as f32 / 1013.0 - 0.5).collect::<Vec<_>>();
            let (dout, x) = (numbers(s.out_len()), numbers(s.in_len()));
            // More splits than rows too: some are empty then.
            let partitions = [(1, 100), (1, 3), (1, 1), (4, 1), (3, 2), (20, 9)];
            let [first, others @ ..] = partitions.map(|(splits, rows)| {
                let mut dw = vec![1.0; s.weight_len()];
                gradient::<V, F4, 4, 6>(&s, SumPartition { splits, rows }, [&dout, &x], &mut dw, Accum::Add);
                dw
            });
            for (other, partition) in others.iter().zip(&partitions[1..]) {
                for (i, (a, b)) in first.iter().zip(other).enumerate() {
                    assert!((a - b).abs() < 1e-4, "{partition:?}, element {i}: {a} and {b}");
                }
            }
        }
    }

    #[test]
    fn how_tiles_are_shared_out_changes_rounding_only() {
        // SAFETY: the kernel holds no pointers.
        unsafe { simd::dispatch(Partitions) }
    }
}
