//! Kernels of convolutional networks: forward and backward, on CPUs and NVIDIA GPUs.
//!
//! Each operation has public tables ([`table::Table`]), one for each direction. The rows of a table are interchangeable kernels, from
//! plain loops to tiled AVX-512 and CUDA. A kernel takes a spec (sizes, strides, padding) and contiguous row-major [`Buffer`]s;
//! there are no tensors and no graph here. A table checks every buffer, picks the first row that supports the problem and is
//! preferred, and names the row that ran. A [`Context`] holds device, threads, precision, instruction set and forced rows.
//! Every row agrees with naive loops in f64 ([`check`]) and can be timed ([`mod@bench`]), rows from outside too: `examples/add_row.rs`.
//! All `unsafe` code of the project is in this crate, except the memory map of a weights file.
//!
//! A 3x3 convolution of one image `[1,1,4,4]` without padding gives `[1,1,2,2]`:
//!
//! ```
//! use convscope_kernels::conv2d::{Conv2dSpec, FWD};
//! use convscope_kernels::{Accum, Buffer, Context, DType};
//!
//! let spec = Conv2dSpec::simple(1, 1, 4, 4, 1, 3); // n, c, h, w, oc, kernel
//! let x = Buffer::from_slice(&(0..16).map(|i| i as f32).collect::<Vec<_>>());
//! let w = Buffer::from_slice(&[0.0f32, 1.0, 0.0, 1.0, -4.0, 1.0, 0.0, 1.0, 0.0]); // the Laplacian
//! let mut out = Buffer::new(DType::F32, spec.out_len());
//! let call = FWD.run(&Context::default(), &spec, &[&x, &w], &mut [&mut out], Accum::Write)?;
//! assert!(out.as_slice::<f32>().iter().all(|v| v.abs() < 1e-4), "a ramp has no curvature");
//! println!("{} took {:.1} us", call.kernel, call.micros);
//! # Ok::<_, convscope_kernels::Error>(())
//! ```
//!
//! | module | holds |
//! |---|---|
//! | [`mod@core`]: [`buffer`], [`device`], [`context`], [`table`], [`choice`], [`error`], [`random`] | memory with a type; tables, rows, the choice among them; threads |
//! | [`simd`], [`finite`] | the trait `Vector` over AVX-512, AVX2, NEON and plain code |
//! | [`cuda`] | the GPU: driver, queue, graphs; no operation |
//! | [`ops`]: [`gemm`], [`conv2d`], [`pool`], [`pointwise`], [`softmax`], [`norm`], [`reduce`], [`mod@copy`], [`optim`] | specs, tables, CPU and CUDA rows of one operation side by side |
//! | `verify`: [`check`], [`mod@bench`], [`sample`], [`peak`], [`peak_cuda`] | rows against the f64 oracle; times; the machine's peak |

pub mod core;
pub mod cuda;
pub mod ops;
pub mod simd;
pub mod verify;

pub use crate::core::{buffer, choice, context, device, error, isa, precision, random, table};
pub use ops::{conv2d, copy, gemm, norm, optim, pointwise, pool, reduce, softmax};
pub use simd::finite;
pub use verify::{bench, check, peak, peak_cuda, sample};

pub use buffer::Buffer;
pub use context::Context;
pub use device::{DType, Device, Element, Real};
pub use error::{Error, Result};
pub use isa::Isa;
pub use precision::Precision;
pub use table::{Accum, Call};

use check::AnyTable;

/// Every table of the crate, in the order the documentation lists them.
pub fn tables() -> Vec<&'static dyn AnyTable> {
    vec![
        &gemm::GEMM,
        &conv2d::FWD,
        &conv2d::DGRAD,
        &conv2d::WGRAD,
        &pool::MAX_FWD,
        &pool::MAX_BWD,
        &pool::AVG_FWD,
        &pool::AVG_BWD,
        &pointwise::UNARY_FWD,
        &pointwise::UNARY_BWD,
        &pointwise::BINARY,
        &pointwise::DROPOUT,
        &softmax::FWD,
        &softmax::BWD,
        &norm::INFER_FWD,
        &norm::TRAIN_FWD,
        &norm::PARAM_GRADS,
        &norm::INFER_DGRAD,
        &norm::TRAIN_BWD,
        &norm::RUNNING,
        &reduce::FWD,
        &reduce::BWD,
        &reduce::SUM_SQUARES,
        &copy::FWD,
        &copy::BWD,
        &optim::STEP,
        &optim::EMA,
    ]
}
