//! What this machine does at best: multiply-adds in registers, and reading memory. Benchmarks are set against it.

use crate::buffer::Buffer;
use crate::device::DType;
use crate::simd::{self, Isa};
use rayon::prelude::*;
use std::hint::black_box;
use std::time::{Duration, Instant};

/// How long one measurement runs, and of how many the best counts.
const WINDOW: Duration = Duration::from_millis(50);
const TRIES: usize = 5;
/// Numbers that are read: a quarter of a GiB, more than any cache that a process has for itself.
const READ: usize = 1 << 26;
/// Sums that do not wait for each other: at least latency times units of any multiply-adder, and few enough for the registers.
const CHAINS: usize = 12;

/// Measured rates.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Peak {
    /// Instruction set of the multiply-adds.
    pub isa: Isa,
    /// Threads of the pool.
    pub threads: usize,
    /// Floating-point operations a second on one thread.
    pub one_thread: f64,
    /// Floating-point operations a second on all threads.
    pub flops: f64,
    /// Bytes a second that all threads read from memory.
    pub bandwidth: f64,
}

/// Measures for about a second.
pub fn measure() -> Peak {
    let isa = simd::best();
    let best = |rate: &dyn Fn() -> f64| (0..TRIES).map(|_| rate()).fold(0.0, f64::max);
    let mut memory = Buffer::new(DType::F32, READ);
    // Written, because pages that never were are all the same page of zeros.
    memory.as_mut_slice::<f32>().fill(1.0);
    Peak {
        isa,
        threads: rayon::current_num_threads(),
        one_thread: best(&|| spin(isa)),
        flops: best(&|| rayon::broadcast(|_| spin(isa)).iter().sum()),
        bandwidth: best(&|| {
            let start = Instant::now();
            let sum: f32 = memory.as_slice::<f32>().par_chunks(1 << 16).map(sum).sum();
            black_box(sum);
            (READ * DType::F32.size()) as f64 / start.elapsed().as_secs_f64()
        }),
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

/// Operations a second of this thread over one window.
fn spin(isa: Isa) -> f64 {
    const STEPS: usize = 1 << 14;
    let (mut flops, start) = (0, Instant::now());
    while start.elapsed() < WINDOW {
        flops += multiply_adds(isa, STEPS);
    }
    flops as f64 / start.elapsed().as_secs_f64()
}

/// `steps` multiply-adds in each lane of each chain; how many operations that were.
#[cfg(target_arch = "x86_64")]
fn multiply_adds(isa: Isa, steps: usize) -> usize {
    use std::arch::x86_64::*;

    #[target_feature(enable = "avx512f")]
    fn avx512(steps: usize) {
        let (x, y) = (_mm512_set1_ps(black_box(0.5)), _mm512_set1_ps(black_box(0.5)));
        // Different starts: equal chains would be one chain to the compiler.
        let mut sums: [__m512; CHAINS] = std::array::from_fn(|i| _mm512_set1_ps(i as f32));
        for _ in 0..steps {
            sums.iter_mut().for_each(|s| *s = _mm512_fmadd_ps(*s, x, y));
        }
        black_box(sums);
    }

    #[target_feature(enable = "avx2,fma")]
    fn avx2(steps: usize) {
        let (x, y) = (_mm256_set1_ps(black_box(0.5)), _mm256_set1_ps(black_box(0.5)));
        let mut sums: [__m256; CHAINS] = std::array::from_fn(|i| _mm256_set1_ps(i as f32));
        for _ in 0..steps {
            sums.iter_mut().for_each(|s| *s = _mm256_fmadd_ps(*s, x, y));
        }
        black_box(sums);
    }

    match isa {
        Isa::Avx512 => {
            assert!(simd::avx512());
            // SAFETY: the instruction set was just checked.
            unsafe { avx512(steps) }
            2 * 16 * CHAINS * steps
        }
        Isa::Avx2 => {
            assert!(simd::avx2());
            // SAFETY: the instruction set was just checked.
            unsafe { avx2(steps) }
            2 * 8 * CHAINS * steps
        }
        Isa::Portable => portable(steps),
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn multiply_adds(_: Isa, steps: usize) -> usize {
    portable(steps)
}

/// The same in whatever vectors the compiler's baseline has; four lanes are what they hold everywhere.
fn portable(steps: usize) -> usize {
    let (x, y) = (black_box(0.5), black_box(0.5));
    let mut sums: [[f32; 4]; CHAINS] = std::array::from_fn(|i| [i as f32; 4]);
    for _ in 0..steps {
        sums.iter_mut().flatten().for_each(|s| *s = *s * x + y);
    }
    black_box(sums);
    2 * 4 * CHAINS * steps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_instruction_set_that_is_here_counts_its_lanes() {
        for (isa, lanes) in [(Isa::Portable, 4), (Isa::Avx2, 8), (Isa::Avx512, 16)] {
            if isa <= simd::best() {
                assert_eq!(multiply_adds(isa, 10), 2 * lanes * CHAINS * 10);
            }
        }
        assert_eq!(sum(&[1.0; 96]), 96.0);
    }
}
