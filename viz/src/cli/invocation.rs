//! Where and how a command computes: chosen once, before it runs.

use super::args::Common;
use super::device::{self, DeviceChoice};
use super::error::CliError;

/// The common options and what they chose.
pub struct Invocation<'a> {
    pub common: &'a Common,
    /// The device. A command whose pass does not fit there may take the CPU for itself.
    pub device: DeviceChoice,
    /// Device, threads, precision and rows of all kernels.
    pub kernels: convscope_kernels::Context,
}

impl<'a> Invocation<'a> {
    /// Starts the threads of the whole program.
    pub fn prepare(common: &'a Common) -> Result<Self, CliError> {
        let precision = device::precision(common)?;
        let device = device::choose(common)?;
        let threads = common.threads.map_or(0, usize::from); // 0: as many as there are cores
        let kernels = convscope_kernels::Context::from_environment()?
            .with_device(device.device)
            .with_precision(precision)
            .with_threads(threads)?
            .with_rows(common.kernel.as_deref().unwrap_or_default())?;
        Ok(Invocation { common, device, kernels })
    }

    /// The same choices for other options.
    pub fn with<'b>(&self, common: &'b Common) -> Invocation<'b> {
        Invocation { common, device: self.device.clone(), kernels: self.kernels.clone() }
    }
}
