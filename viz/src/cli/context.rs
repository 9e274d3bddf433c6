//! Where and how a command computes: chosen once, before it runs.

use super::args::Common;
use super::device::{self, Choice};
use super::error::CliError;
use convscope_kernels::cuda::precision::Precision;
use convscope_kernels::table;

/// Stack of a thread: what the main thread has.
const STACK: usize = 8 << 20;

/// The common options and what they chose.
pub struct Context<'a> {
    pub common: &'a Common,
    /// The device. A command whose pass does not fit there may take the CPU for itself.
    pub device: Choice,
    /// Rounding of the operands of products on tensor cores.
    pub precision: Precision,
    /// Kernels by name.
    pub forced: Vec<table::Choice>,
}

impl<'a> Context<'a> {
    /// Starts the threads of the whole program.
    pub fn prepare(common: &'a Common) -> Result<Self, CliError> {
        let precision = device::precision(common)?;
        let device = device::choose(common)?;
        let threads = common.threads.map_or(0, usize::from); // 0: as many as there are cores
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).stack_size(STACK).build_global();
        pool.map_err(|e| CliError::failure(format!("cannot start the threads: {e}")))?;
        table::check_environment()?;
        let forced = table::parse_choices(common.kernel.as_deref().unwrap_or_default())?;
        Ok(Context { common, device, precision, forced })
    }

    /// The same choices for other options.
    pub fn with<'b>(&self, common: &'b Common) -> Context<'b> {
        Context { common, device: self.device.clone(), precision: self.precision, forced: self.forced.clone() }
    }
}
