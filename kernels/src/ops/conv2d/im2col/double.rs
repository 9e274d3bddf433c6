//! The convolution and its gradients in f64: im2col over a product in register tiles, on all threads. Gradient checks and goldens run
//! whole networks in f64.
//!
//! Computes  out[oc, pixel] = w[oc, patch] · col[patch, pixel] (+ bias),   dx (+)= col2im(w^T · dout),   dw (+)= dout · col^T
//! The naive row wastes: it tests the borders at every product, keeps one sum in memory where registers hold 32, and uses one thread.
//! This row:     packs both operands into panels, a block of steps at a time; the compiler makes vectors of the loops.
//! Loses when:   a group has fewer output channels than a tile has rows (depthwise).

use crate::core::buffer::Buffer;
use crate::core::table::Accum;
use crate::ops::conv2d::Conv2dSpec;
use crate::simd::{self, Kernel, Vector};
use rayon::prelude::*;
use std::ops::Range;

/// Sums in registers: rows by columns.
const ROWS: usize = 4;
const COLUMNS: usize = 8;
/// Steps at a time: a panel of `a` stays in L1.
const STEPS: usize = 512;
/// Columns of a task: with [`STEPS`], they stay in L2.
const BLOCK: usize = 64;
/// Channels of `dx` that a task owns.
const CHANNELS: usize = 64;

/// Where the row is picked without being forced.
pub(in crate::ops::conv2d) fn preferred(s: &Conv2dSpec) -> Result<(), &'static str> {
    if s.oc / s.groups >= ROWS { Ok(()) } else { Err("wants 4 output channels a group") }
}

/// Bytes of scratch: the packed operand of all channels, and the sums.
pub(in crate::ops::conv2d) fn scratch(s: &Conv2dSpec) -> usize {
    8 * (s.weight_len() + s.in_len().max(s.out_len()))
}

/// `[panel, steps, ROWS]` of a matrix `[rows, steps]`, zero beyond its rows.
fn pack(rows: usize, steps: usize, at: impl Fn(usize, usize) -> f64) -> Vec<f64> {
    let mut packed = vec![0.0; rows.next_multiple_of(ROWS) * steps];
    for (p, panel) in packed.chunks_exact_mut(ROWS * steps).enumerate() {
        for (k, column) in panel.as_chunks_mut::<ROWS>().0.iter_mut().enumerate() {
            for (i, v) in (p * ROWS..rows.min((p + 1) * ROWS)).zip(column) {
                *v = at(i, k);
            }
        }
    }
    packed
}

/// `c[rows, columns] = a b`: `a` packed, `b(step, column)` packed a block of steps at a time. Rows of the result are [`BLOCK`] long.
fn product<V: Vector>(a: &[f64], steps: usize, columns: Range<usize>, b: impl Fn(usize, usize) -> f64) -> Vec<f64> {
    let rows = a.len() / steps;
    let mut c = vec![0.0; rows * BLOCK];
    let mut packed = vec![0.0; BLOCK * STEPS.min(steps)];
    for k0 in (0..steps).step_by(STEPS) {
        let some = STEPS.min(steps - k0);
        let strips = packed.chunks_exact_mut(COLUMNS * some);
        for (j0, strip) in columns.clone().step_by(COLUMNS).zip(strips) {
            for (k, row) in strip.as_chunks_mut::<COLUMNS>().0.iter_mut().enumerate() {
                for (j, v) in row.iter_mut().enumerate() {
                    *v = if j0 + j < columns.end { b(k0 + k, j0 + j) } else { 0.0 };
                }
            }
        }
        let used = columns.len().div_ceil(COLUMNS) * COLUMNS * some;
        let block = Block { a, steps, first: k0, some, b: &packed[..used], c: &mut c };
        // SAFETY: the row's instructions are here, and the block holds no pointers.
        unsafe { V::run(block) };
    }
    c
}

/// Some steps of a product.
struct Block<'a> {
    a: &'a [f64],
    /// Steps of `a`, the first of these, and their number.
    steps: usize,
    first: usize,
    some: usize,
    /// `[strip, some, COLUMNS]`
    b: &'a [f64],
    c: &'a mut [f64],
}

/// # Safety
/// As [`Vector`].
impl Kernel for Block<'_> {
    type Out = ();
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let Block { a, steps, first, some, b, c } = self;
        for (panel, c) in a.chunks_exact(ROWS * steps).zip(c.chunks_exact_mut(ROWS * BLOCK)) {
            let (panel, _) = panel[ROWS * first..][..ROWS * some].as_chunks::<ROWS>();
            for (j, strip) in b.chunks_exact(COLUMNS * some).enumerate() {
                let mut sums = [[0.0; COLUMNS]; ROWS];
                for (x, y) in panel.iter().zip(strip.as_chunks::<COLUMNS>().0) {
                    for (sums, x) in sums.iter_mut().zip(x) {
                        for (sum, y) in sums.iter_mut().zip(y) {
                            *sum += x * y;
                        }
                    }
                }
                for (c, sums) in c.chunks_exact_mut(BLOCK).zip(sums) {
                    for (c, sum) in c[j * COLUMNS..].iter_mut().zip(sums) {
                        *c += sum;
                    }
                }
            }
        }
    }
}

/// Cuts `0..n` into blocks.
fn blocks(n: usize) -> impl IndexedParallelIterator<Item = Range<usize>> {
    (0..n.div_ceil(BLOCK)).into_par_iter().with_max_len(1).map(move |i| i * BLOCK..n.min((i + 1) * BLOCK))
}

/// The input pixel under each element of a patch, for each output pixel.
struct Patch {
    /// Channel and offset of each element; an offset into the padding is negative, by wrapping below zero.
    elements: Vec<(usize, [usize; 2])>,
    /// The input pixel at offset zero, for each output pixel.
    origins: Vec<[usize; 2]>,
    size: [usize; 2],
}

impl Patch {
    fn new(s: &Conv2dSpec) -> Self {
        let ([_, ow], [kh, kw]) = (s.out_hw(), s.kernel);
        let element = |i: usize| {
            let (ky, kx) = (i / kw % kh, i % kw);
            let offset = |k: usize, d: usize, pad: usize| (k * d).wrapping_sub(pad);
            (i / (kh * kw), [offset(ky, s.dilation[0], s.padding[0]), offset(kx, s.dilation[1], s.padding[2])])
        };
        Patch {
            elements: (0..s.patch()).map(element).collect(),
            origins: (0..s.out_plane()).map(|p| [p / ow * s.stride[0], p % ow * s.stride[1]]).collect(),
            size: [s.h, s.w],
        }
    }

    /// Index within a group's channels of an image, if it is inside.
    #[inline(always)]
    fn index(&self, element: usize, pixel: usize) -> Option<usize> {
        let ((c, [dy, dx]), [y, x], [h, w]) = (self.elements[element], self.origins[pixel], self.size);
        let (y, x) = (y.wrapping_add(dy), x.wrapping_add(dx));
        (y < h && x < w).then(|| (c * h + y) * w + x)
    }
}

pub(in crate::ops::conv2d) fn fwd<V: Vector>(s: &Conv2dSpec, inputs: &[&Buffer], outputs: &mut [&mut Buffer], accum: Accum) {
    simd::require::<V>();
    let (x, w) = (inputs[0].as_slice::<f64>(), inputs[1].as_slice::<f64>()); // x [n,c,h,w], w [oc,c/g,kh,kw]
    let (bias, residual) = s.bias_and_residual::<f64>(inputs); // bias [oc], residual [n,oc,oh,ow]
    let out = outputs[0].as_mut_slice::<f64>(); // out [n,oc,oh,ow]
    let (og, k, plane, image) = (s.oc / s.groups, s.patch(), s.out_plane(), s.c / s.groups * s.h * s.w);
    let patch = Patch::new(s);
    for g in 0..s.groups {
        let a = pack(og, k, |i, k_| w[(g * og + i) * k + k_]);
        for n in 0..s.n {
            let x = &x[(n * s.groups + g) * image..][..image];
            let seen = |k: usize, pixel: usize| patch.index(k, pixel).map_or(0.0, |i| x[i]);
            let products: Vec<Vec<f64>> = blocks(plane).map(|pixels| product::<V>(&a, k, pixels, seen)).collect();
            for oc in 0..og {
                let start = ((n * s.groups + g) * og + oc) * plane;
                let sums = products.iter().flat_map(|block| &block[oc * BLOCK..][..BLOCK]);
                for (i, (out, sum)) in out[start..][..plane].iter_mut().zip(sums).enumerate() {
                    let sum = sum + bias.map_or(0.0, |b| b[g * og + oc]) + residual.map_or(0.0, |r| r[start + i]);
                    accum.put(out, if s.relu && sum < 0.0 { 0.0 } else { sum });
                }
            }
        }
    }
}

pub(in crate::ops::conv2d) fn dgrad<V: Vector>(s: &Conv2dSpec, inputs: &[&Buffer], outputs: &mut [&mut Buffer], accum: Accum) {
    simd::require::<V>();
    let (dout, w) = (inputs[0].as_slice::<f64>(), inputs[1].as_slice::<f64>()); // dout [n,oc,oh,ow], w [oc,c/g,kh,kw]
    let dx = outputs[0].as_mut_slice::<f64>(); // dx [n,c,h,w]
    let (og, cg, k, plane) = (s.oc / s.groups, s.c / s.groups, s.patch(), s.out_plane());
    let (patch, taps) = (Patch::new(s), s.kernel[0] * s.kernel[1]);
    dx.par_chunks_mut((cg * s.h * s.w).max(1)).enumerate().for_each(|(image, dx)| {
        let (w, dout) = (&w[image % s.groups * og * k..][..og * k], &dout[image * og * plane..][..og * plane]);
        dx.par_chunks_mut((CHANNELS * s.h * s.w).max(1)).enumerate().for_each(|(i, dx)| {
            if accum == Accum::Write {
                dx.fill(0.0);
            }
            // Rows are elements of the patch, within these channels.
            let first = i * CHANNELS * taps;
            let elements = dx.len() / (s.h * s.w) * taps;
            let a = pack(elements, og, |i, oc| w[oc * k + first + i]);
            for start in (0..plane).step_by(BLOCK) {
                let pixels = start..plane.min(start + BLOCK);
                let sums = product::<V>(&a, og, pixels.clone(), |oc, pixel| dout[oc * plane + pixel]);
                for (i, sums) in sums.chunks_exact(BLOCK).take(elements).enumerate() {
                    for (pixel, sum) in pixels.clone().zip(sums) {
                        // An element of these channels has the offset of the same element of the first channels.
                        if let Some(to) = patch.index(i, pixel) {
                            dx[to] += sum;
                        }
                    }
                }
            }
        });
    });
}

pub(in crate::ops::conv2d) fn wgrad<V: Vector>(s: &Conv2dSpec, inputs: &[&Buffer], outputs: &mut [&mut Buffer], accum: Accum) {
    simd::require::<V>();
    let (dout, x) = (inputs[0].as_slice::<f64>(), inputs[1].as_slice::<f64>()); // dout [n,oc,oh,ow], x [n,c,h,w]
    let dw = outputs[0].as_mut_slice::<f64>(); // dw [oc,c/g,kh,kw]
    let (og, k, plane, image) = (s.oc / s.groups, s.patch(), s.out_plane(), s.c / s.groups * s.h * s.w);
    let patch = Patch::new(s);
    for (g, dw) in dw.chunks_exact_mut(og * k).enumerate() {
        for n in 0..s.n {
            let from = n * s.groups + g;
            let (x, dout) = (&x[from * image..][..image], &dout[from * og * plane..][..og * plane]);
            let a = pack(og, plane, |oc, pixel| dout[oc * plane + pixel]);
            let seen = |pixel: usize, k: usize| patch.index(k, pixel).map_or(0.0, |i| x[i]);
            let products: Vec<Vec<f64>> = blocks(k).map(|columns| product::<V>(&a, plane, columns, seen)).collect();
            let accum = if n == 0 { accum } else { Accum::Add };
            for (oc, dw) in dw.chunks_exact_mut(k).enumerate() {
                let sums = products.iter().flat_map(|block| &block[oc * BLOCK..][..BLOCK]);
                dw.iter_mut().zip(sums).for_each(|(dw, sum)| accum.put(dw, *sum));
            }
        }
    }
}
