//! NVIDIA GPUs: kernels of our own in CUDA C++, started through the driver, which is looked for at run time and never required.
//!
//! | module | holds |
//! |---|---|
//! | [`driver`] | the work of a device, as plain data; the trait of drivers that do it |
//! | `nvidia` | NVIDIA's driver: probing, context, stream, modules |
//! | [`mod@queue`] | a device's work in order, its memory for reuse, the first failure |
//! | [`devices`] | the queue of each device, opened on first use |
//! | `launch` | starting kernels on buffers, the columns of CUDA rows |
//! | `graphs` | repeated work, replayed as CUDA graphs |
//! | [`clock`] | how long a device works |
//! | [`source`] | the `.cu` texts and their PTX |
//!
//! The same `.cu` text runs on a device, is assembled by NVRTC in a test, and runs on the host under an emulation (`kernels/emu`)
//! through the same launchers: the emulation is another [`driver::Driver`]. See `docs/gpu.md`.

pub mod clock;
pub mod devices;
pub mod driver;
mod graphs;
pub(crate) mod launch;
mod nvidia;
pub mod queue;
pub mod source;

use crate::core::device::Device;
pub use devices::{attach, first, queue};
pub(crate) use launch::{BF16_ROUNDING, F16_ROUNDING, TF32_ROUNDING, args, hopper, launch, launch_each, launch_with};

/// Runs `f`, whose work on `device` repeats: see [`Queue::capture`](queue::Queue::capture).
pub fn capture<T>(device: Device, f: impl FnOnce() -> T) -> T {
    match queue(device) {
        Ok(queue) => queue.capture(f),
        Err(_) => f(),
    }
}
