//! Planes with zeros around them, their rows and columns separated by stride phase.

use crate::ops::conv2d::Conv2dSpec;
use crate::ops::conv2d::geometry::StridePhase;
use crate::simd::Vector;

/// Numbers behind a plane that a vector may read beyond its end.
pub(super) const SLACK: usize = 16;

/// Layout of planes with zeros around them: one plane for each stride phase.
pub(in crate::ops::conv2d) struct Padded {
    /// Numbers of a row of a plane.
    w: usize,
    /// Zeros above and to the left; negative where pixels are left out.
    pub before: [isize; 2],
    stride: [usize; 2],
    /// Rows of a phase, and the stride of its rows.
    rows: usize,
    pub pitch: usize,
    /// Of each phase of the columns: the first column, its offset in a row of the phase, and the number of columns.
    columns: Vec<(usize, usize, usize)>,
}

impl Padded {
    fn new(w: usize, before: [isize; 2], stride: [usize; 2], [rows, pitch]: [usize; 2]) -> Self {
        let (step, skip) = (stride[1], (-before[1]).max(0) as usize);
        let columns = (skip..w).take(step).map(|x| {
            let at = (x as isize + before[1]) as usize;
            let (phase, at) = (at % step * rows * pitch, (at / step).min(pitch));
            (x, phase + at, (w - x).div_ceil(step).min(pitch - at))
        });
        Padded { w, before, stride, rows, pitch, columns: columns.collect() }
    }

    /// The input of `s`, as its taps see it.
    pub fn input(s: &Conv2dSpec) -> Self {
        let [rows, pitch] = [0, 1].map(|i| s.out_hw()[i] + s.dilation[i] * (s.kernel[i] - 1) / s.stride[i]);
        let before = [s.padding[0] as isize, s.padding[2] as isize];
        Padded::new(s.w, before, s.stride, [rows, pitch])
    }

    /// The gradient of the output of `s`, as input pixels see it.
    pub fn gradient(s: &Conv2dSpec, phases: &[StridePhase]) -> Self {
        let taps = || phases.iter().flat_map(|r| r.taps.iter().map(move |t| (r, t.1)));
        let before = [0, 1].map(|i| -taps().map(|(_, at)| at[i]).min().unwrap_or(0));
        let [rows, pitch] = [0, 1].map(|i| {
            let ends = taps().map(|(r, at)| r.size[i] as isize + at[i] + before[i]);
            ends.max().unwrap_or(0) as usize
        });
        Padded::new(s.out_hw()[1], before, [1, 1], [rows, pitch])
    }

    /// Where output (0, 0) finds the number of each kernel element.
    pub fn taps(&self, s: &Conv2dSpec) -> Vec<usize> {
        let [kh, kw] = s.kernel;
        (0..kh * kw).map(|k| self.offset([k / kw * s.dilation[0], k % kw * s.dilation[1]])).collect()
    }

    fn phase_len(&self) -> usize {
        self.rows * self.pitch
    }

    pub fn len(&self) -> usize {
        self.stride[0] * self.stride[1] * self.phase_len() + SLACK
    }

    /// Where output (0, 0) finds the pixel that lies `[dy, dx]` from the corner of the zeros.
    pub fn offset(&self, [dy, dx]: [usize; 2]) -> usize {
        let [sh, sw] = self.stride;
        (dy % sh * sw + dx % sw) * self.phase_len() + dy / sh * self.pitch + dx / sw
    }

    /// Lays out a plane. The numbers around it stay as they are, zeros.
    ///
    /// # Safety
    /// As [`Vector`].
    #[inline(always)]
    pub unsafe fn fill<V: Vector>(&self, plane: &[f32], to: &mut [f32]) {
        let [sh, sw] = self.stride;
        // The phase of a row and its index within the phase, counted along: a division takes longer than a short row.
        let first = self.before[0].max(0) as usize;
        let (mut phase, mut row) = (first % sh, first / sh);
        for from in plane.chunks_exact(self.w).skip((-self.before[0]).max(0) as usize) {
            if row < self.rows {
                let to = &mut to[phase * sw * self.phase_len() + row * self.pitch..];
                // SAFETY: the caller's.
                unsafe {
                    match self.columns[..] {
                        [(x, at, count)] if sw == 1 => copy::<V>(&from[x..][..count], &mut to[at..]),
                        [(0, even, evens), (1, odd, odds)] if sw == 2 => split::<V>(from, to, [(even, evens), (odd, odds)]),
                        _ => {
                            for &(x, at, count) in &self.columns {
                                let from = from[x..].iter().step_by(sw);
                                to[at..][..count].iter_mut().zip(from).for_each(|(to, v)| *to = *v);
                            }
                        }
                    }
                }
            }
            phase += 1;
            if phase == sh {
                (phase, row) = (0, row + 1);
            }
        }
    }
}

/// # Safety
/// As [`Vector`].
#[inline(always)]
unsafe fn copy<V: Vector>(from: &[f32], to: &mut [f32]) {
    let (from, to, len) = (from.as_ptr(), to[..from.len()].as_mut_ptr(), from.len());
    let mut x = 0;
    // SAFETY: the caller's; both have `len` numbers.
    unsafe {
        while x + V::LANES <= len {
            V::load(from.add(x)).store(to.add(x));
            x += V::LANES;
        }
        V::load_first(from.add(x), len - x).store_first(to.add(x), len - x);
    }
}

/// Copies the numbers of `from` at even and at odd indices to `to`; `ends` are an offset and a count for each.
///
/// # Safety
/// As [`Vector`].
#[inline(always)]
unsafe fn split<V: Vector>(from: &[f32], to: &mut [f32], ends: [(usize, usize); 2]) {
    for (at, count) in ends {
        assert!(at + count <= to.len());
    }
    for x in (0..from.len()).step_by(2 * V::LANES) {
        let (p, remaining) = (from.as_ptr().wrapping_add(x), from.len() - x);
        // SAFETY: the caller's; loads end with `from`, stores with each count.
        unsafe {
            let halves = V::deinterleave_first(p, remaining);
            for i in 0..2 {
                let (at, count) = ends[i];
                let n = count.saturating_sub(x / 2).min(V::LANES);
                halves[i].store_first(to.as_mut_ptr().wrapping_add(at + x / 2), n);
            }
        }
    }
}
