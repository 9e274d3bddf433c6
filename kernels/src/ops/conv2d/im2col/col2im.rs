//! conv2d.dgrad variant for few input channels: the product first, then its columns added up where they came from (col2im).
//!
//! Computes  col[(c, kh, kw), pixel] = w^T · dout,   dx[c, y, x] (+)= sum of the col that saw (y, x)
//! im2col wastes: it packs kh * kw copies of all of `dout` for a product of three rows, the channels of a photo.
//! This variant:  packs `dout` once and multiplies it by all rows (c, kh, kw) while it is near. Each task owns some rows of `dx`, and
//!                sums the columns that reach them, separated by stride phase so that they are contiguous.
//! Loses when:    input channels are many: the sums in `col` are then written and read more often than they are worth.
//! Run:           CONVSCOPE_KERNEL=conv2d.dgrad=col2im_avx2

use crate::core::buffer::Buffer;
use crate::core::device::DType;
use crate::core::table::Accum;
use crate::ops::conv2d::Conv2dSpec;
use crate::ops::gemm::pack::{Matrix, pack_a};
use crate::ops::gemm::packed::{Columns, Product, run_alone};
use crate::simd::{self, Kernel, Vector};
use rayon::prelude::*;
use std::ops::Range;

/// Numbers of `col` at a time: half a MiB of L2.
const COLUMNS: usize = 1 << 17;
/// Bands of rows of an image, one a task.
const BANDS: usize = 16;

pub(in crate::ops::conv2d) fn supported(s: &Conv2dSpec) -> Result<(), &'static str> {
    if s.groups == 1 { s.compact() } else { Err("wants one group") }
}

pub(in crate::ops::conv2d) fn preferred(s: &Conv2dSpec) -> Result<(), &'static str> {
    if s.c <= 4 && s.kernel[0] * s.kernel[1] > 1 { Ok(()) } else { Err("many channels, or one tap: the columns cost more") }
}

pub(in crate::ops::conv2d) fn scratch(s: &Conv2dSpec) -> usize {
    4 * (s.weight_len() + COLUMNS.max(s.patch() * s.out_hw()[1]))
}

/// The product, by rows (c, kh, kw) of `w^T`.
pub(in crate::ops::conv2d) fn pack<V: Vector>(s: &Conv2dSpec, w: &Buffer) -> Buffer {
    // Lanes are neighbours in each row of the weight [oc, (c, kh, kw)].
    let transposed = Matrix { data: w.as_slice(), lane_stride: 1, k_stride: s.patch() };
    pack_a::<V>(&transposed, s.patch(), s.oc)
}

pub(in crate::ops::conv2d) fn dgrad<V: Vector>(s: &Conv2dSpec, inputs: &[&Buffer], outputs: &mut [&mut Buffer], accum: Accum) {
    let (dout, a) = (inputs[0].as_slice::<f32>(), inputs[1].as_slice::<f32>()); // dout [n,oc,oh,ow]; a from pack
    simd::require::<V>();
    let dx = outputs[0].as_mut_slice::<f32>(); // dx [n,c,h,w]
    let rows = s.h.div_ceil(BANDS.div_ceil(s.n.max(1))).max(s.kernel[0]);
    // The rows of all channels of a band are not one slice: each task has a buffer, which is copied into `dx` afterwards.
    let tasks: Vec<(usize, Range<usize>)> =
        (0..s.n).flat_map(|n| (0..s.h).step_by(rows).map(move |y| (n, y..s.h.min(y + rows)))).collect();
    let bands: Vec<Buffer> = tasks.par_iter().with_max_len(1).map(|(n, ys)| band::<V>(s, dout, a, *n, ys.clone())).collect();
    dx.par_chunks_mut((s.h * s.w).max(1)).enumerate().for_each(|(plane, dx)| {
        let (n, c) = (plane / s.c, plane % s.c);
        for ((_, ys), band) in tasks.iter().zip(&bands).filter(|((image, _), _)| *image == n) {
            let from = &band.as_slice::<f32>()[c * ys.len() * s.w..][..ys.len() * s.w];
            let to = &mut dx[ys.start * s.w..ys.end * s.w];
            match accum {
                Accum::Write => to.copy_from_slice(from),
                Accum::Add => to.iter_mut().zip(from).for_each(|(to, v)| *to += v),
            }
        }
    });
}

/// Rows `ys` of the input gradient of image `n`, `[c, ys, w]`.
fn band<V: Vector>(s: &Conv2dSpec, dout: &[f32], a: &[f32], n: usize, ys: Range<usize>) -> Buffer {
    let [oh, ow] = s.out_hw();
    let ([kh, kw], [sh, sw]) = (s.kernel, s.stride);
    // Columns x of the padded row by x % sw: one phase after the other.
    let phase = (s.w + s.padding[2] + s.padding[3]).div_ceil(sw) + 1;
    let mut sums = Buffer::zeros(DType::F32, s.c * ys.len() * sw * phase); // [c, ys, sw, phase]
    // Output rows that saw one of these rows.
    let reach = s.dilation[0] * (kh - 1);
    let first = (ys.start + s.padding[0]).saturating_sub(reach).div_ceil(sh);
    let last = oh.min((ys.end - 1 + s.padding[0]) / sh + 1);
    let some = (COLUMNS / (s.patch() * ow).max(1)).max(1);
    for o0 in (first..last).step_by(some) {
        let os = o0..last.min(o0 + some);
        let columns = os.len() * ow;
        let pixels = Matrix { data: &dout[n * s.oc * oh * ow + o0 * ow..], lane_stride: 1, k_stride: oh * ow };
        let mut col = Buffer::new(DType::F32, s.patch() * columns); // [(c, kh, kw), os, ow]
        let product = Product::plain([s.patch(), columns, s.oc], a, &pixels, Columns::planes(0, columns, 0), columns);
        run_alone::<V>(&product, col.as_mut_slice(), Accum::Write);
        let (col, sums) = (col.as_slice::<f32>(), sums.as_mut_slice::<f32>());
        for (row, col) in col.chunks_exact(columns).enumerate() {
            let (c, ky, kx) = (row / (kh * kw), row / kw % kh, row % kw);
            for (o, col) in os.clone().zip(col.chunks_exact(ow)) {
                let y = (o * sh + ky * s.dilation[0]).wrapping_sub(s.padding[0]);
                if ys.contains(&y) {
                    let x = kx * s.dilation[1];
                    let to = ((c * ys.len() + y - ys.start) * sw + x % sw) * phase + x / sw;
                    // SAFETY: no pointers.
                    unsafe { simd::dispatch(Add(&mut sums[to..to + ow], col)) }
                }
            }
        }
    }
    let sums = sums.as_slice::<f32>();
    let mut band = Buffer::new(DType::F32, s.c * ys.len() * s.w);
    for (row, to) in band.as_mut_slice::<f32>().chunks_exact_mut(s.w).enumerate() {
        for (x, v) in (s.padding[2]..).zip(to) {
            *v = sums[(row * sw + x % sw) * phase + x / sw];
        }
    }
    band
}

/// `to += from`
struct Add<'a>(&'a mut [f32], &'a [f32]);

impl Kernel for Add<'_> {
    type Out = ();
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let Add(to, from) = self;
        let len = to.len().min(from.len());
        for i in (0..len).step_by(V::LANES) {
            let n = V::LANES.min(len - i);
            // SAFETY: n numbers from i on are in both.
            unsafe {
                let (to, from) = (to.as_mut_ptr().add(i), from.as_ptr().add(i));
                V::load_first(to, n).add(V::load_first(from, n)).store_first(to, n);
            }
        }
    }
}
