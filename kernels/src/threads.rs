//! The one way work is spread over threads.

use rayon::prelude::*;

/// Elements below which starting threads costs more than it saves.
const GRAIN: usize = 1 << 14;

/// Runs `f(first_item, part)` over `out` cut into parts of whole items of `item` elements each.
///
/// Items are independent, so the cut does not change any result.
pub(crate) fn par_items<T: Send>(out: &mut [T], item: usize, f: impl Fn(usize, &mut [T]) + Sync) {
    if out.is_empty() {
        return;
    }
    let per = (GRAIN / item.max(1)).max(1);
    if out.len() <= GRAIN {
        f(0, out);
    } else {
        out.par_chunks_mut(per * item).enumerate().for_each(|(i, part)| f(i * per, part));
    }
}

/// As [`par_items`] for two outputs that advance together, with item sizes `ia` and `ib`.
pub(crate) fn par_items2<A: Send, B: Send>(
    a: &mut [A],
    ia: usize,
    b: &mut [B],
    ib: usize,
    f: impl Fn(usize, &mut [A], &mut [B]) + Sync,
) {
    if a.is_empty() {
        return;
    }
    let per = (GRAIN / ia.max(ib).max(1)).max(1);
    a.par_chunks_mut(per * ia).zip(b.par_chunks_mut(per * ib)).enumerate().for_each(|(i, (a, b))| f(i * per, a, b));
}
