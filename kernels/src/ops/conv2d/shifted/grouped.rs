//! The tile for groups of a few channels: four output channels of several vectors of pixels.

use super::Tile;
use super::convolve::{Group, Plan, PlaneEpilogue, Step, scratch, span};
use super::padded::SLACK;
use super::wgrad::Dots;
use crate::ops::conv2d::Conv2dSpec;
use crate::ops::conv2d::microkernel::has_32_registers;
use crate::simd::Vector;

/// Output channels that are summed at a time.
const CHANNELS: usize = 4;
/// Kernel elements whose dot products with [`CHANNELS`] output channels are summed at a time.
const TAPS: usize = 3;
/// Numbers of some images' planes of a group that stay in L2.
const CACHED: usize = 1 << 16;
/// Output channels of a group that fill the lanes of products.
const FULL: usize = 32;

/// The tile for groups of a few channels.
pub(in crate::ops::conv2d) struct Grouped;

impl Grouped {
    pub fn supported(s: &Conv2dSpec) -> Result<(), &'static str> {
        if s.groups > 1 { s.compact() } else { Err("wants several groups") }
    }

    pub fn preferred(s: &Conv2dSpec) -> Result<(), &'static str> {
        narrow(s.oc / s.groups)
    }

    pub fn preferred_dgrad(s: &Conv2dSpec) -> Result<(), &'static str> {
        narrow(s.c / s.groups)
    }

    pub fn scratch(s: &Conv2dSpec) -> usize {
        scratch::<Self>(s)
    }
}

fn narrow(channels: usize) -> Result<(), &'static str> {
    if channels < FULL { Ok(()) } else { Err("groups that fill the lanes of products") }
}

/// Numbers of the sums of a channel: whole vectors, wherever one begins.
fn capacity(plan: &Plan) -> usize {
    let longest = plan.phases.iter().map(|p| span(p.size, plan.padded.pitch)).max().unwrap_or(0);
    longest.next_multiple_of(16) + SLACK
}

impl Tile for Grouped {
    const CHANNELS: usize = CHANNELS;
    const TAPS: usize = TAPS;
    const COPIES: bool = true;
    type Sum = f32;

    /// `[phase][channel]`
    fn sums(plan: &Plan) -> usize {
        plan.phases.len() * CHANNELS * capacity(plan)
    }

    /// Short planes make short sums, so that adding their lanes takes much of the time.
    fn images(s: &Conv2dSpec, numbers: usize) -> usize {
        (CACHED / numbers).clamp(1, s.n.max(1))
    }

    #[inline(always)]
    unsafe fn convolve<V: Vector>(group: &mut Group, first: usize, channels: usize) {
        let (plan, capacity, pitch) = (group.plan, capacity(group.plan), group.plan.padded.pitch);
        let mut start = [0.0; CHANNELS];
        start.iter_mut().take(channels).enumerate().for_each(|(j, start)| *start = group.start(first + j));
        let (w, stride) = (group.weight(first), plan.weight_stride);
        for (phase, sums) in plan.phases.iter().zip(group.sums.chunks_exact_mut(CHANNELS * capacity)) {
            let (field, steps, len) = (&*group.field, &phase.steps[..], span(phase.size, pitch));
            // SAFETY: the caller's.
            unsafe { Sums { field, steps, w, stride, channels, len, start, sums, capacity }.run::<V>() }
        }
        for j in 0..channels {
            // SAFETY: the caller's; a single phase is the plane.
            unsafe {
                match &plan.phases[..] {
                    [phase] => {
                        let end = group.epilogue(first + j);
                        store_rows::<V>(&group.sums[j * capacity..][..capacity], pitch, phase.size, &end);
                    }
                    _ => group.interleave::<V>(first + j, |i| ((i * CHANNELS + j) * capacity, pitch)),
                }
            }
        }
    }

    /// The gradients of some channels, with the row stride of the padded input, and the input that they see.
    #[inline(always)]
    unsafe fn dots<V: Vector>(dots: &Dots, channels: usize) -> [f32; 16] {
        // SAFETY: the caller's.
        unsafe {
            match channels {
                1 => dot_products::<V, 1>(dots),
                2 => dot_products::<V, 2>(dots),
                3 => dot_products::<V, 3>(dots),
                _ => dot_products::<V, CHANNELS>(dots),
            }
        }
    }
}

/// Takes the rows of a plane from between their zeros.
///
/// # Safety
/// As [`Vector`]; the epilogue must be valid for rows and columns of this number.
#[inline(always)]
unsafe fn store_rows<V: Vector>(sums: &[f32], pitch: usize, [rows, columns]: [usize; 2], end: &PlaneEpilogue) {
    assert!(rows == 0 || (rows - 1) * pitch + columns.next_multiple_of(V::LANES) <= sums.len());
    for y in 0..rows {
        for x in (0..columns).step_by(V::LANES) {
            // SAFETY: the caller's; whole vectors of the last row lie in the sums (asserted).
            unsafe { end.store(V::load(sums.as_ptr().add(y * pitch + x)), y * columns + x, columns - x) }
        }
    }
}

/// `sums[i][p] = start[i] + sum over steps of w[weight + i * stride] * field[offset + p]` for `len` pixels of some output channels.
struct Sums<'a> {
    field: &'a [f32],
    steps: &'a [Step],
    w: &'a [f32],
    /// Numbers from the weight of one output channel to that of the next.
    stride: usize,
    channels: usize,
    len: usize,
    start: [f32; CHANNELS],
    sums: &'a mut [f32],
    /// Numbers from the sums of one output channel to those of the next.
    capacity: usize,
}

impl Sums<'_> {
    /// # Safety
    /// As [`Vector`].
    #[inline(always)]
    unsafe fn run<V: Vector>(mut self) {
        let whole = self.len.next_multiple_of(V::LANES);
        let last = self.channels - 1;
        assert!(self.channels <= CHANNELS && whole <= self.capacity && last * self.capacity + whole <= self.sums.len());
        assert!(self.steps.iter().all(|s| s.offset + whole <= self.field.len() && s.weight + last * self.stride < self.w.len()));
        // SAFETY: the caller's; all that is read and written lies inside (asserted).
        unsafe {
            match self.channels {
                1 => self.all::<V, 1>(),
                2 => self.all::<V, 2>(),
                3 => self.all::<V, 3>(),
                _ => self.all::<V, CHANNELS>(),
            }
        }
    }

    /// # Safety
    /// As [`Vector`]; `M` output channels, and whole vectors of `len` pixels, lie in the sums, and what they see in field and weight.
    #[inline(always)]
    unsafe fn all<V: Vector, const M: usize>(&mut self) {
        // As many vectors as registers hold the sums of, in blocks of nearly the same size.
        let vectors = self.len.div_ceil(V::LANES);
        let most = if has_32_registers::<V>() { 4 } else { 3 };
        let each = vectors.div_ceil(vectors.div_ceil(most).max(1));
        for v in (0..vectors).step_by(each.max(1)) {
            // SAFETY: the caller's.
            unsafe {
                match each.min(vectors - v) {
                    1 => self.block::<V, M, 1>(v * V::LANES),
                    2 => self.block::<V, M, 2>(v * V::LANES),
                    3 => self.block::<V, M, 3>(v * V::LANES),
                    _ => self.block::<V, M, 4>(v * V::LANES),
                }
            }
        }
    }

    /// `M` output channels of `N` vectors of pixels.
    ///
    /// # Safety
    /// As [`Sums::all`]; `at + N * LANES` pixels are at most the whole vectors of `len`.
    #[inline(always)]
    #[allow(clippy::needless_range_loop)] // Indices are what unrolls.
    unsafe fn block<V: Vector, const M: usize, const N: usize>(&mut self, at: usize) {
        // SAFETY: the caller's.
        unsafe {
            let (from, w) = (self.field.as_ptr().add(at), self.w.as_ptr());
            let mut sums = [[V::splat(0.0); N]; M];
            for m in 0..M {
                sums[m] = [V::splat(self.start[m]); N];
            }
            for step in self.steps {
                let mut seen = [V::splat(0.0); N];
                for i in 0..N {
                    seen[i] = V::load(from.add(step.offset + i * V::LANES));
                }
                for m in 0..M {
                    let weight = V::splat(*w.add(step.weight + m * self.stride));
                    for i in 0..N {
                        sums[m][i] = seen[i].mul_add(weight, sums[m][i]);
                    }
                }
            }
            for m in 0..M {
                for i in 0..N {
                    sums[m][i].store(self.sums.as_mut_ptr().add(m * self.capacity + at + i * V::LANES));
                }
            }
        }
    }
}

/// `[channel][tap]`
///
/// # Safety
/// As [`Vector`].
#[inline(always)]
#[allow(clippy::needless_range_loop)] // Indices are what unrolls.
unsafe fn dot_products<V: Vector, const M: usize>(dots: &Dots) -> [f32; 16] {
    let Dots { gradient, field, planes: [capacity, plane], images, stride, taps, .. } = *dots;
    let furthest = taps.into_iter().max().unwrap_or(0);
    assert!(images > 0 && (M - 1) * stride + images * capacity <= gradient.len());
    assert!(furthest + (images - 1) * plane + capacity <= field.len());
    // SAFETY: the caller's; all that is read lies inside (asserted).
    unsafe {
        let mut sums = [[V::splat(0.0); TAPS]; M];
        for image in 0..images {
            let (d, x) = (gradient.as_ptr().add(image * capacity), field.as_ptr().add(image * plane));
            for p in (0..capacity).step_by(V::LANES) {
                let mut seen = [V::splat(0.0); TAPS];
                for t in 0..TAPS {
                    seen[t] = V::load(x.add(taps[t] + p));
                }
                for m in 0..M {
                    let d = V::load(d.add(m * stride + p));
                    for t in 0..TAPS {
                        sums[m][t] = seen[t].mul_add(d, sums[m][t]);
                    }
                }
            }
        }
        // The lanes of all sums are added at once, by transposing them.
        let (mut lanes, mut transposed, mut all) = ([0.0f32; 256], [0.0f32; 256], [0.0f32; 16]);
        for m in 0..M {
            for t in 0..TAPS {
                sums[m][t].store(lanes.as_mut_ptr().add((m * TAPS + t) * V::LANES));
            }
        }
        for i in (0..M * TAPS).step_by(V::LANES) {
            V::transpose(lanes.as_ptr().add(i * V::LANES), V::LANES, transposed.as_mut_ptr(), V::LANES);
            let mut sum = V::splat(0.0);
            for lane in 0..V::LANES {
                sum = sum.add(V::load(transposed.as_ptr().add(lane * V::LANES)));
            }
            sum.store(all.as_mut_ptr().add(i));
        }
        all
    }
}
