//! The one way work is spread over threads.

use rayon::prelude::*;
use std::ops::Range;

/// Elements up to which starting threads costs more than it saves.
const ALONE: usize = 1 << 16;
/// Elements that a thread takes at a time beyond that.
const GRAIN: usize = 1 << 15;

/// Runs `f(first_item, chunk)` over `out` cut into chunks of whole items of `item` elements each.
///
/// Items are independent, so the cut does not change any result.
pub(crate) fn par_items<T: Send>(out: &mut [T], item: usize, f: impl Fn(usize, &mut [T]) + Sync) {
    par_work(out, item, item, f);
}

/// As [`par_items`], for items whose work is not their size: that of `work` elements each.
pub(crate) fn par_work<T: Send>(out: &mut [T], item: usize, work: usize, f: impl Fn(usize, &mut [T]) + Sync) {
    if out.is_empty() {
        return;
    }
    let (items, per) = (out.len() / item, (GRAIN / work.max(1)).max(1));
    if items * work <= ALONE {
        f(0, out);
    } else {
        out.par_chunks_mut(per * item).enumerate().for_each(|(i, chunk)| f(i * per, chunk));
    }
}

/// As [`par_work`] for two outputs that advance together, with items of `item` elements in both.
pub(crate) fn par_work2<A: Send, B: Send>(
    a: &mut [A],
    b: &mut [B],
    item: usize,
    work: usize,
    f: impl Fn(usize, &mut [A], &mut [B]) + Sync,
) {
    if a.is_empty() {
        return;
    }
    let (items, per) = (a.len() / item, (GRAIN / work.max(1)).max(1));
    if items * work <= ALONE {
        f(0, a, b);
    } else {
        let chunks = a.par_chunks_mut(per * item).zip(b.par_chunks_mut(per * item));
        chunks.enumerate().for_each(|(i, (a, b))| f(i * per, a, b));
    }
}

/// Subranges of `size`, of which the last may be shorter.
pub(crate) fn split_range(range: Range<usize>, size: usize) -> impl Iterator<Item = Range<usize>> + Clone {
    range.clone().step_by(size.max(1)).map(move |start| start..range.end.min(start + size))
}

/// Memory of which threads write disjoint ranges.
#[derive(Clone, Copy)]
pub(crate) struct Shared(pub *mut f32);

// SAFETY: each write through the pointer promises that no two threads touch one element.
unsafe impl Sync for Shared {}

impl Shared {
    /// A method, so that closures take hold of the whole and not of the bare pointer.
    pub fn get(&self) -> *mut f32 {
        self.0
    }
}
