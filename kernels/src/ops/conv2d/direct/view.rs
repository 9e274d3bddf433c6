//! The problem of a direct convolution, and the input offsets of its tiles.

use crate::core::buffer::Buffer;
use crate::core::device::DType;
use crate::ops::conv2d::Conv2dSpec;
use crate::ops::conv2d::geometry::{StridePhase, forward_taps, gather};
use crate::ops::conv2d::microkernel::{LONGEST, SHORTEST};
use crate::simd::{self, Kernel, Vector};
use rayon::prelude::*;
use std::ops::Range;

/// `out[oc, y, x] = sum of w[oc, c, tap] * in[c, y * step + dy, x * step + dx]`, zero outside of the input.
///
/// The groups of an image lie one behind the other, in and out, so each counts as an image of its own here.
pub(super) struct DirectProblem {
    /// Images, of which number `i` has the weights and biases of group `i % groups`.
    pub n: usize,
    pub groups: usize,
    /// Input channels of a group.
    pub c: usize,
    pub h: usize,
    pub w: usize,
    /// Output channels of a group.
    pub oc: usize,
    /// Rows and columns of the output.
    pub size: [usize; 2],
    pub step: [usize; 2],
    /// `[dy, dx]`
    pub taps: Vec<[isize; 2]>,
}

impl DirectProblem {
    pub fn forward(s: &Conv2dSpec) -> Self {
        let (groups, [c, oc]) = (s.groups, [s.c, s.oc].map(|channels| channels / s.groups));
        let (n, size, taps) = (s.n * groups, s.out_hw(), forward_taps(s));
        DirectProblem { n, groups, c, h: s.h, w: s.w, oc, size, step: s.stride, taps }.flat()
    }

    /// A stride phase of `dx`, from `dout`.
    pub fn backward(s: &Conv2dSpec, phase: &StridePhase) -> Self {
        let [h, w] = s.out_hw();
        let (groups, [c, oc]) = (s.groups, [s.oc, s.c].map(|channels| channels / s.groups));
        let taps = phase.taps.iter().map(|t| t.1).collect();
        DirectProblem { n: s.n * groups, groups, c, h, w, oc, size: phase.size, step: [1, 1], taps }.flat()
    }

    /// A 1x1 convolution without stride is a matrix product: its images are one row.
    pub fn flat(mut self) -> Self {
        if self.taps == [[0, 0]] && self.step == [1, 1] && self.size == [self.h, self.w] {
            (self.w, self.h) = (self.h * self.w, 1);
            self.size = [1, self.w];
        }
        self
    }

    pub fn steps(&self) -> usize {
        self.c * self.taps.len()
    }

    /// Pixels of an output channel.
    pub fn plane(&self) -> usize {
        self.size[0] * self.size[1]
    }
}

/// Where tiles read the input of a channel: the image itself, or a copy of rows with a border of zeros.
pub(super) struct PaddedView {
    /// Numbers from one channel to the next.
    pub channel: usize,
    /// Numbers from one row to the next.
    pub row: usize,
    /// Input row and column of the first number.
    pub first: [isize; 2],
    /// Offsets of the taps from a pixel.
    pub taps: Vec<usize>,
}

impl PaddedView {
    /// The image, if no pixel sees anything outside of it and rows are long enough for a group.
    pub fn image(p: &DirectProblem) -> Option<PaddedView> {
        let inside = |axis: usize, len: usize| {
            let last = ((p.size[axis] - 1) * p.step[axis]) as isize;
            p.taps.iter().all(|t| t[axis] >= 0 && t[axis] + last < len as isize)
        };
        let fits = inside(0, p.h) && inside(1, p.w) && p.size[1] >= SHORTEST;
        let taps = || p.taps.iter().map(|t| t[0] as usize * p.w + t[1] as usize).collect();
        fits.then(|| PaddedView { channel: p.h * p.w, row: p.w, first: [0, 0], taps: taps() })
    }

    /// Copies of what some output rows see.
    pub fn copy(p: &DirectProblem, rows: &Range<usize>) -> PaddedView {
        let ends = |axis: usize| {
            let along = || p.taps.iter().map(|t| t[axis]);
            [along().min().unwrap_or(0), along().max().unwrap_or(0)]
        };
        let ([top, bottom], [left, right]) = (ends(0), ends(1));
        // A row that is too short for a group is padded to one.
        let row = (p.size[1].max(LONGEST) - 1) * p.step[1] + (right - left) as usize + 1;
        let count = (rows.len() - 1) * p.step[0] + (bottom - top) as usize + 1;
        let first = [(rows.start * p.step[0]) as isize + top, left];
        let taps = p.taps.iter().map(|t| (t[0] - top) as usize * row + (t[1] - left) as usize).collect();
        PaddedView { channel: count * row, row, first, taps }
    }
}

/// Copies what a view holds of some channels of an image.
pub(super) struct Copy<'a> {
    pub p: &'a DirectProblem,
    pub view: &'a PaddedView,
    /// The first of the channels.
    pub x: &'a [f32],
    /// Whole channels of the view.
    pub to: &'a mut [f32],
}

impl Copy<'_> {
    /// All channels of all images, in a view of the whole output.
    pub fn all<V: Vector>(p: &DirectProblem, view: &PaddedView, x: &[f32]) -> Buffer {
        simd::require::<V>();
        let mut all = Buffer::new(DType::F32, p.n * p.c * view.channel);
        let channels = all.as_mut_slice::<f32>().par_chunks_exact_mut(view.channel).zip(x.par_chunks_exact(p.h * p.w));
        // SAFETY: the instructions are here.
        channels.for_each(|(to, x)| unsafe { V::run(Copy { p, view, x, to }) });
        all
    }
}

impl Kernel for Copy<'_> {
    type Out = ();
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let Copy { p, view, x, to } = self;
        for (x, to) in x.chunks_exact(p.h * p.w).zip(to.chunks_exact_mut(view.channel)) {
            for (y, to) in to.chunks_exact_mut(view.row).enumerate() {
                let y = view.first[0] + y as isize;
                if y < 0 || y >= p.h as isize {
                    to.fill(0.0);
                    continue;
                }
                let row = &x[y as usize * p.w..][..p.w];
                // SAFETY: the row of the copy is as long.
                unsafe { gather::<V>(to.as_mut_ptr(), to.len(), row, view.first[1], 1) }
            }
        }
    }
}
