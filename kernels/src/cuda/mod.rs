//! NVIDIA GPUs: kernels of our own in CUDA C++, started through the driver, which is looked for at run time and never required.
//!
//! | room | holds |
//! |---|---|
//! | [`driver`] | what a device is asked to do, as plain data; the trait of who does it |
//! | `nvidia` | NVIDIA's driver: probing, context, stream, modules |
//! | [`mod@queue`] | a device's work in order, its memory for reuse, the first failure |
//! | `graphs` | repeated work, replayed as CUDA graphs |
//! | [`clock`] | how long a device works |
//! | [`source`] | the `.cu` texts and their PTX |
//! | [`peak`] | what a device does at best |
//! | [`precision`] | the rounding that tensor cores may apply |
//! | `settings` | precision and waiting, for the length of a call |
//! | `gemm`, `conv2d`, ... | the rows of each table, each `.cu` rung beside its launcher |
//!
//! The same `.cu` text runs on a device, is assembled by NVRTC in a test, and runs on the host under an emulation (`kernels/emu`)
//! through the same launchers: the emulation is another [`driver::Driver`]. See `docs/gpu.md`.

pub mod clock;
pub mod driver;
mod graphs;
mod nvidia;
pub mod precision;
pub mod queue;
mod settings;
pub mod source;

use crate::core::buffer::Buffer;
use crate::core::device::{DType, Device};
use crate::core::error::{Error, Result};
use crate::core::table::{Row, Run, Tolerance};
use driver::{Arg, Driver, Launch};
use precision::Precision;
use queue::Queue;
use settings::Settings;
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
    let slot = QUEUES.get(usize::from(ordinal)).ok_or_else(|| fail(format!("ordinals go up to {}", DEVICES - 1)))?;
    let open = || Ok(Queue::new(device, Box::new(nvidia::Nvidia::open(ordinal)?)));
    slot.get_or_init(open).as_ref().map_err(|reason| fail(reason.clone()))
}

/// Makes a driver of one's own a CUDA device: how the emulation gets in.
///
/// # Errors
/// If that device was used before.
pub fn attach(ordinal: u8, driver: Box<dyn Driver>) -> Result<Device> {
    let device = Device::Cuda(ordinal);
    let fail = |reason: &str| Error::Device { device, reason: reason.to_string() };
    let slot = QUEUES.get(usize::from(ordinal)).ok_or_else(|| fail("no such ordinal"))?;
    slot.set(Ok(Queue::new(device, driver))).map_err(|_| fail("it is in use"))?;
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

/// Runs `f`, whose work on `device` repeats: see [`Queue::capture`].
pub fn capture<T>(device: Device, f: impl FnOnce() -> T) -> T {
    match queue(device) {
        Ok(queue) => queue.capture(f),
        Err(_) => f(),
    }
}

/// Runs `f`, in which [`crate::core::table::Table::run`] waits for each kernel, so that its time is that of the kernel and not of its launch.
/// This holds for the kernels that this thread starts, and ends with `f`, also where `f` panics.
pub fn waiting_for_each<T>(f: impl FnOnce() -> T) -> T {
    Settings { waits: true, ..Settings::current() }.hold_in(f)
}

/// After a kernel was enqueued: reports a failure, and waits for the kernel within [`waiting_for_each`].
pub(crate) fn after(device: Device) -> Result<()> {
    let queue = queue(device)?;
    if Settings::current().waits { queue.synchronize() } else { queue.check() }
}

/// Row columns: whether this device can be used.
fn here(device: Device) -> bool {
    queue(device).is_ok()
}

/// Whether a device has Hopper's own instructions: they are of this capability and no later one.
pub(crate) fn has_hopper(queue: &Queue) -> bool {
    queue.capability() == (9, 0)
}

/// Row columns: whether this device has them.
pub(crate) fn hopper(device: Device) -> bool {
    queue(device).is_ok_and(has_hopper)
}

impl<S> Row<S> {
    /// A CUDA row that fits every problem and needs no scratch.
    pub(crate) const fn cuda(name: &'static str, tolerance: Tolerance, run: Run<S>) -> Self {
        Row { device: Device::Cuda(0), here, ..Row::cpu(name, DType::F32, tolerance, run) }
    }
}

/// Operands keep 10 bits after the first: each is off by half of the last, 2^13 epsilons of f32, and a product by two of these.
pub(crate) const TF32_ROUNDING: Tolerance = Tolerance { ulps: 8192.0, reason: "operands rounded to TF32" };
/// As many bits.
pub(crate) const F16_ROUNDING: Tolerance = Tolerance { ulps: 8192.0, reason: "operands rounded to f16" };
/// 7 bits.
pub(crate) const BF16_ROUNDING: Tolerance = Tolerance { ulps: 65536.0, reason: "operands rounded to bf16" };

/// Whether operands may be rounded so.
pub(crate) fn rounds_to(precision: Precision) -> Result<(), &'static str> {
    if precision::allowed() == precision { Ok(()) } else { Err("another precision was asked for") }
}

/// Arguments of a kernel, each turned into what its declaration wants.
macro_rules! args {
    ($($arg:expr),* $(,)?) => { vec![$($crate::cuda::driver::Arg::from($arg)),*] };
}
pub(crate) use args;

/// Threads of a block where nothing else decides.
const BLOCK: usize = 256;

/// Starts a kernel on the device of `on`.
pub(crate) fn launch(on: &Buffer, kernel: &'static str, grid: [usize; 3], block: [usize; 3], args: Vec<Arg>) {
    launch_with(on, kernel, grid, block, 0, args);
}

/// The same with dynamic shared memory.
pub(crate) fn launch_with(on: &Buffer, kernel: &'static str, grid: [usize; 3], block: [usize; 3], shared: usize, args: Vec<Arg>) {
    // SAFETY: rows start their own kernels on operands whose sizes the table checked, and each row is tested.
    unsafe { on.queue().launch(Launch { kernel, grid, block, shared, args }) }
}

/// Sets all numbers of an f32 buffer.
pub(crate) fn fill(out: &mut Buffer, value: f64) {
    let (queue, len) = (out.queue(), out.len());
    let args = args![&mut *out, value, len];
    // SAFETY: `fill` writes `len` numbers.
    unsafe { queue.launch(Launch { kernel: "fill", grid: [len.div_ceil(BLOCK), 1, 1], block: [BLOCK, 1, 1], shared: 0, args }) };
}

/// Starts a kernel of one thread for each of `len` elements.
pub(crate) fn launch_each(on: &Buffer, kernel: &'static str, len: usize, args: Vec<Arg>) {
    launch(on, kernel, [len.div_ceil(BLOCK), 1, 1], [BLOCK, 1, 1], args);
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
