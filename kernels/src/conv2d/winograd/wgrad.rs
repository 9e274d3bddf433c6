//! conv2d.wgrad rung 2: the weight gradient by Winograd's transforms (see [`super`]).
//!
//! Computes  dw = G^T [ sum_tiles (A dout A^T) * (B^T x B) ] G, the transpose of what forward does with a weight
//! Rung 1 wasted: nine multiplications a pixel and pair of channels, where tiles of 4x4 need 36 for 16 pixels.
//! This rung:     transforms tiles of `dout` and `x` once, turned so that the channels lie side by side in the panels that the register
//!                tile reads, multiplies them at each of the (m+2)^2 points over all tiles, and transforms 3x3 results back.
//! Loses when:    channels are few: the transforms then cost more than they save.
//! Run:           CONVSCOPE_KERNEL=conv2d.wgrad=winograd_f4_avx2

use super::Problem;
use super::tiles::{Block, Transformed};
use super::transform::{Input, Patch, Spread, Transform, two_axes};
use crate::buffer::Buffer;
use crate::conv2d::Conv2dSpec;
use crate::device::DType;
use crate::gemm::tile::{Finish, Tile, WIDTH};
use crate::simd::{self, Kernel, Vector};
use crate::table::Accum;
use crate::threads::Shared;
use rayon::prelude::*;
use std::marker::PhantomData;
use std::ops::Range;

/// Tiles that are transformed at a time, and steps of a product, at most: 48 columns of them are 24 KiB.
const BLOCK: usize = 128;
/// Numbers of both transformed operands at most, unless a block has more: their lines are written and read before they leave L3,
const ROOM: usize = 1 << 20;
/// or L2, where a thread has them for itself.
const OWN: usize = 192 << 10;
/// Numbers of the products that a thread may have for itself.
const SMALL: usize = 256 << 10;
/// Parts of the tiles, each with products of its own: as many as there are threads to take them, for the sums must not depend on
/// how many there are,
const MAX_PARTS: usize = 32;
/// and so few that they all are read in a quarter of the time that the operands take;
const LIGHT: usize = 4;
/// but if they are fewer than this, threads share one.
const MIN_PARTS: usize = 4;
/// Output channels of a task of products.
const CHANNELS: usize = 64;

/// How the tiles of a problem are shared out.
struct Cut {
    /// Parts, each of which one thread takes; all threads take one together.
    parts: usize,
    /// Tiles that are transformed at a time.
    size: usize,
}

fn cut<const M: usize, const A: usize>(s: &Conv2dSpec) -> Cut {
    let (tiles, both, weight) = (Problem::forward(s).count(M), s.c + s.oc, s.c * s.oc);
    let parts = (tiles * both / (LIGHT * weight)).min(MAX_PARTS);
    match A * A * weight <= SMALL && parts >= MIN_PARTS {
        true => Cut { parts, size: (OWN / (A * A * both)).clamp(16, BLOCK) },
        false => Cut { parts: 1, size: (ROOM / (A * A * both)).max(BLOCK) / BLOCK * BLOCK },
    }
}

/// Whether channels and tiles are many enough.
pub(in crate::conv2d) fn wins<const M: usize>(s: &Conv2dSpec) -> Result<(), &'static str> {
    let least = s.c.min(s.oc);
    if least < 16 {
        return Err("few channels: the transforms cost more than they save");
    }
    // A product of each point is as large as the weight, and is transformed once all tiles are in it.
    if 16 * Problem::forward(s).count(M) < least { Err("few tiles for so large a weight") } else { Ok(()) }
}

/// Bytes of the transformed operands and of the products.
pub(in crate::conv2d) fn scratch<const M: usize, const A: usize>(s: &Conv2dSpec) -> usize {
    let Cut { parts, size } = cut::<M, A>(s);
    let own = parts.min(rayon::current_num_threads());
    4 * A * A * ((s.c + s.oc) * size.min(Problem::forward(s).count(M)) * own + s.c * s.oc * parts)
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

    /// Place of a tile of a channel.
    fn at(&self, point: usize, channel: usize, tile: usize) -> usize {
        let panels = self.channels.div_ceil(self.width);
        ((point * panels + channel / self.width) * self.tiles + tile) * self.width + channel % self.width
    }

    /// Fills the panels with the patches of `tiles`.
    fn fill<V: Vector, X: Patch<P, A>, const M: usize, const P: usize, const A: usize>(
        &mut self,
        p: &Problem,
        x: &[f32],
        tiles: Range<usize>,
        alone: bool,
    ) {
        assert!(self.width.is_multiple_of(V::LANES) && tiles.len() == self.tiles);
        let to = Shared(self.data.as_mut_slice::<f32>().as_mut_ptr());
        let me = &*self;
        let blocks = tiles.clone().step_by(BLOCK).map(|t| t..tiles.end.min(t + BLOCK));
        let tasks = blocks.flat_map(|b| (0..me.channels).step_by(V::LANES).map(move |c| (b.clone(), c)));
        each(alone, tasks, |(some, first)| {
            let kernel = Transformed::<X, M, P, A> {
                p,
                x,
                block: &Block::new(some.clone(), p.tiles(M)),
                channels: first..me.channels.min(first + V::LANES),
                // SAFETY: a place inside of the panels.
                to: unsafe { to.get().add(me.at(0, first, some.start - tiles.start)) },
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

/// `G^T p G` of some output channels.
struct Back<'a, T, const M: usize, const A: usize> {
    /// `[part][point][oc][c]`
    products: &'a [f32],
    oc: usize,
    sizes: [usize; 2],
    /// `[c, 3, 3]`
    dw: &'a mut [f32],
    accum: Accum,
    transform: PhantomData<T>,
}

impl<T: Transform<M, A>, const M: usize, const A: usize> Kernel for Back<'_, T, M, A> {
    type Out = ();
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let Self { products, oc, sizes: [ocs, cs], dw, accum, .. } = self;
        let mut points = [0.0f32; 36 * 16];
        let mut taps = [0.0f32; 9 * 16];
        for c in (0..cs).step_by(V::LANES) {
            let n = V::LANES.min(cs - c);
            // SAFETY: n channels from c on exist at each point; the scratches have sixteen lanes.
            unsafe {
                for e in 0..A * A {
                    let mut sum = V::splat(0.0);
                    for part in products.chunks_exact(A * A * ocs * cs) {
                        sum = sum.add(V::load_first(part[(e * ocs + oc) * cs + c..].as_ptr(), n));
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

pub(in crate::conv2d) fn run<V: Vector, T: Transform<M, A>, const M: usize, const A: usize>(
    s: &Conv2dSpec,
    inputs: &[&Buffer],
    outputs: &mut [&mut Buffer],
    accum: Accum,
) {
    let (dout, x) = (inputs[0].as_slice::<f32>(), inputs[1].as_slice::<f32>()); // dout [n,oc,oh,ow], x [n,c,h,w]
    assert!(simd::here::<V>() && dout.len() >= s.out_len() && x.len() >= s.in_len());
    let from = Problem::forward(s);
    // Tiles of `dout` are patches without overlap of an image that has the output's size and channels.
    let gradient = Problem { c: s.oc, h: from.oh, w: from.ow, pad: [0, 0], ..from };
    let (count, nr, weight) = (from.count(M), WIDTH * V::LANES, A * A * s.oc * s.c);
    let Cut { parts, size } = cut::<M, A>(s);
    let alone = parts > 1;
    let mut products = Buffer::new(DType::F32, parts * weight); // [part][point][oc][c]
    let to = Shared(products.as_mut_slice::<f32>().as_mut_ptr());
    each(!alone, 0..parts, |part| {
        let own = count * part / parts..count * (part + 1) / parts;
        for t0 in own.clone().step_by(size) {
            let tiles = t0..own.end.min(t0 + size);
            let mut a = Panels::new(A * A, s.oc, V::LANES.max(V::ROWS), tiles.len());
            let mut b = Panels::new(A * A, s.c, nr, tiles.len());
            a.fill::<V, Spread<T>, M, M, A>(&gradient, dout, tiles.clone(), alone);
            b.fill::<V, (Input<T>, [(); M]), M, A, A>(&from, x, tiles.clone(), alone);
            let (pa, pb) = (a.data.as_slice::<f32>(), b.data.as_slice::<f32>());
            let tasks = (0..A * A).flat_map(|e| (0..s.oc).step_by(CHANNELS).map(move |c| (e, c)));
            each(alone, tasks, |(e, first)| {
                for k0 in (0..tiles.len()).step_by(BLOCK) {
                    for c0 in (0..s.c).step_by(nr) {
                        for oc in (first..s.oc.min(first + CHANNELS)).step_by(V::ROWS) {
                            let tile = Tile {
                                k: BLOCK.min(tiles.len() - k0),
                                a: pa[a.at(e, oc, k0)..].as_ptr(),
                                a_step: a.width,
                                b: pb[b.at(e, c0, k0)..].as_ptr(),
                                b_step: nr,
                                rows: V::ROWS.min(s.oc - oc),
                                columns: nr.min(s.c - c0),
                                c: to.get().wrapping_add(part * weight + (e * s.oc + oc) * s.c + c0),
                                ldc: s.c,
                                add: t0 + k0 > own.start,
                                finish: Finish::NOTHING,
                            };
                            // SAFETY: the instructions are here; the panels hold these steps of whole tiles; each task has its rows
                            // of its part's products at its point.
                            unsafe { V::run(tile) }
                        }
                    }
                }
            });
        }
    });
    let products = products.as_slice::<f32>();
    let dw = outputs[0].as_mut_slice::<f32>(); // dw [oc,c,3,3]
    dw.par_chunks_mut((9 * s.c).max(1)).enumerate().for_each(|(oc, dw)| {
        let kernel = Back::<T, M, A> { products, oc, sizes: [s.oc, s.c], dw, accum, transform: PhantomData };
        // SAFETY: the instructions are here, and Back holds no pointers.
        unsafe { V::run(kernel) }
    });
}
