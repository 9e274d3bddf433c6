//! The tile for groups of one input channel: some rows of one output channel.

use super::convolve::{Group, Plan, PlaneEpilogue, scratch};
use super::padded::SLACK;
use super::wgrad::Dots;
use super::{MAX_TAPS, Tile};
use crate::ops::conv2d::Conv2dSpec;
use crate::simd::Vector;

/// Rows that are summed at a time, so that a weight is loaded once for all of them.
const ROWS: usize = 4;
/// Taps of a 3x3 kernel.
const TAPS: usize = MAX_TAPS;

/// The tile for groups of one input channel.
pub(in crate::ops::conv2d) struct Depthwise;

impl Depthwise {
    pub fn supported(s: &Conv2dSpec) -> Result<(), &'static str> {
        if s.c == s.groups { s.compact() } else { Err("wants groups of one input channel") }
    }

    pub fn scratch(s: &Conv2dSpec) -> usize {
        scratch::<Self>(s)
    }
}

impl Tile for Depthwise {
    const CHANNELS: usize = 1;
    const TAPS: usize = TAPS;
    const COPIES: bool = false;
    type Sum = f64;

    /// The phases one after the other; a single one is stored where it belongs.
    fn sums(plan: &Plan) -> usize {
        match &plan.phases[..] {
            [_] => 0,
            phases => phases.iter().map(|p| p.size[0] * p.size[1]).sum::<usize>() + SLACK,
        }
    }

    fn images(_: &Conv2dSpec, _: usize) -> usize {
        1
    }

    #[inline(always)]
    unsafe fn convolve<V: Vector>(group: &mut Group, c: usize, _: usize) {
        let (plan, w, first) = (group.plan, group.weight(c), group.start(c));
        let one = plan.phases.len() == 1;
        let mut at = 0;
        for phase in &plan.phases {
            group.taps.clear();
            group.taps.extend(phase.steps.iter().map(|step| (step.offset, w[step.weight])));
            let len = phase.size[0] * phase.size[1];
            let end = match one {
                true => group.epilogue(c),
                false => PlaneEpilogue { plus: None, relu: false, to: group.sums[at..][..len].as_mut_ptr() },
            };
            let (field, pitch, taps, size) = (&*group.field, plan.padded.pitch, &group.taps[..], phase.size);
            // SAFETY: the caller's; the plane, or the part of `sums`, has the size of the phase.
            unsafe { Rows { field, pitch, taps, size, start: first, end }.run::<V>() }
            at += len;
        }
        if !one {
            let len = |i: usize| plan.phases[i].size[0] * plan.phases[i].size[1];
            // SAFETY: the caller's.
            unsafe { group.interleave::<V>(c, |i| ((0..i).map(len).sum(), plan.phases[i].size[1])) }
        }
    }

    /// The gradient of a plane, with what it sees of the padded input from some taps on.
    #[inline(always)]
    unsafe fn dots<V: Vector>(dots: &Dots, _: usize) -> [f32; 16] {
        let Dots { gradient, field, pitch, size: [rows, columns], taps, .. } = *dots;
        let furthest = taps.into_iter().max().unwrap_or(0);
        assert!(rows * columns <= gradient.len());
        assert!(furthest + rows.saturating_sub(1) * pitch + columns.next_multiple_of(V::LANES) <= field.len());
        // SAFETY: the caller's; whole vectors of the furthest tap lie in the field.
        unsafe {
            let mut sums = [V::splat(0.0); TAPS];
            let whole = columns / V::LANES * V::LANES;
            for y in 0..rows {
                let (d, from) = (gradient.as_ptr().add(y * columns), field.as_ptr().add(y * pitch));
                for x in (0..whole).step_by(V::LANES) {
                    let d = V::load(d.add(x));
                    for i in 0..TAPS {
                        sums[i] = V::load(from.add(x + taps[i])).mul_add(d, sums[i]);
                    }
                }
                if whole < columns {
                    // Beyond the row there are zeros, by which the numbers of the field are multiplied.
                    let d = V::load_first(d.add(whole), columns - whole);
                    for i in 0..TAPS {
                        sums[i] = V::load(from.add(whole + taps[i])).mul_add(d, sums[i]);
                    }
                }
            }
            let mut all = [0.0; 16];
            for i in 0..TAPS {
                all[i] = sums[i].sum();
            }
            all
        }
    }
}

/// A tap: where output (0, 0) finds its number, and its weight.
type Tap = (usize, f32);

/// The sums `start + sum over taps of weight * field[offset + y * pitch + x]` of a plane.
struct Rows<'a> {
    field: &'a [f32],
    pitch: usize,
    taps: &'a [Tap],
    /// Rows and columns.
    size: [usize; 2],
    start: f32,
    end: PlaneEpilogue,
}

impl Rows<'_> {
    /// # Safety
    /// As [`Vector`]; the epilogue must be valid for `size` numbers.
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let [rows, columns] = self.size;
        let furthest = self.taps.iter().map(|t| t.0).max().unwrap_or(0);
        let end = furthest + rows.saturating_sub(1) * self.pitch + columns.next_multiple_of(V::LANES);
        assert!(self.taps.is_empty() || end <= self.field.len());
        // SAFETY: the caller's; whole vectors of the furthest tap lie in the field.
        unsafe {
            match <&[Tap; TAPS]>::try_from(self.taps) {
                Ok(taps) => self.all::<V, _>(*taps),
                Err(_) => self.all::<V, _>(self.taps),
            }
        }
    }

    /// The taps are a parameter, so that loops over a 3x3 kernel are unrolled.
    ///
    /// # Safety
    /// As [`Rows::run`]; whole vectors of the furthest tap lie in the field.
    #[inline(always)]
    unsafe fn all<V: Vector, T: AsRef<[Tap]> + Copy>(&self, taps: T) {
        let [rows, columns] = self.size;
        for y in (0..rows).step_by(ROWS) {
            for x in (0..columns).step_by(V::LANES) {
                // SAFETY: the caller's.
                unsafe {
                    match rows - y {
                        1 => self.block::<V, T, 1>(taps, y, x),
                        2 => self.block::<V, T, 2>(taps, y, x),
                        3 => self.block::<V, T, 3>(taps, y, x),
                        _ => self.block::<V, T, ROWS>(taps, y, x),
                    }
                }
            }
        }
    }

    /// `N` rows of a vector.
    ///
    /// # Safety
    /// As [`Rows::all`]; `N` rows from `y` on, and column `x`, lie in `size`.
    #[inline(always)]
    #[allow(clippy::needless_range_loop)] // Indices are what unrolls.
    unsafe fn block<V: Vector, T: AsRef<[Tap]> + Copy, const N: usize>(&self, taps: T, y: usize, x: usize) {
        let columns = self.size[1];
        // SAFETY: the caller's.
        unsafe {
            let from = self.field.as_ptr().wrapping_add(y * self.pitch + x);
            let mut sums = [V::splat(self.start); N];
            for (offset, weight) in taps.as_ref() {
                let (from, weight) = (from.add(*offset), V::splat(*weight));
                for i in 0..N {
                    sums[i] = V::load(from.add(i * self.pitch)).mul_add(weight, sums[i]);
                }
            }
            for i in 0..N {
                self.end.store(sums[i], (y + i) * columns + x, columns - x);
            }
        }
    }
}
