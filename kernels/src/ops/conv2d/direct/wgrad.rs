//! conv2d.wgrad variant: the direct weight gradient, inputs broadcast against vectors of output channels.
//!
//! Computes  dw[oc, (c, kh, kw)] (+)= sum over pixels of dout[oc, pixel] * x[c, pixel + tap]
//! im2col wastes: it copies and transposes each input once per kernel element to make panels of it.
//! This variant:  transposes `dout` alone, some pixels of some output channels at a time. A step is a pixel, whose inputs are broadcast
//!                from where they lie in the image: neighbouring kernel elements of a row, or neighbouring channels.
//! Loses when:    Winograd saves more; output channels are too few for a vector.
//! Run:           CONVSCOPE_KERNEL=conv2d.wgrad=direct_avx2

use super::MAX_PANEL;
use super::plan::{MIN_TASKS, SUMS};
use super::view::{Copy, DirectProblem, PaddedView};
use crate::core::buffer::Buffer;
use crate::core::device::DType;
use crate::core::table::Accum;
use crate::core::threads::{Shared, split_range};
use crate::ops::conv2d::Conv2dSpec;
use crate::ops::conv2d::epilogue::{ConvOutput, PanelEpilogue};
use crate::ops::conv2d::microkernel::{LONGEST, PixelGroup, Prefetch, SHORTEST, TilePass, group, has_32_registers, panel_width};
use crate::simd::{self, Vector};
use rayon::prelude::*;
use std::ops::Range;

pub(in crate::ops::conv2d) fn supported<V: Vector>(s: &Conv2dSpec) -> Result<(), &'static str> {
    let [kh, kw] = s.kernel;
    if s.groups != 1 {
        return Err("wants one group");
    }
    let rows = kw == 3 || has_32_registers::<V>() && (SHORTEST..=LONGEST).contains(&kw);
    if !(rows || [kh, kw] == [1, 1] && s.c >= SHORTEST) {
        return Err("wants rows of 3 (with 32 registers, to 7) kernel elements, or one element and some channels");
    }
    if kw > 1 && s.dilation[1] != 1 {
        return Err("wants no horizontal dilation");
    }
    s.compact()
}

pub(in crate::ops::conv2d) fn preferred(s: &Conv2dSpec) -> Result<(), &'static str> {
    let [oh, ow] = s.out_hw();
    if s.oc < 16 {
        return Err("few output channels");
    }
    let least = s.c.min(s.oc);
    if s.kernel == [1, 1] && least >= 256 {
        return Err("a large product of two matrices: packing both costs less than sums in L2");
    }
    // A kernel of several elements is worth more: its variant would copy the input as many times.
    let few = if s.kernel == [1, 1] { least } else { least / 2 };
    if s.n * oh * ow < few { Err("few pixels: the sums go to memory too often") } else { Ok(()) }
}

/// Bytes of the copied images, and of the sums.
pub(in crate::ops::conv2d) fn scratch(s: &Conv2dSpec) -> usize {
    let copies = if s.padding == [0; 4] { 0 } else { s.in_len() };
    4 * (copies + s.weight_len().max(MIN_TASKS * SUMS / 4))
}

/// Pixels that are packed at a time, at most, where rows are not longer: 28 KiB for 32 output channels, which stay in L1.
const STEPS: usize = 224;

/// Some pixels: steps of the sums.
struct Chunk {
    images: Range<usize>,
    /// Output rows and columns of each image.
    rows: Range<usize>,
    columns: Range<usize>,
}

/// All pixels in chunks: several small images, some rows of an image, or a range of the only one.
fn chunks(p: &DirectProblem) -> Vec<Chunk> {
    let [oh, ow] = p.size;
    let even = |len: usize, most: usize| split_range(0..len, len.div_ceil(len.div_ceil(most.max(1))));
    if 2 * oh * ow <= STEPS {
        return even(p.n, STEPS / (oh * ow)).map(|images| Chunk { images, rows: 0..oh, columns: 0..ow }).collect();
    }
    let of = |image: usize| {
        let (along, most) = if oh == 1 { (ow, STEPS) } else { (oh, STEPS / ow) };
        even(along, most).map(move |range| (image..image + 1, range))
    };
    (0..p.n)
        .flat_map(of)
        .map(|(images, range)| match oh {
            1 => Chunk { images, rows: 0..1, columns: range },
            _ => Chunk { images, rows: range, columns: 0..ow },
        })
        .collect()
}

/// Output channels and input channels of a task.
struct Block {
    ocs: Range<usize>,
    cs: Range<usize>,
}

struct DirectWgrad<'a> {
    p: &'a DirectProblem,
    kernel: [usize; 2],
    /// Rows of the view from one kernel row to the next.
    dilation: usize,
    view: &'a PaddedView,
    x: &'a [f32],
    /// `[n, oc, oh, ow]`
    dout: &'a [f32],
}

impl DirectWgrad<'_> {
    /// Pixels of a group, their pitch, and the groups of some input channels; accumulators are `(c, kh, kw)` from the first channel on.
    fn groups<V: Vector>(&self, cs: &Range<usize>) -> (usize, usize, Vec<PixelGroup>) {
        let [kh, kw] = self.kernel;
        if kw > 1 {
            let of = |c: usize| (0..kh).map(move |ky| (c, ky));
            let rows = (0..cs.len()).flat_map(of).enumerate();
            let group = |(i, (c, ky)): (usize, (usize, usize))| PixelGroup {
                x: (cs.start + c) * self.view.channel + ky * self.dilation * self.view.row,
                accumulator: i * kw,
                first: 0,
                end: kw,
            };
            return (kw, 1, rows.map(group).collect());
        }
        let length = group::<V>(cs.len());
        assert!(length <= cs.len(), "a group of channels would overhang");
        let groups = (0..cs.len()).step_by(length).map(|c| {
            let start = c.min(cs.len() - length);
            PixelGroup { x: (cs.start + start) * self.view.channel, accumulator: start, first: c - start, end: length }
        });
        (length, self.view.channel, groups.collect())
    }

    /// The sums of a block over some chunks, `[panel of output channels][accumulator][lane]`.
    fn sum<V: Vector>(&self, block: &Block, chunks: &[Chunk], sums: &mut [f32]) {
        let DirectWgrad { p, view, .. } = *self;
        let width = panel_width::<V>();
        let [oh, ow] = p.size;
        let (pixels, pitch, groups) = self.groups::<V>(&block.cs);
        let capacity = sums.len() / block.ocs.len().div_ceil(width);
        let mut transposed = Buffer::new(DType::F32, STEPS.max(ow) * width); // [pixel][lane]
        let transposed = transposed.as_mut_slice::<f32>();
        let zeros = [0.0f32; MAX_PANEL];
        for (i, Chunk { images, rows, columns }) in chunks.iter().enumerate() {
            let across = || columns.clone().map(|x| (x - columns.start) * p.step[1]);
            let row = p.step[0] * view.row;
            // Steps in the order of the pixels, as a pass counts them: a count, a stride, and offsets from there.
            let (channels, channel_stride, taps): (usize, usize, Vec<usize>) = match (images.len(), rows.len()) {
                (1, 1) => (columns.len(), p.step[1], vec![0]),
                (1, _) => (rows.len(), row, across().collect()),
                (n, _) => (n, p.c * view.channel, (0..rows.len()).flat_map(|y| across().map(move |x| y * row + x)).collect()),
            };
            let count = rows.len() * columns.len();
            let x = &self.x[images.start * p.c * view.channel + rows.start * row + columns.start * p.step[1]..];
            for (oc, sums) in block.ocs.clone().step_by(width).zip(sums.chunks_exact_mut(capacity)) {
                let outputs = width.min(block.ocs.end - oc);
                for (image, transposed) in images.clone().zip(transposed.chunks_exact_mut(count * width)) {
                    let from = &self.dout[(image * p.oc + oc) * oh * ow + rows.start * ow + columns.start..];
                    simd::transpose(from, oh * ow, [outputs, count], transposed, width);
                }
                let pass = TilePass {
                    pixels,
                    pitch,
                    groups: &groups,
                    channels,
                    x: x.as_ptr(),
                    channel_stride,
                    taps: &taps,
                    w: transposed.as_ptr(),
                    vectors: outputs.div_ceil(V::LANES),
                    prefetch: &|tile| Prefetch::Run(transposed.as_ptr().wrapping_add(tile * count * V::LANES)),
                    sums: sums.as_mut_ptr(),
                    start: if i == 0 { zeros.as_ptr() } else { std::ptr::null() },
                    relu: false,
                    prefetch_planes: [None; 2],
                    plane_stride: 0,
                };
                // SAFETY: the instructions are here (run). What the pixels of a chunk see through the kernel lies inside each channel of
                // the view; `transposed` holds a step for each pixel, and a panel of sums has an accumulator for each pixel of a group.
                unsafe { V::run(pass) }
            }
        }
    }
}

pub(in crate::ops::conv2d) fn run<V: Vector>(s: &Conv2dSpec, inputs: &[&Buffer], outputs: &mut [&mut Buffer], accum: Accum) {
    let (dout, x) = (inputs[0].as_slice::<f32>(), inputs[1].as_slice::<f32>()); // dout [n,oc,oh,ow], x [n,c,h,w]
    let dw = outputs[0].as_mut_slice::<f32>(); // dw [oc,c,kh,kw]
    let p = DirectProblem::forward(s);
    let (width, taps) = (panel_width::<V>(), s.kernel[0] * s.kernel[1]);
    simd::require::<V>();
    assert!(dout.len() >= s.out_len() && x.len() >= s.in_len());
    let image = PaddedView::image(&p);
    let copies = image.is_none();
    let view = image.unwrap_or_else(|| PaddedView::copy(&p, &(0..p.size[0])));
    let copied = copies.then(|| Copy::all::<V>(&p, &view, x));
    let x = copied.as_ref().map_or(x, |all| all.as_slice());
    let work = DirectWgrad { p: &p, kernel: s.kernel, dilation: s.dilation[0], view: &view, x, dout };

    let chunks = chunks(&p);
    // Sums of a task that stay in L2.
    let ocs = width * (p.oc.div_ceil(width)).min((256 / width).max(1));
    // Parts whose sizes differ by one at most: none of them is too short for a group.
    let split = p.c.div_ceil((SUMS / ocs / taps).max(LONGEST));
    let cs = |i: usize| p.c * i / split..p.c * (i + 1) / split;
    let blocks: Vec<Block> =
        split_range(0..p.oc, ocs).flat_map(|o| (0..split).map(move |i| Block { ocs: o.clone(), cs: cs(i) })).collect();
    // Few blocks: each is summed in splits, which are added in order.
    let splits = MIN_TASKS.div_ceil(blocks.len()).min(chunks.len());
    let capacity = |block: &Block| block.ocs.len().next_multiple_of(width) * block.cs.len() * taps;
    let tasks: Vec<(&Block, usize)> = blocks.iter().flat_map(|block| (0..splits).map(move |i| (block, i))).collect();
    let sums: Vec<Buffer> = tasks
        .par_iter()
        .with_max_len(1)
        .map(|(block, i)| {
            let mut sums = Buffer::new(DType::F32, capacity(block).next_multiple_of(16 * width) + 16 * width);
            let some = &chunks[chunks.len() * i / splits..chunks.len() * (i + 1) / splits];
            work.sum::<V>(block, some, &mut sums.as_mut_slice::<f32>()[..capacity(block)]);
            sums
        })
        .collect();
    let to = Shared(dw.as_mut_ptr());
    let len = dw.len();
    let panels: Vec<(usize, usize)> =
        blocks.iter().enumerate().flat_map(|(b, block)| (0..block.ocs.len().div_ceil(width)).map(move |i| (b, i))).collect();
    panels.into_par_iter().for_each(|(b, i)| {
        let block = &blocks[b];
        let outputs = block.cs.len() * taps;
        for (split, sums) in sums[b * splits..][..splits].iter().enumerate() {
            let oc = block.ocs.start + i * width;
            let accum = if split > 0 { Accum::Add } else { accum };
            let output = ConvOutput { out: to, len, bias: None, residual: None, relu: false, accum };
            let epilogue = PanelEpilogue {
                output: &output,
                sums: &sums.as_slice::<f32>()[i * width * outputs..],
                pixels: outputs,
                channels: width.min(block.ocs.end - oc),
                start: (oc * p.c + block.cs.start) * taps,
                plane: p.c * taps,
            };
            // SAFETY: the instructions are here; the panels of blocks are disjoint in dw.
            unsafe { V::run(epilogue) }
        }
    });
}
