//! Winograd on CUDA devices: forward; the input gradient, which is the forward convolution of `dout` by the weight rotated by 180 degrees; and the
//! weight gradient, the transpose of what forward does with the weight.

use super::{DEVICE, bias_and_residual};
use crate::core::buffer::Buffer;
use crate::core::device::DType;
use crate::core::table::{Accum, Prepare, Row, Tolerance};
use crate::cuda::driver::Arg;
use crate::cuda::{args, launch, launch_each};
use crate::ops::conv2d::Conv2dSpec;

/// As on the CPU.
const WINOGRAD: Tolerance = Tolerance { ulps: 64.0, reason: "transforms whose factors reach 8" };

/// The transformed weight depends on its own shape only.
fn weight_key(s: &Conv2dSpec) -> String {
    format!("oc{} c{}", s.oc, s.c)
}

/// The weight, transformed once.
const fn transformed(make: fn(&Conv2dSpec, &Buffer) -> Buffer) -> Prepare<Conv2dSpec> {
    Prepare { input: 1, when: |_| true, key: weight_key, make }
}

/// Forward in tiles of `M` by `M` outputs.
pub(super) const fn fwd_row<const M: usize>(name: &'static str) -> Row<Conv2dSpec> {
    Row::cuda(name, WINOGRAD, fwd::<M>)
        .supports(supported::<M>)
        .preferred(preferred::<M>)
        .scratch(|s| Tiles::fwd(s, M).scratch(M))
        .prepare(transformed(weight::<M, false>))
}

/// The gradient of the input in tiles of `M` by `M` pixels.
pub(super) const fn dgrad_row<const M: usize>(name: &'static str) -> Row<Conv2dSpec> {
    Row::cuda(name, WINOGRAD, dgrad::<M>)
        .supports(supported::<M>)
        .preferred(preferred::<M>)
        .scratch(|s| Tiles::dgrad(s, M).scratch(M))
        .prepare(transformed(weight::<M, true>))
}

/// The gradient of the weight from tiles of `M` by `M` outputs.
pub(super) const fn wgrad_row<const M: usize>(name: &'static str) -> Row<Conv2dSpec> {
    Row::cuda(name, WINOGRAD, wgrad::<M>).supports(supported::<M>).preferred(preferred::<M>).scratch(wgrad_scratch::<M>)
}

/// Elements at most: the transformed images of 36 points are counted in `int`s.
const MOST: usize = 1 << 31;

/// A direction as a convolution of an image stack.
pub(super) struct Tiles {
    n: usize,
    read: [usize; 3],
    written: [usize; 3],
    /// Zeros before what is read; below zero where it is cut.
    before: [isize; 2],
    /// Of an image.
    tiles: [usize; 2],
}

impl Tiles {
    fn new(n: usize, read: [usize; 3], written: [usize; 3], before: [isize; 2], m: usize) -> Self {
        Tiles { n, read, written, before, tiles: [written[1].div_ceil(m), written[2].div_ceil(m)] }
    }

    pub fn fwd(s: &Conv2dSpec, m: usize) -> Self {
        let ([oh, ow], [top, _, left, _]) = (s.out_hw(), s.padding);
        Self::new(s.n, [s.c, s.h, s.w], [s.oc, oh, ow], [top as isize, left as isize], m)
    }

    pub fn dgrad(s: &Conv2dSpec, m: usize) -> Self {
        let ([oh, ow], [top, _, left, _]) = (s.out_hw(), s.padding);
        Self::new(s.n, [s.oc, oh, ow], [s.c, s.h, s.w], [2 - top as isize, 2 - left as isize], m)
    }

    fn count(&self) -> usize {
        self.n * self.tiles[0] * self.tiles[1]
    }

    /// `struct Tiles`
    fn problem(&self) -> Arg {
        let ([c, h, w], [oc, oh, ow], [down, across]) = (self.read, self.written, self.tiles);
        let [c, h, w, oc, oh, ow, down, across] = [c, h, w, oc, oh, ow, down, across].map(|v| v as i32);
        Arg::Ints(vec![self.n as i32, c, h, w, oc, oh, ow, self.before[0] as i32, self.before[1] as i32, down, across])
    }

    /// Numbers of the transformed input and of the products.
    fn capacities(&self, m: usize) -> [usize; 2] {
        [self.read[0], self.written[0]].map(|channels| (m + 2) * (m + 2) * channels * self.count())
    }

    pub fn scratch(&self, m: usize) -> usize {
        4 * self.capacities(m).iter().sum::<usize>()
    }
}

fn supported<const M: usize>(s: &Conv2dSpec) -> Result<(), &'static str> {
    let large = |t: Tiles| t.capacities(M).iter().any(|len| *len >= MOST);
    match s {
        _ if s.kernel != [3, 3] || s.stride != [1, 1] || s.dilation != [1, 1] => Err("wants a 3x3 kernel of stride 1"),
        _ if s.groups != 1 => Err("wants one group"),
        _ if large(Tiles::fwd(s, M)) || large(Tiles::dgrad(s, M)) => Err("too large for one pass"),
        _ => Ok(()),
    }
}

/// Enough channels for the transforms to pay, and images of several tiles.
fn preferred<const M: usize>(s: &Conv2dSpec) -> Result<(), &'static str> {
    match s {
        _ if s.c < 32 || s.oc < 32 => Err("few channels"),
        _ if s.h.min(s.w) < 2 * M => Err("a small image"),
        _ => Ok(()),
    }
}

/// The weight, transformed: `[(m+2)^2, written channels, read channels]`.
fn weight<const M: usize, const ROTATED: bool>(s: &Conv2dSpec, w: &Buffer) -> Buffer {
    let [oc, c] = if ROTATED { [s.c, s.oc] } else { [s.oc, s.c] };
    let mut u = w.like(DType::F32, (M + 2) * (M + 2) * oc * c);
    let kernel = if M == 2 { "winograd_weight_2" } else { "winograd_weight_4" };
    launch_each(w, kernel, oc * c, args![w, &mut u, oc, c, ROTATED]);
    u
}

fn fwd<const M: usize>(s: &Conv2dSpec, inputs: &[&Buffer], outputs: &mut [&mut Buffer], accum: Accum) {
    run::<M>(&Tiles::fwd(s, M), inputs, bias_and_residual(s, inputs), outputs[0], s.relu, accum);
}

fn dgrad<const M: usize>(s: &Conv2dSpec, inputs: &[&Buffer], outputs: &mut [&mut Buffer], accum: Accum) {
    run::<M>(&Tiles::dgrad(s, M), inputs, [None, None], outputs[0], false, accum);
}

/// `inputs` are what is convolved and the transformed weight.
fn run<const M: usize>(t: &Tiles, inputs: &[&Buffer], end: [Option<&Buffer>; 2], out: &mut Buffer, relu: bool, accum: Accum) {
    let [data, result] = match M {
        2 => ["winograd_data_2", "winograd_result_2"],
        _ => ["winograd_data_4", "winograd_result_4"],
    };
    let (x, u) = (inputs[0], inputs[1]);
    let ([c, ..], [oc, ..], tiles) = (t.read, t.written, t.count());
    let [mut v, mut m] = t.capacities(M).map(|len| x.like(DType::F32, len)); // v [points, c, tiles], m [points, oc, tiles]
    launch_each(x, data, c * tiles, args![t.problem(), x, &mut v]);
    let grid = [tiles.div_ceil(64), oc.div_ceil(64), (M + 2) * (M + 2)];
    launch(x, "winograd_product", grid, [256, 1, 1], args![u, &v, &mut m, oc, c, tiles]);
    let [bias, residual] = end;
    launch_each(x, result, oc * tiles, args![t.problem(), &m, bias, residual, out, relu, accum]);
}

/// Number of splits of the sum over tiles, so that few channels fill the device.
fn splits<const M: usize>(s: &Conv2dSpec) -> usize {
    let blocks = s.oc.div_ceil(64) * s.c.div_ceil(64) * (M + 2) * (M + 2);
    (2 * DEVICE).div_ceil(blocks).min(Tiles::fwd(s, M).count().div_ceil(256)).max(1)
}

/// Numbers of the products of all splits.
fn products<const M: usize>(s: &Conv2dSpec) -> usize {
    splits::<M>(s) * (M + 2) * (M + 2) * s.oc * s.c
}

/// Bytes of both transformed operands and of the products.
fn wgrad_scratch<const M: usize>(s: &Conv2dSpec) -> usize {
    Tiles::fwd(s, M).scratch(M) + 4 * products::<M>(s)
}

/// `inputs` are the gradient of the output and the input.
fn wgrad<const M: usize>(s: &Conv2dSpec, inputs: &[&Buffer], outputs: &mut [&mut Buffer], accum: Accum) {
    let [data, gradient, kernel] = match M {
        2 => ["winograd_data_2", "winograd_gradient_2", "winograd_kernel_2"],
        _ => ["winograd_data_4", "winograd_gradient_4", "winograd_kernel_4"],
    };
    let (t, dout, x, splits) = (Tiles::fwd(s, M), inputs[0], inputs[1], splits::<M>(s));
    let tiles = t.count();
    let [mut v, mut g] = t.capacities(M).map(|len| x.like(DType::F32, len)); // v [points, c, tiles], g [points, oc, tiles]
    let mut u = x.like(DType::F32, products::<M>(s)); // [splits, points, oc, c]
    launch_each(x, data, s.c * tiles, args![t.problem(), x, &mut v]);
    launch_each(x, gradient, s.oc * tiles, args![t.problem(), dout, &mut g]);
    // Whole tiles of 16 steps.
    let chunk = tiles.div_ceil(splits).next_multiple_of(16);
    let grid = [s.c.div_ceil(64), s.oc.div_ceil(64), (M + 2) * (M + 2) * splits];
    launch(x, "winograd_sum", grid, [256, 1, 1], args![&g, &v, &mut u, s.oc, s.c, tiles, splits, chunk]);
    launch_each(x, kernel, s.oc * s.c, args![&u, &mut *outputs[0], s.oc, s.c, splits, accum]);
}
