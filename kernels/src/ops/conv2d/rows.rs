//! The tables of the convolution: the rows in the order in which they are taken.

use super::im2col::{col2im, double};
use super::shifted::{self, Depthwise, Grouped};
use super::{Conv2dSpec, direct, im2col, naive, winograd};
use crate::core::buffer::Buffer;
use crate::core::table::{Operand, Prepare, ROUNDING, Row, Run, Signature, Table, Tolerance};
use crate::simd::rows::{Names, each_isa, names};
use crate::simd::{self, Vector};
use winograd::{F2, F4, Transform};

fn cases() -> Vec<Conv2dSpec> {
    let base = Conv2dSpec::simple;
    vec![
        base(1, 1, 1, 1, 1, 1),
        Conv2dSpec { bias: true, ..base(2, 3, 7, 9, 5, 1) },
        Conv2dSpec { padding: [1; 4], bias: true, ..base(1, 3, 10, 13, 13, 3) },
        Conv2dSpec { padding: [1; 4], stride: [2, 2], ..base(2, 5, 9, 12, 4, 3) },
        Conv2dSpec { padding: [3; 4], stride: [2, 2], ..base(1, 3, 23, 17, 8, 7) },
        Conv2dSpec { padding: [0, 1, 0, 1], stride: [2, 2], bias: true, ..base(1, 2, 8, 8, 3, 3) },
        Conv2dSpec { kernel: [1, 7], padding: [0, 0, 3, 3], ..base(1, 4, 6, 11, 3, 1) },
        Conv2dSpec { kernel: [5, 2], padding: [4, 0, 1, 2], stride: [3, 1], ..base(2, 2, 9, 6, 3, 1) },
        Conv2dSpec { dilation: [2, 3], padding: [2, 2, 3, 3], ..base(1, 3, 12, 14, 4, 3) },
        Conv2dSpec { groups: 2, padding: [1; 4], bias: true, ..base(2, 6, 5, 7, 4, 3) },
        Conv2dSpec { groups: 6, padding: [1; 4], ..base(1, 6, 7, 5, 6, 3) },
        Conv2dSpec { groups: 3, stride: [2, 1], ..base(1, 3, 8, 9, 6, 3) },
        // Depthwise: rows longer than vectors, strides, several outputs a channel, what inference fuses.
        Conv2dSpec { groups: 5, padding: [1; 4], bias: true, residual: true, relu: true, ..base(2, 5, 9, 37, 5, 3) },
        Conv2dSpec { groups: 4, padding: [1; 4], stride: [2, 2], bias: true, ..base(3, 4, 70, 69, 4, 3) },
        Conv2dSpec { groups: 3, padding: [0, 1, 0, 1], stride: [2, 2], ..base(2, 3, 14, 40, 6, 3) },
        Conv2dSpec { groups: 2, padding: [4, 0, 1, 2], dilation: [2, 3], stride: [3, 1], ..base(1, 2, 12, 19, 4, 5) },
        Conv2dSpec { groups: 2, padding: [2; 4], stride: [3, 4], ..base(1, 2, 8, 11, 2, 2) },
        // Groups of several channels: short rows and long ones, more and fewer channels than are summed at a time, strides, dilation.
        Conv2dSpec { groups: 4, padding: [1; 4], bias: true, residual: true, relu: true, ..base(3, 16, 7, 7, 16, 3) },
        Conv2dSpec { groups: 2, padding: [1; 4], stride: [2, 2], bias: true, ..base(2, 8, 29, 38, 14, 3) },
        Conv2dSpec { groups: 3, padding: [4, 0, 1, 2], dilation: [2, 3], stride: [3, 2], ..base(2, 15, 13, 19, 9, 5) },
        Conv2dSpec { groups: 2, kernel: [1, 5], padding: [0, 0, 2, 2], relu: true, ..base(1, 10, 5, 33, 6, 1) },
        Conv2dSpec { groups: 2, stride: [2, 2], ..base(2, 36, 9, 8, 34, 1) },
        Conv2dSpec { groups: 2, padding: [1; 4], bias: true, ..base(2, 32, 6, 9, 66, 3) },
        Conv2dSpec { groups: 2, padding: [1; 4], ..base(3, 8, 61, 64, 6, 3) },
        // Padding wider than the kernel: whole rows of zeros.
        Conv2dSpec { padding: [4; 4], ..base(1, 2, 3, 4, 2, 3) },
        // A stride that leaves input pixels unseen.
        Conv2dSpec { stride: [3, 3], ..base(1, 2, 11, 8, 3, 2) },
        // The same by dilation: the kernel only reaches every second row.
        Conv2dSpec { stride: [2, 4], dilation: [2, 6], padding: [2; 4], ..base(1, 3, 11, 21, 4, 3) },
        Conv2dSpec { padding: [1; 4], ..base(1, 63, 6, 7, 65, 3) },
        Conv2dSpec { padding: [1; 4], bias: true, ..base(1, 64, 15, 14, 33, 3) },
        Conv2dSpec { padding: [1; 4], ..base(3, 8, 21, 19, 12, 3) },
        // Rows longer than what is transformed at a time.
        Conv2dSpec { padding: [1; 4], ..base(1, 17, 5, 131, 18, 3) },
        // Long sums for the weight gradient.
        Conv2dSpec { padding: [1; 4], ..base(2, 3, 64, 60, 5, 3) },
        // Operations that inference fuses.
        Conv2dSpec { padding: [1; 4], bias: true, relu: true, residual: true, ..base(2, 9, 17, 11, 10, 3) },
        Conv2dSpec { relu: true, ..base(2, 20, 7, 7, 24, 1) },
        Conv2dSpec { residual: true, bias: true, relu: true, ..base(5, 24, 7, 7, 40, 1) },
        Conv2dSpec { stride: [2, 2], residual: true, ..base(3, 5, 9, 9, 7, 1) },
        // Rows shorter than a group of pixels, and more input channels than are summed at a time.
        Conv2dSpec { padding: [1; 4], ..base(1, 40, 16, 2, 40, 3) },
        Conv2dSpec { stride: [2, 2], ..base(1, 256, 16, 4, 64, 1) },
        Conv2dSpec { padding: [1; 4], stride: [2, 2], ..base(1, 512, 8, 4, 24, 3) },
        Conv2dSpec { padding: [1; 4], stride: [2, 2], ..base(1, 24, 8, 4, 512, 3) },
        // One output pixel, by a kernel as large as the image and by a stride; one input pixel.
        base(1, 70, 3, 3, 33, 3),
        Conv2dSpec { padding: [1; 4], stride: [2, 2], bias: true, ..base(2, 130, 2, 2, 17, 3) },
        Conv2dSpec { residual: true, ..base(2, 66, 1, 1, 15, 1) },
        Conv2dSpec { groups: 3, padding: [1; 4], ..base(2, 51, 1, 2, 51, 3) },
        Conv2dSpec { groups: 7, padding: [1; 4], stride: [2, 2], ..base(1, 7, 2, 3, 7, 3) },
    ]
}

fn fwd_signature(s: &Conv2dSpec) -> Signature {
    let mut inputs = vec![Operand::any("x", s.in_len()), Operand::any("w", s.weight_len())];
    if s.bias {
        inputs.push(Operand::any("bias", s.oc));
    }
    if s.residual {
        inputs.push(Operand::any("residual", s.out_len()));
    }
    Signature { inputs, outputs: vec![Operand::any("out", s.out_len())] }
}

/// The packed weight depends on the weight's own shape only, so every image size shares it.
fn weight_key(s: &Conv2dSpec) -> String {
    format!("oc{} patch{} g{}", s.oc, s.patch(), s.groups)
}

/// Beside the shape, the stride phases; an image narrower than the stride has fewer of them.
fn dgrad_key(s: &Conv2dSpec) -> String {
    let seen = [s.h.min(s.stride[0]), s.w.min(s.stride[1])];
    format!("oc{} c{} k{:?} g{} s{:?} p{:?} d{:?} {seen:?}", s.oc, s.c, s.kernel, s.groups, s.stride, s.padding, s.dilation)
}

/// The weight, prepared once.
const fn weight(key: fn(&Conv2dSpec) -> String, make: fn(&Conv2dSpec, &Buffer) -> Buffer) -> Prepare<Conv2dSpec> {
    Prepare { input: 1, when: |_| true, key, make }
}

/// A tile of 4x4 outputs multiplies numbers 4 to 10 times as large as the result, and so does its rounding.
const WINOGRAD: Tolerance = Tolerance { ulps: 64.0, reason: "transforms whose factors reach 10" };

/// `conv2d.fwd` on one instruction set, best first.
const fn fwd_rows<V: Vector>() -> [Row<Conv2dSpec>; 7] {
    [
        depthwise_row::<V>(shifted::fwd::<V, Depthwise>),
        grouped_row::<V>(shifted::fwd::<V, Grouped>).preferred(Grouped::preferred),
        winograd_fwd::<V, F4, 4, 6>(names!("winograd_f4")),
        winograd_fwd::<V, F2, 2, 4>(names!("winograd_f2")),
        Row::on::<V>(names!("direct"), ROUNDING, direct::fwd::<V>)
            .supports(direct::supported)
            .preferred(direct::preferred)
            .scratch(direct::scratch::<V>)
            .prepare(weight(weight_key, direct::pack_fwd::<V>)),
        Row::on::<V>(names!("im2col"), ROUNDING, im2col::fwd::<V>)
            .scratch(im2col::weight_scratch)
            .prepare(weight(weight_key, im2col::pack_fwd::<V>)),
        double_row::<V>(double::fwd::<V>),
    ]
}

/// `conv2d.dgrad` on one instruction set, best first.
const fn dgrad_rows<V: Vector>() -> [Row<Conv2dSpec>; 8] {
    [
        depthwise_row::<V>(shifted::dgrad::<V, Depthwise>),
        grouped_row::<V>(shifted::dgrad::<V, Grouped>).preferred(Grouped::preferred_dgrad),
        // For few input channels.
        Row::on::<V>(names!("col2im"), ROUNDING, col2im::dgrad::<V>)
            .supports(col2im::supported)
            .preferred(col2im::preferred)
            .scratch(col2im::scratch)
            .prepare(weight(weight_key, col2im::pack::<V>)),
        winograd_dgrad::<V, F4, 4, 6>(names!("winograd_f4")),
        winograd_dgrad::<V, F2, 2, 4>(names!("winograd_f2")),
        Row::on::<V>(names!("direct"), ROUNDING, direct::dgrad::<V>)
            .supports(Conv2dSpec::compact)
            .preferred(direct::preferred_dgrad)
            .scratch(direct::scratch_dgrad::<V>)
            .prepare(weight(dgrad_key, direct::pack_dgrad::<V>)),
        Row::on::<V>(names!("im2col"), ROUNDING, im2col::dgrad::<V>)
            .scratch(im2col::weight_scratch)
            .prepare(weight(dgrad_key, im2col::pack_dgrad::<V>)),
        double_row::<V>(double::dgrad::<V>),
    ]
}

/// `conv2d.wgrad` on one instruction set, best first.
const fn wgrad_rows<V: Vector>() -> [Row<Conv2dSpec>; 6] {
    [
        depthwise_row::<V>(shifted::wgrad::<V, Depthwise>),
        grouped_row::<V>(shifted::wgrad::<V, Grouped>).preferred(Grouped::preferred),
        Row::on::<V>(names!("winograd_f4"), WINOGRAD, winograd::wgrad::run::<V, F4, 4, 6>)
            .supports(winograd::supported)
            .preferred(winograd::wgrad::preferred::<4>)
            .scratch(winograd::wgrad::scratch::<4, 6>),
        Row::on::<V>(names!("direct"), ROUNDING, direct::wgrad::run::<V>)
            .supports(direct::wgrad::supported::<V>)
            .preferred(direct::wgrad::preferred)
            .scratch(direct::wgrad::scratch),
        Row::on::<V>(names!("im2col"), ROUNDING, im2col::wgrad::<V>).scratch(im2col::gradient_scratch),
        double_row::<V>(double::wgrad::<V>),
    ]
}

/// In f64, for gradient checks and goldens.
const fn double_row<V: Vector>(run: Run<Conv2dSpec>) -> Row<Conv2dSpec> {
    Row::on::<V>(names!("im2col"), ROUNDING, run).in_f64().preferred(double::preferred).scratch(double::scratch)
}

/// For groups of one input channel: first wherever it is supported.
const fn depthwise_row<V: Vector>(run: Run<Conv2dSpec>) -> Row<Conv2dSpec> {
    Row::on::<V>(names!("depthwise"), ROUNDING, run).supports(Depthwise::supported).scratch(Depthwise::scratch)
}

/// For groups of a few channels.
const fn grouped_row<V: Vector>(run: Run<Conv2dSpec>) -> Row<Conv2dSpec> {
    Row::on::<V>(names!("grouped"), ROUNDING, run).supports(Grouped::supported).scratch(Grouped::scratch)
}

/// Winograd's algorithm, forward.
const fn winograd_fwd<V: Vector, T: Transform<M, A>, const M: usize, const A: usize>(names: Names) -> Row<Conv2dSpec> {
    Row::on::<V>(names, WINOGRAD, winograd::fwd::<V, T, M, A>)
        .supports(winograd::supported)
        .preferred(winograd::preferred_fwd::<M>)
        .scratch(winograd::scratch::<M, A>)
        .prepare(weight(weight_key, winograd::pack_fwd::<V, T, M, A>))
}

/// Winograd's algorithm for the gradient of the input.
const fn winograd_dgrad<V: Vector, T: Transform<M, A>, const M: usize, const A: usize>(names: Names) -> Row<Conv2dSpec> {
    Row::on::<V>(names, WINOGRAD, winograd::dgrad::<V, T, M, A>)
        .supports(winograd::supported)
        .preferred(winograd::preferred_dgrad::<M>)
        .scratch(winograd::scratch::<M, A>)
        .prepare(weight(dgrad_key, winograd::pack_dgrad::<V, T, M, A>))
}

/// `conv2d.fwd`: inputs `x`, `w`, optionally `bias`, optionally `residual`; output `out`.
pub static FWD: Table<Conv2dSpec> = Table {
    op: "conv2d.fwd",
    valid: Conv2dSpec::valid,
    signature: fwd_signature,
    flops: Conv2dSpec::flops,
    terms: |s| s.patch(),
    accumulates: false,
    cases,
    indices: None,
    joined: Vec::new(),
    cuda: crate::ops::conv2d::cuda::FWD,
    rows: each_isa!(fwd_rows, simd::rows::naive(ROUNDING, naive::fwd::<f32>, naive::fwd::<f64>)),
};

/// `conv2d.dgrad`: inputs `dout`, `w`; output `dx`.
pub static DGRAD: Table<Conv2dSpec> = Table {
    op: "conv2d.dgrad",
    valid: Conv2dSpec::valid,
    signature: |s| Signature {
        inputs: vec![Operand::any("dout", s.out_len()), Operand::any("w", s.weight_len())],
        outputs: vec![Operand::any("dx", s.in_len())],
    },
    flops: Conv2dSpec::flops,
    terms: |s| s.oc / s.groups * s.kernel[0] * s.kernel[1],
    accumulates: true,
    cases,
    indices: None,
    joined: Vec::new(),
    cuda: crate::ops::conv2d::cuda::DGRAD,
    rows: each_isa!(dgrad_rows, simd::rows::naive(ROUNDING, naive::dgrad::<f32>, naive::dgrad::<f64>)),
};

/// `conv2d.wgrad`: inputs `dout`, `x`; output `dw`.
pub static WGRAD: Table<Conv2dSpec> = Table {
    op: "conv2d.wgrad",
    valid: Conv2dSpec::valid,
    signature: |s| Signature {
        inputs: vec![Operand::any("dout", s.out_len()), Operand::any("x", s.in_len())],
        outputs: vec![Operand::any("dw", s.weight_len())],
    },
    flops: Conv2dSpec::flops,
    terms: |s| s.n * s.out_plane(),
    accumulates: true,
    cases,
    indices: None,
    joined: Vec::new(),
    cuda: crate::ops::conv2d::cuda::WGRAD,
    rows: each_isa!(wgrad_rows, simd::rows::naive(ROUNDING, naive::wgrad::<f32>, naive::wgrad::<f64>)),
};
