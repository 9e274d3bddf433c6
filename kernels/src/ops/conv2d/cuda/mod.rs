//! `conv2d` on CUDA devices.

mod winograd;

use crate::core::buffer::Buffer;
use crate::core::device::DType;
use crate::core::precision::Precision;
use crate::core::table::{Accum, Prepare, ROUNDING, Row, Tolerance};
use crate::cuda::driver::Arg;
use crate::cuda::{BF16_ROUNDING, F16_ROUNDING, TF32_ROUNDING, hopper, launch, launch_each, launch_with};
use crate::ops::conv2d::Conv2dSpec;
use winograd::Tiles;

/// A row of a product on tensor cores: taken where that rounding is asked for.
macro_rules! tensor {
    ($name:literal, $precision:ident, $tolerance:ident, $run:expr, { $($column:tt)* }) => {
        Row {
            precision: Some(Precision::$precision),
            preferred: shared,
            $($column)*
            ..Row::cuda($name, $tolerance, $run)
        }
    };
}
/// The same with Hopper's instructions, where their tiles are full and fill the device.
macro_rules! hopper {
    ($name:literal, $precision:ident, $tolerance:ident, $run:expr, $outputs:expr, { $($column:tt)* }) => {
        Row {
            here: hopper,
            precision: Some(Precision::$precision),
            preferred: |s| shared(s).and_then(|()| many($outputs(s), s.groups, 256)),
            $($column)*
            ..Row::cuda($name, $tolerance, $run)
        }
    };
}
/// A row of a product in f32: with tiles of 128 by 128 outputs where there are enough of them.
macro_rules! implicit {
    ("128", $run:expr, $outputs:expr, { $($column:tt)* }) => {
        Row {
            preferred: |s| shared(s).and_then(|()| many($outputs(s), s.groups, 128)),
            $($column)*
            ..Row::cuda("implicit_128_cuda", ROUNDING, $run)
        }
    };
    ("64", $run:expr, { $($column:tt)* }) => {
        Row { preferred: shared, $($column)* ..Row::cuda("implicit_64_cuda", ROUNDING, $run) }
    };
}
/// A row for groups of one input channel.
macro_rules! depthwise {
    ($run:expr, { $($column:tt)* }) => {
        Row {
            supports: |s| if s.c == s.groups { Ok(()) } else { Err("wants groups of one input channel") },
            $($column)*
            ..Row::cuda("depthwise_cuda", ROUNDING, $run)
        }
    };
}
/// A row for narrow groups of `$channels` in all, of which a thread has as many as the name says in registers; it wins from `$least` of a
/// group on.
macro_rules! grouped {
    ($name:literal, $least:literal, |$s:ident| $channels:expr, $run:expr, { $($column:tt)* }) => {
        Row {
            supports: |s| if s.groups > 1 { Ok(()) } else { Err("wants several groups") },
            preferred: |$s| narrow($least, $channels / $s.groups),
            $($column)*
            ..Row::cuda($name, ROUNDING, $run)
        }
    };
}
/// A row of Winograd's algorithm, with tiles of `$m` by `$m` outputs: forward.
macro_rules! winograd_fwd {
    ($name:literal, $m:literal) => {
        Row {
            supports: winograd::fits::<$m>,
            preferred: winograd::wins::<$m>,
            scratch: |s| Tiles::fwd(s, $m).scratch($m),
            prepare: Some(Prepare { input: 1, when: |_| true, key: weight_key, make: winograd::weight::<$m, false> }),
            ..Row::cuda($name, WINOGRAD, |s, i, o, a| {
                winograd::run::<$m>(&Tiles::fwd(s, $m), i, bias_and_residual(s, i), o[0], s.relu, a)
            })
        }
    };
}
/// The input gradient.
macro_rules! winograd_dgrad {
    ($name:literal, $m:literal) => {
        Row {
            supports: winograd::fits::<$m>,
            preferred: winograd::wins::<$m>,
            scratch: |s| Tiles::dgrad(s, $m).scratch($m),
            prepare: Some(Prepare { input: 1, when: |_| true, key: weight_key, make: winograd::weight::<$m, true> }),
            ..Row::cuda($name, WINOGRAD, |s, i, o, a| winograd::run::<$m>(&Tiles::dgrad(s, $m), i, [None, None], o[0], false, a))
        }
    };
}

/// The weight gradient.
macro_rules! winograd_wgrad {
    ($name:literal, $m:literal) => {
        Row {
            supports: winograd::fits::<$m>,
            preferred: winograd::wins::<$m>,
            scratch: winograd::wgrad_scratch::<$m>,
            ..Row::cuda($name, WINOGRAD, |s, i, o, a| winograd::wgrad::<$m>(s, i, o[0], a))
        }
    };
}

/// As on the CPU.
const WINOGRAD: Tolerance = Tolerance { ulps: 64.0, reason: "transforms whose factors reach 8" };

/// The transformed weight depends on its own shape only.
fn weight_key(s: &Conv2dSpec) -> String {
    format!("oc{} c{}", s.oc, s.c)
}

/// The rungs of a direction: `$run` with the kernels of place `$d`, `$outputs` rows and columns of its product.
macro_rules! ladder {
    ($run:ident, $d:literal, $outputs:expr, $naive:ident, { $($column:tt)* }, [$($grouped:expr),*], [$($winograd:expr),*]) => {
        &[
            depthwise!(|s, i, o, a| $run(s, i, o, a, &DEPTHWISE[$d]), { $($column)* }),
            $($grouped,)*
            hopper!("hopper_tf32_cuda", Tf32, TF32_ROUNDING, |s, i, o, a| $run(s, i, o, a, &HOPPER_TF32[$d]), $outputs, { $($column)* }),
            hopper!("hopper_f16_cuda", F16, F16_ROUNDING, |s, i, o, a| $run(s, i, o, a, &HOPPER_F16[$d]), $outputs, { $($column)* }),
            hopper!("hopper_bf16_cuda", Bf16, BF16_ROUNDING, |s, i, o, a| $run(s, i, o, a, &HOPPER_BF16[$d]), $outputs, { $($column)* }),
            tensor!("tf32_cuda", Tf32, TF32_ROUNDING, |s, i, o, a| $run(s, i, o, a, &TF32[$d]), { $($column)* }),
            tensor!("f16_cuda", F16, F16_ROUNDING, |s, i, o, a| $run(s, i, o, a, &F16[$d]), { $($column)* }),
            tensor!("bf16_cuda", Bf16, BF16_ROUNDING, |s, i, o, a| $run(s, i, o, a, &BF16[$d]), { $($column)* }),
            $($winograd,)*
            implicit!("128", |s, i, o, a| $run(s, i, o, a, &LARGE[$d]), $outputs, { $($column)* }),
            implicit!("64", |s, i, o, a| $run(s, i, o, a, &SMALL[$d]), { $($column)* }),
            Row::cuda("naive_cuda", ROUNDING, $naive),
        ]
    };
}

/// Rows of `conv2d.fwd`, best first.
pub(crate) const FWD: &[Row<Conv2dSpec>] = ladder!(
    fwd,
    0,
    |s: &Conv2dSpec| [s.oc, pixels(s)],
    naive_fwd,
    {},
    [
        grouped!("grouped_8_cuda", 5, |s| s.oc, |s, i, o, a| fwd(s, i, o, a, &GROUPED_8[0]), {}),
        grouped!("grouped_4_cuda", 1, |s| s.oc, |s, i, o, a| fwd(s, i, o, a, &GROUPED_4[0]), {})
    ],
    [winograd_fwd!("winograd_f4_cuda", 4), winograd_fwd!("winograd_f2_cuda", 2)]
);
/// Rows of `conv2d.dgrad`.
pub(crate) const DGRAD: &[Row<Conv2dSpec>] = ladder!(
    dgrad,
    1,
    |s: &Conv2dSpec| [s.c, s.n * s.h * s.w],
    naive_dgrad,
    {},
    [
        grouped!("grouped_8_cuda", 5, |s| s.c, |s, i, o, a| dgrad(s, i, o, a, &GROUPED_8[1]), {}),
        grouped!("grouped_4_cuda", 1, |s| s.c, |s, i, o, a| dgrad(s, i, o, a, &GROUPED_4[1]), {})
    ],
    [winograd_dgrad!("winograd_f4_cuda", 4), winograd_dgrad!("winograd_f2_cuda", 2)]
);
/// Rows of `conv2d.wgrad`.
pub(crate) const WGRAD: &[Row<Conv2dSpec>] = ladder!(
    wgrad,
    2,
    |s: &Conv2dSpec| [s.oc, s.patch() * parts(s)],
    naive_wgrad,
    { scratch: parts_bytes, },
    [grouped!("grouped_4_cuda", 1, |s| s.oc, |s, i, o, a| wgrad(s, i, o, a, &GROUPED_4[2]), { scratch: parts_bytes, })],
    [winograd_wgrad!("winograd_f4_cuda", 4), winograd_wgrad!("winograd_f2_cuda", 2)]
);

/// A kernel of a product: its name, the tile of a block along rows i and j, and its bytes of dynamic shared memory.
struct Product(&'static str, usize, usize, usize);

/// The kernels of fwd, dgrad and wgrad.
macro_rules! products {
    ($($set:ident: $suffix:literal, $m:literal x $n:literal, $shared:expr;)*) => {
        $(const $set: [Product; 3] = [
            Product(concat!("conv_fwd_", $suffix), $m, $n, $shared),
            Product(concat!("conv_dgrad_", $suffix), $m, $n, $shared),
            Product(concat!("conv_wgrad_", $suffix), $m, $n, $shared),
        ];)*
    };
}
products! {
    LARGE: "128", 128 x 128, 0;
    SMALL: "64", 64 x 64, 0;
    TF32: "tf32", 128 x 64, 0;
    F16: "f16", 128 x 64, 0;
    BF16: "bf16", 128 x 64, 0;
    HOPPER_TF32: "hopper_tf32", 128 x 256, GATHERED;
    HOPPER_F16: "hopper_f16", 128 x 256, GATHERED;
    HOPPER_BF16: "hopper_bf16", 128 x 256, GATHERED;
}

/// The kernels of fwd, dgrad and wgrad for groups of one channel.
const DEPTHWISE: [Product; 3] = [
    Product("conv_fwd_depthwise", 1, 256, 0),
    Product("conv_dgrad_depthwise", 1, 256, 0),
    Product("conv_wgrad_depthwise", 1, 9, 0),
];
/// Those for narrow groups.
const GROUPED_4: [Product; 3] = [
    Product("conv_fwd_grouped_4", 4, 256, 0),
    Product("conv_dgrad_grouped_4", 4, 256, 0),
    Product("conv_wgrad_grouped_4", 4, 9, 0),
];
/// Those of fwd and dgrad for more channels.
const GROUPED_8: [Product; 2] = [Product("conv_fwd_grouped_8", 8, 256, 0), Product("conv_dgrad_grouped_8", 8, 256, 0)];

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

/// Whether a thread's registers have few empty places, and tiles of 64 channels many.
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

fn fwd(s: &Conv2dSpec, inputs: &[&Buffer], outputs: &mut [&mut Buffer], _: Accum, Product(kernel, m, n, shared): &Product) {
    let grid = [pixels(s).div_ceil(*n), (s.oc / s.groups).div_ceil(*m), s.groups];
    launch_with(inputs[0], kernel, grid, [256, 1, 1], *shared, fwd_args(s, inputs, outputs));
}

fn dgrad(s: &Conv2dSpec, inputs: &[&Buffer], outputs: &mut [&mut Buffer], accum: Accum, Product(kernel, m, n, shared): &Product) {
    // Pixels of the largest residue, and residues.
    let [h, w] = [s.h.div_ceil(s.stride[0]), s.w.div_ceil(s.stride[1])];
    let grid = [(s.n * h * w).div_ceil(*n), (s.c / s.groups).div_ceil(*m), s.groups * s.stride[0] * s.stride[1]];
    let args = vec![problem(s), inputs[0].into(), inputs[1].into(), (&mut *outputs[0]).into(), accum.into()];
    launch_with(inputs[0], kernel, grid, [256, 1, 1], *shared, args);
}

/// Into how many parts the sum over pixels is cut: so many that small weights fill the device, and each is long enough.
fn parts(s: &Conv2dSpec) -> usize {
    let tiles = (s.oc / s.groups).div_ceil(64) * s.patch().div_ceil(64) * s.groups;
    (2 * DEVICE).div_ceil(tiles.max(1)).min(pixels(s).div_ceil(256)).max(1)
}

/// Bytes of all parts' gradients.
fn parts_bytes(s: &Conv2dSpec) -> usize {
    if parts(s) == 1 { 0 } else { 4 * parts(s) * s.weight_len() }
}

fn wgrad(s: &Conv2dSpec, inputs: &[&Buffer], outputs: &mut [&mut Buffer], accum: Accum, Product(kernel, m, n, shared): &Product) {
    let parts = parts(s);
    // Whole tiles of 16 steps.
    let piece = pixels(s).div_ceil(parts).next_multiple_of(16);
    let grid = [s.patch().div_ceil(*n), (s.oc / s.groups).div_ceil(*m), s.groups * parts];
    let args = |dw: Arg, accum: Accum| {
        vec![problem(s), inputs[0].into(), inputs[1].into(), dw, parts.into(), piece.into(), s.weight_len().into(), accum.into()]
    };
    if parts == 1 {
        return launch_with(inputs[0], kernel, grid, [256, 1, 1], *shared, args((&mut *outputs[0]).into(), accum));
    }
    let mut all = inputs[0].like(DType::F32, parts * s.weight_len()); // [parts, weight]
    launch_with(inputs[0], kernel, grid, [256, 1, 1], *shared, args((&mut all).into(), Accum::Write));
    crate::ops::reduce::cuda::columns(&all, outputs[0], [parts, s.weight_len()], 1.0, accum);
}
