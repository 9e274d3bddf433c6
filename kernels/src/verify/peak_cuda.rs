//! Measured peak rates of a device: multiply-adds at the precision of a context, and copying memory.

use crate::core::buffer::Buffer;
use crate::core::context::Context;
use crate::core::device::DType;
use crate::core::error::Result;
use crate::core::precision::Precision;
use crate::cuda::queue::Queue;
use crate::cuda::{args, launch_each, launch_with};
use crate::verify::peak::Peak;

/// Blocks of 256 threads: several for each multiprocessor of any device.
const BLOCKS: usize = 2048;
/// Sums of a thread, or of a warp on tensor cores, as in `peak.cu`; products of a round in `peak_hopper.cu`.
const CHAINS: usize = 8;
/// `PEAK_SHARED` of `peak_hopper.cu`: 32 bytes along k of both operands.
const HOPPER_SHARED: usize = (64 + 256) * 32;
/// Numbers that are copied: a quarter of a GiB, more than any L2.
const COPIED: usize = 1 << 26;
/// Number of measurements; the best counts.
const TRIES: usize = 5;

/// Measures; `rounds` (of multiply-adds) and `copied` (numbers) make it longer and more exact.
fn measure_with(context: &Context, rounds: usize, copied: usize, blocks: usize) -> Result<Peak> {
    let (device, precision) = (context.device(), context.precision());
    let queue = crate::cuda::queue(device)?;
    let host = Buffer::zeros(DType::F32, 1);
    let on_device = host.on(device)?;
    let room = |len: usize| on_device.like(DType::F32, len);
    let (from, mut to, mut out) = (room(copied), room(copied), room(blocks * 256));
    // Operations of a product, the threads that share it, and their shared memory: a warp's 16 x K by K x 8, or Hopper's 64 x K by K x 256.
    let (kernel, product, together, shared) = match (precision, crate::cuda::launch::has_hopper(queue)) {
        (Precision::F32, _) => ("peak_f32", 2, 1, 0),
        (Precision::Tf32, false) => ("peak_tf32", 2 * 16 * 8 * 8, 32, 0),
        (Precision::F16, false) => ("peak_f16", 2 * 16 * 16 * 8, 32, 0),
        (Precision::Bf16, false) => ("peak_bf16", 2 * 16 * 16 * 8, 32, 0),
        (Precision::Tf32, true) => ("peak_hopper_tf32", 2 * 64 * 8 * 256, 128, HOPPER_SHARED),
        (Precision::F16, true) => ("peak_hopper_f16", 2 * 64 * 16 * 256, 128, HOPPER_SHARED),
        (Precision::Bf16, true) => ("peak_hopper_bf16", 2 * 64 * 16 * 256, 128, HOPPER_SHARED),
    };
    let mut spin = || launch_with(&from, kernel, [blocks, 1, 1], [256, 1, 1], shared, args![&mut out, 0.5, 0.25, rounds]);
    let compute = best(queue, &mut spin)?;
    let mut copy = || launch_each(&from, "peak_copy", copied / 4, args![&from, &mut to, copied]);
    let moved = best(queue, &mut copy)?;
    Ok(Peak {
        // Lives as long as the program; there are few devices.
        isa: Box::leak(format!("{} {}", queue.name(), precision).into_boxed_str()),
        threads: 1,
        one_thread: 0.0,
        flops: (blocks * 256 / together) as f64 * (rounds * CHAINS * product) as f64 / compute,
        bandwidth: 2.0 * (copied * DType::F32.size()) as f64 / moved,
        between: None,
    })
}

/// Measures the context's device.
///
/// # Errors
/// If it cannot be used or failed.
pub fn measure(context: &Context) -> Result<Peak> {
    measure_with(context, 1 << 14, COPIED, BLOCKS)
}

/// The same, too short to mean anything: for tests.
///
/// # Errors
/// As [`measure`].
pub fn glimpse(context: &Context) -> Result<Peak> {
    measure_with(context, 2, 1 << 10, 1)
}

/// Seconds of the shortest run.
fn best(queue: &Queue, run: &mut dyn FnMut()) -> Result<f64> {
    run();
    queue.synchronize()?;
    let mut shortest = f64::INFINITY;
    for _ in 0..TRIES {
        shortest = shortest.min(queue.timed(&mut *run)?.1);
    }
    Ok(shortest)
}
