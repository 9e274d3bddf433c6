//! `conv2d` on CUDA devices.

mod winograd;

use crate::core::buffer::Buffer;
use crate::core::device::DType;
use crate::core::precision::Precision;
use crate::core::table::{Accum, ROUNDING, Row, Tolerance};
use crate::cuda::driver::Arg;
use crate::cuda::{BF16_ROUNDING, F16_ROUNDING, TF32_ROUNDING, hopper, launch, launch_each, launch_with};
use crate::ops::conv2d::Conv2dSpec;

/// A pass of the convolution: `Fwd`, `Dgrad` or `Wgrad`.
trait CudaPass {
    /// Number of the pass, in the order above.
    const INDEX: usize;
    /// Rows and columns of the equivalent matrix product; rows count the channels of all groups.
    fn outputs(s: &Conv2dSpec) -> [usize; 2];
    /// Bytes beside the operands.
    fn scratch(_: &Conv2dSpec) -> usize {
        0
    }
    /// Runs an implicit product.
    fn launch(s: &Conv2dSpec, inputs: &[&Buffer], outputs: &mut [&mut Buffer], accum: Accum, tiles: &Tiling);
}

/// Tiles of the equivalent matrix product, for one kernel.
struct Tiling {
    kernel: &'static str,
    /// Rows and columns of a block's tile.
    tile: [usize; 2],
    /// Bytes of dynamic shared memory.
    shared: usize,
}

/// An implicit product in one kind of tile.
struct CudaProduct {
    row: &'static str,
    tolerance: Tolerance,
    /// The rounding of its operands: taken where that is asked for.
    precision: Option<Precision>,
    /// Columns of tiles that should fill the device, or none.
    fills: Option<usize>,
    /// Whether it needs Hopper's instructions.
    hopper: bool,
    /// The kernels of fwd, dgrad and wgrad.
    kernels: [&'static str; 3],
    tile: [usize; 2],
    shared: usize,
}

impl CudaProduct {
    const fn new(row: &'static str, kernels: [&'static str; 3], tile: [usize; 2]) -> Self {
        CudaProduct { row, tolerance: ROUNDING, precision: None, fills: None, hopper: false, kernels, tile, shared: 0 }
    }

    /// On tensor cores.
    const fn rounded(mut self, precision: Precision, tolerance: Tolerance) -> Self {
        (self.precision, self.tolerance) = (Some(precision), tolerance);
        self
    }

    /// Only where tiles of so many columns fill the device.
    const fn fills(mut self, columns: usize) -> Self {
        self.fills = Some(columns);
        self
    }

    /// With Hopper's instructions, in tiles of 128 by 256.
    const fn hopper(mut self) -> Self {
        (self.hopper, self.shared) = (true, GATHERED);
        self.fills(256)
    }
}

const HOPPER_TF32: usize = 0;
const HOPPER_F16: usize = 1;
const HOPPER_BF16: usize = 2;
const TF32: usize = 3;
const F16: usize = 4;
const BF16: usize = 5;
const IMPLICIT_128: usize = 6;
const IMPLICIT_64: usize = 7;

/// The products, in the order of their numbers.
const PRODUCTS: [CudaProduct; 8] = [
    CudaProduct::new(
        "hopper_tf32_cuda",
        ["conv_fwd_hopper_tf32", "conv_dgrad_hopper_tf32", "conv_wgrad_hopper_tf32"],
        [128, 256],
    )
    .rounded(Precision::Tf32, TF32_ROUNDING)
    .hopper(),
    CudaProduct::new("hopper_f16_cuda", ["conv_fwd_hopper_f16", "conv_dgrad_hopper_f16", "conv_wgrad_hopper_f16"], [128, 256])
        .rounded(Precision::F16, F16_ROUNDING)
        .hopper(),
    CudaProduct::new(
        "hopper_bf16_cuda",
        ["conv_fwd_hopper_bf16", "conv_dgrad_hopper_bf16", "conv_wgrad_hopper_bf16"],
        [128, 256],
    )
    .rounded(Precision::Bf16, BF16_ROUNDING)
    .hopper(),
    CudaProduct::new("tf32_cuda", ["conv_fwd_tf32", "conv_dgrad_tf32", "conv_wgrad_tf32"], [128, 64])
        .rounded(Precision::Tf32, TF32_ROUNDING),
    CudaProduct::new("f16_cuda", ["conv_fwd_f16", "conv_dgrad_f16", "conv_wgrad_f16"], [128, 64])
        .rounded(Precision::F16, F16_ROUNDING),
    CudaProduct::new("bf16_cuda", ["conv_fwd_bf16", "conv_dgrad_bf16", "conv_wgrad_bf16"], [128, 64])
        .rounded(Precision::Bf16, BF16_ROUNDING),
    CudaProduct::new("implicit_128_cuda", ["conv_fwd_128", "conv_dgrad_128", "conv_wgrad_128"], [128, 128]).fills(128),
    CudaProduct::new("implicit_64_cuda", ["conv_fwd_64", "conv_dgrad_64", "conv_wgrad_64"], [64, 64]),
];

/// The row of product `K` of [`PRODUCTS`].
const fn product_row<P: CudaPass, const K: usize>() -> Row<Conv2dSpec> {
    let row = Row::cuda(PRODUCTS[K].row, PRODUCTS[K].tolerance, product::<P, K>);
    let row = row.preferred(product_wins::<P, K>).scratch(P::scratch);
    let row = if PRODUCTS[K].hopper { row.here(hopper) } else { row };
    match PRODUCTS[K].precision {
        Some(precision) => row.precision(precision),
        None => row,
    }
}

fn product<P: CudaPass, const K: usize>(s: &Conv2dSpec, inputs: &[&Buffer], outputs: &mut [&mut Buffer], accum: Accum) {
    let CudaProduct { kernels, tile, shared, .. } = PRODUCTS[K];
    P::launch(s, inputs, outputs, accum, &Tiling { kernel: kernels[P::INDEX], tile, shared });
}

fn product_wins<P: CudaPass, const K: usize>(s: &Conv2dSpec) -> Result<(), &'static str> {
    shared(s)?;
    PRODUCTS[K].fills.map_or(Ok(()), |columns| many(P::outputs(s), s.groups, columns))
}

/// The row for groups of one input channel.
const fn depthwise_row<P: CudaPass>() -> Row<Conv2dSpec> {
    let supports = |s: &Conv2dSpec| if s.c == s.groups { Ok(()) } else { Err("wants groups of one input channel") };
    Row::cuda("depthwise_cuda", ROUNDING, per_thread::<P, 1>).supports(supports).scratch(P::scratch)
}

/// The row for narrow groups, of which a thread has `N` channels in registers.
const fn grouped_row<P: CudaPass, const N: usize>(name: &'static str) -> Row<Conv2dSpec> {
    let supports = |s: &Conv2dSpec| if s.groups > 1 { Ok(()) } else { Err("wants several groups") };
    let row = Row::cuda(name, ROUNDING, per_thread::<P, N>).supports(supports);
    row.preferred(grouped_wins::<P, N>).scratch(P::scratch)
}

/// A thread sums `N` channels of a group: 1, 4 or 8.
fn per_thread<P: CudaPass, const N: usize>(s: &Conv2dSpec, inputs: &[&Buffer], outputs: &mut [&mut Buffer], accum: Accum) {
    let kernel = match N {
        1 => ["conv_fwd_depthwise", "conv_dgrad_depthwise", "conv_wgrad_depthwise"],
        4 => ["conv_fwd_grouped_4", "conv_dgrad_grouped_4", "conv_wgrad_grouped_4"],
        _ => ["conv_fwd_grouped_8", "conv_dgrad_grouped_8", "conv_wgrad_grouped_8"],
    }[P::INDEX];
    // A block of the gradient of the weight takes the elements of a 3x3 kernel, the others one pixel a thread.
    let columns = if P::INDEX == Wgrad::INDEX { 9 } else { 256 };
    P::launch(s, inputs, outputs, accum, &Tiling { kernel, tile: [N, columns], shared: 0 });
}

fn grouped_wins<P: CudaPass, const N: usize>(s: &Conv2dSpec) -> Result<(), &'static str> {
    // With fewer than five channels in a group, half of eight sums would be idle.
    narrow(if N == 8 { 5 } else { 1 }, P::outputs(s)[0] / s.groups)
}

/// Rows of `conv2d.fwd`, best first.
pub(crate) const FWD: &[Row<Conv2dSpec>] = &[
    depthwise_row::<Fwd>(),
    grouped_row::<Fwd, 8>("grouped_8_cuda"),
    grouped_row::<Fwd, 4>("grouped_4_cuda"),
    product_row::<Fwd, HOPPER_TF32>(),
    product_row::<Fwd, HOPPER_F16>(),
    product_row::<Fwd, HOPPER_BF16>(),
    product_row::<Fwd, TF32>(),
    product_row::<Fwd, F16>(),
    product_row::<Fwd, BF16>(),
    winograd::fwd_row::<4>("winograd_f4_cuda"),
    winograd::fwd_row::<2>("winograd_f2_cuda"),
    product_row::<Fwd, IMPLICIT_128>(),
    product_row::<Fwd, IMPLICIT_64>(),
    Row::cuda("naive_cuda", ROUNDING, naive_fwd),
];

/// Rows of `conv2d.dgrad`, best first.
pub(crate) const DGRAD: &[Row<Conv2dSpec>] = &[
    depthwise_row::<Dgrad>(),
    grouped_row::<Dgrad, 8>("grouped_8_cuda"),
    grouped_row::<Dgrad, 4>("grouped_4_cuda"),
    product_row::<Dgrad, HOPPER_TF32>(),
    product_row::<Dgrad, HOPPER_F16>(),
    product_row::<Dgrad, HOPPER_BF16>(),
    product_row::<Dgrad, TF32>(),
    product_row::<Dgrad, F16>(),
    product_row::<Dgrad, BF16>(),
    winograd::dgrad_row::<4>("winograd_f4_cuda"),
    winograd::dgrad_row::<2>("winograd_f2_cuda"),
    product_row::<Dgrad, IMPLICIT_128>(),
    product_row::<Dgrad, IMPLICIT_64>(),
    Row::cuda("naive_cuda", ROUNDING, naive_dgrad),
];

/// Rows of `conv2d.wgrad`, best first.
pub(crate) const WGRAD: &[Row<Conv2dSpec>] = &[
    depthwise_row::<Wgrad>(),
    grouped_row::<Wgrad, 4>("grouped_4_cuda"),
    product_row::<Wgrad, HOPPER_TF32>(),
    product_row::<Wgrad, HOPPER_F16>(),
    product_row::<Wgrad, HOPPER_BF16>(),
    product_row::<Wgrad, TF32>(),
    product_row::<Wgrad, F16>(),
    product_row::<Wgrad, BF16>(),
    winograd::wgrad_row::<4>("winograd_f4_cuda"),
    winograd::wgrad_row::<2>("winograd_f2_cuda"),
    product_row::<Wgrad, IMPLICIT_128>(),
    product_row::<Wgrad, IMPLICIT_64>(),
    Row::cuda("naive_cuda", ROUNDING, naive_wgrad),
];

/// `GATHERED_SHARED` of `gathered.cuh`: three tiles of 128 bytes along k of each operand, and two times the steps of each.
const GATHERED: usize = 3 * 128 * (128 + 256) + 2 * 2 * 64 * 12;

/// Blocks that a large device runs at a time.
const DEVICE: usize = 128;

fn pixels(s: &Conv2dSpec) -> usize {
    s.n * s.out_plane()
}

/// Groups of one channel share nothing that a tile could keep.
fn shared(s: &Conv2dSpec) -> Result<(), &'static str> {
    if s.c == s.groups || s.oc == s.groups { Err("groups of one channel") } else { Ok(()) }
}

/// Whether channels fill most of a thread's registers, and few of a tile of 64 channels.
fn narrow(least: usize, channels: usize) -> Result<(), &'static str> {
    match channels {
        32.. => Err("groups that fill tiles"),
        _ if channels < least => Err("fewer channels in a group than a thread takes"),
        _ => Ok(()),
    }
}

/// Whether tiles of 128 by `n` fill the device; `i` counts channels of all groups.
fn many([i, j]: [usize; 2], groups: usize, n: usize) -> Result<(), &'static str> {
    let i = i / groups;
    match i >= 96 && j.div_ceil(n) * i.div_ceil(128) * groups >= DEVICE {
        true => Ok(()),
        false => Err("too few outputs for large tiles"),
    }
}

/// `struct Conv` of `problem.cuh`.
fn problem(s: &Conv2dSpec) -> Arg {
    let ([oh, ow], [kh, kw], [sh, sw], [dh, dw], [pt, _, pl, _]) = (s.out_hw(), s.kernel, s.stride, s.dilation, s.padding);
    Arg::Ints([s.n, s.c, s.h, s.w, s.oc, oh, ow, kh, kw, sh, sw, pt, pl, dh, dw, s.groups].map(|v| v as i32).to_vec())
}

/// The optional inputs of the forward pass.
fn bias_and_residual<'a>(s: &Conv2dSpec, inputs: &[&'a Buffer]) -> [Option<&'a Buffer>; 2] {
    let mut rest = inputs[2..].iter().copied();
    [s.bias, s.residual].map(|is| is.then(|| rest.next()).flatten())
}

fn fwd_args(s: &Conv2dSpec, inputs: &[&Buffer], outputs: &mut [&mut Buffer]) -> Vec<Arg> {
    let [bias, residual] = bias_and_residual(s, inputs);
    vec![problem(s), inputs[0].into(), inputs[1].into(), bias.into(), residual.into(), (&mut *outputs[0]).into(), s.relu.into()]
}

fn naive_fwd(s: &Conv2dSpec, inputs: &[&Buffer], outputs: &mut [&mut Buffer], _: Accum) {
    launch_each(inputs[0], "conv_fwd_naive", s.out_len(), fwd_args(s, inputs, outputs));
}

fn naive_dgrad(s: &Conv2dSpec, inputs: &[&Buffer], outputs: &mut [&mut Buffer], accum: Accum) {
    let args = vec![problem(s), inputs[0].into(), inputs[1].into(), (&mut *outputs[0]).into(), accum.into()];
    launch_each(inputs[0], "conv_dgrad_naive", s.in_len(), args);
}

fn naive_wgrad(s: &Conv2dSpec, inputs: &[&Buffer], outputs: &mut [&mut Buffer], accum: Accum) {
    let args = vec![problem(s), inputs[0].into(), inputs[1].into(), (&mut *outputs[0]).into(), accum.into()];
    launch(inputs[0], "conv_wgrad_naive", [s.weight_len(), 1, 1], [64, 1, 1], args);
}

/// The output.
struct Fwd;

impl CudaPass for Fwd {
    const INDEX: usize = 0;

    fn outputs(s: &Conv2dSpec) -> [usize; 2] {
        [s.oc, pixels(s)]
    }

    fn launch(s: &Conv2dSpec, inputs: &[&Buffer], outputs: &mut [&mut Buffer], _: Accum, tiles: &Tiling) {
        let [m, n] = tiles.tile;
        let grid = [pixels(s).div_ceil(n), (s.oc / s.groups).div_ceil(m), s.groups];
        launch_with(inputs[0], tiles.kernel, grid, [256, 1, 1], tiles.shared, fwd_args(s, inputs, outputs));
    }
}

/// The gradient of the input.
struct Dgrad;

impl CudaPass for Dgrad {
    const INDEX: usize = 1;

    fn outputs(s: &Conv2dSpec) -> [usize; 2] {
        [s.c, s.n * s.h * s.w]
    }

    fn launch(s: &Conv2dSpec, inputs: &[&Buffer], outputs: &mut [&mut Buffer], accum: Accum, tiles: &Tiling) {
        let [m, n] = tiles.tile;
        // Pixels of the largest stride phase, and phases.
        let [h, w] = [s.h.div_ceil(s.stride[0]), s.w.div_ceil(s.stride[1])];
        let grid = [(s.n * h * w).div_ceil(n), (s.c / s.groups).div_ceil(m), s.groups * s.stride[0] * s.stride[1]];
        let args = vec![problem(s), inputs[0].into(), inputs[1].into(), (&mut *outputs[0]).into(), accum.into()];
        launch_with(inputs[0], tiles.kernel, grid, [256, 1, 1], tiles.shared, args);
    }
}

/// Number of splits of the sum over pixels: small weights fill the device, and each split is long enough.
fn splits(s: &Conv2dSpec) -> usize {
    let tiles = (s.oc / s.groups).div_ceil(64) * s.patch().div_ceil(64) * s.groups;
    (2 * DEVICE).div_ceil(tiles.max(1)).min(pixels(s).div_ceil(256)).max(1)
}

/// The gradient of the weight.
struct Wgrad;

impl CudaPass for Wgrad {
    const INDEX: usize = 2;

    fn outputs(s: &Conv2dSpec) -> [usize; 2] {
        [s.oc, s.patch() * splits(s)]
    }

    /// Bytes of the gradients of all splits.
    fn scratch(s: &Conv2dSpec) -> usize {
        if splits(s) == 1 { 0 } else { 4 * splits(s) * s.weight_len() }
    }

    fn launch(s: &Conv2dSpec, inputs: &[&Buffer], outputs: &mut [&mut Buffer], accum: Accum, tiles: &Tiling) {
        let ([m, n], splits) = (tiles.tile, splits(s));
        // Whole tiles of 16 steps.
        let chunk = pixels(s).div_ceil(splits).next_multiple_of(16);
        let grid = [s.patch().div_ceil(n), (s.oc / s.groups).div_ceil(m), s.groups * splits];
        let launch = |dw: Arg, accum: Accum| {
            let args = vec![
                problem(s),
                inputs[0].into(),
                inputs[1].into(),
                dw,
                splits.into(),
                chunk.into(),
                s.weight_len().into(),
                accum.into(),
            ];
            launch_with(inputs[0], tiles.kernel, grid, [256, 1, 1], tiles.shared, args);
        };
        if splits == 1 {
            return launch((&mut *outputs[0]).into(), accum);
        }
        let mut all = inputs[0].like(DType::F32, splits * s.weight_len()); // [splits, weight]
        launch((&mut all).into(), Accum::Write);
        crate::ops::reduce::cuda::columns(&all, outputs[0], [splits, s.weight_len()], 1.0, accum);
    }
}
