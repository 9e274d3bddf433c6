//! Partition of a direct convolution into tasks.

use super::view::{DirectProblem, PaddedView};
use crate::ops::conv2d::microkernel::{GROUPS, LONGEST, PixelGroup, group, panel_width};
use crate::simd::Vector;
use std::ops::Range;

/// Pixels of a band at most, where rows are not longer.
const BAND: usize = 224;
/// Sums of a task at most: 256 KiB.
pub(super) const SUMS: usize = 1 << 16;
/// Pixels of a band below which it is not cut for the sake of more tasks.
const FEW_PIXELS: usize = 56;
/// Tasks that a problem is cut into at least, where it is large enough.
pub(super) const MIN_TASKS: usize = 16;

/// Partition of a problem: bands of each image's output by ranges of output channels.
pub(super) struct DirectPlan {
    /// Rows of each band, or pixels where the output is one row.
    pub bands: Vec<Range<usize>>,
    /// Output channels of a task: whole panels.
    pub channels: usize,
}

pub(super) fn plan<V: Vector>(p: &DirectProblem) -> DirectPlan {
    let [oh, ow] = p.size;
    let width = panel_width::<V>();
    // A band is a number of units: rows, or tiles of pixels of a single row, of which the last may be longer.
    let tile = GROUPS * LONGEST;
    let (unit, units) = if oh == 1 { (tile, (ow / tile).max(1)) } else { (ow, oh) };
    let each = |bands: usize| units.div_ceil(bands);
    let mut bands = units.div_ceil((BAND / unit).max(1));
    let all = p.oc.div_ceil(width);
    let mut panels = all.min((SUMS / (each(bands) * unit * width)).max(1));
    while p.n * units.div_ceil(each(bands)) * all.div_ceil(panels) < MIN_TASKS {
        // Input is read again for each range of channels, weights for each band.
        let pixels = each(bands) * unit;
        if panels > 1 && (panels * width > pixels || pixels <= FEW_PIXELS) {
            panels = panels.div_ceil(2);
        } else if pixels > FEW_PIXELS && each(bands) > 1 {
            bands *= 2;
        } else {
            break;
        }
    }
    let size = each(bands) * if oh == 1 { unit } else { 1 };
    let count = units.div_ceil(each(bands));
    let end = |i: usize| match i + 1 == count {
        true if oh == 1 => ow,
        true => oh,
        false => (i + 1) * size,
    };
    DirectPlan { bands: (0..count).map(|i| i * size..end(i)).collect(), channels: panels * width }
}

/// A band of each image's output: some rows, or some pixels where the output is one row.
pub(super) struct Band {
    /// Offset of the first pixel in an output plane, and number of pixels.
    pub start: usize,
    pub count: usize,
    /// Pixels of a group.
    pub pixels: usize,
    pub groups: Vec<PixelGroup>,
    /// Set where a task copies what the band sees for itself.
    pub own: Option<PaddedView>,
}

impl Band {
    /// A band of the output, as seen in a view that starts with output row `origin`.
    pub fn new<V: Vector>(
        p: &DirectProblem,
        view: &PaddedView,
        origin: usize,
        rows: Range<usize>,
        columns: Range<usize>,
    ) -> Self {
        let length = columns.len();
        let pixels = group::<V>(length);
        let mut groups = Vec::new();
        for y in rows.clone() {
            let (accumulator, x) = ((y - rows.start) * length, (y - origin) * p.step[0] * view.row + columns.start * p.step[1]);
            for at in (0..length).step_by(pixels) {
                // A last group that would overhang starts earlier; in a row that is too short for one, it overhangs.
                let start = at.min(length.saturating_sub(pixels));
                let end = pixels.min(length - start);
                groups.push(PixelGroup { x: x + start * p.step[1], accumulator: accumulator + start, first: at - start, end });
            }
        }
        Band { start: rows.start * p.size[1] + columns.start, count: rows.len() * length, pixels, groups, own: None }
    }

    /// Slots of the pixels, and of what the groups of the last row overhang.
    pub fn accumulators(&self) -> usize {
        self.groups.iter().map(|group| group.accumulator + self.pixels).fold(self.count, usize::max)
    }
}
