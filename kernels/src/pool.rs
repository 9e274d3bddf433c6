//! Max and average pooling: sliding windows (padding per side, overlap, ceil mode) and adaptive ones.
//!
//! Inputs are `planes = n * c` images of `h x w`. Max pooling saves the index of the first maximum in its plane, as PyTorch does,
//! so overlapping windows and ties have one defined gradient.

use crate::buffer::Buffer;
use crate::device::Real;
use crate::table::{Accum, Operand, ROUNDING, Signature, Table, threaded_rows};
use crate::threads::{par_items, par_items2};
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
                    let room = (i + lo + hi).checked_sub(k)?;
                    let out = if ceil { room.div_ceil(s) } else { room / s } + 1;
                    // PyTorch: the last window must start inside the input or its leading padding.
                    Some(if ceil && (out - 1) * s >= i + lo { out - 1 } else { out })
                };
                Some([size(self.h, t, b, kernel[0], stride[0])?, size(self.w, l, r, kernel[1], stride[1])?])
            }
        }
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

/// Maximum and its index in one plane, row by row; NaN wins, as in PyTorch.
fn max_plane<T: Real>(s: &PoolSpec, x: &[T], out: &mut [T], arg: &mut [u32]) {
    let [oh, ow] = s.out_hw();
    for oy in 0..oh {
        let (ys, _) = s.window(0, oy);
        for ox in 0..ow {
            let (xs, _) = s.window(1, ox);
            let (mut best, mut at) = (T::NEG_INF, ys.start * s.w + xs.start);
            for y in ys.clone() {
                for x_ in xs.clone() {
                    let v = x[y * s.w + x_];
                    // The second test is true for NaN only.
                    if v > best || v.partial_cmp(&v).is_none() {
                        (best, at) = (v, y * s.w + x_);
                    }
                }
            }
            out[oy * ow + ox] = best;
            arg[oy * ow + ox] = at as u32;
        }
    }
}

fn max_planes<T: Real>(s: &PoolSpec, first: usize, x: &[T], out: &mut [T], arg: &mut [u32]) {
    let (ip, op) = (s.in_plane(), s.out_plane());
    for (i, (out, arg)) in out.chunks_exact_mut(op).zip(arg.chunks_exact_mut(op)).enumerate() {
        max_plane(s, &x[(first + i) * ip..][..ip], out, arg);
    }
}

fn max_fwd<T: Real, const THREADS: bool>(s: &PoolSpec, inputs: &[&Buffer], outputs: &mut [&mut Buffer], _: Accum) {
    let x = inputs[0].as_slice::<T>(); // x [planes,h,w]
    let [out, arg] = outputs else { unreachable!("the table checked the number of outputs") };
    let (out, arg) = (out.as_mut_slice::<T>(), arg.as_mut_slice::<u32>()); // [planes,oh,ow]
    let op = s.out_plane().max(1);
    if THREADS {
        par_items2(out, op, arg, op, |first, out, arg| max_planes(s, first, x, out, arg));
    } else {
        max_planes(s, 0, x, out, arg);
    }
}

/// Runs `plane(index, part)` for each item of `item` elements, on threads or not.
fn each_plane<T: Send, const THREADS: bool>(out: &mut [T], item: usize, plane: impl Fn(usize, &mut [T]) + Sync) {
    let item = item.max(1);
    let part = |first: usize, part: &mut [T]| (first..).zip(part.chunks_exact_mut(item)).for_each(|(i, p)| plane(i, p));
    if THREADS { par_items(out, item, part) } else { part(0, out) }
}

fn max_bwd<T: Real, const THREADS: bool>(s: &PoolSpec, inputs: &[&Buffer], outputs: &mut [&mut Buffer], accum: Accum) {
    let (dout, arg) = (inputs[0].as_slice::<T>(), inputs[1].as_slice::<u32>());
    let op = s.out_plane();
    each_plane::<T, THREADS>(outputs[0].as_mut_slice(), s.in_plane(), |i, dx| {
        if accum == Accum::Write {
            dx.fill(T::ZERO);
        }
        for (d, &a) in dout[i * op..][..op].iter().zip(&arg[i * op..][..op]) {
            dx[a as usize] += *d;
        }
    });
}

fn avg_fwd<T: Real, const THREADS: bool>(s: &PoolSpec, inputs: &[&Buffer], outputs: &mut [&mut Buffer], accum: Accum) {
    let x = inputs[0].as_slice::<T>(); // x [planes,h,w]
    let ([oh, ow], ip) = (s.out_hw(), s.in_plane());
    each_plane::<T, THREADS>(outputs[0].as_mut_slice(), oh * ow, |i, out| {
        let x = &x[i * ip..][..ip];
        for oy in 0..oh {
            let (ys, ny) = s.window(0, oy);
            for ox in 0..ow {
                let (xs, nx) = s.window(1, ox);
                let sum: T = ys.clone().map(|y| x[y * s.w..][xs.clone()].iter().copied().sum::<T>()).sum();
                accum.put(&mut out[oy * ow + ox], sum / T::of((ny * nx) as f64));
            }
        }
    });
}

fn avg_bwd<T: Real, const THREADS: bool>(s: &PoolSpec, inputs: &[&Buffer], outputs: &mut [&mut Buffer], accum: Accum) {
    let dout = inputs[0].as_slice::<T>(); // dout [planes,oh,ow]
    let [oh, ow] = s.out_hw();
    each_plane::<T, THREADS>(outputs[0].as_mut_slice(), s.in_plane(), |i, dx| {
        if accum == Accum::Write {
            dx.fill(T::ZERO);
        }
        let dout = &dout[i * oh * ow..][..oh * ow];
        for oy in 0..oh {
            let (ys, ny) = s.window(0, oy);
            for ox in 0..ow {
                let (xs, nx) = s.window(1, ox);
                let share = dout[oy * ow + ox] / T::of((ny * nx) as f64);
                for y in ys.clone() {
                    dx[y * s.w..][xs.clone()].iter_mut().for_each(|v| *v += share);
                }
            }
        }
    });
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

/// `maxpool.fwd`: input `x`; outputs `out` and `arg`, the index of the first maximum in its plane.
pub static MAX_FWD: Table<PoolSpec> = Table {
    op: "maxpool.fwd",
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
    rows: threaded_rows!(max_fwd, ROUNDING),
};

/// `maxpool.bwd`: inputs `dout`, `arg`; output `dx`.
pub static MAX_BWD: Table<PoolSpec> = Table {
    op: "maxpool.bwd",
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
    rows: threaded_rows!(max_bwd, ROUNDING),
};

/// `avgpool.fwd`: input `x`; output `out`.
pub static AVG_FWD: Table<PoolSpec> = Table {
    op: "avgpool.fwd",
    signature: |s| Signature {
        inputs: vec![Operand::any("x", s.planes * s.in_plane())],
        outputs: vec![Operand::any("out", s.planes * s.out_plane())],
    },
    flops: rows_flops,
    terms: PoolSpec::largest_window,
    accumulates: true,
    cases,
    rows: threaded_rows!(avg_fwd, ROUNDING),
};

/// `avgpool.bwd`: input `dout`; output `dx`.
pub static AVG_BWD: Table<PoolSpec> = Table {
    op: "avgpool.bwd",
    signature: |s| Signature {
        inputs: vec![Operand::any("dout", s.planes * s.out_plane())],
        outputs: vec![Operand::any("dx", s.planes * s.in_plane())],
    },
    flops: rows_flops,
    terms: PoolSpec::largest_window,
    accumulates: true,
    cases,
    rows: threaded_rows!(avg_bwd, ROUNDING),
};

#[cfg(test)]
mod tests {
    use super::*;

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
