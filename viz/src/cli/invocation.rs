//! Where and how a command computes: chosen once, before it runs.

use super::args::Common;
use super::device::{self, DeviceChoice};
use super::error::CliError;
use super::terminal;

/// Maximum threads for each core.
const OVERSUBSCRIPTION: usize = 4;

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
        // More threads than that take turns, and their scratch takes memory.
        let most = OVERSUBSCRIPTION * std::thread::available_parallelism().map_or(1, usize::from);
        let mut threads = common.threads.map_or(0, usize::from); // 0: as many as there are cores
        if threads > most {
            if !common.quiet {
                terminal::note(format_args!("--threads {threads}: {most} are used, {OVERSUBSCRIPTION} for each core"));
            }
            threads = most;
        }
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
