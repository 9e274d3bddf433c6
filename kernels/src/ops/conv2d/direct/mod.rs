//! conv2d variant: direct convolution, pixels broadcast against vectors of output channels.
//!
//! Computes  out[oc, pixel] = sum over (c, tap) of w[oc, c, tap] * x[c, pixel + tap] (+ bias, residual),   dx the same from `dout`
//! im2col wastes: it copies each input once per kernel element into panels, and cuts the pixels of small maps into vectors
//!                that they do not fill: 49 pixels of a 7x7 map take four vectors of sixteen.
//! This variant:  puts output channels into the lanes. A pixel is then one number, broadcast from where it lies in the image: a 1x1
//!                convolution copies nothing, others a band of rows with its border of zeros, once for all output channels. The
//!                sums lie pixel by pixel, and are transposed into planes when they are complete.
//! Loses when:    input channels are few (transposing the sums costs as much as some forty steps), or Winograd saves more.
//! Run:           CONVSCOPE_KERNEL=conv2d.fwd=direct_avx2

mod plan;
mod view;
pub(super) mod wgrad;

use super::Conv2dSpec;
use super::epilogue::{ConvOutput, PanelEpilogue};
use super::geometry::{Interleave, StridePhase, stride_phases};
use super::im2col::TransposedWeight;
use super::microkernel::{GROUPS, Prefetch, TilePass, panel_width, whole_tiles};
use crate::core::buffer::Buffer;
use crate::core::device::DType;
use crate::core::table::Accum;
use crate::core::threads::{Shared, par_items};
use crate::ops::gemm::pack::{Matrix, PackSource, pack_panel};
use crate::simd::{self, Vector};
use plan::{Band, plan};
use rayon::prelude::*;
use std::ops::Range;
use view::{Copy, DirectProblem, PaddedView};

/// Steps of a pass at most: the weights of 32 output channels are 24 KiB, which stay in L1 while the pixels of a band pass.
const STEPS: usize = 192;
/// Output channels of a panel at most.
const MAX_PANEL: usize = 32;

/// Bytes of a weight that stays in L2 while band after band passes.
const SMALL_WEIGHT: usize = 640 << 10;

/// A band of an image by some output channels.
type Task<'a> = (&'a Band, usize, Range<usize>);

/// Data that all tasks of a problem share.
struct DirectConv<'a> {
    p: &'a DirectProblem,
    /// The images, or copies of them in the view.
    x: &'a [f32],
    view: &'a PaddedView,
    w: &'a [f32],
    output: &'a ConvOutput<'a>,
}

impl DirectConv<'_> {
    /// Where tasks of this band read the input.
    fn view<'a>(&'a self, band: &'a Band) -> &'a PaddedView {
        band.own.as_ref().unwrap_or(self.view)
    }

    /// The weight of channel `c` on, for a panel of output channels of an image.
    fn weight<V: Vector>(&self, image: usize, panel: usize, c: usize) -> &[f32] {
        let (p, steps) = (self.p, self.p.steps());
        let group = &self.w[image % p.groups * packed_len::<V>(p.oc, steps)..];
        &group[(panel * steps + c * p.taps.len()) * panel_width::<V>()..]
    }

    /// Output channels of a panel.
    fn channels<V: Vector>(&self, panel: usize) -> Range<usize> {
        let width = panel_width::<V>();
        panel * width..self.p.oc.min((panel + 1) * width)
    }

    /// Offset in the output of a band's first pixel, in the first channel of a panel.
    fn output_start<V: Vector>(&self, (band, image, _): &Task, panel: usize) -> usize {
        (image * self.p.oc + self.channels::<V>(panel).start) * self.p.plane() + band.start
    }

    /// Computes a task. `follower` is the one that this thread is likely to do next.
    fn task<V: Vector>(&self, task: &Task, follower: Option<&Task>) {
        let (p, (band, image, channels)) = (self.p, task.clone());
        let (view, width) = (self.view(band), panel_width::<V>());
        let blocks = p.c.div_ceil((STEPS / p.taps.len()).max(1)).max(1);
        let each = p.c.div_ceil(blocks).max(1);
        let panels = channels.start / width..channels.end.div_ceil(width);
        // Whole blocks of pixels are transposed, and each group reads the sums of all of its pixels.
        let capacity = band.accumulators().next_multiple_of(V::LANES) * width;
        let mut sums = Buffer::new(DType::F32, panels.len() * capacity);
        let mut copy = Buffer::new(DType::F32, if band.own.is_some() { each * view.channel } else { 0 });
        for c0 in (0..p.c).step_by(each) {
            let channels = c0..p.c.min(c0 + each);
            let x = match band.own {
                None => &self.x[(image * p.c + c0) * view.channel..][..channels.len() * view.channel],
                Some(_) => {
                    let x = &self.x[(image * p.c + c0) * p.h * p.w..];
                    let to = &mut copy.as_mut_slice::<f32>()[..channels.len() * view.channel];
                    // SAFETY: the instructions are here (run).
                    unsafe { V::run(Copy { p, view, x, to: &mut *to }) }
                    &*to
                }
            };
            let last = channels.end == p.c;
            let block = InputBlock { channels, x, next: self.next_input(task, x, last, follower), panels: panels.clone() };
            for (panel, sums) in panels.clone().zip(sums.as_mut_slice::<f32>().chunks_exact_mut(capacity)) {
                self.accumulate::<V>(task, &block, panel, sums);
                if last {
                    self.finish::<V>(task, panel, sums);
                }
            }
        }
    }

    /// Start of the input that follows that of a block, for prefetching: of the next block, or of the next task. Only where the image is
    /// read in place: copies are made from whole rows, and lie in L2.
    fn next_input(&self, (band, ..): &Task, x: &[f32], last: bool, follower: Option<&Task>) -> Option<*const f32> {
        let seen = |band: &Band| band.groups.first().map_or(0, |g| g.x);
        match follower {
            _ if self.p.taps.len() > 1 || band.own.is_some() => None,
            _ if !last => Some(x.as_ptr().wrapping_add(x.len())),
            Some((next, image, _)) => {
                let x = self.x.as_ptr().wrapping_add(image * self.p.c * self.view.channel + seen(next));
                Some(x.wrapping_sub(seen(band)))
            }
            None => None,
        }
    }

    /// Adds the products of a block of input channels to the sums `[accumulator, panel]` of a panel, and prefetches meanwhile.
    fn accumulate<V: Vector>(&self, task: &Task, block: &InputBlock, panel: usize, sums: &mut [f32]) {
        let (p, output, (band, image, _)) = (self.p, self.output, task.clone());
        let (view, taps, InputBlock { channels, x, next, panels }) = (self.view(band), p.taps.len(), block);
        let (index, outputs) = (panel - panels.start, self.channels::<V>(panel));
        let (vectors, last) = (outputs.len().div_ceil(V::LANES), channels.end == p.c);
        let weight = |panel: usize, c: usize| self.weight::<V>(image, panel, c).as_ptr();
        // The weights that follow: the next panel's, or the first one's of the next input channels.
        let next_weight = match panel + 1 < panels.end {
            true => weight(panel + 1, channels.start),
            false => weight(panels.start, channels.end.min(p.c - 1)),
        };
        // The first tiles prefetch the weights, a line a step and as many tiles as there are vectors; the others, over all panels, the
        // input of one tile each.
        let tiles = whole_tiles::<V>(band.pixels, band.groups.len());
        let prefetch = |tile: usize| {
            let seen = tile.checked_sub(vectors).map(|t| t + index * tiles.saturating_sub(vectors)).filter(|t| *t < tiles);
            match (next, seen) {
                (Some(x), Some(t)) => Prefetch::Channels(x.wrapping_add(band.groups[t * GROUPS].x)),
                _ => Prefetch::Run(next_weight.wrapping_add(tile * channels.len() * taps * V::LANES)),
            }
        };
        let mut start = [0.0; MAX_PANEL];
        if let Some(bias) = output.bias {
            start[..outputs.len()].copy_from_slice(&bias[image % p.groups * p.oc..][outputs]);
        }
        let (plane, at) = (p.plane(), self.output_start::<V>(task, panel));
        let pass = TilePass {
            pixels: band.pixels,
            pitch: p.step[1],
            groups: &band.groups,
            channels: channels.len(),
            x: x.as_ptr(),
            channel_stride: view.channel,
            taps: &view.taps,
            w: weight(panel, channels.start),
            vectors,
            prefetch: &prefetch,
            prefetch_planes: match last {
                true => [
                    Some(output.out.get().wrapping_add(at).cast_const()).filter(|_| !output.streams::<V>(plane)),
                    output.residual.map(|r| r[at..].as_ptr()),
                ],
                false => [None; 2],
            },
            plane_stride: plane,
            sums: sums.as_mut_ptr(),
            start: if channels.start == 0 { start.as_ptr() } else { std::ptr::null() },
            relu: output.relu && output.residual.is_none() && last,
        };
        // SAFETY: the instructions are here (run); groups stay inside a channel of the view, and the block has `channels` of these; the
        // weight holds all steps of this panel (run), and `sums` holds the accumulators of all groups.
        unsafe { V::run(pass) }
    }

    /// Stores the complete sums of a panel in their planes.
    fn finish<V: Vector>(&self, task: &Task, panel: usize, sums: &[f32]) {
        let (channels, start, plane) = (self.channels::<V>(panel).len(), self.output_start::<V>(task, panel), self.p.plane());
        let epilogue = PanelEpilogue { output: self.output, sums, pixels: task.0.count, channels, start, plane };
        // SAFETY: the instructions are here; lengths and offsets are checked there, and the pixels are this task's alone.
        unsafe { V::run(epilogue) }
    }
}

/// Input channels of a task that are summed at a time.
struct InputBlock<'a> {
    channels: Range<usize>,
    /// Their pixels, as the view has them.
    x: &'a [f32],
    /// The input that follows, if it is to be prefetched.
    next: Option<*const f32>,
    /// All panels of the task.
    panels: Range<usize>,
}

fn run<V: Vector>(p: &DirectProblem, x: &[f32], w: &[f32], output: &ConvOutput) {
    let [oh, ow] = p.size;
    if p.n * p.oc * oh * ow == 0 {
        return;
    }
    simd::require::<V>();
    assert!(output.residual.is_none_or(|r| r.len() == output.len));
    assert!(x.len() >= p.n * p.c * p.h * p.w && w.len() >= p.groups * packed_len::<V>(p.oc, p.steps()));
    let plan = plan::<V>(p);
    // Where each band has one task, tasks copy for themselves what they see: it stays in their L2. Otherwise it is copied once.
    let image = PaddedView::image(p);
    let (copies, own) = (image.is_none(), image.is_none() && plan.channels >= p.oc);
    let view = image.unwrap_or_else(|| PaddedView::copy(p, &(0..oh)));
    let copied = (copies && !own).then(|| Copy::all::<V>(p, &view, x));
    let bands = plan.bands.iter().map(|r| {
        let (rows, columns) = if oh == 1 { (0..1, r.clone()) } else { (r.clone(), 0..ow) };
        if !own {
            return Band::new::<V>(p, &view, 0, rows, columns);
        }
        let view = PaddedView::copy(p, &rows);
        let band = Band::new::<V>(p, &view, rows.start, rows, columns);
        Band { own: Some(view), ..band }
    });
    let bands: Vec<Band> = bands.collect();
    let channels = || (0..p.oc).step_by(plan.channels).map(|c0| c0..p.oc.min(c0 + plan.channels));
    let mut tasks: Vec<Task> = Vec::new();
    for image in 0..p.n {
        if 4 * w.len() <= SMALL_WEIGHT {
            // Halves of the tasks are halves of the image, as in the layer before: what a core reads, it wrote.
            tasks.extend(bands.iter().flat_map(|band| channels().map(move |some| (band, image, some))));
        } else {
            tasks.extend(channels().flat_map(|some| bands.iter().map(move |band| (band, image, some.clone()))));
        }
    }
    let x = copied.as_ref().map_or(x, |all| all.as_slice());
    let work = DirectConv { p, x, view: &view, w, output };
    tasks.par_iter().enumerate().with_max_len(1).for_each(|(i, task)| work.task::<V>(task, tasks.get(i + 1)));
}

pub(super) fn supported(s: &Conv2dSpec) -> Result<(), &'static str> {
    if s.stride[1] <= 2 { s.compact() } else { Err("wants a horizontal stride of 1 or 2") }
}

/// Whether a product of two matrices, straight into planes, takes less than transposing the sums of a convolution of so many channels:
/// sums are many for their steps, its tiles waste little of a plane, and the output (bytes) stays in cache. Otherwise the direct
/// variant, which prefetches the lines of the output ahead, is faster.
fn product_wins(s: &Conv2dSpec, [from, to]: [usize; 2], plane: usize) -> bool {
    let plain = s.kernel == [1, 1] && s.stride == [1, 1] && s.padding == [0; 4] && s.groups == 1;
    plain && from < to && from <= 256 && plane >= 512 && 4 * s.n * to * plane <= 4 << 20
}

/// Whether there are steps enough for what transposing the sums costs. A product of two matrices has less to gain than a kernel of
/// several elements, whose inputs would be copied many times.
fn enough(s: &Conv2dSpec, channels: [usize; 2], plane: usize) -> Result<(), &'static str> {
    let taps = s.kernel[0] * s.kernel[1];
    let few = if taps == 1 { 64 } else { 96 };
    let channels = channels.map(|channels| channels / s.groups);
    if channels[0] * taps < few || product_wins(s, channels, plane) {
        return Err("few steps: turning the sums costs more than it saves");
    }
    Ok(())
}

pub(super) fn preferred(s: &Conv2dSpec) -> Result<(), &'static str> {
    let [oh, ow] = s.out_hw();
    enough(s, [s.c, s.oc], oh * ow)
}

pub(super) fn preferred_dgrad(s: &Conv2dSpec) -> Result<(), &'static str> {
    enough(s, [s.oc, s.c], s.h * s.w)
}

/// Bytes of the packed weight.
pub(super) fn scratch<V: Vector>(s: &Conv2dSpec) -> usize {
    4 * s.groups * packed_len::<V>(s.oc / s.groups, s.patch())
}

/// Bytes of the packed weight, and of the stride phases.
pub(super) fn scratch_dgrad<V: Vector>(s: &Conv2dSpec) -> usize {
    let phases = if s.stride == [1, 1] { 0 } else { s.in_len() };
    4 * (s.groups * packed_len::<V>(s.c / s.groups, s.oc / s.groups * s.kernel[0] * s.kernel[1]) + phases)
}

/// Numbers of a weight of `m` output channels in panels.
fn packed_len<V: Vector>(m: usize, steps: usize) -> usize {
    m.next_multiple_of(panel_width::<V>()) * steps
}

fn pack<V: Vector>(lanes: &dyn PackSource, m: usize, steps: usize, out: &mut [f32]) {
    let width = panel_width::<V>();
    let panels = out.par_chunks_exact_mut((width * steps).max(1)).enumerate();
    panels.for_each(|(i, panel)| pack_panel(lanes, i * width..m.min((i + 1) * width), 0..steps, width, panel));
}

/// The weight in panels of a group's output channels: `[group][panel][c][tap][lane]`.
pub(super) fn pack_fwd<V: Vector>(s: &Conv2dSpec, w: &Buffer) -> Buffer {
    let (og, patch) = (s.oc / s.groups, s.patch());
    let len = packed_len::<V>(og, patch);
    let mut all = Buffer::new(DType::F32, s.groups * len);
    for (g, panels) in all.as_mut_slice::<f32>().chunks_exact_mut(len.max(1)).enumerate() {
        let weight = Matrix { data: &w.as_slice()[g * og * patch..], lane_stride: patch, k_stride: 1 };
        pack::<V>(&weight, og, patch, panels);
    }
    all
}

/// The transposed weight in panels of a group's input channels, `[group][panel][oc][tap][lane]`, of each phase one after the other.
pub(super) fn pack_dgrad<V: Vector>(s: &Conv2dSpec, w: &Buffer) -> Buffer {
    let (phases, [cg, og]) = (stride_phases(s), [s.c, s.oc].map(|channels| channels / s.groups));
    let len = |phase: &StridePhase| packed_len::<V>(cg, og * phase.taps.len());
    let mut all = Buffer::new(DType::F32, s.groups * phases.iter().map(len).sum::<usize>());
    let mut rest = all.as_mut_slice::<f32>();
    for phase in &phases {
        for g in 0..s.groups {
            let (panels, tail) = rest.split_at_mut(len(phase));
            rest = tail;
            let w = &w.as_slice()[g * og * s.patch()..];
            pack::<V>(&TransposedWeight { s, w, phase }, cg, og * phase.taps.len(), panels);
        }
    }
    all
}

pub(super) fn fwd<V: Vector>(s: &Conv2dSpec, inputs: &[&Buffer], outputs: &mut [&mut Buffer], accum: Accum) {
    let (bias, residual) = s.bias_and_residual::<f32>(inputs);
    let out = outputs[0].as_mut_slice::<f32>();
    let output = ConvOutput { out: Shared(out.as_mut_ptr()), len: out.len(), bias, residual, relu: s.relu, accum };
    run::<V>(&DirectProblem::forward(s), inputs[0].as_slice(), inputs[1].as_slice(), &output);
}

pub(super) fn dgrad<V: Vector>(s: &Conv2dSpec, inputs: &[&Buffer], outputs: &mut [&mut Buffer], accum: Accum) {
    let (dout, mut w) = (inputs[0].as_slice::<f32>(), inputs[1].as_slice::<f32>()); // dout [n,oc,oh,ow]; w from pack_dgrad
    let out = outputs[0].as_mut_slice::<f32>();
    let phases = stride_phases(s);
    let mut each = |phase: &StridePhase, out: &mut [f32], accum: Accum| {
        let p = DirectProblem::backward(s, phase);
        let output = ConvOutput { out: Shared(out.as_mut_ptr()), len: out.len(), bias: None, residual: None, relu: false, accum };
        let (mine, rest) = w.split_at(p.groups * packed_len::<V>(p.oc, p.steps()));
        w = rest;
        run::<V>(&p, dout, mine, &output);
    };
    if s.stride == [1, 1] {
        return phases.iter().for_each(|phase| each(phase, out, accum));
    }
    // With a stride, each phase is a small image of its own, and `dx` interleaves them.
    let images: Vec<Option<Buffer>> = phases
        .iter()
        .map(|phase| {
            let mut image = Buffer::new(DType::F32, s.n * s.c * phase.size[0] * phase.size[1]);
            (!phase.taps.is_empty()).then(|| {
                each(phase, image.as_mut_slice(), Accum::Write);
                image
            })
        })
        .collect();
    par_items(out, s.h * s.w, |first, planes| {
        for (i, plane) in planes.chunks_exact_mut(s.h * s.w).enumerate() {
            let small = |(phase, image): (&StridePhase, &Option<Buffer>)| {
                let [h, w] = phase.size;
                (
                    image
                        .as_ref()
                        .map_or(std::ptr::null(), |image| image.as_slice::<f32>()[(first + i) * h * w..][..h * w].as_ptr()),
                    w,
                )
            };
            let small: Vec<(*const f32, usize)> = phases.iter().zip(&images).map(small).collect();
            // SAFETY: the instructions are here; each plane has the size of its phase.
            unsafe { V::run(Interleave { s, phases: &small, plane, accum }) }
        }
    });
}
