//! What a device does at best, measured: multiply-adds at the precision that is allowed, and copying memory.

use super::precision::{Precision, allowed};
use super::queue::Queue;
use super::{args, launch, launch_each};
use crate::buffer::Buffer;
use crate::device::{DType, Device};
use crate::error::Result;
use crate::peak::Peak;

/// Blocks of 256 threads: several for each multiprocessor of any device.
const BLOCKS: usize = 2048;
/// Sums of a thread, or of a warp on tensor cores, as in `peak.cu`.
const CHAINS: usize = 8;
/// Numbers that are copied: a quarter of a GiB, more than any L2.
const COPIED: usize = 1 << 26;
/// How often each is measured; the best counts.
const TRIES: usize = 5;

/// Measures; `rounds` (of multiply-adds) and `copied` (numbers) make it longer and more exact.
fn measure_with(device: Device, rounds: usize, copied: usize, blocks: usize) -> Result<Peak> {
    let queue = super::queue(device)?;
    let host = Buffer::zeros(DType::F32, 1);
    let on_device = host.on(device)?;
    let room = |len: usize| on_device.like(DType::F32, len);
    let (from, mut to, mut out) = (room(copied), room(copied), room(blocks * 256));
    // Operations a thread and round: a product of 16 x K by K x 8 is a warp's.
    let (kernel, each) = match allowed() {
        Precision::F32 => ("peak_f32", 2),
        Precision::Tf32 => ("peak_tf32", 2 * 16 * 8 * 8 / 32),
        Precision::F16 => ("peak_f16", 2 * 16 * 16 * 8 / 32),
        Precision::Bf16 => ("peak_bf16", 2 * 16 * 16 * 8 / 32),
    };
    let mut spin = || launch(&from, kernel, [blocks, 1, 1], [256, 1, 1], args![&mut out, 0.5, 0.25, rounds]);
    let compute = best(queue, &mut spin)?;
    let mut copy = || launch_each(&from, "peak_copy", copied / 4, args![&from, &mut to, copied]);
    let moved = best(queue, &mut copy)?;
    Ok(Peak {
        // Lives as long as the program; there are few devices.
        isa: Box::leak(format!("{} {}", queue.name(), allowed()).into_boxed_str()),
        threads: 1,
        one_thread: 0.0,
        flops: (blocks * 256 * rounds * CHAINS * each) as f64 / compute,
        bandwidth: 2.0 * (copied * DType::F32.size()) as f64 / moved,
        between: None,
    })
}

/// Measures a device.
///
/// # Errors
/// If it cannot be used or failed.
pub fn measure(device: Device) -> Result<Peak> {
    measure_with(device, 1 << 14, COPIED, BLOCKS)
}

/// The same, too short to mean anything: for tests.
///
/// # Errors
/// As [`measure`].
pub fn glimpse(device: Device) -> Result<Peak> {
    measure_with(device, 2, 1 << 10, 1)
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
