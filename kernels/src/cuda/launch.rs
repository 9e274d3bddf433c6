//! Starting kernels on buffers, and the columns of CUDA rows.

use super::devices::queue;
use super::driver::{Arg, Launch};
use super::queue::Queue;
use crate::core::buffer::Buffer;
use crate::core::device::{DType, Device};
use crate::core::row::{Row, Run, Tolerance};

impl From<&Buffer> for Arg {
    fn from(v: &Buffer) -> Self {
        Arg::Pointer(v.address())
    }
}
impl From<&mut Buffer> for Arg {
    fn from(v: &mut Buffer) -> Self {
        Arg::Pointer(v.address_mut())
    }
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
    /// A CUDA row that supports every problem and needs no scratch.
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

/// Arguments of a kernel, each converted to the type of its declaration.
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
