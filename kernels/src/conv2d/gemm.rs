//! conv2d rung 1: implicit im2col, the packed product of [`crate::gemm`] over patches that are never stored.
//!
//! Computes  out[oc, pixel] (+)= w[oc, patch] · col[patch, pixel] (+ bias),   dx[c, pixel] (+)= w^T · col'(dout),   dw (+)= dout · col^T
//! Rung 0 wasted: it tested the borders at every product and used no number twice while it was in a register.
//! This rung:     packs patches of the image straight into the panels that the register tile reads; the weight is packed once and
//!                kept with the weight.
//! Loses when:    3x3 layers with many channels (Winograd multiplies 2 to 4 times less), depthwise (one channel makes no panel),
//!                and strided `dgrad` (three of four packed numbers are zero at stride 2).
//! Run:           CONVSCOPE_KERNEL=conv2d.fwd=im2col_avx2

use super::Conv2dSpec;
use crate::buffer::Buffer;
use crate::device::DType;
use crate::gemm::packed::{Lanes, Matrix, Product, pack_a, run_products};
use crate::gemm::tile::Tile;
use crate::table::Accum;
use std::ops::Range;

/// Bytes of the packed weight: `fwd` and `dgrad`.
pub(super) fn weight_scratch(s: &Conv2dSpec) -> usize {
    4 * s.weight_len()
}

/// Bytes of the packed gradient: `wgrad`.
pub(super) fn gradient_scratch(s: &Conv2dSpec) -> usize {
    4 * s.out_len() / s.groups
}

/// Splits `pixels` of an image `width` wide into runs within one row: calls `f(row, first column, offset, length)`.
fn rows_of(pixels: Range<usize>, width: usize, mut f: impl FnMut(usize, usize, usize, usize)) {
    let mut p = pixels.start;
    while p < pixels.end {
        let (y, x) = (p / width, p % width);
        let len = (width - x).min(pixels.end - p);
        f(y, x, p - pixels.start, len);
        p += len;
    }
}

/// A run of pixels within one row, as the source pixel that tap (0, 0) of the kernel sees at its start.
struct Run {
    y: isize,
    x: isize,
    offset: usize,
    len: usize,
}

/// The runs of `pixels` of an image `width` wide; pixel (y, x) sees (y * step + origin).
fn runs(pixels: Range<usize>, width: usize, step: [usize; 2], origin: [isize; 2]) -> Vec<Run> {
    let mut all = Vec::with_capacity(pixels.len() / width.max(1) + 2);
    rows_of(pixels, width, |y, x, offset, len| {
        all.push(Run { y: (y * step[0]) as isize + origin[0], x: (x * step[1]) as isize + origin[1], offset, len });
    });
    all
}

/// Steps `k` of a matrix over (channel, kernel row, kernel column), from `ks.start` on.
fn taps(ks: Range<usize>, [kh, kw]: [usize; 2]) -> impl Iterator<Item = (usize, usize, usize)> {
    let mut at = (ks.start / (kh * kw), ks.start / kw % kh, ks.start % kw);
    ks.map(move |_| {
        let now = at;
        at.2 += 1;
        if at.2 == kw {
            (at.1, at.2) = (at.1 + 1, 0);
            if at.1 == kh {
                (at.0, at.1) = (at.0 + 1, 0);
            }
        }
        now
    })
}

/// Fills `dst` with `src[first + i * step]`, zero where that is outside `src`.
fn gather(dst: &mut [f32], src: &[f32], first: isize, step: usize) {
    let len = dst.len() as isize;
    let step = step as isize;
    // The run of i whose source is inside: first + i*step in 0..src.len().
    let lo = if first < 0 { (-first + step - 1) / step } else { 0 }.min(len);
    let hi = ((src.len() as isize - first).max(0) + step - 1) / step;
    let hi = hi.min(len).max(lo);
    dst[..lo as usize].iter_mut().for_each(|d| *d = 0.0);
    dst[hi as usize..].iter_mut().for_each(|d| *d = 0.0);
    if lo < hi {
        let src = &src[(first + lo * step) as usize..];
        let dst = &mut dst[lo as usize..hi as usize];
        if step == 1 {
            copy(dst, &src[..dst.len()]);
        } else {
            dst.iter_mut().zip(src.iter().step_by(step as usize)).for_each(|(d, s)| *d = *s);
        }
    }
}

/// A copy of a few numbers: the library's memcpy costs more to call than such a copy takes.
#[inline(always)]
fn copy(dst: &mut [f32], src: &[f32]) {
    let ((d16, dst), (s16, src)) = (dst.as_chunks_mut::<16>(), src.as_chunks::<16>());
    d16.iter_mut().zip(s16).for_each(|(d, s)| *d = *s);
    let ((d4, dst), (s4, src)) = (dst.as_chunks_mut::<4>(), src.as_chunks::<4>());
    d4.iter_mut().zip(s4).for_each(|(d, s)| *d = *s);
    dst.iter_mut().zip(src).for_each(|(d, s)| *d = *s);
}

/// The im2col matrix of one image and group: lanes are output pixels, steps are (c, kh, kw).
struct Patches<'a> {
    s: &'a Conv2dSpec,
    /// `[c / groups, h, w]`
    x: &'a [f32],
}

impl Patches<'_> {
    fn runs(&self, pixels: Range<usize>) -> Vec<Run> {
        let s = self.s;
        runs(pixels, s.out_hw()[1], s.stride, [-(s.padding[0] as isize), -(s.padding[2] as isize)])
    }

    /// What tap (c, ky, kx) sees along a run: the source row, unless it is padding, and the column it starts at.
    #[inline(always)]
    fn seen(&self, (c, ky, kx): (usize, usize, usize), run: &Run) -> (Option<&[f32]>, isize) {
        let s = self.s;
        let y = run.y + (ky * s.dilation[0]) as isize;
        let inside = y >= 0 && y < s.h as isize;
        let row = inside.then(|| &self.x[(c * s.h + y as usize) * s.w..][..s.w]);
        (row, run.x + (kx * s.dilation[1]) as isize)
    }
}

impl Lanes for Patches<'_> {
    fn pack(&self, lanes: Range<usize>, ks: Range<usize>, width: usize, panel: &mut [f32]) {
        let runs = self.runs(lanes);
        for (tap, dst) in taps(ks, self.s.kernel).zip(panel.chunks_exact_mut(width)) {
            for run in &runs {
                let dst = &mut dst[run.offset..run.offset + run.len];
                match self.seen(tap, run) {
                    (Some(src), first) => gather(dst, src, first, self.s.stride[1]),
                    (None, _) => dst.iter_mut().for_each(|d| *d = 0.0),
                }
            }
        }
    }
}

/// The same matrix for the weight gradient: lanes are (c, kh, kw), steps are the pixels of all images.
struct PatchesOverPixels<'a> {
    s: &'a Conv2dSpec,
    /// `[n, c, h, w]`
    x: &'a [f32],
    group: usize,
}

impl Lanes for PatchesOverPixels<'_> {
    fn pack(&self, lanes: Range<usize>, ks: Range<usize>, width: usize, panel: &mut [f32]) {
        let s = self.s;
        let cg = s.c / s.groups;
        rows_of(ks, s.out_plane(), |image, pixel, k, len| {
            let x = &self.x[(image * s.c + self.group * cg) * s.h * s.w..][..cg * s.h * s.w];
            let patches = Patches { s, x };
            let runs = patches.runs(pixel..pixel + len);
            for (l, tap) in taps(lanes.clone(), s.kernel).enumerate() {
                for run in &runs {
                    let dst = panel[(k + run.offset) * width + l..].iter_mut().step_by(width).take(run.len);
                    match patches.seen(tap, run) {
                        (Some(src), first) => {
                            let at = |i: usize| src.get((first + (i * s.stride[1]) as isize) as usize).copied().unwrap_or(0.0);
                            dst.enumerate().for_each(|(i, d)| *d = at(i));
                        }
                        (None, _) => dst.for_each(|d| *d = 0.0),
                    }
                }
            }
        });
    }
}

/// The gradient seen from the input: lanes are input pixels, steps are (oc, kh, kw); zero where no output used that pixel so.
struct GradientPatches<'a> {
    s: &'a Conv2dSpec,
    /// `[oc / groups, oh, ow]`
    dout: &'a [f32],
}

impl Lanes for GradientPatches<'_> {
    fn pack(&self, lanes: Range<usize>, ks: Range<usize>, width: usize, panel: &mut [f32]) {
        let s = self.s;
        let ([oh, ow], [sh, sw]) = (s.out_hw(), s.stride);
        let runs = runs(lanes, s.w, [1, 1], [s.padding[0] as isize, s.padding[2] as isize]);
        for ((oc, ky, kx), dst) in taps(ks, s.kernel).zip(panel.chunks_exact_mut(width)) {
            for run in &runs {
                let dst = &mut dst[run.offset..run.offset + run.len];
                // Input row y was read at output row (y + pt - ky*dh) / sh, if that divides; so for columns.
                let ty = run.y - (ky * s.dilation[0]) as isize;
                let first = run.x - (kx * s.dilation[1]) as isize;
                let oy = ty as usize / sh;
                if ty < 0 || !(ty as usize).is_multiple_of(sh) || oy >= oh {
                    dst.iter_mut().for_each(|d| *d = 0.0);
                    continue;
                }
                let row = &self.dout[(oc * oh + oy) * ow..][..ow];
                if sw == 1 {
                    gather(dst, row, first, 1);
                } else {
                    for (i, d) in dst.iter_mut().enumerate() {
                        let tx = (first + i as isize) as usize;
                        *d = if tx.is_multiple_of(sw) { row.get(tx / sw).copied().unwrap_or(0.0) } else { 0.0 };
                    }
                }
            }
        }
    }
}

/// `w^T`: lanes are input channels of a group, steps are (oc, kh, kw).
struct TransposedWeight<'a> {
    s: &'a Conv2dSpec,
    /// `[oc / groups, c / groups, kh, kw]`
    w: &'a [f32],
}

impl Lanes for TransposedWeight<'_> {
    fn pack(&self, lanes: Range<usize>, ks: Range<usize>, width: usize, panel: &mut [f32]) {
        let taps = self.s.kernel[0] * self.s.kernel[1];
        for (k, dst) in ks.zip(panel.chunks_exact_mut(width)) {
            let (oc, tap) = (k / taps, k % taps);
            lanes.clone().zip(dst).for_each(|(c, d)| *d = self.w[oc * self.s.patch() + c * taps + tap]);
        }
    }
}

/// The gradient for `dw`: lanes are output channels of a group, steps are the pixels of all images.
struct GradientChannels<'a> {
    s: &'a Conv2dSpec,
    /// `[n, oc, oh, ow]`
    dout: &'a [f32],
    group: usize,
}

impl Lanes for GradientChannels<'_> {
    fn pack(&self, lanes: Range<usize>, ks: Range<usize>, width: usize, panel: &mut [f32]) {
        let (plane, og) = (self.s.out_plane(), self.s.oc / self.s.groups);
        rows_of(ks, plane, |image, pixel, k, len| {
            let start = (image * self.s.oc + self.group * og) * plane + pixel;
            let channels = Matrix { data: &self.dout[start..], lane_stride: plane, k_stride: 1 };
            channels.pack(lanes.clone(), 0..len, width, &mut panel[k * width..]);
        });
    }
}

/// Packs each group's weight and puts them one after the other.
fn pack_groups<T: Tile>(s: &Conv2dSpec, m: usize, k: usize, group: impl Fn(usize) -> Buffer) -> Buffer {
    if s.groups == 1 {
        return group(0);
    }
    let each = m.div_ceil(T::MR) * T::MR * k;
    let mut all = Buffer::new(DType::F32, each * s.groups);
    for (g, part) in all.as_mut_slice::<f32>().chunks_exact_mut(each.max(1)).enumerate() {
        part.copy_from_slice(group(g).as_slice());
    }
    all
}

/// The forward weight, `[oc / groups, patch]` per group, packed.
pub(super) fn pack_fwd<T: Tile>(s: &Conv2dSpec, w: &Buffer) -> Buffer {
    let (m, k) = (s.oc / s.groups, s.patch());
    let w = w.as_slice::<f32>();
    pack_groups::<T>(s, m, k, |g| pack_a::<T>(&Matrix { data: &w[g * m * k..], lane_stride: k, k_stride: 1 }, m, k))
}

/// The transposed weight, `[c / groups, (oc / groups, kh, kw)]` per group, packed.
pub(super) fn pack_dgrad<T: Tile>(s: &Conv2dSpec, w: &Buffer) -> Buffer {
    let (m, k) = dgrad_size(s);
    let w = w.as_slice::<f32>();
    pack_groups::<T>(s, m, k, |g| pack_a::<T>(&TransposedWeight { s, w: &w[g * s.oc / s.groups * s.patch()..] }, m, k))
}

fn dgrad_size(s: &Conv2dSpec) -> (usize, usize) {
    (s.c / s.groups, s.oc / s.groups * s.kernel[0] * s.kernel[1])
}

/// Runs one product per image and group: `c[m rows of group g of image i, plane]` from packed weights `a` and `lanes(image, group)`.
fn per_image<L: Lanes, T: Tile>(
    s: &Conv2dSpec,
    [m, plane, k]: [usize; 3],
    a: &[f32],
    lanes: impl Fn(usize, usize) -> L,
    bias: Option<&[f32]>,
    out: &mut [f32],
    accum: Accum,
) {
    let parts: Vec<(usize, usize)> = (0..s.n).flat_map(|i| (0..s.groups).map(move |g| (i, g))).collect();
    let views: Vec<L> = parts.iter().map(|&(i, g)| lanes(i, g)).collect();
    let each = m.div_ceil(T::MR) * T::MR * k;
    let products: Vec<Product> = parts
        .iter()
        .zip(&views)
        .map(|(&(i, g), b)| Product {
            m,
            n: plane,
            k,
            a: &a[g * each..][..each],
            b,
            c: (i * s.groups + g) * m * plane,
            ldc: plane,
            row_bias: bias.map(|b| &b[g * m..][..m]),
            column_bias: None,
        })
        .collect();
    run_products::<T>(&products, out, accum);
}

pub(super) fn fwd<T: Tile>(s: &Conv2dSpec, inputs: &[&Buffer], outputs: &mut [&mut Buffer], accum: Accum) {
    let x = inputs[0].as_slice::<f32>(); // x [n,c,h,w]; inputs[1] is from pack_fwd
    let cg = s.c / s.groups;
    let lanes = |i: usize, g: usize| Patches { s, x: &x[(i * s.c + g * cg) * s.h * s.w..] };
    let bias = s.bias.then(|| inputs[2].as_slice());
    let sizes = [s.oc / s.groups, s.out_plane(), s.patch()];
    per_image::<_, T>(s, sizes, inputs[1].as_slice(), lanes, bias, outputs[0].as_mut_slice(), accum);
}

pub(super) fn dgrad<T: Tile>(s: &Conv2dSpec, inputs: &[&Buffer], outputs: &mut [&mut Buffer], accum: Accum) {
    let dout = inputs[0].as_slice::<f32>(); // dout [n,oc,oh,ow]; inputs[1] is from pack_dgrad
    let og = s.oc / s.groups;
    let lanes = |i: usize, g: usize| GradientPatches { s, dout: &dout[(i * s.oc + g * og) * s.out_plane()..] };
    let (m, k) = dgrad_size(s);
    per_image::<_, T>(s, [m, s.h * s.w, k], inputs[1].as_slice(), lanes, None, outputs[0].as_mut_slice(), accum);
}

pub(super) fn wgrad<T: Tile>(s: &Conv2dSpec, inputs: &[&Buffer], outputs: &mut [&mut Buffer], accum: Accum) {
    let (dout, x) = (inputs[0].as_slice::<f32>(), inputs[1].as_slice::<f32>());
    let (m, k) = (s.oc / s.groups, s.n * s.out_plane());
    for group in 0..s.groups {
        let a = pack_a::<T>(&GradientChannels { s, dout, group }, m, k);
        let b = PatchesOverPixels { s, x, group };
        let (n, c) = (s.patch(), group * m * s.patch());
        let product = Product { m, n, k, a: a.as_slice(), b: &b, c, ldc: n, row_bias: None, column_bias: None };
        run_products::<T>(&[product], outputs[0].as_mut_slice(), accum);
    }
}
