//! Max and average pooling: sliding windows (padding per side, overlap, ceil mode) and adaptive ones.
//!
//! Inputs are `planes = n * c` images of `h x w`. Max pooling saves the index of the first maximum in its plane, as PyTorch does,
//! so overlapping windows and ties have one defined gradient.
//!
//! ```
//! use convscope_kernels::pool::{MAX_FWD, PoolSpec, Windows};
//! use convscope_kernels::{Accum, Buffer, Context, DType};
//!
//! let windows = Windows::Sliding { kernel: [2, 2], stride: [2, 2], padding: [0; 4], ceil: false, count_padding: false };
//! let spec = PoolSpec { planes: 1, h: 2, w: 4, windows };
//! let x = Buffer::from_slice(&[1.0f32, 5.0, 2.0, 2.0, 0.0, 3.0, 2.0, 2.0]);
//! let (mut out, mut arg) = (Buffer::new(DType::F32, 2), Buffer::new(DType::U32, 2));
//! MAX_FWD.run(&Context::default(), &spec, &[&x], &mut [&mut out, &mut arg], Accum::Write)?;
//! assert_eq!((out.as_slice::<f32>(), arg.as_slice::<u32>()), (&[5.0, 2.0][..], &[1, 2][..]));
//! # Ok::<_, convscope_kernels::Error>(())
//! ```

mod backward;
pub(crate) mod cuda;
mod forward;

use crate::core::sizes::{bounded, elements, positive, window_positions};
use crate::core::table::{Operand, ROUNDING, Row, Signature, Table};
use crate::core::threads::par_items;
use crate::simd::Vector;
use crate::simd::rows::{each_isa, naive, names, threaded};
use backward::{avg_bwd, avg_bwd_vector, max_bwd};
use forward::{avg_fwd, avg_fwd_vector, is_global, max_fwd, max_fwd_vector, max_vector_fits};
use std::fmt;
use std::ops::Range;

/// Which input pixels an output pixel sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Windows {
    /// A window that moves by a stride.
    Sliding {
        /// Height, width.
        kernel: [usize; 2],
        /// Step.
        stride: [usize; 2],
        /// Top, bottom, left, right; below the kernel size.
        padding: [usize; 4],
        /// Whether a last window that hangs over the edge counts.
        ceil: bool,
        /// Whether an average divides by the padding's pixels too.
        count_padding: bool,
    },
    /// Windows that divide the input into `out` parts: from `floor(i*h/oh)` to `ceil((i+1)*h/oh)`.
    Adaptive {
        /// Output height, width.
        out: [usize; 2],
    },
}

/// A pooling problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolSpec {
    /// Images times channels.
    pub planes: usize,
    /// Input height.
    pub h: usize,
    /// Input width.
    pub w: usize,
    /// The windows.
    pub windows: Windows,
}

impl PoolSpec {
    /// Output height and width; `None` if no window fits or the padding is not smaller than the kernel.
    pub fn out_size(&self) -> Option<[usize; 2]> {
        match self.windows {
            Windows::Adaptive { out } => (self.h > 0 && self.w > 0 && out[0] > 0 && out[1] > 0).then_some(out),
            Windows::Sliding { kernel, stride, padding: [t, b, l, r], ceil, .. } => {
                let size = |i: usize, lo: usize, hi: usize, k: usize, s: usize| {
                    if lo >= k || hi >= k || i == 0 {
                        return None;
                    }
                    // The window that hangs over may be the only one.
                    let over = if ceil { s.checked_sub(1)? } else { 0 };
                    let out = window_positions(i, [lo, hi.checked_add(over)?], k, s, 1)?;
                    // PyTorch: the last window must start inside the input or its leading padding.
                    Some(if ceil && (out - 1) * s >= i + lo { out - 1 } else { out })
                };
                Some([size(self.h, t, b, kernel[0], stride[0])?, size(self.w, l, r, kernel[1], stride[1])?])
            }
        }
    }

    /// Checks the sizes; a message about the first fault.
    fn valid(&self) -> Result<(), String> {
        positive("the input", &[self.h, self.w])?;
        bounded("planes", &[self.planes])?;
        match self.windows {
            Windows::Adaptive { out } => positive("the output", &out)?,
            Windows::Sliding { kernel, stride, padding, .. } => {
                positive("kernel", &kernel)?;
                positive("stride", &stride)?;
                bounded("padding", &padding)?;
                elements("a window", &kernel)?;
            }
        }
        let [oh, ow] = self.out_size().ok_or("no window fits, or the padding is as large as the kernel")?;
        elements("x", &[self.planes, self.h, self.w])?;
        elements("out", &[self.planes, oh, ow]).map(|_| ())
    }

    fn out_hw(&self) -> [usize; 2] {
        self.out_size().unwrap_or([0, 0])
    }
    fn in_plane(&self) -> usize {
        self.h * self.w
    }
    fn out_plane(&self) -> usize {
        let [oh, ow] = self.out_hw();
        oh * ow
    }

    /// Input range along an axis (0 height, 1 width) of output `o`, and the count that an average divides by along it.
    fn window(&self, axis: usize, o: usize) -> (Range<usize>, usize) {
        let size = [self.h, self.w][axis];
        match self.windows {
            Windows::Adaptive { out } => {
                let (lo, hi) = (o * size / out[axis], ((o + 1) * size).div_ceil(out[axis]));
                (lo..hi, hi - lo)
            }
            Windows::Sliding { kernel, stride, padding, count_padding, .. } => {
                let (before, after) = (padding[2 * axis], padding[2 * axis + 1]);
                // In coordinates that start at the padding.
                let lo = o * stride[axis];
                let hi = (lo + kernel[axis]).min(size + before + after);
                let inside = lo.saturating_sub(before).min(size)..hi.saturating_sub(before).min(size);
                let count = if count_padding { hi - lo } else { inside.len() };
                (inside, count)
            }
        }
    }

    /// A pixel that the window of output `i` sees, by a random number.
    fn pixel_seen(&self, i: usize, random: usize) -> usize {
        let [oh, ow] = self.out_hw();
        let (ys, xs) = (self.window(0, i / ow % oh).0, self.window(1, i % ow).0);
        let k = random % (ys.len() * xs.len()).max(1);
        (ys.start + k / xs.len()) * self.w + xs.start + k % xs.len()
    }

    fn largest_window(&self) -> usize {
        match self.windows {
            Windows::Sliding { kernel, .. } => kernel[0] * kernel[1],
            Windows::Adaptive { out } => (self.h / out[0] + 2) * (self.w / out[1] + 2),
        }
    }
}

impl fmt::Display for PoolSpec {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "planes{} {}x{} ", self.planes, self.h, self.w)?;
        match self.windows {
            Windows::Adaptive { out } => write!(f, "adaptive {}x{}", out[0], out[1]),
            Windows::Sliding { kernel, stride, padding, ceil, count_padding } => {
                write!(f, "{}x{} s{},{} p{padding:?}", kernel[0], kernel[1], stride[0], stride[1])?;
                f.write_str(if ceil { " ceil" } else { "" })?;
                f.write_str(if count_padding { " count-padding" } else { "" })
            }
        }
    }
}

/// Runs `plane(index, item)` for each item of `item` elements, on threads or not.
fn each_plane<T: Send, const THREADS: bool>(out: &mut [T], item: usize, plane: impl Fn(usize, &mut [T]) + Sync) {
    let item = item.max(1);
    let run = |first: usize, chunk: &mut [T]| (first..).zip(chunk.chunks_exact_mut(item)).for_each(|(i, p)| plane(i, p));
    if THREADS { par_items(out, item, run) } else { run(0, out) }
}

fn sliding(planes: usize, h: usize, w: usize, kernel: [usize; 2], stride: [usize; 2], padding: [usize; 4]) -> PoolSpec {
    PoolSpec { planes, h, w, windows: Windows::Sliding { kernel, stride, padding, ceil: false, count_padding: false } }
}

fn cases() -> Vec<PoolSpec> {
    let mut v = vec![
        sliding(1, 1, 1, [1, 1], [1, 1], [0; 4]),
        sliding(3, 8, 10, [2, 2], [2, 2], [0; 4]),
        sliding(2, 7, 9, [3, 3], [2, 2], [1; 4]),
        sliding(2, 9, 6, [3, 2], [1, 2], [2, 1, 0, 1]),
        sliding(1, 11, 5, [2, 3], [3, 3], [0; 4]),
        sliding(70, 32, 31, [3, 3], [2, 2], [1; 4]),
        sliding(2, 5, 75, [2, 2], [2, 2], [0; 4]),
        sliding(2, 6, 140, [5, 5], [1, 1], [2; 4]),
        sliding(1, 9, 71, [3, 4], [2, 2], [1, 1, 3, 2]),
        sliding(2, 3, 17, [3, 2], [1, 1], [0; 4]),
        sliding(2, 4, 33, [2, 3], [2, 2], [0; 4]),
    ];
    for s in v.clone() {
        if let Windows::Sliding { kernel, stride, padding, .. } = s.windows {
            v.push(PoolSpec { windows: Windows::Sliding { kernel, stride, padding, ceil: true, count_padding: true }, ..s });
        }
    }
    for (h, w, out) in [(7, 7, [1, 1]), (9, 13, [1, 1]), (6, 10, [7, 7]), (10, 7, [3, 5]), (4, 4, [4, 4])] {
        v.push(PoolSpec { planes: 3, h, w, windows: Windows::Adaptive { out } });
    }
    v
}

const fn rows_flops(s: &PoolSpec) -> u64 {
    (s.planes * s.h * s.w) as u64
}

const fn max_fwd_rows<V: Vector>() -> [Row<PoolSpec>; 1] {
    [Row::on::<V>(names!("vector"), ROUNDING, max_fwd_vector::<V>).supports(max_vector_fits)]
}

/// `maxpool.fwd`: input `x`; outputs `out` and `arg`, the index of the first maximum in its plane.
pub static MAX_FWD: Table<PoolSpec> = Table {
    op: "maxpool.fwd",
    valid: PoolSpec::valid,
    signature: |s| Signature {
        inputs: vec![Operand::any("x", s.planes * s.in_plane())],
        outputs: vec![
            Operand::any("out", s.planes * s.out_plane()),
            Operand::index("arg", s.planes * s.out_plane(), s.in_plane()),
        ],
    },
    flops: rows_flops,
    terms: |_| 1,
    accumulates: false,
    cases,
    indices: None,
    joined: Vec::new(),
    cuda: crate::ops::pool::cuda::MAX_FWD,
    rows: each_isa!(
        max_fwd_rows,
        threaded(ROUNDING, max_fwd::<f32, true>),
        naive(ROUNDING, max_fwd::<f32, false>, max_fwd::<f64, false>)
    ),
};

/// `maxpool.bwd`: inputs `dout`, `arg` (each a pixel of its window); output `dx`.
pub static MAX_BWD: Table<PoolSpec> = Table {
    op: "maxpool.bwd",
    valid: PoolSpec::valid,
    signature: |s| Signature {
        inputs: vec![
            Operand::any("dout", s.planes * s.out_plane()),
            Operand::index("arg", s.planes * s.out_plane(), s.in_plane()),
        ],
        outputs: vec![Operand::any("dx", s.planes * s.in_plane())],
    },
    flops: rows_flops,
    terms: PoolSpec::largest_window,
    accumulates: true,
    cases,
    indices: Some(PoolSpec::pixel_seen),
    joined: Vec::new(),
    cuda: crate::ops::pool::cuda::MAX_BWD,
    rows: &[&threaded(ROUNDING, max_bwd::<f32, true>), &naive(ROUNDING, max_bwd::<f32, false>, max_bwd::<f64, false>)],
};

const fn avg_fwd_rows<V: Vector>() -> [Row<PoolSpec>; 1] {
    [Row::on::<V>(names!("vector"), ROUNDING, avg_fwd_vector::<V>).supports(is_global)]
}

/// `avgpool.fwd`: input `x`; output `out`.
pub static AVG_FWD: Table<PoolSpec> = Table {
    op: "avgpool.fwd",
    valid: PoolSpec::valid,
    signature: |s| Signature {
        inputs: vec![Operand::any("x", s.planes * s.in_plane())],
        outputs: vec![Operand::any("out", s.planes * s.out_plane())],
    },
    flops: rows_flops,
    terms: PoolSpec::largest_window,
    accumulates: true,
    cases,
    indices: None,
    joined: Vec::new(),
    cuda: crate::ops::pool::cuda::AVG_FWD,
    rows: each_isa!(
        avg_fwd_rows,
        threaded(ROUNDING, avg_fwd::<f32, true>),
        naive(ROUNDING, avg_fwd::<f32, false>, avg_fwd::<f64, false>)
    ),
};

const fn avg_bwd_rows<V: Vector>() -> [Row<PoolSpec>; 1] {
    [Row::on::<V>(names!("vector"), ROUNDING, avg_bwd_vector::<V>).supports(is_global)]
}

/// `avgpool.bwd`: input `dout`; output `dx`.
pub static AVG_BWD: Table<PoolSpec> = Table {
    op: "avgpool.bwd",
    valid: PoolSpec::valid,
    signature: |s| Signature {
        inputs: vec![Operand::any("dout", s.planes * s.out_plane())],
        outputs: vec![Operand::any("dx", s.planes * s.in_plane())],
    },
    flops: rows_flops,
    terms: PoolSpec::largest_window,
    accumulates: true,
    cases,
    indices: None,
    joined: Vec::new(),
    cuda: crate::ops::pool::cuda::AVG_BWD,
    rows: each_isa!(
        avg_bwd_rows,
        threaded(ROUNDING, avg_bwd::<f32, true>),
        naive(ROUNDING, avg_bwd::<f32, false>, avg_bwd::<f64, false>)
    ),
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::buffer::Buffer;
    use crate::core::device::{DType, Device};
    use crate::core::random;
    use crate::core::table::Accum;

    /// Few values make many ties; then some numbers that compare to nothing.
    #[test]
    fn every_row_takes_the_first_maximum_and_the_last_nan() {
        for (case, s) in cases().into_iter().enumerate() {
            for special in [0.0, f32::NEG_INFINITY, f32::NAN] {
                let value = |i| match random::philox(case as u64, i)[0] % 5 {
                    0 => special,
                    v => v as f32,
                };
                let x: Vec<f32> = (0..s.planes * s.in_plane()).map(|i| value(i as u64)).collect();
                let x = Buffer::from_slice(&x);
                let run = |row: &Row<PoolSpec>| {
                    let len = s.planes * s.out_plane();
                    let (mut out, mut arg) = (Buffer::zeros(DType::F32, len), Buffer::zeros(DType::U32, len));
                    (row.run)(&s, &[&x], &mut [&mut out, &mut arg], Accum::Write);
                    let bits: Vec<u32> = out.as_slice::<f32>().iter().map(|v| v.to_bits()).collect();
                    (bits, arg.as_slice::<u32>().to_vec())
                };
                let f32_rows = || MAX_FWD.all_rows().filter(|r| r.dtype == DType::F32);
                let want = run(f32_rows().find(|r| r.name == "naive").unwrap());
                for row in f32_rows().filter(|r| r.is_here(&crate::Context::default(), Device::Cpu) && (r.supports)(&s).is_ok()) {
                    assert_eq!(run(row), want, "{} {s} {special}", row.name);
                }
            }
        }
    }

    /// Sizes that `torch.nn.functional.max_pool2d` gives.
    #[test]
    fn ceil_mode_drops_a_window_that_starts_in_the_trailing_padding() {
        let size = |h: usize, k: usize, s: usize, p: usize, ceil: bool| {
            let windows = Windows::Sliding { kernel: [k, k], stride: [s, s], padding: [p; 4], ceil, count_padding: false };
            PoolSpec { planes: 1, h, w: h, windows }.out_size().map(|o| o[0])
        };
        assert_eq!(size(5, 2, 2, 0, false), Some(2));
        assert_eq!(size(5, 2, 2, 0, true), Some(3));
        assert_eq!(size(5, 2, 3, 1, true), Some(2), "a third window would start in the trailing padding");
        assert_eq!(size(112, 3, 2, 1, false), Some(56));
        assert_eq!(size(2, 3, 1, 0, false), None);
    }
}
