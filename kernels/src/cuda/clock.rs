//! Times of a device's work, by its own clock and with a cold L2.

use super::queue::Queue;
use crate::core::buffer::Buffer;
use crate::core::device::{DType, Device};
use crate::core::error::Result;

/// A clock of a device, and what it throws the L2 out with.
pub struct Clock {
    queue: &'static Queue,
    cold: Buffer,
}

impl Clock {
    /// The clock of a CUDA device.
    ///
    /// # Errors
    /// If the device cannot be used or is out of memory.
    pub fn new(device: Device) -> Result<Self> {
        let queue = super::devices::queue(device)?;
        // Twice its L2.
        let cold = Buffer::zeros(DType::F32, 1).on(device)?.like(DType::F32, queue.cache_bytes() / 2);
        Ok(Clock { queue, cold })
    }

    /// Seconds from the start of what `work` asks for to its end, after the L2 was filled with something else. The device is still busy with
    /// that when it is asked, so that the time of asking does not count unless it is longer than the work.
    ///
    /// # Errors
    /// A failure of the device.
    pub fn seconds<T>(&mut self, work: impl FnOnce() -> T) -> Result<(T, f64)> {
        super::launch::fill(&mut self.cold, 0.0);
        self.queue.timed(work)
    }
}
