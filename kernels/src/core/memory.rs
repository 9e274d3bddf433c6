//! Where buffers get their memory: blocks of size classes, kept for reuse, on huge pages where the system has them.
//!
//! Fresh pages cost more than most kernels, so a block that is given back is kept for the next buffer of its class. Kernels
//! stream through weights and activations of many megabytes: with pages of 4 KiB, finding the next page costs time, most of
//! all in a virtual machine. Large blocks therefore are mappings that ask for huge pages, and smaller ones are
//! cut from such mappings.
//!
//! Each thread keeps what it gave back itself and takes that first: it lies in this core's cache. Memory that another core wrote
//! last has to be fetched from there, and where the two share no cache that takes as long as from main memory.

use memmap2::MmapMut;
use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::collections::BTreeMap;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard};

/// Alignment of every owned buffer: a cache line, and an AVX-512 register.
pub const ALIGN: usize = 64;
/// Bytes that are kept at most for reuse, beside what was cut from chunks.
const LIMIT: usize = 4 << 30;
const POOLS: usize = 64;
/// Bytes of a huge page.
const HUGE: usize = 2 << 20;
/// Bytes of a mapping that blocks are cut from.
const CHUNK: usize = 4 * HUGE;
/// Bytes from which on a block is cut from a chunk; below, the heap serves.
const CUT: usize = 16 << 10;

/// An aligned allocation of a size class. Always initialised: it starts as zeros and is only ever overwritten.
pub(crate) struct Block {
    ptr: NonNull<u8>,
    size: usize,
    source: BlockSource,
}

enum BlockSource {
    Heap,
    /// Part of a chunk, which is never given back.
    Chunk,
    /// A mapping of its own.
    Map(#[allow(dead_code)] MmapMut), // Unmaps when it is dropped.
}

// SAFETY: a Block owns its memory alone, like a Box<[u8]>.
unsafe impl Send for Block {}
// SAFETY: shared access only reads.
unsafe impl Sync for Block {}

/// Free blocks of one thread. With more threads than pools, threads share pools.
#[derive(Default)]
struct Pool {
    /// By size; no list is empty.
    free: BTreeMap<usize, Vec<Block>>,
    /// The unused rest of the last chunk.
    rest: &'static mut [u8],
}

/// The pools, this thread's first. Threads outside of rayon's pool share the first.
fn pools() -> impl Iterator<Item = MutexGuard<'static, Pool>> {
    static ALL: [Mutex<Pool>; POOLS] = [const { Mutex::new(Pool { free: BTreeMap::new(), rest: &mut [] }) }; POOLS];
    let mine = rayon::current_thread_index().unwrap_or(0);
    (mine..mine + POOLS).map(|i| ALL[i % POOLS].lock().unwrap_or_else(|e| e.into_inner()))
}

/// Bytes of all blocks that are kept, without what was cut from chunks.
static KEPT: AtomicUsize = AtomicUsize::new(0);

/// Rounds up to a quarter of a power of two, so that near sizes share blocks and at most a fifth is wasted.
pub(crate) fn size_class(size: usize) -> usize {
    let size = size.max(4 * ALIGN);
    let quarter = (size.next_power_of_two() / 8).max(ALIGN);
    size.div_ceil(quarter) * quarter
}

/// Zeros on huge pages, if the system has any: the first one starts at the returned offset.
fn map(size: usize) -> Option<(MmapMut, usize)> {
    // Room to start at a huge page: what is not touched takes no memory.
    let map = MmapMut::map_anon(size + HUGE).ok()?;
    #[cfg(target_os = "linux")]
    let _ = map.advise(memmap2::Advice::HugePage); // No matter if it fails: it is only slower.
    let start = (map.as_ptr() as usize).next_multiple_of(HUGE) - map.as_ptr() as usize;
    Some((map, start))
}

impl Pool {
    /// A kept block of `size`, or one up to twice as large: a fresh one would have to be cleared, page by page.
    fn reuse(&mut self, size: usize) -> Option<Block> {
        let (&found, blocks) = self.free.range_mut(size..=2 * size).next()?;
        let block = blocks.pop()?;
        if blocks.is_empty() {
            self.free.remove(&found);
        }
        KEPT.fetch_sub(if block.is_cut() { 0 } else { found }, Relaxed);
        Some(block)
    }

    /// A fresh block out of a chunk.
    fn cut(&mut self, size: usize) -> Option<Block> {
        if self.rest.len() < size {
            let (map, start) = map(CHUNK)?;
            self.rest = &mut Box::leak(Box::new(map))[start..start + CHUNK];
        }
        let (block, rest) = std::mem::take(&mut self.rest).split_at_mut(size);
        self.rest = rest;
        Some(Block { ptr: NonNull::from(block).cast(), size, source: BlockSource::Chunk })
    }
}

impl Block {
    fn layout(size: usize) -> Layout {
        Layout::from_size_align(size, ALIGN).expect("a size fits isize")
    }

    pub fn take(size: usize) -> Block {
        if cfg!(feature = "exact-alloc") {
            return Self::exact(size);
        }
        let size = size_class(size);
        if let Some(block) = pools().find_map(|mut pool| pool.reuse(size)) {
            return block;
        }
        if (CUT..HUGE).contains(&size)
            && let Some(block) = pools().next().and_then(|mut pool| pool.cut(size))
        {
            return block;
        }
        if size >= HUGE
            && let Some((mut map, start)) = map(size)
        {
            let ptr = NonNull::from(&mut map[start..start + size]).cast();
            return Block { ptr, size, source: BlockSource::Map(map) };
        }
        Self::heap(size)
    }

    /// An allocation of its own.
    fn heap(size: usize) -> Block {
        let layout = Self::layout(size);
        // SAFETY: the layout has a non-zero size.
        let ptr = unsafe { alloc_zeroed(layout) };
        let Some(ptr) = NonNull::new(ptr) else { handle_alloc_error(layout) };
        Block { ptr, size, source: BlockSource::Heap }
    }

    /// An allocation of exactly `size` bytes (an empty one has one), so that a sanitizer sees the first byte past its end. All
    /// bits are set: floating-point numbers nobody wrote are NaN, indices are out of range.
    fn exact(size: usize) -> Block {
        let mut block = Self::heap(size.max(1));
        block.as_mut().fill(0xff);
        block
    }

    fn is_cut(&self) -> bool {
        matches!(self.source, BlockSource::Chunk)
    }

    pub fn as_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in as_ref, and &mut self makes it unique.
        unsafe { std::slice::from_raw_parts_mut(self.ptr.as_ptr(), self.size) }
    }
}

impl AsRef<[u8]> for Block {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: ptr is valid for size initialised bytes as long as self lives.
        unsafe { std::slice::from_raw_parts(self.ptr.as_ptr(), self.size) }
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        let counts = if self.is_cut() { 0 } else { self.size };
        if !cfg!(feature = "exact-alloc")
            && KEPT.fetch_add(counts, Relaxed) + counts <= LIMIT
            && let Some(mut pool) = pools().next()
        {
            let source = std::mem::replace(&mut self.source, BlockSource::Chunk);
            pool.free.entry(self.size).or_default().push(Block { ptr: self.ptr, size: self.size, source });
            return;
        }
        if !cfg!(feature = "exact-alloc") {
            KEPT.fetch_sub(counts, Relaxed);
        }
        if let BlockSource::Heap = self.source {
            // SAFETY: allocated in take with the same layout, and not handed to a pool.
            unsafe { dealloc(self.ptr.as_ptr(), Self::layout(self.size)) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(not(feature = "exact-alloc"))]
    fn blocks_are_aligned_zeroed_and_of_classes() {
        for size in [1, 300, 4097, CUT, HUGE - 1, HUGE, 3 * HUGE + 1] {
            let mut block = Block::take(size);
            assert_eq!(block.as_ref().as_ptr() as usize % ALIGN, 0);
            assert!(block.as_ref().len() >= size);
            block.as_mut().fill(1);
        }
        // A quarter of a power of two.
        assert_eq!(size_class(4012), 4096);
        assert_eq!(size_class(4097), 5120);
        assert_eq!(size_class(1), 256);
        assert_eq!(size_class(300), 320);
    }

    #[test]
    fn blocks_of_a_chunk_do_not_overlap() {
        let mut blocks: Vec<Block> = (0..100).map(|_| Block::take(200 << 10)).collect();
        for (i, block) in blocks.iter_mut().enumerate() {
            block.as_mut().fill(i as u8);
        }
        for (i, block) in blocks.iter().enumerate() {
            assert!(block.as_ref().iter().all(|b| *b == i as u8));
        }
    }
}
