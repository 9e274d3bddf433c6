//! conv2d rung 2 for groups of one input channel (depthwise): sums of shifted planes.
//!
//! Computes  out[oc] = sum over taps of w[oc, tap] * x[c] shifted by the tap (+ bias + residual, relu), and both gradients
//! Rung 1 wasted: it made a matrix product of each channel, whose panels hold one row of weights and are used once.
//! This rung:     lays zeros around a plane, and its columns and rows apart by their residues modulo the stride, so that every
//!                tap of every convolution sees numbers that lie side by side. Outputs are summed in registers, a few rows at a
//!                time. `dx` is the same of `dout`, for each residue of its pixels; `dw` is one dot product a tap.
//! Loses when:    never where it fits: a group of one channel has nothing else to share.
//! Run:           CONVSCOPE_KERNEL=conv2d.fwd=depthwise_avx2

use super::Conv2dSpec;
use super::gemm::{Residue, gather, residues};
use crate::buffer::Buffer;
use crate::device::DType;
use crate::simd::{Kernel, Vector};
use crate::table::Accum;
use crate::threads::par_work;

/// Rows that are summed at a time, so that a weight is loaded once for all of them.
const ROWS: usize = 4;
/// Taps of which the weight gradient is summed at a time: all of a 3x3 kernel.
const TAPS: usize = 9;
/// Numbers behind a plane that a vector may read beyond its end.
const SLACK: usize = 16;

pub(super) fn fits(s: &Conv2dSpec) -> Result<(), &'static str> {
    if s.c == s.groups { Ok(()) } else { Err("wants groups of one input channel") }
}

/// Bytes of the planes with their zeros, for one thread.
pub(super) fn scratch(s: &Conv2dSpec) -> usize {
    4 * Padded::input(s).len().max(s.oc / s.groups * Padded::gradient(s, &residues(s)).len() + s.h * s.w)
}

/// How planes lie with zeros around them: one part for each residue of rows and columns modulo `stride`.
struct Padded {
    h: usize,
    w: usize,
    /// Zeros above and to the left; negative where pixels are left out.
    before: [isize; 2],
    stride: [usize; 2],
    /// Rows of a part, and numbers from one to the next.
    rows: usize,
    pitch: usize,
}

impl Padded {
    /// What the taps of `s` see of its input.
    fn input(s: &Conv2dSpec) -> Self {
        let [rows, pitch] = [0, 1].map(|i| s.out_hw()[i] + s.dilation[i] * (s.kernel[i] - 1) / s.stride[i]);
        let before = [s.padding[0] as isize, s.padding[2] as isize];
        Padded { h: s.h, w: s.w, before, stride: s.stride, rows, pitch }
    }

    /// What input pixels see of `dout`.
    fn gradient(s: &Conv2dSpec, residues: &[Residue]) -> Self {
        let [h, w] = s.out_hw();
        let taps = || residues.iter().flat_map(|r| r.taps.iter().map(move |t| (r, t.1)));
        let before = [0, 1].map(|i| -taps().map(|(_, at)| at[i]).min().unwrap_or(0));
        let [rows, pitch] = [0, 1].map(|i| {
            let ends = taps().map(|(r, at)| r.size[i] as isize + at[i] + before[i]);
            ends.max().unwrap_or(0) as usize
        });
        Padded { h, w, before, stride: [1, 1], rows, pitch }
    }

    fn part(&self) -> usize {
        self.rows * self.pitch
    }

    fn len(&self) -> usize {
        self.stride[0] * self.stride[1] * self.part() + SLACK
    }

    /// Where output (0, 0) finds the pixel that lies `[dy, dx]` from the corner of the zeros.
    fn offset(&self, [dy, dx]: [usize; 2]) -> usize {
        let [sh, sw] = self.stride;
        (dy % sh * sw + dx % sw) * self.part() + dy / sh * self.pitch + dx / sw
    }

    /// Lays out a plane; rows that lie outside it are left as they are, zeros.
    ///
    /// # Safety
    /// As [`Vector`].
    #[inline(always)]
    unsafe fn fill<V: Vector>(&self, plane: &[f32], to: &mut [f32]) {
        let [sh, sw] = self.stride;
        for (i, row) in to[..sh * sw * self.part()].chunks_exact_mut(self.pitch.max(1)).enumerate() {
            let (residue, y) = (i / self.rows, i % self.rows);
            let (y, x) = ((y * sh + residue / sw) as isize - self.before[0], (residue % sw) as isize - self.before[1]);
            if (0..self.h as isize).contains(&y) {
                let from = &plane[y as usize * self.w..][..self.w];
                // SAFETY: the row has `pitch` numbers.
                unsafe { gather::<V>(row.as_mut_ptr(), self.pitch, from, x, sw) }
            }
        }
    }
}

/// A tap: where output (0, 0) finds its number, and its weight.
type Tap = (usize, f32);

/// `to[y, x] = start + plus[y, x] + sum over taps of weight * field[offset + y * pitch + x]`
struct Sums<'a> {
    field: &'a [f32],
    pitch: usize,
    taps: &'a [Tap],
    /// Rows and columns.
    size: [usize; 2],
    start: f32,
    /// May be `to` itself.
    plus: Option<*const f32>,
    relu: bool,
    to: *mut f32,
}

impl Sums<'_> {
    /// # Safety
    /// As [`Vector`]; `to` and `plus` must be valid for `size` numbers.
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let [rows, columns] = self.size;
        let furthest = self.taps.iter().map(|t| t.0).max().unwrap_or(0);
        let end = furthest + rows.saturating_sub(1) * self.pitch + columns.next_multiple_of(V::LANES);
        assert!(self.taps.is_empty() || end <= self.field.len());
        let mut y = 0;
        while y < rows {
            let some = if y + ROWS <= rows { ROWS } else { 1 };
            for x in (0..columns).step_by(V::LANES) {
                // SAFETY: the caller's; whole vectors of the furthest tap lie in the field.
                unsafe { if some == ROWS { self.block::<V, ROWS>(y, x) } else { self.block::<V, 1>(y, x) } }
            }
            y += some;
        }
    }

    /// `N` rows of a vector.
    #[inline(always)]
    unsafe fn block<V: Vector, const N: usize>(&self, y: usize, x: usize) {
        let columns = self.size[1];
        let n = V::LANES.min(columns - x);
        // SAFETY: the caller's.
        unsafe {
            let from = self.field.as_ptr().wrapping_add(y * self.pitch + x);
            let mut sums = [V::splat(self.start); N];
            for (offset, weight) in self.taps {
                let (from, weight) = (from.add(*offset), V::splat(*weight));
                for i in 0..N {
                    sums[i] = V::load(from.add(i * self.pitch)).mul_add(weight, sums[i]);
                }
            }
            for i in 0..N {
                let (at, mut v) = ((y + i) * columns + x, sums[i]);
                if let Some(plus) = self.plus {
                    v = v.add(V::load_first(plus.add(at), n));
                }
                if self.relu {
                    v = V::splat(0.0).max(v);
                }
                if n == V::LANES {
                    v.store(self.to.add(at));
                } else {
                    v.store_first(self.to.add(at), n);
                }
            }
        }
    }
}

/// Elements of work that an output is to [`par_work`]: its sum takes longer than the number that is written.
fn work(s: &Conv2dSpec, outputs: usize) -> usize {
    outputs * (s.kernel[0] * s.kernel[1]).div_ceil(8)
}

pub(super) fn fwd<V: Vector>(s: &Conv2dSpec, inputs: &[&Buffer], outputs: &mut [&mut Buffer], _: Accum) {
    let (x, w) = (inputs[0].as_slice(), inputs[1].as_slice()); // x [n,c,h,w], w [oc,1,kh,kw]
    let (bias, residual) = s.bias_and_residual(inputs); // bias [oc], residual [n,oc,oh,ow]
    let each = s.oc / s.groups * s.out_plane();
    par_work(outputs[0].as_mut_slice(), each, work(s, each), |first, out| {
        // SAFETY: the row is here only where the instructions of V are.
        unsafe { V::run(Forward { s, x, w, bias, residual, first, out }) }
    });
}

/// The outputs of some planes of `x`, from plane `first` on.
struct Forward<'a> {
    s: &'a Conv2dSpec,
    x: &'a [f32],
    w: &'a [f32],
    bias: Option<&'a [f32]>,
    residual: Option<&'a [f32]>,
    first: usize,
    out: &'a mut [f32],
}

impl Kernel for Forward<'_> {
    type Out = ();
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let Self { s, x, w, bias, residual, first, out } = self;
        let (padded, offsets) = (Padded::input(s), offsets(s));
        let (each, plane, area) = (s.oc / s.groups, s.out_plane(), offsets.len());
        let mut field = Buffer::zeros(DType::F32, padded.len());
        let field = field.as_mut_slice::<f32>();
        let mut taps: Vec<Tap> = offsets.iter().map(|o| (*o, 0.0)).collect();
        // Plane `i` of all outputs is that of input plane `i / each`.
        for (i, out) in (first * each..).zip(out.chunks_exact_mut(plane)) {
            if i % each == 0 {
                // SAFETY: the caller's.
                unsafe { padded.fill::<V>(&x[i / each * s.h * s.w..][..s.h * s.w], field) }
            }
            let oc = i % s.oc;
            taps.iter_mut().zip(&w[oc * area..]).for_each(|(tap, w)| tap.1 = *w);
            let sums = Sums {
                field,
                pitch: padded.pitch,
                taps: &taps,
                size: s.out_hw(),
                start: bias.map_or(0.0, |b| b[oc]),
                plus: residual.map(|r| r[i * plane..][..plane].as_ptr()),
                relu: s.relu,
                to: out.as_mut_ptr(),
            };
            // SAFETY: the caller's; the planes have the size of the output.
            unsafe { sums.run::<V>() }
        }
    }
}

/// Where output (0, 0) finds the number of each tap.
fn offsets(s: &Conv2dSpec) -> Vec<usize> {
    let padded = Padded::input(s);
    let [kh, kw] = s.kernel;
    (0..kh * kw).map(|k| padded.offset([k / kw * s.dilation[0], k % kw * s.dilation[1]])).collect()
}

pub(super) fn dgrad<V: Vector>(s: &Conv2dSpec, inputs: &[&Buffer], outputs: &mut [&mut Buffer], accum: Accum) {
    let (dout, w) = (inputs[0].as_slice(), inputs[1].as_slice()); // dout [n,oc,oh,ow], w [oc,1,kh,kw]
    let each = s.h * s.w;
    par_work(outputs[0].as_mut_slice(), each, work(s, each), |first, dx| {
        // SAFETY: the row is here only where the instructions of V are.
        unsafe { V::run(InputGradient { s, dout, w, first, dx, accum }) }
    });
}

/// Some planes of `dx`, from plane `first` on.
struct InputGradient<'a> {
    s: &'a Conv2dSpec,
    dout: &'a [f32],
    w: &'a [f32],
    first: usize,
    dx: &'a mut [f32],
    accum: Accum,
}

impl Kernel for InputGradient<'_> {
    type Out = ();
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let Self { s, dout, w, first, dx, accum } = self;
        let residues = residues(s);
        let padded = Padded::gradient(s, &residues);
        let (each, plane, area) = (s.oc / s.groups, s.out_plane(), s.kernel[0] * s.kernel[1]);
        let mut field = Buffer::zeros(DType::F32, each * padded.len());
        let field = field.as_mut_slice::<f32>();
        let mut apart = Buffer::new(DType::F32, if s.stride == [1, 1] { 0 } else { s.h * s.w + SLACK });
        let apart = apart.as_mut_slice::<f32>();
        let mut taps: Vec<Tap> = Vec::new();
        for (i, dx) in (first..).zip(dx.chunks_exact_mut(s.h * s.w)) {
            for (j, field) in field.chunks_exact_mut(padded.len()).enumerate() {
                // SAFETY: the caller's.
                unsafe { padded.fill::<V>(&dout[(i * each + j) * plane..][..plane], field) }
            }
            // The residues of one row residue, one after the other in `apart`, make whole rows.
            for row in residues.chunk_by(|a, b| a.origin[0] == b.origin[0]) {
                let mut end = 0;
                for residue in row {
                    taps.clear();
                    for j in 0..each {
                        let w = &w[(i % s.c * each + j) * area..][..area];
                        taps.extend(residue.taps.iter().map(|(k, at)| {
                            let at = [0, 1].map(|a| (at[a] + padded.before[a]) as usize);
                            (j * padded.len() + padded.offset(at), w[*k])
                        }));
                    }
                    let to = if apart.is_empty() { dx.as_mut_ptr() } else { apart[end..].as_mut_ptr() };
                    let plus = (apart.is_empty() && accum == Accum::Add).then_some(to.cast_const());
                    let (size, pitch) = (residue.size, padded.pitch);
                    // SAFETY: the caller's; without stride there is one residue, of all pixels, else `apart` has room for all.
                    unsafe { Sums { field, pitch, taps: &taps, size, start: 0.0, plus, relu: false, to }.run::<V>() }
                    end += size[0] * size[1];
                }
                if !apart.is_empty() {
                    // SAFETY: the caller's.
                    unsafe { weave::<V>(s, row, apart, dx, accum) }
                }
            }
        }
    }
}

/// Puts rows whose columns are `apart` by their residue into `dx`.
///
/// # Safety
/// As [`Vector`].
#[inline(always)]
unsafe fn weave<V: Vector>(s: &Conv2dSpec, residues: &[Residue], apart: &[f32], dx: &mut [f32], accum: Accum) {
    let (step, [rows, columns]) = (s.stride[1], residues[0].size);
    for y in 0..rows {
        let to = &mut dx[(residues[0].origin[0] + y * s.stride[0]) * s.w..][..s.w];
        // Columns that are woven a vector at a time.
        let mut woven = 0;
        if step == 2 {
            let (a, b) = (apart[y * columns..].as_ptr(), apart[rows * columns + y * (s.w - columns)..].as_ptr());
            while 2 * (woven + V::LANES) <= s.w {
                // SAFETY: so many numbers lie in the row and, every second, in both residues.
                unsafe {
                    let (mut pair, to) = ([V::load(a.add(woven)), V::load(b.add(woven))], to.as_mut_ptr().add(2 * woven));
                    if accum == Accum::Add {
                        let old = V::split2(to);
                        pair = [pair[0].add(old[0]), pair[1].add(old[1])];
                    }
                    V::join2(pair, to);
                }
                woven += V::LANES;
            }
        }
        let mut from = apart;
        for residue in residues {
            let [rows, columns] = residue.size;
            let line = &from[y * columns..][..columns];
            let to = to[residue.origin[1]..].iter_mut().step_by(step);
            line.iter().zip(to).skip(woven).for_each(|(v, to)| accum.put(to, *v));
            from = &from[rows * columns..];
        }
    }
}

pub(super) fn wgrad<V: Vector>(s: &Conv2dSpec, inputs: &[&Buffer], outputs: &mut [&mut Buffer], accum: Accum) {
    let (dout, x) = (inputs[0].as_slice(), inputs[1].as_slice()); // dout [n,oc,oh,ow], x [n,c,h,w]
    let each = s.oc / s.groups;
    let item = each * s.kernel[0] * s.kernel[1];
    par_work(outputs[0].as_mut_slice(), item, work(s, s.n * each * s.out_plane()), |first, dw| {
        // SAFETY: the row is here only where the instructions of V are.
        unsafe { V::run(WeightGradient { s, dout, x, first, dw, accum }) }
    });
}

/// `dw` of some input channels, from channel `first` on.
struct WeightGradient<'a> {
    s: &'a Conv2dSpec,
    dout: &'a [f32],
    x: &'a [f32],
    first: usize,
    dw: &'a mut [f32],
    accum: Accum,
}

impl Kernel for WeightGradient<'_> {
    type Out = ();
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let Self { s, dout, x, first, dw, accum } = self;
        let (padded, offsets) = (Padded::input(s), offsets(s));
        let (each, plane, area) = (s.oc / s.groups, s.out_plane(), offsets.len());
        let mut field = Buffer::zeros(DType::F32, padded.len());
        let field = field.as_mut_slice::<f32>();
        let mut sums = vec![0.0f64; each * area];
        for (c, dw) in (first..).zip(dw.chunks_exact_mut(each * area)) {
            sums.fill(0.0);
            for n in 0..s.n {
                // SAFETY: the caller's.
                unsafe { padded.fill::<V>(&x[(n * s.c + c) * s.h * s.w..][..s.h * s.w], field) }
                for (j, sums) in sums.chunks_exact_mut(area).enumerate() {
                    let dout = &dout[(n * s.oc + c * each + j) * plane..][..plane];
                    for (sums, offsets) in sums.chunks_mut(TAPS).zip(offsets.chunks(TAPS)) {
                        // Where there are fewer taps, the last one stands for the missing ones.
                        let last = offsets[offsets.len() - 1];
                        let some = std::array::from_fn(|i| *offsets.get(i).unwrap_or(&last));
                        // SAFETY: the caller's.
                        let more = unsafe { dots::<V>(dout, field, padded.pitch, s.out_hw(), some) };
                        sums.iter_mut().zip(more).for_each(|(sum, v)| *sum += f64::from(v));
                    }
                }
            }
            dw.iter_mut().zip(&sums).for_each(|(dw, sum)| accum.put(dw, *sum as f32));
        }
    }
}

/// Dot products of `dout`, of `rows` and `columns`, with what it sees of the field from some offsets on.
///
/// # Safety
/// As [`Vector`].
#[inline(always)]
unsafe fn dots<V: Vector>(
    dout: &[f32],
    field: &[f32],
    pitch: usize,
    [rows, columns]: [usize; 2],
    offsets: [usize; TAPS],
) -> [f32; TAPS] {
    let furthest = offsets.into_iter().max().unwrap_or(0);
    assert!(rows * columns <= dout.len());
    assert!(furthest + rows.saturating_sub(1) * pitch + columns.next_multiple_of(V::LANES) <= field.len());
    // SAFETY: the caller's; whole vectors of the furthest tap lie in the field.
    unsafe {
        let mut sums = [V::splat(0.0); TAPS];
        for y in 0..rows {
            for x in (0..columns).step_by(V::LANES) {
                // Beyond the row there are zeros, by which what the field has there is multiplied.
                let d = V::load_first(dout.as_ptr().add(y * columns + x), V::LANES.min(columns - x));
                let from = field.as_ptr().add(y * pitch + x);
                for i in 0..TAPS {
                    sums[i] = V::load(from.add(offsets[i])).mul_add(d, sums[i]);
                }
            }
        }
        let mut all = [0.0; TAPS];
        for i in 0..TAPS {
            all[i] = sums[i].sum();
        }
        all
    }
}
