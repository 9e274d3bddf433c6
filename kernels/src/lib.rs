//! Kernel ladders: numbers in, numbers out.
//!
//! Each operation has a public [`table::Table`] whose rows are interchangeable kernels: slow ones to be read, fast ones to be
//! used, all tested against the f64 naive row ([`check`]). A kernel takes a spec (sizes, strides, padding) and contiguous
//! row-major buffers; there are no tensors and no graph here. All `unsafe` of the project lives in this crate, except
//! the memory map of a weights file.
//!
//! | room | holds |
//! |---|---|
//! | [`buffer`], `memory`, [`device`] | bytes with a dtype tag, aligned, pooled, on huge pages |
//! | [`table`] | rows, choice, forcing a row by name |
//! | [`check`] | the oracle test that every row must pass |
//! | [`mod@bench`], [`peak`] | rows verified and timed on a problem; what the machine could do at best |
//! | [`simd`], `stream`, [`finite`] | vectors of any instruction set, and loops over numbers in memory |
//! | [`cuda`] | the same tables on NVIDIA GPUs |
//! | [`gemm`], [`conv2d`] | the products: naive, packed, im2col, Winograd, direct, depthwise, grouped, col2im |
//! | [`pool`], [`pointwise`], [`softmax`], [`norm`], [`reduce`], [`place`], [`optim`] | everything else a CNN needs |

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
