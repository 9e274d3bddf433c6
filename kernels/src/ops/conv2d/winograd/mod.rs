//! conv2d variant: Winograd's minimal filtering, F(2x2,3x3) and F(4x4,3x3) (Lavin & Gray 2015, arXiv:1509.09308).
//!
//! Computes  out = A^T [ sum_c (G w G^T) * (B^T x B) ] A   for each tile of m x m outputs, which sees (m+2) x (m+2) inputs;
//!           dx the same from `dout` and the weight rotated by 180 degrees with its channels exchanged.
//! im2col wastes: nine multiplications an output and channel. A tile of 4x4 outputs needs 36 instead of 144, one of 2x2 16 instead of 36.
//! This variant:  the weight is transformed once and kept with the weight. A block of tiles is transformed one channel a lane (the
//!                pixels are transposed first), multiplied as (m+2)^2 matrix products on the register tile of
//!                the direct convolution, and transformed back one output channel a lane, without leaving L2. Tiles are then
//!                numbers that are broadcast, and 49 of them (a map of 28x28) cost no more than 49.
//! Loses when:    channels are few (the transforms cost as much as they save), or the image is so small that reading the
//!                transformed weight (4 times the weight for m = 4) takes longer than multiplying.
//! Run:           CONVSCOPE_KERNEL=conv2d.fwd=winograd_f2_avx2

mod products;
mod tiles;
mod transform;
mod weight;
pub(super) mod wgrad;

pub(super) use transform::{F2, F4, Transform};
pub(super) use weight::{pack_dgrad, pack_fwd};

use super::Conv2dSpec;
use super::epilogue::ConvOutput;
use super::microkernel::{LONGEST, group, panel_width};
use crate::core::buffer::Buffer;
use crate::core::device::DType;
use crate::core::table::Accum;
use crate::core::threads::{Shared, split_range};
use crate::simd::{self, Vector};
use products::{Multiply, Strides};
use rayon::prelude::*;
use std::marker::PhantomData;
use std::ops::Range;
use tiles::{Block, Transformed};
use transform::Input;

/// Groups per block. Even, because a register tile takes two groups. The transformed input of a block, for 128 channels, and the
/// weights that it is multiplied with stay in L2.
const BLOCK: usize = 4;
/// With at least this many blocks a thread, blocks go to whichever thread is free.
const MIN_BLOCKS: usize = 4;
/// With fewer blocks, each thread has one contiguous run of blocks if it has at least this many tiles and the transformed weight,
/// which each thread reads whole, is at most [`SMALL_WEIGHT`] bytes.
const MIN_TILES: usize = 12;
/// See [`MIN_TILES`].
const SMALL_WEIGHT: usize = 4 << 20;

/// A 3x3 convolution of stride 1, forward or as the gradient of one.
#[derive(Clone, Copy)]
pub(super) struct WinogradProblem {
    pub n: usize,
    pub c: usize,
    pub h: usize,
    pub w: usize,
    pub oc: usize,
    pub oh: usize,
    pub ow: usize,
    /// Zeros above and left of the input.
    pub pad: [usize; 2],
}

impl WinogradProblem {
    pub fn forward(s: &Conv2dSpec) -> Self {
        let [oh, ow] = s.out_hw();
        WinogradProblem { n: s.n, c: s.c, h: s.h, w: s.w, oc: s.oc, oh, ow, pad: [s.padding[0], s.padding[2]] }
    }

    /// `dx` from `dout`.
    fn backward(s: &Conv2dSpec) -> Self {
        let [h, w] = s.out_hw();
        WinogradProblem { n: s.n, c: s.oc, h, w, oc: s.c, oh: s.h, ow: s.w, pad: [2 - s.padding[0], 2 - s.padding[2]] }
    }

    /// Rows and columns of tiles.
    pub fn tiles(&self, m: usize) -> [usize; 2] {
        [self.oh.div_ceil(m), self.ow.div_ceil(m)]
    }

    pub fn count(&self, m: usize) -> usize {
        let [th, tw] = self.tiles(m);
        self.n * th * tw
    }

    /// What tiles of `m x m` cost, in multiply-adds that a machine does in the time: products, or reading the transformed weight
    /// where that takes longer, and the transforms. A core multiplies some twenty numbers in the time in which it reads one from
    /// memory; tiles of 1x1 are the other variants.
    fn cost(&self, m: usize) -> usize {
        const READ: usize = 20;
        const TRANSFORM: usize = 10;
        let (pairs, count) = (self.c * self.oc, self.count(m));
        if m == 1 {
            return pairs * 9 * count.max(READ);
        }
        (m + 2) * (m + 2) * (pairs * count.max(READ) + TRANSFORM * count * (self.c + self.oc))
    }
}

/// Partition of the tiles of a problem into blocks, and of their output channels.
struct TilePartition {
    blocks: Vec<Range<usize>>,
    /// Tasks per block, each of which transforms the block's input and multiplies its range of output channels. `None`: all input is
    /// transformed first, by all threads, and then each panel of output channels is a task.
    channel_splits: Option<usize>,
}

/// Blocks of at most so many tiles: groups of the longest.
fn longest_block<V: Vector>() -> usize {
    group::<V>(LONGEST) * BLOCK
}

fn partition<V: Vector>(p: &WinogradProblem, [m, a]: [usize; 2]) -> TilePartition {
    let (tiles, threads, most) = (p.count(m), rayon::current_num_threads(), longest_block::<V>());
    // A last block of less than a group joins the one before, for it would read the whole weight for little.
    let count = ((tiles + most - group::<V>(LONGEST)) / most).max(1);
    if count < MIN_BLOCKS * threads && tiles >= MIN_TILES * threads && 4 * a * a * p.c * p.oc <= SMALL_WEIGHT {
        // Each thread takes the range of the image that it wrote in the layer before, and finds it in its cache.
        let per_thread = tiles.div_ceil(threads);
        let size = per_thread.div_ceil(per_thread.div_ceil(most)).next_multiple_of(group::<V>(LONGEST));
        return TilePartition {
            blocks: split_range(0..tiles, per_thread).flat_map(|tiles| split_range(tiles, size)).collect(),
            channel_splits: Some(1),
        };
    }
    let blocks = (0..count).map(|i| i * most..if i + 1 < count { (i + 1) * most } else { tiles }).collect();
    let channel_splits = match count {
        // Transforming so few tiles again takes less time than reading them from another core's cache.
        1 => Some(threads),
        _ => (count >= MIN_BLOCKS * threads).then_some(1),
    };
    TilePartition { blocks, channel_splits }
}

/// Whether this variant takes the problem.
pub(super) fn supported(s: &Conv2dSpec) -> Result<(), &'static str> {
    if s.kernel != [3, 3] || s.stride != [1, 1] || s.dilation != [1, 1] {
        return Err("wants a 3x3 kernel without stride or dilation");
    }
    if s.groups != 1 {
        return Err("wants one group");
    }
    if s.padding.iter().any(|p| *p > 2) {
        return Err("wants padding of at most 2");
    }
    Ok(())
}

/// Whether tiles of `m x m` cost less than those of other sizes and than the variants that multiply everything.
fn preferred(p: &WinogradProblem, m: usize) -> Result<(), &'static str> {
    let mine = p.cost(m);
    if [1, 2, 4].iter().any(|other| p.cost(*other) < mine) { Err("another variant costs less here") } else { Ok(()) }
}

pub(super) fn preferred_fwd<const M: usize>(s: &Conv2dSpec) -> Result<(), &'static str> {
    preferred(&WinogradProblem::forward(s), M)
}
pub(super) fn preferred_dgrad<const M: usize>(s: &Conv2dSpec) -> Result<(), &'static str> {
    preferred(&WinogradProblem::backward(s), M)
}

/// Bytes of the transformed weight, and of the transformed input that is there at a time (on as many threads as here).
pub(super) fn scratch<const M: usize, const A: usize>(s: &Conv2dSpec) -> usize {
    let (tiles, block, threads) = (WinogradProblem::forward(s).count(M), BLOCK * LONGEST, rayon::current_num_threads());
    let there = if tiles <= block { tiles * threads } else { tiles.min(MIN_BLOCKS * threads * block) };
    4 * A * A * s.c * (s.oc + there)
}

fn run<V: Vector, T: Transform<M, A>, const M: usize, const A: usize>(
    p: &WinogradProblem,
    x: &[f32],
    u: &[f32],
    output: &ConvOutput,
) {
    run_partition::<V, T, M, A>(p, partition::<V>(p, [M, A]), x, u, output);
}

/// The partition changes no sum.
fn run_partition<V: Vector, T: Transform<M, A>, const M: usize, const A: usize>(
    p: &WinogradProblem,
    TilePartition { blocks, channel_splits }: TilePartition,
    x: &[f32],
    u: &[f32],
    output: &ConvOutput,
) {
    simd::require::<V>();
    assert!(x.len() >= p.n * p.c * p.h * p.w && output.residual.is_none_or(|r| r.len() == output.len));
    let blocks: Vec<Block> = blocks.into_iter().map(|tiles| Block::new(tiles, p.tiles(M))).collect();
    let panels = p.oc.div_ceil(panel_width::<V>());
    let vectors = p.c.div_ceil(V::LANES);
    let transform = |block: &Block, vector: usize, to: *mut f32| {
        let Strides { vector: capacity, point } = Strides::new::<V>(block, p.c);
        let first = vector * V::LANES;
        let channels = first..p.c.min(first + V::LANES);
        // SAFETY: each vector of channels has its own range of the capacity.
        let to = unsafe { to.add(vector * capacity) };
        let kernel =
            Transformed::<Input<T, M>, M, A, A> { p, x, block, channels, to, point, tile: V::LANES, transform: PhantomData };
        // SAFETY: the instructions are here; `to` holds the points of the block (below).
        unsafe { V::run(kernel) }
    };
    let multiply = |block: &Block, panel: usize, v: &[f32]| {
        Multiply::<T, M, A> { p, block, u, v, panel, output, transform: PhantomData }.run::<V>();
    };
    let capacity = |block: &Block| A * A * Strides::new::<V>(block, p.c).point;

    if let Some(channel_splits) = channel_splits {
        let per_task = panels.div_ceil(channel_splits);
        let tasks: Vec<_> =
            blocks.iter().flat_map(|block| split_range(0..panels, per_task).map(move |some| (block, some))).collect();
        tasks.into_par_iter().with_max_len(1).for_each(|(block, some)| {
            let mut v = Buffer::new(DType::F32, capacity(block));
            let to = v.as_mut_slice::<f32>().as_mut_ptr();
            (0..vectors).for_each(|vector| transform(block, vector, to));
            some.for_each(|panel| multiply(block, panel, v.as_slice()));
        });
        return;
    }
    let mut v = Buffer::new(DType::F32, blocks.iter().map(capacity).sum());
    let starts: Vec<usize> = blocks.iter().scan(0, |at, b| Some(std::mem::replace(at, *at + capacity(b)))).collect();
    let base = Shared(v.as_mut_slice::<f32>().as_mut_ptr());
    let tasks: Vec<(usize, usize)> = (0..blocks.len()).flat_map(|b| (0..vectors).map(move |vector| (b, vector))).collect();
    tasks.into_par_iter().for_each(|(b, vector)| {
        // SAFETY: each block has its own range of v, and each task its own channels.
        transform(&blocks[b], vector, unsafe { base.get().add(starts[b]) })
    });
    let v = v.as_slice::<f32>();
    // All blocks of a panel follow each other, so that its weight is read from memory once.
    let tasks: Vec<(usize, usize)> = (0..panels).flat_map(|panel| (0..blocks.len()).map(move |b| (b, panel))).collect();
    tasks.into_par_iter().with_max_len(1).for_each(|(b, panel)| multiply(&blocks[b], panel, &v[starts[b]..]));
}

pub(super) fn fwd<V: Vector, T: Transform<M, A>, const M: usize, const A: usize>(
    s: &Conv2dSpec,
    inputs: &[&Buffer],
    outputs: &mut [&mut Buffer],
    accum: Accum,
) {
    let (bias, residual) = s.bias_and_residual::<f32>(inputs);
    let output = ConvOutput::new(outputs[0].as_mut_slice(), bias, residual, s.relu, accum);
    run::<V, T, M, A>(&WinogradProblem::forward(s), inputs[0].as_slice(), inputs[1].as_slice(), &output);
}

pub(super) fn dgrad<V: Vector, T: Transform<M, A>, const M: usize, const A: usize>(
    s: &Conv2dSpec,
    inputs: &[&Buffer],
    outputs: &mut [&mut Buffer],
    accum: Accum,
) {
    let output = ConvOutput::new(outputs[0].as_mut_slice(), None, None, false, accum);
    run::<V, T, M, A>(&WinogradProblem::backward(s), inputs[0].as_slice(), inputs[1].as_slice(), &output);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::Kernel;

    /// The same bits, however the tiles are shared out.
    struct Partitions;

    impl Kernel for Partitions {
        type Out = ();
        #[inline(always)]
        unsafe fn run<V: Vector>(self) {
            let s = Conv2dSpec { padding: [1, 0, 2, 1], ..Conv2dSpec::simple(2, 53, 18, 13, 70, 3) };
            let numbers = |len: usize| (0..len).map(|i| ((i * 7919) % 1013) as f32 / 1013.0 - 0.5).collect::<Vec<_>>();
            let (p, x, w) = (WinogradProblem::forward(&s), numbers(s.in_len()), Buffer::from_slice(&numbers(s.weight_len())));
            let u = pack_fwd::<V, F4, 4, 6>(&s, &w);
            let out = |size: usize, channel_splits: Option<usize>| {
                let mut out = vec![f32::NAN; s.out_len()];
                let partition = TilePartition { blocks: split_range(0..p.count(4), size).collect(), channel_splits };
                run_partition::<V, F4, 4, 6>(
                    &p,
                    partition,
                    &x,
                    u.as_slice(),
                    &ConvOutput::new(&mut out, None, None, false, Accum::Write),
                );
                out
            };
            let one = out(p.count(4), Some(1));
            assert!(one.iter().all(|v| v.is_finite()));
            for (size, channel_splits) in [(7, Some(1)), (11, None), (100, None), (100, Some(3)), (9, Some(2)), (1, None)] {
                assert_eq!(one, out(size, channel_splits), "blocks of {size}, {channel_splits:?}");
            }
        }
    }

    #[test]
    fn how_tiles_are_shared_out_changes_no_bit() {
        // SAFETY: the kernel holds no pointers.
        unsafe { simd::dispatch(Partitions) }
    }
}
