//! Strided copy of a block of one image stack into another that is zero elsewhere.
//!
//! `out[n, to+i, y, x] = x[n, from+i, y0 + y*sh, x0 + x*sw]` for `i < count`. One primitive, four uses: a slice of channels or
//! pixels; concatenation (one call per input); the channel-pad-and-subsample shortcut of the CIFAR ResNets; and their gradients.
//!
//! ```
//! use convscope_kernels::copy::{FWD, CopySpec};
//! use convscope_kernels::{Accum, Buffer, Context, DType};
//!
//! // Channel 1 of x [1,2,1,2] becomes channel 0 of out [1,1,1,2].
//! let (from_shape, to_shape) = ([2, 1, 2], [1, 1, 2]);
//! let spec = CopySpec { n: 1, from_shape, to_shape, from: 1, to: 0, count: 1, origin: [0, 0], stride: [1, 1] };
//! let mut out = Buffer::new(DType::F32, 2);
//! FWD.run(&Context::default(), &spec, &[&Buffer::from_slice(&[1.0f32, 2.0, 3.0, 4.0])], &mut [&mut out], Accum::Write)?;
//! assert_eq!(out.as_slice::<f32>(), [3.0, 4.0]);
//! # Ok::<_, convscope_kernels::Error>(())
//! ```

pub(crate) mod cuda;

use crate::core::buffer::Buffer;
use crate::core::device::Real;
use crate::core::sizes::{bounded, elements, positive};
use crate::core::table::{Accum, Operand, ROUNDING, Row, Run, Signature, Table};
use crate::core::threads::par_items;
use crate::simd::rows::{naive, threaded};
use std::fmt;

/// A strided copy of a block from `x [n, c, h, w]` into `out [n, oc, oh, ow]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CopySpec {
    /// Images.
    pub n: usize,
    /// Channels, height, width of `x`.
    pub from_shape: [usize; 3],
    /// Channels, height, width of `out`.
    pub to_shape: [usize; 3],
    /// First channel taken.
    pub from: usize,
    /// Where it goes.
    pub to: usize,
    /// Channels taken.
    pub count: usize,
    /// First row and column taken.
    pub origin: [usize; 2],
    /// Step between rows and columns taken.
    pub stride: [usize; 2],
}

impl CopySpec {
    /// Checks the sizes; a message about the first fault.
    fn valid(&self) -> Result<(), String> {
        positive("stride", &self.stride)?;
        let CopySpec { n, from_shape, to_shape, from, to, count, origin, .. } = *self;
        bounded("the shapes", &[from_shape, to_shape].concat())?;
        bounded("the block", &[n, from, to, count, origin[0], origin[1]])?;
        elements("x", &[&[n], &from_shape[..]].concat())?;
        elements("out", &[&[n], &to_shape[..]].concat()).map(|_| ())
    }
    /// Whether the block lies inside both shapes.
    pub fn is_inside(&self) -> bool {
        let reach = |axis: usize| self.origin[axis] + (self.to_shape[axis + 1].max(1) - 1) * self.stride[axis];
        self.from + self.count <= self.from_shape[0]
            && self.to + self.count <= self.to_shape[0]
            && (self.count == 0 || (reach(0) < self.from_shape[1] && reach(1) < self.from_shape[2]))
    }
    fn input_len(&self) -> usize {
        self.n * self.from_shape.iter().product::<usize>()
    }
    fn output_len(&self) -> usize {
        self.n * self.to_shape.iter().product::<usize>()
    }
}

impl fmt::Display for CopySpec {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let CopySpec { n, from_shape, to_shape, from, to, count, origin, stride } = self;
        write!(f, "n{n} {from_shape:?} -> {to_shape:?} channels {from}+{count} -> {to} at {origin:?} s{stride:?}")
    }
}

fn fwd<T: Real, const THREADS: bool>(s: &CopySpec, inputs: &[&Buffer], outputs: &mut [&mut Buffer], accum: Accum) {
    let x = inputs[0].as_slice::<T>(); // x [n,c,h,w]
    let ([c, h, w], [oc, oh, ow]) = (s.from_shape, s.to_shape);
    let item = (oh * ow).max(1);
    let run = |first: usize, chunk: &mut [T]| {
        for (i, out) in (first..).zip(chunk.chunks_exact_mut(item)) {
            let (n, channel) = (i / oc, i % oc);
            if channel < s.to || channel >= s.to + s.count {
                if accum == Accum::Write {
                    out.fill(T::ZERO);
                }
                continue;
            }
            let plane = &x[(n * c + s.from + channel - s.to) * h * w..][..h * w];
            for (y, row) in out.chunks_exact_mut(ow).enumerate() {
                let src = &plane[(s.origin[0] + y * s.stride[0]) * w + s.origin[1]..];
                row.iter_mut().zip(src.iter().step_by(s.stride[1])).for_each(|(o, v)| accum.put(o, *v));
            }
        }
    };
    let out = outputs[0].as_mut_slice::<T>(); // out [n,oc,oh,ow]
    if THREADS { par_items(out, item, run) } else { run(0, out) }
}

fn bwd<T: Real, const THREADS: bool>(s: &CopySpec, inputs: &[&Buffer], outputs: &mut [&mut Buffer], accum: Accum) {
    let dout = inputs[0].as_slice::<T>(); // dout [n,oc,oh,ow]
    let ([c, h, w], [oc, oh, ow]) = (s.from_shape, s.to_shape);
    let item = (h * w).max(1);
    let run = |first: usize, chunk: &mut [T]| {
        for (i, dx) in (first..).zip(chunk.chunks_exact_mut(item)) {
            if accum == Accum::Write {
                dx.fill(T::ZERO);
            }
            let (n, channel) = (i / c, i % c);
            if channel < s.from || channel >= s.from + s.count {
                continue;
            }
            let plane = &dout[(n * oc + s.to + channel - s.from) * oh * ow..][..oh * ow];
            for (y, row) in plane.chunks_exact(ow.max(1)).enumerate() {
                let dst = &mut dx[(s.origin[0] + y * s.stride[0]) * w + s.origin[1]..];
                dst.iter_mut().step_by(s.stride[1]).zip(row).for_each(|(o, v)| *o += *v);
            }
        }
    };
    let dx = outputs[0].as_mut_slice::<T>(); // dx [n,c,h,w]
    if THREADS { par_items(dx, item, run) } else { run(0, dx) }
}

pub(crate) fn supported(s: &CopySpec) -> Result<(), &'static str> {
    if s.is_inside() { Ok(()) } else { Err("the block must lie inside both shapes") }
}

fn cases() -> Vec<CopySpec> {
    let all = |n, c, h, w| CopySpec {
        n,
        from_shape: [c, h, w],
        to_shape: [c, h, w],
        from: 0,
        to: 0,
        count: c,
        origin: [0, 0],
        stride: [1, 1],
    };
    vec![
        all(2, 3, 4, 5),
        CopySpec { to_shape: [8, 4, 5], to: 3, ..all(2, 3, 4, 5) },
        CopySpec { to_shape: [2, 4, 5], from: 1, count: 2, ..all(2, 4, 4, 5) },
        // Option A of the CIFAR ResNets, at an odd size.
        CopySpec { to_shape: [32, 4, 5], to: 8, stride: [2, 2], ..all(2, 16, 7, 9) },
        // One neuron.
        CopySpec { to_shape: [1, 1, 1], from: 2, count: 1, origin: [3, 4], ..all(1, 5, 6, 7) },
        CopySpec { to_shape: [70, 16, 31], to: 1, stride: [2, 1], ..all(2, 64, 32, 31) },
    ]
}

/// The same loops on all threads, on one, and in f64.
const fn rows(threads: Run<CopySpec>, f32: Run<CopySpec>, f64: Run<CopySpec>) -> [Row<CopySpec>; 3] {
    let ([threads], [f32, f64]) = (threaded(ROUNDING, threads), naive(ROUNDING, f32, f64));
    [threads.supports(supported), f32.supports(supported), f64.supports(supported)]
}

/// `copy.fwd`: input `x`; output `out`.
pub static FWD: Table<CopySpec> = Table {
    op: "copy.fwd",
    valid: CopySpec::valid,
    signature: |s| Signature {
        inputs: vec![Operand::any("x", s.input_len())],
        outputs: vec![Operand::any("out", s.output_len())],
    },
    flops: |_| 0,
    terms: |_| 1,
    accumulates: true,
    cases,
    indices: None,
    joined: Vec::new(),
    cuda: crate::ops::copy::cuda::FWD,
    rows: &[&rows(fwd::<f32, true>, fwd::<f32, false>, fwd::<f64, false>)],
};

/// `copy.bwd`: input `dout`; output `dx`.
pub static BWD: Table<CopySpec> = Table {
    op: "copy.bwd",
    valid: CopySpec::valid,
    signature: |s| Signature {
        inputs: vec![Operand::any("dout", s.output_len())],
        outputs: vec![Operand::any("dx", s.input_len())],
    },
    flops: |_| 0,
    terms: |_| 1,
    accumulates: true,
    cases,
    indices: None,
    joined: Vec::new(),
    cuda: crate::ops::copy::cuda::BWD,
    rows: &[&rows(bwd::<f32, true>, bwd::<f32, false>, bwd::<f64, false>)],
};
