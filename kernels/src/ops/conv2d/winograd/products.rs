//! The products at all points, and their transform back.

use super::WinogradProblem;
use super::tiles::Block;
use super::transform::{Transform, two_axes};
use super::weight::point_stride;
use crate::core::buffer::Buffer;
use crate::core::device::DType;
use crate::ops::conv2d::epilogue::{ConvOutput, PanelEpilogue};
use crate::ops::conv2d::microkernel::{LONGEST, PixelGroup, Prefetch, SHORTEST, TilePass, group, panel_width};
use crate::simd::{Kernel, Vector};
use std::marker::PhantomData;
use std::ops::Range;

/// Steps of the products at a time: the weights of a panel are then 16 KiB and the tiles of a block as much again, and stay in L1.
const KC: usize = 128;
/// Numbers of a vector at most.
const MAX_LANES: usize = 16;
/// Output channels of a panel at most.
const MAX_PANEL: usize = 32;
/// Pixels that are transformed back before they are transposed into planes: those of a vector, or of a tile.
const LINE: usize = 16;
/// Outputs of a tile in one direction at most.
const MAX_M: usize = 4;

/// Layout of the transformed input of a block: `[point][vector of channels][tile][lane]`.
pub(super) struct Strides {
    /// Numbers from one vector of channels to the next: the capacity includes a group of tiles that overhangs.
    pub vector: usize,
    /// Numbers from one point to the next: an odd number of cache lines, for a power of two would put all points into the same few
    /// sets of L1.
    pub point: usize,
}

impl Strides {
    pub fn new<V: Vector>(block: &Block, channels: usize) -> Self {
        let vector = block.tiles.max(SHORTEST) * V::LANES;
        Strides { vector, point: (channels.div_ceil(V::LANES) * vector).next_multiple_of(32) + 16 }
    }
}

/// Products of a block and a panel of output channels at all points, and their transform back.
pub(super) struct Multiply<'a, T, const M: usize, const A: usize> {
    pub p: &'a WinogradProblem,
    pub block: &'a Block,
    /// The transformed weight.
    pub u: &'a [f32],
    /// The transformed input of the block.
    pub v: &'a [f32],
    pub panel: usize,
    pub output: &'a ConvOutput<'a>,
    pub transform: PhantomData<T>,
}

/// Groups of neighbouring tiles, and how many tiles each is.
fn groups<V: Vector>(tiles: usize) -> (usize, Vec<PixelGroup>) {
    let pixels = group::<V>(tiles);
    let from = |at: usize| {
        // A last group that would overhang starts earlier; of too few tiles for one, it overhangs into the capacity of the block.
        let start = at.min(tiles.saturating_sub(pixels));
        PixelGroup { x: start * V::LANES, accumulator: start, first: at - start, end: pixels.min(tiles - start) }
    };
    (pixels, (0..tiles).step_by(pixels).map(from).collect())
}

impl<T: Transform<M, A>, const M: usize, const A: usize> Multiply<'_, T, M, A> {
    /// Numbers from one point of the products of a panel to the next: as for [`Strides::point`], an odd number of cache lines;
    /// room for a group that overhangs.
    fn point<V: Vector>(&self) -> usize {
        (self.block.tiles.max(LONGEST) * panel_width::<V>()).next_multiple_of(32) + 16
    }

    /// `[point][tile][channel]`
    fn products<V: Vector>(&self, to: &mut [f32]) {
        let (p, wide) = (self.p, panel_width::<V>());
        let (input, point) = (Strides::new::<V>(self.block, p.c), self.point::<V>());
        let per_point = point_stride::<V>(p);
        let (pixels, groups) = groups::<V>(self.block.tiles);
        assert!(self.u.len() >= A * A * per_point && self.v.len() >= A * A * input.point && to.len() >= A * A * point);
        let zeros = [0.0f32; MAX_PANEL];
        // The channels of a vector are what a tile's kernel elements are in the direct convolution; the last vector may be shorter.
        let lanes: [usize; MAX_LANES] = std::array::from_fn(|lane| lane);
        let whole = p.c / V::LANES * V::LANES;
        let some = (0..whole).step_by(KC).map(|k0| k0..whole.min(k0 + KC));
        let some: Vec<Range<usize>> = some.chain((whole < p.c).then_some(whole..p.c)).collect();
        for e in 0..A * A {
            let start = e * per_point + self.panel * p.c * wide;
            for channels in &some {
                let k = channels.len();
                let at = start + channels.start * wide;
                let next = self.u.as_ptr().wrapping_add(if channels.end < p.c { at + k * wide } else { start + per_point });
                let prefetch = |tile: usize| Prefetch::Run(next.wrapping_add(tile * k * V::LANES));
                let taps = &lanes[..k.min(V::LANES)];
                let pass = TilePass {
                    pixels,
                    pitch: V::LANES,
                    groups: &groups,
                    channels: k / taps.len(),
                    x: self.v[e * input.point + channels.start / V::LANES * input.vector..].as_ptr(),
                    channel_stride: input.vector,
                    taps,
                    w: self.u[at..].as_ptr(),
                    vectors: (p.oc - self.panel * wide).min(wide).div_ceil(V::LANES),
                    prefetch: &prefetch,
                    sums: to[e * point..].as_mut_ptr(),
                    start: if channels.start == 0 { zeros.as_ptr() } else { std::ptr::null() },
                    relu: false,
                    prefetch_planes: [None; 2],
                    plane_stride: 0,
                };
                // SAFETY: the panel, its steps and the tiles lie inside the three operands, whose sizes were asserted; the
                // instructions are here (`run` of the variant).
                unsafe { V::run(pass) }
            }
        }
    }

    pub fn run<V: Vector>(self) {
        let Self { p, block, output, .. } = self;
        let point = self.point::<V>();
        let mut products = Buffer::new(DType::F32, A * A * point);
        self.products::<V>(products.as_mut_slice());
        let first = self.panel * panel_width::<V>();
        let (channels, products) = (first..p.oc.min(first + panel_width::<V>()), products.as_slice());
        // SAFETY: the instructions are here; no other task has these channels of this block.
        unsafe { V::run(Back::<T, M, A> { p, block, products, point, channels, output, transform: PhantomData }) }
    }
}

/// `A^T m A` of a panel of output channels, stored where it belongs.
struct Back<'a, T, const M: usize, const A: usize> {
    p: &'a WinogradProblem,
    block: &'a Block,
    /// `[point][tile][channel]`
    products: &'a [f32],
    point: usize,
    channels: Range<usize>,
    output: &'a ConvOutput<'a>,
    transform: PhantomData<T>,
}

impl<T: Transform<M, A>, const M: usize, const A: usize> Kernel for Back<'_, T, M, A> {
    type Out = ();
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let Self { p, products, point, output, .. } = self;
        let wide = panel_width::<V>();
        let mut bias = [0.0f32; MAX_PANEL];
        if let Some(all) = output.bias {
            bias[..self.channels.len()].copy_from_slice(&all[self.channels.clone()]);
        }
        let relu = output.relu && output.residual.is_none();
        // Tiles at a time: they fill the vectors to which their pixels are transposed.
        let some = (V::LANES / M).max(1);
        let mut lines = [0.0f32; MAX_M * LINE * MAX_PANEL]; // [row][pixel][channel]
        assert!(products.len() >= (A * A - 1) * point + self.block.tiles * wide && some * M <= LINE);
        for s in &self.block.segments {
            for t0 in (0..s.len).step_by(some) {
                let count = some.min(s.len - t0);
                for t in 0..count {
                    for lane in (0..self.channels.len()).step_by(V::LANES) {
                        // SAFETY: this tile's channels exist at every point (asserted), and the lines hold its pixels.
                        unsafe {
                            let from = products.as_ptr().add((s.offset + t0 + t) * wide + lane);
                            let to = lines.as_mut_ptr().add(t * M * wide + lane);
                            let bias = V::load(bias.as_ptr().add(lane));
                            two_axes!(V, T::output, [A, M], |i, j| V::load(from.add((i * A + j) * point)), |i, j, v| {
                                let v = v.add(bias);
                                // In this order NaN stays NaN.
                                let v = if relu { V::splat(0.0).max(v) } else { v };
                                v.store(to.add((i * LINE + j) * wide))
                            });
                        }
                    }
                }
                let (x, y) = ((s.tx + t0) * M, s.ty * M);
                for i in 0..M.min(p.oh - y) {
                    let start = ((s.image * p.oc + self.channels.start) * p.oh + y + i) * p.ow + x;
                    let epilogue = PanelEpilogue {
                        output,
                        sums: &lines[i * LINE * wide..],
                        pixels: (count * M).min(p.ow - x),
                        channels: self.channels.len(),
                        start,
                        plane: p.oh * p.ow,
                    };
                    // SAFETY: the caller's; these channels of these tiles are this task's alone.
                    unsafe { V::run(epilogue) }
                }
            }
        }
    }
}
