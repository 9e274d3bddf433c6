//! conv2d rung 2: Winograd's minimal filtering, F(2x2,3x3) and F(4x4,3x3) (Lavin & Gray 2015, arXiv:1509.09308).
//!
//! Computes  out = A^T [ sum_c (G w G^T) * (B^T x B) ] A   for each tile of m x m outputs, which sees (m+2) x (m+2) inputs;
//!           dx the same from `dout` and the weight turned by 180 degrees with its channels exchanged.
//! Rung 1 wasted: nine multiplications an output and channel. A tile of 4x4 outputs needs 36 instead of 144, one of 2x2 16 instead of 36.
//! This rung:     the weight is transformed once and kept with the weight. A block of tiles is transformed, multiplied as
//!                (m+2)^2 matrix products on the register tile of [`crate::gemm`], and transformed back without leaving L2. The
//!                transforms work on one tile a lane: rows are split into their phases modulo m by shuffles.
//! Loses when:    channels are few (the transforms cost as much as they save), or the image is so small that reading the
//!                transformed weight (4 times the weight for m = 4) takes longer than multiplying.
//! Run:           CONVSCOPE_KERNEL=conv2d.fwd=winograd_f2_avx2

mod tiles;
mod transform;
mod weight;
pub(super) mod wgrad;

pub(super) use transform::{F2, F4};
pub(super) use weight::{pack_dgrad, pack_fwd};

use super::Conv2dSpec;
use crate::buffer::Buffer;
use crate::device::DType;
use crate::gemm::tile::{Finish, Tile, WIDTH};
use crate::simd::{self, Kernel, Vector};
use crate::table::Accum;
use crate::threads::Shared;
use rayon::prelude::*;
use std::marker::PhantomData;
use std::ops::Range;
use tiles::{Block, Transformed, phase};
use transform::{Input, Transform, two_axes};

/// Tiles of a block, where there are many: a whole register tile of AVX-512.
const BLOCK: usize = 48;
/// Output channels that are multiplied before they are transformed back.
const CHANNELS: usize = 64;
/// Steps of the products at a time: 48 columns of them are 24 KiB, which stay in L1 while all channels pass.
const KC: usize = 128;
/// Tasks below which the input is transformed first, by all threads, and then the output channels are shared out too.
const MIN_TASKS: usize = 16;

/// A 3x3 convolution of stride 1, forward or as the gradient of one.
#[derive(Clone, Copy)]
pub(super) struct Problem {
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

impl Problem {
    pub fn forward(s: &Conv2dSpec) -> Self {
        let [oh, ow] = s.out_hw();
        Problem { n: s.n, c: s.c, h: s.h, w: s.w, oc: s.oc, oh, ow, pad: [s.padding[0], s.padding[2]] }
    }

    /// `dx` from `dout`.
    fn backward(s: &Conv2dSpec) -> Self {
        let [h, w] = s.out_hw();
        Problem { n: s.n, c: s.oc, h, w, oc: s.c, oh: s.h, ow: s.w, pad: [2 - s.padding[0], 2 - s.padding[2]] }
    }

    /// Rows and columns of tiles.
    pub fn tiles(&self, m: usize) -> [usize; 2] {
        [self.oh.div_ceil(m), self.ow.div_ceil(m)]
    }

    pub fn count(&self, m: usize) -> usize {
        let [th, tw] = self.tiles(m);
        self.n * th * tw
    }

    /// What tiles of `m x m` cost, in multiply-adds that a machine does in the time: products, reading the transformed weight,
    /// and the transforms. A core multiplies some twenty numbers in the time in which it reads one from memory; tiles of 1x1
    /// are the other rungs, which multiply meanwhile.
    fn cost(&self, m: usize) -> usize {
        const READ: usize = 20;
        const TRANSFORM: usize = 24;
        let (pairs, count) = (self.c * self.oc, self.count(m));
        if m == 1 {
            return pairs * 9 * count.max(READ);
        }
        let (points, tiles) = ((m + 2) * (m + 2), count.next_multiple_of(16));
        points * (pairs * (tiles + READ) + TRANSFORM * tiles * (self.c + self.oc))
    }
}

/// Whether this rung takes the problem.
pub(super) fn fits(s: &Conv2dSpec) -> Result<(), &'static str> {
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

/// Whether tiles of `m x m` cost less than those of other sizes and than the rungs that multiply everything.
fn wins(p: &Problem, m: usize) -> Result<(), &'static str> {
    let mine = p.cost(m);
    if [1, 2, 4].iter().any(|other| p.cost(*other) < mine) { Err("another rung costs less here") } else { Ok(()) }
}

pub(super) fn wins_fwd<const M: usize>(s: &Conv2dSpec) -> Result<(), &'static str> {
    wins(&Problem::forward(s), M)
}
pub(super) fn wins_dgrad<const M: usize>(s: &Conv2dSpec) -> Result<(), &'static str> {
    wins(&Problem::backward(s), M)
}

/// Bytes of the transformed weight, and of the input where it is transformed at once.
pub(super) fn scratch<const M: usize, const A: usize>(s: &Conv2dSpec) -> usize {
    4 * A * A * (s.c * s.oc + s.c * Problem::forward(s).count(M).min(MIN_TASKS * BLOCK))
}

/// Products of some output channels of a block at all points, and their transform back.
struct Multiply<'a, T, const M: usize, const A: usize> {
    p: &'a Problem,
    block: &'a Block,
    /// The transformed weight.
    u: &'a [f32],
    /// The transformed input of the block.
    v: &'a [f32],
    /// A whole number of panels, but for the last ones.
    channels: Range<usize>,
    out: *mut f32,
    out_len: usize,
    accum: Accum,
    bias: Option<&'a [f32]>,
    residual: Option<&'a [f32]>,
    relu: bool,
    transform: PhantomData<T>,
}

impl<T: Transform<M, A>, const M: usize, const A: usize> Multiply<'_, T, M, A> {
    /// `[point][channel][tile]`, points `block.point(channels)` apart.
    #[inline(always)]
    unsafe fn products<V: Vector>(&self, to: &mut [f32]) {
        let (p, width) = (self.p, self.block.width);
        let panels = self.channels.start / V::ROWS..self.channels.end.div_ceil(V::ROWS);
        let (from, point) = (self.block.point(p.c), self.block.point(self.channels.len()));
        let per_point = p.oc.div_ceil(V::ROWS) * V::ROWS * p.c;
        assert!(self.u.len() >= A * A * per_point && self.v.len() >= A * A * from - 16 && to.len() >= A * A * point);
        for e in 0..A * A {
            for k0 in (0..p.c).step_by(KC) {
                let k = KC.min(p.c - k0);
                for t0 in (0..width).step_by(WIDTH * V::LANES) {
                    for panel in panels.clone() {
                        let row = panel * V::ROWS - self.channels.start;
                        let tile = Tile {
                            k,
                            a: self.u[e * per_point + (panel * p.c + k0) * V::ROWS..].as_ptr(),
                            b: self.v[e * from + k0 * width + t0..].as_ptr(),
                            b_step: width,
                            rows: V::ROWS.min(self.channels.len() - row),
                            columns: (WIDTH * V::LANES).min(width - t0),
                            c: to[e * point + row * width + t0..].as_mut_ptr(),
                            ldc: width,
                            add: k0 > 0,
                            finish: Finish::NOTHING,
                        };
                        // SAFETY: panels, steps and tiles lie inside the three operands, whose sizes were asserted.
                        unsafe { tile.run::<V>() }
                    }
                }
            }
        }
    }

    /// `A^T m A` of one channel, stored where it belongs.
    #[inline(always)]
    unsafe fn back<V: Vector>(&self, channel: usize, products: &[f32], phases: &mut [f32], line: &mut [f32]) {
        let (p, width) = (self.p, self.block.width);
        let (apart, point) = (phase(width), self.block.point(self.channels.len()));
        let products = &products[(channel - self.channels.start) * width..];
        assert!(products.len() >= (A * A - 1) * point + width && phases.len() >= M * M * apart);
        let to = phases.as_mut_ptr();
        for t in (0..width).step_by(V::LANES) {
            // SAFETY: tiles t .. t + LANES exist in every point and in every phase.
            unsafe {
                two_axes!(V, T::output, [A, M], products.as_ptr().add(t), point, to.add(t), apart);
            }
        }
        let bias = self.bias.map_or(0.0, |b| b[channel]);
        for s in &self.block.segments {
            for i in 0..M.min(p.oh - s.ty * M) {
                let phase = |j: usize, t: usize| phases[(i * M + j) * apart + s.offset + t..].as_ptr();
                for t in (0..s.len).step_by(V::LANES) {
                    // SAFETY: a phase has room for an overhanging vector, and so has the line.
                    unsafe {
                        let to = line[t * M..][..M * V::LANES].as_mut_ptr();
                        let v: [V; 4] = std::array::from_fn(|j| V::load(phase(j.min(M - 1), t)));
                        if M == 4 { V::join4(v, to) } else { V::join2([v[0], v[1]], to) }
                    }
                }
                let x = s.tx * M;
                let count = (s.len * M).min(p.ow - x);
                let at = ((s.image * p.oc + channel) * p.oh + s.ty * M + i) * p.ow + x;
                assert!(at + count <= self.out_len && line.len() >= count + V::LANES);
                for j in (0..count).step_by(V::LANES) {
                    let n = V::LANES.min(count - j);
                    // SAFETY: inside the output (asserted), and this channel and these tiles are this task's alone; the residual is
                    // as long as the output.
                    unsafe {
                        let out = self.out.add(at + j);
                        let mut v = V::load(line.as_ptr().add(j)).add(V::splat(bias));
                        if let Some(residual) = self.residual {
                            v = v.add(V::load_first(residual.as_ptr().add(at + j), n));
                        }
                        if self.relu {
                            // In this order NaN stays NaN.
                            v = V::splat(0.0).max(v);
                        }
                        if self.accum == Accum::Add {
                            v = v.add(V::load_first(out, n));
                        }
                        if n == V::LANES { v.store(out) } else { v.store_first(out, n) }
                    }
                }
            }
        }
    }
}

impl<T: Transform<M, A>, const M: usize, const A: usize> Kernel for Multiply<'_, T, M, A> {
    type Out = ();
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let block = self.block;
        let mut products = Buffer::new(DType::F32, A * A * block.point(self.channels.len()));
        let products = products.as_mut_slice::<f32>();
        let mut phases = vec![0.0f32; M * M * phase(block.width)];
        let mut line = vec![0.0f32; (block.width + 2 * V::LANES) * M];
        // SAFETY: the caller's.
        unsafe {
            self.products::<V>(products);
            for channel in self.channels.clone() {
                self.back::<V>(channel, products, &mut phases, &mut line);
            }
        }
    }
}

struct Operands<'a> {
    x: &'a [f32],
    u: &'a [f32],
    bias: Option<&'a [f32]>,
    residual: Option<&'a [f32]>,
    relu: bool,
}

fn run<V: Vector, T: Transform<M, A>, const M: usize, const A: usize>(
    p: &Problem,
    operands: &Operands,
    out: &mut [f32],
    accum: Accum,
) {
    let Operands { x, u, bias, residual, relu } = *operands;
    assert!(simd::here::<V>() && x.len() >= p.n * p.c * p.h * p.w && residual.is_none_or(|r| r.len() == out.len()));
    let count = p.count(M);
    // A last block of one vector would read the whole weight for little: it joins the one before.
    let size = if count <= BLOCK + 16 { count.max(1) } else { BLOCK };
    let blocks: Vec<Block> = (0..count).step_by(size).map(|t| Block::new(t..count.min(t + size), p.tiles(M), V::LANES)).collect();
    let output = (Shared(out.as_mut_ptr()), out.len());
    let transform = |block: &Block, channels: Range<usize>, to: *mut f32| {
        let point = block.point(p.c);
        // SAFETY: the first channel lies inside the room of the block.
        let to = unsafe { to.add(channels.start * block.width) };
        let kernel = Transformed::<(Input<T>, [(); M]), M, A, A> { p, x, block, channels, to, point, transform: PhantomData };
        // SAFETY: the instructions are here; `to` holds the points of the block (below).
        unsafe { V::run(kernel) }
    };
    let multiply = |block: &Block, channels: Range<usize>, v: &[f32]| {
        let (out, out_len) = (output.0.get(), output.1);
        let kernel =
            Multiply::<T, M, A> { p, block, u, v, channels, out, out_len, accum, bias, residual, relu, transform: PhantomData };
        // SAFETY: the instructions are here; blocks and channels of different tasks are different.
        unsafe { V::run(kernel) }
    };
    let room = |block: &Block| A * A * block.point(p.c);
    let chunks = |size: usize| (0..p.oc).step_by(size).map(move |c| c..p.oc.min(c + size));

    if blocks.len() >= MIN_TASKS {
        blocks.par_iter().with_max_len(1).for_each(|block| {
            let mut v = Buffer::new(DType::F32, room(block));
            transform(block, 0..p.c, v.as_mut_slice::<f32>().as_mut_ptr());
            chunks(CHANNELS).for_each(|channels| multiply(block, channels, v.as_slice()));
        });
        return;
    }
    let mut v = Buffer::new(DType::F32, blocks.iter().map(room).sum());
    let starts: Vec<usize> = blocks.iter().scan(0, |at, b| Some(std::mem::replace(at, *at + room(b)))).collect();
    let base = Shared(v.as_mut_slice::<f32>().as_mut_ptr());
    let some = |size: usize| (0..p.c).step_by(size).map(move |c| c..p.c.min(c + size));
    let tasks: Vec<(usize, Range<usize>)> = (0..blocks.len()).flat_map(|b| some(16).map(move |c| (b, c))).collect();
    tasks.into_par_iter().for_each(|(b, channels)| {
        // SAFETY: each block has its room in v, and each task its channels of it.
        transform(&blocks[b], channels, unsafe { base.get().add(starts[b]) })
    });
    let v = v.as_slice::<f32>();
    // All blocks of some channels follow each other, so that the weight of these channels is read from memory once.
    let size = [CHANNELS, 32].into_iter().find(|s| p.oc.div_ceil(*s) * blocks.len() >= MIN_TASKS / 2).unwrap_or(16);
    let tasks: Vec<(usize, Range<usize>)> = chunks(size).flat_map(|c| (0..blocks.len()).map(move |b| (b, c.clone()))).collect();
    tasks.into_par_iter().with_max_len(1).for_each(|(b, channels)| multiply(&blocks[b], channels, &v[starts[b]..]));
}

pub(super) fn fwd<V: Vector, T: Transform<M, A>, const M: usize, const A: usize>(
    s: &Conv2dSpec,
    inputs: &[&Buffer],
    outputs: &mut [&mut Buffer],
    accum: Accum,
) {
    let (bias, residual) = s.bias_and_residual::<f32>(inputs);
    let operands = Operands { x: inputs[0].as_slice(), u: inputs[1].as_slice(), bias, residual, relu: s.relu };
    run::<V, T, M, A>(&Problem::forward(s), &operands, outputs[0].as_mut_slice(), accum);
}

pub(super) fn dgrad<V: Vector, T: Transform<M, A>, const M: usize, const A: usize>(
    s: &Conv2dSpec,
    inputs: &[&Buffer],
    outputs: &mut [&mut Buffer],
    accum: Accum,
) {
    let operands = Operands { x: inputs[0].as_slice(), u: inputs[1].as_slice(), bias: None, residual: None, relu: false };
    run::<V, T, M, A>(&Problem::backward(s), &operands, outputs[0].as_mut_slice(), accum);
}
