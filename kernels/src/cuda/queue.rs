//! A device's queue: its driver, its memory for reuse, and the first thing that went wrong.
//!
//! Work on a GPU is asked for now and done later, so a failure has no single place. It is remembered; what is asked for afterwards is
//! not done; and [`crate::table::Table::run`], which every operation goes through, reports it.

use super::driver::{Driver, Launch};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::memory::size_class;
use std::collections::BTreeMap;
use std::sync::Mutex;

/// See the module.
pub struct Queue {
    device: Device,
    driver: Box<dyn Driver>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Memory that was given back, by size. Work is done in order, so it may be handed out before its last use is over.
    free: BTreeMap<usize, Vec<u64>>,
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
        Queue { device, driver, state: Mutex::default() }
    }

    /// Name of the device, such as `NVIDIA H200`.
    pub fn name(&self) -> String {
        self.driver.name()
    }

    /// Bytes of the device's L2.
    pub fn cache_bytes(&self) -> usize {
        self.driver.cache_bytes()
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

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|e| e.into_inner())
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
        self.attempt(|driver| driver.synchronize());
    }

    /// Does `work` and tells the seconds from the start to the end of what it asks for, by the device's own clock.
    ///
    /// # Errors
    /// What went wrong on the device.
    pub fn timed<T>(&self, work: impl FnOnce() -> T) -> Result<(T, f64)> {
        let (mut work, mut done) = (Some(work), None);
        let seconds = self.driver.timed(&mut || done = work.take().map(|work| work()));
        self.check()?;
        let fail = |reason: String| Error::Device { device: self.device, reason };
        let seconds = seconds.map_err(fail)?;
        done.map(|done| (done, seconds)).ok_or_else(|| fail("the work was not asked for".to_string()))
    }

    fn attempt(&self, f: impl FnOnce(&dyn Driver) -> Result<(), String>) {
        if self.state().failure.is_none()
            && let Err(reason) = f(&*self.driver)
        {
            self.state().failure = Some(reason);
        }
    }

    pub(crate) fn allocate(&'static self, bytes: usize) -> DeviceBlock {
        let size = size_class(bytes);
        let kept = self.state().reuse(size);
        let address = kept.or_else(|| {
            self.driver.allocate(size).ok().or_else(|| {
                // What is kept for reuse may be what is missing.
                for address in std::mem::take(&mut self.state().free).into_values().flatten() {
                    // SAFETY: nobody has it: it was given back.
                    unsafe { self.driver.free(address) }
                }
                let again = self.driver.allocate(size);
                again.map_err(|reason| self.attempt(|_| Err(format!("no room for {size} bytes more: {reason}")))).ok()
            })
        });
        DeviceBlock { queue: self, address: address.unwrap_or(0), size }
    }

    /// Starts a kernel.
    ///
    /// # Safety
    /// As [`Driver::launch`].
    pub unsafe fn launch(&self, launch: &Launch) {
        // Nothing to compute.
        if launch.grid.contains(&0) {
            return;
        }
        let [x, y, z] = launch.grid;
        self.attempt(|driver| {
            if x >= 1 << 31 || y >= 1 << 16 || z >= 1 << 16 {
                return Err(format!("{}: a grid of {x} x {y} x {z} blocks is larger than any device takes", launch.kernel));
            }
            // SAFETY: the caller's.
            unsafe { driver.launch(launch) }.map_err(|e| format!("{}: {e}", launch.kernel))
        });
    }
}

impl State {
    fn reuse(&mut self, size: usize) -> Option<u64> {
        self.free.get_mut(&size)?.pop()
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
        self.queue.attempt(|driver| unsafe { driver.upload(self.address, from) });
    }

    /// Reads the first bytes.
    ///
    /// # Errors
    /// What went wrong, now or before.
    pub fn download(&self, to: &mut [u8]) -> Result<()> {
        assert!(to.len() <= self.size);
        // SAFETY: as in upload.
        self.queue.attempt(|driver| unsafe { driver.download(to, self.address) });
        self.queue.check()
    }

    /// As many bytes of another block of this device.
    pub fn copy(&mut self, from: &DeviceBlock) {
        assert!(from.size == self.size);
        // SAFETY: both have this size, or the queue has failed.
        self.queue.attempt(|driver| unsafe { driver.copy(self.address, from.address, self.size) });
    }
}

impl Drop for DeviceBlock {
    fn drop(&mut self) {
        if self.address != 0 {
            self.queue.state().free.entry(self.size).or_default().push(self.address);
        }
    }
}
