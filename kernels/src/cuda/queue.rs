//! A device's queue: its driver, its memory for reuse, and the first thing that went wrong.
//!
//! Work on a GPU is asked for now and done later, so a failure has no single place. It is remembered; what is asked for afterwards is
//! not done; and [`crate::table::Table::run`], which every operation goes through, reports it.
//!
//! Work that repeats is held back, see `graphs`.

use super::driver::{Driver, Launch, Work};
use super::graphs::Graphs;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::memory::size_class;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard};

/// See the module.
pub struct Queue {
    device: Device,
    driver: Box<dyn Driver>,
    state: Mutex<State>,
    /// Locked before `state`, and while the driver is asked for work: what is asked for by several threads keeps its order.
    pending: Mutex<Pending>,
}

/// Work that was asked for and not started.
#[derive(Default)]
struct Pending {
    /// How many [`Queue::capture`] are under way; work is held back while there is one.
    depth: usize,
    work: Vec<Work>,
    graphs: Graphs,
}

#[derive(Default)]
struct State {
    /// Memory that was given back, by size. Work is done in order, so it may be handed out before its last use is over. The lowest address
    /// goes first: who asks for the same again, after all was given back, gets the same.
    free: BTreeMap<usize, BTreeSet<u64>>,
    failure: Option<String>,
}

/// Memory of a device, given back when dropped.
pub(crate) struct DeviceBlock {
    queue: &'static Queue,
    /// 0 if there was none to be had: then the queue has failed and nothing touches it.
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

    /// Does `f`, whose work is held back until its results are wanted: where the same was asked for before, in the same places, it is
    /// started as one. This pays where `f` is asked for again and again and kernels are short.
    pub fn capture<T>(&self, f: impl FnOnce() -> T) -> T {
        /// Ends also where `f` panics.
        struct Capture<'a>(&'a Queue);
        impl Drop for Capture<'_> {
            fn drop(&mut self) {
                self.0.flush_then(|_| Ok(()));
                self.0.pending().depth -= 1;
            }
        }
        self.pending().depth += 1;
        let _capture = Capture(self);
        f()
    }

    /// How often work was started as one.
    pub fn replays(&self) -> u64 {
        self.pending().graphs.replays
    }

    /// What went wrong since the last call, if anything did.
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
    /// What went wrong.
    pub fn synchronize(&self) -> Result<()> {
        self.wait();
        self.check()
    }

    /// Waits for all work; what went wrong is told by the next [`Queue::check`].
    pub fn wait(&self) {
        self.flush_then(|driver| driver.synchronize());
    }

    /// Does `work` and tells the seconds from the start to the end of what it asks for, by the device's own clock.
    ///
    /// # Errors
    /// What went wrong on the device.
    pub fn timed<T>(&self, work: impl FnOnce() -> T) -> Result<(T, f64)> {
        let (mut work, mut done) = (Some(work), None);
        let flush = || self.flush_then(|_| Ok(()));
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

    /// Does `f` unless something went wrong before, and remembers what goes wrong.
    fn on_ok(&self, f: impl FnOnce(&dyn Driver) -> Result<(), String>) {
        if self.state().failure.is_none()
            && let Err(reason) = f(&*self.driver)
        {
            self.state().failure = Some(reason);
        }
    }

    /// Starts what is held back, then does `f`.
    fn flush_then(&self, f: impl FnOnce(&dyn Driver) -> Result<(), String>) {
        let mut pending = self.pending();
        let work = std::mem::take(&mut pending.work);
        // SAFETY: who asked for it saw to that, and memory is not freed before it is started.
        self.on_ok(|driver| unsafe { pending.graphs.start(driver, work) });
        self.on_ok(f);
    }

    /// Asks for work: at once, or when its results are wanted.
    ///
    /// # Safety
    /// As [`Work::start`].
    unsafe fn enqueue(&self, work: Work) {
        let mut pending = self.pending();
        match pending.depth {
            // SAFETY: the caller's.
            0 => self.on_ok(|driver| unsafe { work.start(driver) }),
            _ => pending.work.push(work),
        }
    }

    pub(crate) fn allocate(&'static self, bytes: usize) -> DeviceBlock {
        let size = size_class(bytes);
        let kept = self.state().reuse(size);
        let address = kept.or_else(|| {
            self.driver.allocate(size).ok().or_else(|| {
                // What is kept for reuse may be what is missing; what is held back may still use it.
                self.flush_then(|_| Ok(()));
                for address in std::mem::take(&mut self.state().free).into_values().flatten() {
                    // SAFETY: nobody has it: it was given back.
                    unsafe { self.driver.free(address) }
                }
                let again = self.driver.allocate(size);
                again.map_err(|reason| self.flush_then(|_| Err(format!("no room for {size} bytes more: {reason}")))).ok()
            })
        });
        DeviceBlock { queue: self, address: address.unwrap_or(0), size }
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
            return self.on_ok(|_| Err(reason));
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

    pub fn address(&self) -> u64 {
        self.address
    }

    /// Fills the first bytes.
    pub fn upload(&mut self, from: &[u8]) {
        assert!(from.len() <= self.size);
        // SAFETY: this many bytes are allocated, or the queue has failed.
        self.queue.flush_then(|driver| unsafe { driver.upload(self.address, from) });
    }

    /// Reads the first bytes.
    ///
    /// # Errors
    /// What went wrong, now or before.
    pub fn download(&self, to: &mut [u8]) -> Result<()> {
        assert!(to.len() <= self.size);
        // SAFETY: as in upload.
        self.queue.flush_then(|driver| unsafe { driver.download(to, self.address) });
        self.queue.check()
    }

    /// As many bytes of another block of this device.
    pub fn copy(&mut self, from: &DeviceBlock) {
        assert!(from.size == self.size);
        // SAFETY: both have this size, or the queue has failed.
        unsafe { self.queue.enqueue(Work::Copy { to: self.address, from: from.address, bytes: self.size }) }
    }
}

impl Drop for DeviceBlock {
    fn drop(&mut self) {
        if self.address != 0 {
            self.queue.state().free.entry(self.size).or_default().insert(self.address);
        }
    }
}
