//! Peak rates of this machine: multiply-adds in registers, and reading memory. Benchmarks are compared with them.

use crate::core::buffer::Buffer;
use crate::core::device::DType;
use crate::core::isa::Isa;
use crate::simd::{self, Kernel, Vector};
use rayon::prelude::*;
use std::hint::black_box;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Length of one measurement, and number of measurements, of which the best counts.
const WINDOW: Duration = Duration::from_millis(50);
const TRIES: usize = 5;
/// Numbers that are read: a quarter of a GiB, more than any cache that a process has for itself.
const READ: usize = 1 << 26;
/// Numbers that are handed over: they stay in the L2 of the core that wrote them.
const HANDED: usize = 1 << 16;
/// Sums that do not wait for each other: at least latency times units of any multiply-adder, and few enough for the registers.
const CHAINS: usize = 12;

/// Measured rates.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Peak {
    /// Instruction set of the multiply-adds, or the device and precision.
    pub isa: &'static str,
    /// Threads of the pool.
    pub threads: usize,
    /// Floating-point operations a second on one thread.
    pub one_thread: f64,
    /// Floating-point operations a second on all threads.
    pub flops: f64,
    /// Bytes a second that all threads read from memory.
    pub bandwidth: f64,
    /// Bytes a second that the last thread reads of what the first has just written; `None` where there is one, or on a device.
    ///
    /// Cores that share no cache have less than half of what others have, and a virtual machine may be moved from the ones to the
    /// others: compare times only where this is alike.
    pub between: Option<f64>,
}

/// Measures for about a second.
pub fn measure() -> Peak {
    let best = |rate: &dyn Fn() -> f64| (0..TRIES).map(|_| rate()).fold(0.0, f64::max);
    let mut memory = Buffer::new(DType::F32, READ);
    // Written, because pages that never were are all the same page of zeros.
    memory.as_mut_slice::<f32>().fill(1.0);
    Peak {
        isa: Isa::best().name(),
        threads: rayon::current_num_threads(),
        one_thread: best(&spin),
        flops: best(&|| rayon::broadcast(|_| spin()).iter().sum()),
        bandwidth: best(&|| {
            let start = Instant::now();
            let sum: f32 = memory.as_slice::<f32>().par_chunks(1 << 16).map(sum).sum();
            black_box(sum);
            (READ * DType::F32.size()) as f64 / start.elapsed().as_secs_f64()
        }),
        between: (rayon::current_num_threads() > 1).then(|| best(&hand_over)),
    }
}

/// Thirty-two partial sums, so that loads and not additions are what is waited for.
fn sum(x: &[f32]) -> f32 {
    let mut sums = [0.0f32; 32];
    for x in x.chunks_exact(32) {
        sums.iter_mut().zip(x).for_each(|(s, x)| *s += x);
    }
    sums.iter().sum()
}

/// Bytes a second that the last thread reads of what the first wrote.
fn hand_over() -> f64 {
    let numbers = Mutex::new(vec![0.0f32; HANDED]);
    let numbers = || numbers.lock().unwrap_or_else(PoisonError::into_inner);
    let last = rayon::current_num_threads() - 1;
    rayon::broadcast(|thread| {
        if thread.index() == 0 {
            numbers().fill(1.0)
        }
    });
    let rates = rayon::broadcast(|thread| {
        if thread.index() != last {
            return 0.0;
        }
        let (numbers, start) = (numbers(), Instant::now());
        black_box(sum(&numbers));
        (HANDED * DType::F32.size()) as f64 / start.elapsed().as_secs_f64()
    });
    rates.into_iter().fold(0.0, f64::max)
}

/// Operations a second of this thread over one window.
fn spin() -> f64 {
    let (mut flops, start) = (0, Instant::now());
    while start.elapsed() < WINDOW {
        // SAFETY: no pointers.
        flops += unsafe { simd::dispatch(MultiplyAdds(1 << 14)) };
    }
    flops as f64 / start.elapsed().as_secs_f64()
}

/// So many multiply-adds in each lane of each chain; how many operations that were.
struct MultiplyAdds(usize);

impl Kernel for MultiplyAdds {
    type Out = usize;
    #[inline(always)]
    unsafe fn run<V: Vector>(self) -> usize {
        // SAFETY: the instructions are there (contract of run), and no pointer is used.
        unsafe {
            let (x, y) = (V::splat(black_box(0.5)), V::splat(black_box(0.5)));
            // Different starts: equal chains would be one chain to the compiler.
            let mut sums = [x; CHAINS];
            for (i, s) in sums.iter_mut().enumerate() {
                *s = V::splat(i as f32);
            }
            for _ in 0..self.0 {
                for s in &mut sums {
                    *s = s.mul_add(x, y);
                }
            }
            black_box(sums);
        }
        2 * V::LANES * CHAINS * self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_are_counted_and_sums_are_whole() {
        // SAFETY: no pointers.
        let flops = unsafe { simd::dispatch(MultiplyAdds(10)) };
        assert!(flops >= 2 * 4 * CHAINS * 10 && flops.is_multiple_of(2 * CHAINS * 10), "{flops}");
        assert_eq!(sum(&[1.0; 96]), 96.0);
    }
}
