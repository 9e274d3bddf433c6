//! conv2d variant: implicit im2col, the packed product of [`crate::ops::gemm`] over patches that are never stored.
//!
//! Computes  out[oc, pixel] = w[oc, patch] · col[patch, pixel] (+ bias),   dx[c, pixel] (+)= w^T · col'(dout),   dw (+)= dout · col^T
//! naive wastes:  it tests the borders at every product and uses no number twice while it is in a register.
//! This variant:  packs patches of the images straight into the panels that the register tile reads; the weight is packed once and
//!                kept with the weight. `dx` of a strided convolution is one product for each stride phase of its pixels,
//!                over the kernel elements that such pixels meet: nothing is multiplied by a zero between pixels.
//! Loses when:    3x3 layers with many channels (Winograd multiplies 2 to 4 times less), depthwise (one channel makes no panel).
//! Run:           CONVSCOPE_KERNEL=conv2d.fwd=im2col_avx2

pub(super) mod col2im;
pub(super) mod double;

use super::Conv2dSpec;
use super::geometry::{StridePhase, forward_taps, gather, stride_phases, zero};
use crate::core::buffer::Buffer;
use crate::core::device::DType;
use crate::core::table::Accum;
use crate::ops::gemm::pack::{Matrix, PackSource, pack_a_into, packed_len};
use crate::ops::gemm::packed::{Columns, Product, run_product, run_reduction};
use crate::simd::{self, Kernel, Vector};
use rayon::prelude::*;
use std::ops::Range;

/// Bytes of the packed weight: `fwd` and `dgrad`.
pub(super) fn weight_scratch(s: &Conv2dSpec) -> usize {
    4 * s.weight_len()
}

/// Bytes of the packed gradient: `wgrad`.
pub(super) fn gradient_scratch(s: &Conv2dSpec) -> usize {
    4 * s.out_len() / s.groups
}

/// Splits `pixels` of images of `height x width` into runs within one row: calls `f(image, row, first column, offset, length)`.
fn rows_of(pixels: Range<usize>, [height, width]: [usize; 2], mut f: impl FnMut(usize, usize, usize, usize, usize)) {
    let mut p = pixels.start;
    while p < pixels.end {
        let (row, x) = (p / width, p % width);
        let len = (width - x).min(pixels.end - p);
        f(row / height, row % height, x, p - pixels.start, len);
        p += len;
    }
}

/// The im2col matrix of a group of channels of all images: pixel `(y, x)` of an output of `size` sees, through tap `(dy, dx)`,
/// the input at `(y * step + dy, x * step + dx)`, or zero where that is outside.
struct Patches<'a> {
    /// The images from the group's first channel on.
    x: &'a [f32],
    image_stride: usize,
    /// Height and width of a channel.
    h: usize,
    w: usize,
    size: [usize; 2],
    step: [usize; 2],
    taps: Vec<[isize; 2]>,
}

/// A run of pixels within one row: what tap (0, 0) sees at its start.
struct Run {
    image: usize,
    y: isize,
    x: isize,
    offset: usize,
    len: usize,
}

impl<'a> Patches<'a> {
    /// The patches of `x` that the output of `s` sees.
    fn forward(s: &Conv2dSpec, x: &'a [f32], group: usize) -> Self {
        let x = &x[(group * s.c / s.groups * s.h * s.w).min(x.len())..];
        let image_stride = s.c * s.h * s.w;
        Patches { x, image_stride, h: s.h, w: s.w, size: s.out_hw(), step: s.stride, taps: forward_taps(s) }.flat()
    }

    /// The patches of `dout` that the input pixels of a phase see.
    fn backward(s: &Conv2dSpec, dout: &'a [f32], group: usize, phase: &StridePhase) -> Self {
        let [h, w] = s.out_hw();
        let x = &dout[(group * s.oc / s.groups * h * w).min(dout.len())..];
        let taps = phase.taps.iter().map(|t| t.1).collect();
        Patches { x, image_stride: s.oc * h * w, h, w, size: phase.size, step: [1, 1], taps }.flat()
    }

    /// A 1x1 convolution without stride is a matrix product: its images are one row.
    fn flat(mut self) -> Self {
        if self.taps == [[0, 0]] && self.step == [1, 1] && self.size == [self.h, self.w] {
            (self.w, self.h) = (self.h * self.w, 1);
            self.size = [1, self.w];
        }
        self
    }

    fn runs(&self, pixels: Range<usize>) -> Vec<Run> {
        let mut all = Vec::with_capacity(pixels.len() / self.size[1].max(1) + 2);
        rows_of(pixels, self.size, |image, y, x, offset, len| {
            let (y, x) = ((y * self.step[0]) as isize, (x * self.step[1]) as isize);
            all.push(Run { image, y, x, offset, len });
        });
        all
    }

    /// Lane or step `i` as channel and tap.
    #[inline(always)]
    fn tap(&self, i: usize) -> (usize, [isize; 2]) {
        (i / self.taps.len(), self.taps[i % self.taps.len()])
    }

    /// Stores what tap `[dy, dx]` of channel `c` sees along the runs, each at its offset from `to`.
    ///
    /// # Safety
    /// As [`Vector`]; `to` must be valid for the pixels of all runs.
    #[inline(always)]
    unsafe fn fill<V: Vector>(&self, to: *mut f32, c: usize, [dy, dx]: [isize; 2], runs: &[Run]) {
        for run in runs {
            let y = run.y + dy;
            // SAFETY: the caller's.
            unsafe {
                let to = to.add(run.offset);
                if y < 0 || y >= self.h as isize {
                    zero::<V>(to, run.len);
                    continue;
                }
                let row = &self.x[run.image * self.image_stride + (c * self.h + y as usize) * self.w..][..self.w];
                if self.taps.len() == 1 {
                    // Each step reads a little from far away: the hardware does not see what comes.
                    for line in (0..run.len * self.step[1]).step_by(16) {
                        V::prefetch(row.as_ptr().wrapping_offset(run.x + line as isize).wrapping_add(FAR * self.h * self.w));
                    }
                }
                gather::<V>(to, run.len, row, run.x + dx, self.step[1]);
            }
        }
    }
}

/// Channels by which the pixels of a 1x1 convolution are fetched in advance.
const FAR: usize = 8;

impl PackSource for Patches<'_> {
    /// Lanes are the pixels of all images, steps are (c, kh, kw).
    fn pack(&self, lanes: Range<usize>, ks: Range<usize>, width: usize, panel: &mut [f32]) {
        struct Pack<'a>(&'a Patches<'a>, Vec<Run>, Range<usize>, usize, &'a mut [f32]);
        impl Kernel for Pack<'_> {
            type Out = ();
            #[inline(always)]
            unsafe fn run<V: Vector>(self) {
                let Pack(patches, runs, ks, width, panel) = self;
                for (k, line) in ks.zip(panel.chunks_exact_mut(width)) {
                    let (c, tap) = patches.tap(k);
                    // SAFETY: the runs are the lanes, of which a line holds all.
                    unsafe { patches.fill::<V>(line.as_mut_ptr(), c, tap, &runs) }
                }
            }
        }
        assert!(lanes.len() <= width);
        // SAFETY: no pointers.
        unsafe { simd::dispatch(Pack(self, self.runs(lanes), ks, width, panel)) }
    }
}

/// The same matrix transposed, for the weight gradient: lanes are (c, kh, kw), steps are the pixels of all images.
struct TransposedPatches<'a>(Patches<'a>);

impl PackSource for TransposedPatches<'_> {
    fn pack(&self, lanes: Range<usize>, ks: Range<usize>, width: usize, panel: &mut [f32]) {
        struct Pack<'a>(&'a Patches<'a>, Range<usize>, Range<usize>, usize, &'a mut [f32]);
        impl Kernel for Pack<'_> {
            type Out = ();
            #[inline(always)]
            unsafe fn run<V: Vector>(self) {
                // A few patches at a time as they lie in the image, then transposed into the panel.
                const FEW: usize = 16;
                const LONG: usize = 256;
                let Pack(patches, lanes, ks, width, panel) = self;
                let mut rows = [0.0f32; FEW * LONG];
                for k0 in ks.clone().step_by(LONG) {
                    let some = k0..ks.end.min(k0 + LONG);
                    let runs = patches.runs(some.clone());
                    for l0 in (0..lanes.len()).step_by(FEW) {
                        let count = FEW.min(lanes.len() - l0);
                        for (i, row) in rows.chunks_exact_mut(LONG).take(count).enumerate() {
                            let (c, tap) = patches.tap(lanes.start + l0 + i);
                            // SAFETY: the runs are the pixels of `some`, of which a row holds all.
                            unsafe { patches.fill::<V>(row.as_mut_ptr(), c, tap, &runs) }
                        }
                        let to = &mut panel[(k0 - ks.start) * width + l0..];
                        simd::transpose(&rows, LONG, [count, some.len()], to, width);
                    }
                }
            }
        }
        // SAFETY: no pointers.
        unsafe { simd::dispatch(Pack(&self.0, lanes, ks, width, panel)) }
    }
}

/// The gradient for `dw`: lanes are output channels of a group, steps are the pixels of all images.
struct GradientChannels<'a> {
    s: &'a Conv2dSpec,
    /// `[n, oc, oh, ow]`
    dout: &'a [f32],
    group: usize,
}

impl PackSource for GradientChannels<'_> {
    fn pack(&self, lanes: Range<usize>, ks: Range<usize>, width: usize, panel: &mut [f32]) {
        let (plane, og) = (self.s.out_plane(), self.s.oc / self.s.groups);
        rows_of(ks, [1, plane], |image, _, pixel, k, len| {
            let start = (image * self.s.oc + self.group * og) * plane + pixel;
            let channels = Matrix { data: &self.dout[start..], lane_stride: plane, k_stride: 1 };
            channels.pack(lanes.clone(), 0..len, width, &mut panel[k * width..]);
        });
    }
}

/// `w^T` of a phase: lanes are input channels of a group, steps are (oc, tap).
pub(super) struct TransposedWeight<'a> {
    pub s: &'a Conv2dSpec,
    /// `[oc / groups, c / groups, kh, kw]`
    pub w: &'a [f32],
    pub phase: &'a StridePhase,
}

impl PackSource for TransposedWeight<'_> {
    fn pack(&self, lanes: Range<usize>, ks: Range<usize>, width: usize, panel: &mut [f32]) {
        let (taps, area) = (&self.phase.taps, self.s.kernel[0] * self.s.kernel[1]);
        for (k, dst) in ks.zip(panel.chunks_exact_mut(width)) {
            let (oc, tap) = (k / taps.len(), taps[k % taps.len()].0);
            if area == 1 {
                dst[..lanes.len()].copy_from_slice(&self.w[oc * self.s.patch() + lanes.start..][..lanes.len()]);
                continue;
            }
            lanes.clone().zip(dst).for_each(|(c, d)| *d = self.w[oc * self.s.patch() + c * area + tap]);
        }
    }
}

/// The forward weight, `[oc / groups, patch]` per group, packed.
pub(super) fn pack_fwd<V: Vector>(s: &Conv2dSpec, w: &Buffer) -> Buffer {
    let (m, k) = (s.oc / s.groups, s.patch());
    let each = packed_len::<V>(m, k);
    let mut all = Buffer::new(DType::F32, each * s.groups);
    let w = w.as_slice::<f32>();
    for (g, panels) in all.as_mut_slice::<f32>().chunks_exact_mut(each.max(1)).enumerate() {
        pack_a_into::<V>(&Matrix { data: &w[g * m * k..], lane_stride: k, k_stride: 1 }, m, k, panels);
    }
    all
}

/// The transposed weight, `[c / groups, (oc / groups, taps)]` per phase and group, packed one after the other.
pub(super) fn pack_dgrad<V: Vector>(s: &Conv2dSpec, w: &Buffer) -> Buffer {
    let (m, og) = (s.c / s.groups, s.oc / s.groups);
    let phases = stride_phases(s);
    let total: usize = phases.iter().map(|r| packed_len::<V>(m, og * r.taps.len())).sum();
    let mut all = Buffer::new(DType::F32, total * s.groups);
    let mut rest = all.as_mut_slice::<f32>();
    for phase in &phases {
        let k = og * phase.taps.len();
        for g in 0..s.groups {
            let (panels, tail) = rest.split_at_mut(packed_len::<V>(m, k));
            rest = tail;
            let w = &w.as_slice::<f32>()[g * og * s.patch()..];
            pack_a_into::<V>(&TransposedWeight { s, w, phase }, m, k, panels);
        }
    }
    all
}

pub(super) fn fwd<V: Vector>(s: &Conv2dSpec, inputs: &[&Buffer], outputs: &mut [&mut Buffer], accum: Accum) {
    let (x, a) = (inputs[0].as_slice::<f32>(), inputs[1].as_slice::<f32>()); // x [n,c,h,w]; a from pack_fwd
    let (bias, residual) = s.bias_and_residual::<f32>(inputs);
    let (m, k, plane) = (s.oc / s.groups, s.patch(), s.out_plane());
    for (g, a) in a.chunks_exact(packed_len::<V>(m, k).max(1)).enumerate() {
        let b = Patches::forward(s, x, g);
        let columns = Columns::planes(g * m * plane, plane, s.oc * plane);
        let row_bias = bias.map(|b| &b[g * m..][..m]);
        let product = Product { row_bias, residual, relu: s.relu, ..Product::plain([m, s.n * plane, k], a, &b, columns, plane) };
        run_product::<V>(&product, outputs[0].as_mut_slice(), accum);
    }
}

pub(super) fn dgrad<V: Vector>(s: &Conv2dSpec, inputs: &[&Buffer], outputs: &mut [&mut Buffer], accum: Accum) {
    let (dout, mut a) = (inputs[0].as_slice::<f32>(), inputs[1].as_slice::<f32>()); // dout [n,oc,oh,ow]; a from pack_dgrad
    let (m, og, plane) = (s.c / s.groups, s.oc / s.groups, s.h * s.w);
    let phases = stride_phases(s);
    // Pixels that no output saw have no product.
    if accum == Accum::Write && phases.iter().any(|r| r.taps.is_empty()) {
        outputs[0].as_mut_slice::<f32>().par_chunks_mut(1 << 16).for_each(|dx| dx.fill(0.0));
    }
    for phase in phases.iter().filter(|r| !r.taps.is_empty()) {
        let k = og * phase.taps.len();
        for g in 0..s.groups {
            let [height, width] = phase.size;
            let columns = Columns {
                start: g * m * plane + phase.origin[0] * s.w + phase.origin[1],
                width,
                step: s.stride[1],
                height,
                row_stride: s.stride[0] * s.w,
                image_stride: s.c * plane,
            };
            // Without stride, rows follow each other.
            let columns = if s.stride == [1, 1] { Columns::planes(columns.start, plane, s.c * plane) } else { columns };
            let b = Patches::backward(s, dout, g, phase);
            let product = Product::plain([m, s.n * height * width, k], a, &b, columns, plane);
            run_product::<V>(&product, outputs[0].as_mut_slice(), accum);
            a = &a[packed_len::<V>(m, k)..];
        }
    }
}

pub(super) fn wgrad<V: Vector>(s: &Conv2dSpec, inputs: &[&Buffer], outputs: &mut [&mut Buffer], accum: Accum) {
    let (dout, x) = (inputs[0].as_slice::<f32>(), inputs[1].as_slice::<f32>());
    let (m, n, k) = (s.oc / s.groups, s.patch(), s.n * s.out_plane());
    for (group, dw) in outputs[0].as_mut_slice::<f32>().chunks_exact_mut((m * n).max(1)).enumerate() {
        let b = TransposedPatches(Patches::forward(s, x, group));
        run_reduction::<V>([m, n, k], &GradientChannels { s, dout, group }, &b, dw, accum);
    }
}
