//! A device's queue: its driver, its memory for reuse, and the first thing that went wrong.
//!
//! Work on a GPU is enqueued now and done later, so a failure belongs to no single call. It is remembered; what is enqueued afterwards is
//! not done; and [`crate::core::table::Table::run`], which every operation goes through, reports it.
//!
//! Within [`Queue::capture`] work is pending until a result is wanted, see `graphs`.

use super::driver::{Driver, Launch, NOWHERE, Work};
use super::graphs::Graphs;
use crate::core::device::Device;
use crate::core::error::{Error, Result};
use crate::core::memory::size_class;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard};

/// See the module.
pub struct Queue {
    device: Device,
    driver: Box<dyn Driver>,
    state: Mutex<State>,
    /// Locked before `state`, and while the driver is given work: work of several threads keeps its order.
    pending: Mutex<Pending>,
}

/// Work that is enqueued and not started.
#[derive(Default)]
struct Pending {
    /// Calls of [`Queue::capture`] under way. Work is pending while there is one.
    depth: usize,
    work: Vec<Work>,
    graphs: Graphs,
}

#[derive(Default)]
struct State {
    /// Blocks that were given back, by size. Work is done in order, so a block is handed out again before its last use is over. The lowest
    /// address goes first: the same allocations in the same order get the same addresses.
    free: BTreeMap<usize, BTreeSet<u64>>,
    failure: Option<String>,
}

/// Memory of a device, given back when dropped.
pub(crate) struct DeviceBlock {
    queue: &'static Queue,
    /// [`NOWHERE`] if the device was out of memory.
    address: u64,
    size: usize,
}

impl Queue {
    pub(super) fn new(device: Device, driver: Box<dyn Driver>) -> Self {
        Queue { device, driver, state: Mutex::default(), pending: Mutex::default() }
    }

    /// Name of the device, such as `NVIDIA H200`.
    pub fn name(&self) -> String {
        self.driver.name()
    }

    /// Bytes of the device's L2.
    pub fn cache_bytes(&self) -> usize {
        self.driver.cache_bytes()
    }

    /// The device's compute capability.
    pub fn capability(&self) -> (i32, i32) {
        self.driver.capability()
    }

    /// Bytes that could still be allocated, with what is kept for reuse.
    ///
    /// # Errors
    /// If the device does not tell.
    pub fn free_bytes(&self) -> Result<usize> {
        let kept: usize = self.state().free.iter().map(|(size, blocks)| size * blocks.len()).sum();
        let free = self.driver.free_bytes().map_err(|reason| Error::Device { device: self.device, reason })?;
        Ok(free.saturating_add(kept))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }

    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Runs `f`. Its work is pending until a result is wanted, and a list of work that came before is replayed as a CUDA graph. This pays
    /// where `f` repeats and its kernels are short.
    pub fn capture<T>(&self, f: impl FnOnce() -> T) -> T {
        /// Ends also where `f` panics. The work is then left to the next call: the driver is not called while a panic unwinds, as a second
        /// panic would end the process.
        struct Capture<'a>(&'a Queue);
        impl Drop for Capture<'_> {
            fn drop(&mut self) {
                let mut pending = self.0.pending();
                pending.depth -= 1;
                if !std::thread::panicking() {
                    self.0.flush(&mut pending);
                }
            }
        }
        self.pending().depth += 1;
        let _capture = Capture(self);
        f()
    }

    /// CUDA graphs launched so far.
    pub fn replays(&self) -> u64 {
        self.pending().graphs.replays
    }

    /// The failure since the last call, if there was one.
    ///
    /// # Errors
    /// That.
    pub fn check(&self) -> Result<()> {
        match self.state().failure.take() {
            Some(reason) => Err(Error::Device { device: self.device, reason }),
            None => Ok(()),
        }
    }

    /// Waits for all work.
    ///
    /// # Errors
    /// The failure.
    pub fn synchronize(&self) -> Result<()> {
        let done = self.flush_then(|driver| driver.synchronize());
        self.report(done)
    }

    /// Waits for all work. The next [`Queue::check`] reports a failure.
    pub fn wait(&self) {
        let _ = self.flush_then(|driver| driver.synchronize());
    }

    /// Does `work` and tells the seconds from the start to the end of what it asks for, by the device's own clock.
    ///
    /// # Errors
    /// A failure of the device.
    pub fn timed<T>(&self, work: impl FnOnce() -> T) -> Result<(T, f64)> {
        let (mut work, mut done) = (Some(work), None);
        let flush = || self.flush(&mut self.pending());
        flush();
        let seconds = self.driver.timed(&mut || {
            done = work.take().map(|work| work());
            flush();
        });
        self.check()?;
        let fail = |reason: String| Error::Device { device: self.device, reason };
        let seconds = seconds.map_err(fail)?;
        done.map(|done| (done, seconds)).ok_or_else(|| fail("the work was not asked for".to_string()))
    }

    /// Remembers a failure, unless there is an earlier one that was not reported.
    fn fail(&self, reason: String) {
        self.state().failure.get_or_insert(reason);
    }

    /// The unreported failure, or else that of `done`: another thread may have reported it.
    fn report(&self, done: Result<(), String>) -> Result<()> {
        self.check()?;
        done.map_err(|reason| Error::Device { device: self.device, reason })
    }

    /// Runs `f` unless there is an unreported failure, and remembers its failure. Returns the failure.
    fn on_ok(&self, f: impl FnOnce(&dyn Driver) -> Result<(), String>) -> Result<(), String> {
        let failed = self.state().failure.clone();
        match failed {
            Some(reason) => Err(reason),
            None => f(&*self.driver).inspect_err(|reason| self.fail(reason.clone())),
        }
    }

    /// Starts the pending work.
    fn flush(&self, pending: &mut Pending) {
        let work = std::mem::take(&mut pending.work);
        if !work.is_empty() {
            // SAFETY: the callers of `enqueue` answer for each, and no memory is freed between `enqueue` and here.
            let _ = self.on_ok(|driver| unsafe { pending.graphs.start(driver, work) });
        }
    }

    /// Starts the pending work, then runs `f`.
    fn flush_then(&self, f: impl FnOnce(&dyn Driver) -> Result<(), String>) -> Result<(), String> {
        let mut pending = self.pending();
        self.flush(&mut pending);
        self.on_ok(f)
    }

    /// Starts work, or leaves it pending within [`Queue::capture`].
    ///
    /// # Safety
    /// As [`Work::start`].
    unsafe fn enqueue(&self, work: Work) {
        let mut pending = self.pending();
        if work.reaches_nowhere() {
            return self.fail("there was no room for one of its operands".to_string());
        }
        if pending.depth > 0 {
            let _ = self.on_ok(|_| {
                pending.work.push(work);
                Ok(())
            });
        } else {
            // Left by a `capture` that panicked.
            self.flush(&mut pending);
            // SAFETY: the caller's.
            let _ = self.on_ok(|driver| unsafe { work.start(driver) });
        }
    }

    pub(crate) fn allocate(&'static self, bytes: usize) -> DeviceBlock {
        let size = size_class(bytes);
        let reused = self.state().reuse(size);
        let address = reused.or_else(|| self.driver.allocate(size).ok()).or_else(|| self.allocate_from_freed(size));
        DeviceBlock { queue: self, address: address.unwrap_or(NOWHERE), size }
    }

    /// Frees the blocks that are kept for reuse, and allocates. Fails if the device is still out of memory.
    fn allocate_from_freed(&self, size: usize) -> Option<u64> {
        // Locked from the flush to the last block: no work is enqueued meanwhile, so none is pending on a block of the free list.
        let mut pending = self.pending();
        self.flush(&mut pending);
        let free = std::mem::take(&mut self.state().free);
        for address in free.into_values().flatten() {
            // SAFETY: it was given back, and no work that uses it is pending.
            unsafe { self.driver.free(address) }
        }
        let made = self.driver.allocate(size);
        made.map_err(|reason| self.fail(format!("no room for {size} bytes more: {reason}"))).ok()
    }

    /// Starts a kernel.
    ///
    /// # Safety
    /// As [`Driver::launch`].
    pub unsafe fn launch(&self, launch: Launch) {
        // Nothing to compute.
        if launch.grid.contains(&0) {
            return;
        }
        let [x, y, z] = launch.grid;
        if x >= 1 << 31 || y >= 1 << 16 || z >= 1 << 16 {
            let reason = format!("{}: a grid of {x} x {y} x {z} blocks is larger than any device takes", launch.kernel);
            return self.fail(reason);
        }
        // SAFETY: the caller's.
        unsafe { self.enqueue(Work::Launch(launch)) }
    }
}

impl State {
    fn reuse(&mut self, size: usize) -> Option<u64> {
        self.free.get_mut(&size)?.pop_first()
    }
}

impl DeviceBlock {
    pub fn queue(&self) -> &'static Queue {
        self.queue
    }

    pub fn device(&self) -> Device {
        self.queue.device
    }

    /// Its address, or one of which [`Queue::enqueue`] refuses work.
    pub fn address(&self) -> u64 {
        self.address
    }

    /// Its address, if it has memory.
    fn memory(&self) -> Result<u64, String> {
        if self.address == NOWHERE { Err(format!("there was no room for {} bytes", self.size)) } else { Ok(self.address) }
    }

    /// Fills the first bytes.
    ///
    /// # Errors
    /// An unreported failure of the queue, or that of the copy.
    pub fn upload(&mut self, from: &[u8]) -> Result<()> {
        assert!(from.len() <= self.size);
        // SAFETY: the block has memory of at least as many bytes.
        let done = self.queue.flush_then(|driver| unsafe { driver.upload(self.memory()?, from) });
        self.queue.report(done)
    }

    /// Reads the first bytes.
    ///
    /// # Errors
    /// An unreported failure of the queue, or that of the copy.
    pub fn download(&self, to: &mut [u8]) -> Result<()> {
        assert!(to.len() <= self.size);
        // SAFETY: as in `upload`.
        let done = self.queue.flush_then(|driver| unsafe { driver.download(to, self.memory()?) });
        self.queue.report(done)
    }

    /// Copies all bytes of another block of the same size on this device.
    pub fn copy(&mut self, from: &DeviceBlock) {
        assert!(from.size == self.size && std::ptr::eq(from.queue, self.queue));
        // SAFETY: both have this size; `enqueue` refuses a block without memory.
        unsafe { self.queue.enqueue(Work::Copy { to: self.address, from: from.address, bytes: self.size }) }
    }
}

impl Drop for DeviceBlock {
    fn drop(&mut self) {
        if self.address != NOWHERE {
            self.queue.state().free.entry(self.size).or_default().insert(self.address);
        }
    }
}
