//! The queue of each CUDA device, opened on first use.

use super::driver::Driver;
use super::nvidia;
use super::queue::Queue;
use crate::core::device::Device;
use crate::core::error::{Error, Result};
use std::sync::OnceLock;

/// Devices at most.
const DEVICES: usize = 16;

/// The queue of each device, or why it cannot be used; found out on first use.
static QUEUES: [OnceLock<Result<Queue, String>>; DEVICES] = [const { OnceLock::new() }; DEVICES];

/// The queue of a CUDA device.
///
/// # Errors
/// [`Error::Device`] with the reason why it cannot be used.
pub fn queue(device: Device) -> Result<&'static Queue> {
    let fail = |reason: String| Error::Device { device, reason };
    let Device::Cuda(ordinal) = device else { return Err(fail("it is no CUDA device".to_string())) };
    let cell = QUEUES.get(usize::from(ordinal)).ok_or_else(|| fail(format!("ordinals go up to {}", DEVICES - 1)))?;
    let open = || Ok(Queue::new(device, Box::new(nvidia::Nvidia::open(ordinal)?)));
    cell.get_or_init(open).as_ref().map_err(|reason| fail(reason.clone()))
}

/// Makes a driver of one's own a CUDA device: how the emulation gets in.
///
/// # Errors
/// If that device was used before.
pub fn attach(ordinal: u8, driver: Box<dyn Driver>) -> Result<Device> {
    let device = Device::Cuda(ordinal);
    let fail = |reason: &str| Error::Device { device, reason: reason.to_string() };
    let cell = QUEUES.get(usize::from(ordinal)).ok_or_else(|| fail("no such ordinal"))?;
    cell.set(Ok(Queue::new(device, driver))).map_err(|_| fail("it is in use"))?;
    Ok(device)
}

/// The first device that can be used: an attached one, or the first of NVIDIA's.
///
/// # Errors
/// The reason why there is none.
pub fn first() -> Result<Device> {
    let attached = (0..DEVICES).find(|i| QUEUES[*i].get().is_some_and(|q| q.is_ok()));
    let device = Device::Cuda(attached.unwrap_or(0) as u8);
    queue(device).map(|_| device)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Without a driver, or with fewer devices than this, there is a reason and no panic.
    #[test]
    fn a_device_that_is_not_there_is_an_error_with_a_reason() {
        let Err(Error::Device { device, reason }) = queue(Device::Cuda(9)).map(|_| ()) else {
            println!("skipped: this machine has ten devices");
            return;
        };
        assert!(device == Device::Cuda(9) && !reason.is_empty());
        assert!(queue(Device::Cpu).is_err() && queue(Device::Cuda(200)).is_err());
    }
}
