//! The CUDA kernels on the host: the same `.cu` text compiled by a C++ compiler, a coroutine for each thread of a block, and
//! [`Emulator`], a [`convscope_kernels::cuda::driver::Driver`] of host memory that is attached as a CUDA device.
//!
//! What is checked beside the numbers: that the launcher's arguments have the kinds and sizes of the kernel's declaration (the C++
//! compiler tells them); that all threads of a block reach the same barriers; that results do not hang on the order in which threads
//! run (each launch takes another one); that shared memory is written before it is read (it starts as NaN); that asynchronous copies
//! are waited for (they happen at the wait). What cannot be checked: timing, and the memory model between threads.

#[cfg(emulated)]
mod run;

#[cfg(emulated)]
pub use run::{Emulator, take_downloads};

use convscope_kernels::Device;

/// The ordinal of the emulated device, beyond those that a machine has.
pub const ORDINAL: u8 = 15;

/// The emulated device, attached once in a process; `None`, with a line that says so, where there was no C++ compiler.
pub fn device() -> Option<Device> {
    #[cfg(emulated)]
    {
        static DEVICE: std::sync::OnceLock<Device> = std::sync::OnceLock::new();
        let attach = || convscope_kernels::cuda::attach(ORDINAL, Box::new(Emulator::default())).expect("nobody used it before");
        Some(*DEVICE.get_or_init(attach))
    }
    #[cfg(not(emulated))]
    {
        println!("skipped: there was no C++ compiler to build the CUDA kernels for the host");
        None
    }
}
