//! Two-dimensional convolution (cross-correlation, as in every framework): problem and tables.
//!
//! `out[n,oc,oh,ow] = bias[oc] + sum_{c,kh,kw} x[n, g*cg + c, oh*sh - pt + kh*dh, ow*sw - pl + kw*dw] * w[oc,c,kh,kw]`
//! where `g` is the group of `oc` and `cg = c / groups`. Pairs are `[height, width]`; padding is per side.

mod col2im;
mod gemm;
mod naive;
mod winograd;
mod winograd_wgrad;

use crate::buffer::Buffer;
use crate::device::DType;
use crate::simd::{self, Vector};
use crate::table::{Operand, Prepare, ROUNDING, Row, Run, Signature, Table, Tolerance};
use std::fmt;

/// A convolution problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conv2dSpec {
    /// Images.
    pub n: usize,
    /// Input channels.
    pub c: usize,
    /// Input height.
    pub h: usize,
    /// Input width.
    pub w: usize,
    /// Output channels.
    pub oc: usize,
    /// Kernel size.
    pub kernel: [usize; 2],
    /// Stride.
    pub stride: [usize; 2],
    /// Zeros around the input: top, bottom, left, right.
    pub padding: [usize; 4],
    /// Distance of neighbouring kernel elements in the input.
    pub dilation: [usize; 2],
    /// Groups: output channels of a group see the input channels of that group.
    pub groups: usize,
    /// Whether the forward pass adds an input `[oc]`.
    pub bias: bool,
    /// Whether the forward pass adds an input as large as its output (the shortcut of a residual block).
    pub residual: bool,
    /// Whether the forward pass ends in `max(.., 0)`. Gradients know nothing of this: their `dout` is that of the sum.
    pub relu: bool,
}

impl Conv2dSpec {
    /// A square kernel, stride 1, no padding, no bias.
    pub const fn simple(n: usize, c: usize, h: usize, w: usize, oc: usize, k: usize) -> Self {
        let one = [1, 1];
        let (bias, residual, relu) = (false, false, false);
        let (kernel, padding) = ([k, k], [0; 4]);
        Conv2dSpec { n, c, h, w, oc, kernel, stride: one, padding, dilation: one, groups: 1, bias, residual, relu }
    }

    /// Output height and width; `None` if the kernel does not fit into the padded input.
    pub fn out_size(&self) -> Option<[usize; 2]> {
        let size =
            |i: usize, pads: usize, k: usize, s: usize, d: usize| (i + pads).checked_sub(d * (k - 1) + 1).map(|r| r / s + 1);
        let [t, b, l, r] = self.padding;
        Some([
            size(self.h, t + b, self.kernel[0], self.stride[0], self.dilation[0])?,
            size(self.w, l + r, self.kernel[1], self.stride[1], self.dilation[1])?,
        ])
    }

    /// Output height and width of a problem that is known to fit.
    pub(crate) fn out_hw(&self) -> [usize; 2] {
        self.out_size().unwrap_or([0, 0])
    }

    /// Output height times width.
    pub(crate) fn out_plane(&self) -> usize {
        let [oh, ow] = self.out_hw();
        oh * ow
    }

    /// Elements of the input.
    pub fn in_len(&self) -> usize {
        self.n * self.c * self.h * self.w
    }

    /// Elements of the weight `[oc, c / groups, kh, kw]`.
    pub fn weight_len(&self) -> usize {
        self.oc * self.patch()
    }

    /// Elements of the output.
    pub fn out_len(&self) -> usize {
        self.n * self.oc * self.out_plane()
    }

    /// Input elements behind one output: `c / groups * kh * kw`.
    pub(crate) fn patch(&self) -> usize {
        self.c / self.groups * self.kernel[0] * self.kernel[1]
    }

    /// The optional inputs of the forward pass.
    pub(crate) fn bias_and_residual<'a, T: crate::Element>(&self, inputs: &[&'a Buffer]) -> (Option<&'a [T]>, Option<&'a [T]>) {
        let mut rest = inputs[2..].iter().map(|b| b.as_slice::<T>());
        (self.bias.then(|| rest.next()).flatten(), self.residual.then(|| rest.next()).flatten())
    }

    /// Floating-point operations of the direct algorithm, a multiply-add being two.
    pub fn flops(&self) -> u64 {
        2 * (self.out_len() * self.patch()) as u64
    }
}

impl fmt::Display for Conv2dSpec {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let [kh, kw] = self.kernel;
        write!(
            f,
            "n{} c{} {}x{} oc{} {kh}x{kw} s{},{}",
            self.n, self.c, self.h, self.w, self.oc, self.stride[0], self.stride[1]
        )?;
        let [t, b, l, r] = self.padding;
        if t == b && t == l && t == r {
            write!(f, " p{t}")?
        } else {
            write!(f, " p{t},{b},{l},{r}")?
        }
        if self.dilation != [1, 1] {
            write!(f, " d{},{}", self.dilation[0], self.dilation[1])?;
        }
        if self.groups != 1 {
            write!(f, " g{}", self.groups)?;
        }
        for (is, name) in [(self.bias, " +bias"), (self.residual, " +residual"), (self.relu, " relu")] {
            f.write_str(if is { name } else { "" })?;
        }
        Ok(())
    }
}

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
        // Padding wider than the kernel: whole rows of zeros.
        Conv2dSpec { padding: [4; 4], ..base(1, 2, 3, 4, 2, 3) },
        // A stride that leaves input pixels unseen.
        Conv2dSpec { stride: [3, 3], ..base(1, 2, 11, 8, 3, 2) },
        Conv2dSpec { padding: [1; 4], ..base(1, 63, 6, 7, 65, 3) },
        Conv2dSpec { padding: [1; 4], bias: true, ..base(1, 64, 15, 14, 33, 3) },
        Conv2dSpec { padding: [1; 4], ..base(3, 8, 21, 19, 12, 3) },
        // Long sums for the weight gradient.
        Conv2dSpec { padding: [1; 4], ..base(2, 3, 64, 60, 5, 3) },
        // What inference fuses.
        Conv2dSpec { padding: [1; 4], bias: true, relu: true, residual: true, ..base(2, 9, 17, 11, 10, 3) },
        Conv2dSpec { relu: true, ..base(2, 20, 7, 7, 24, 1) },
        Conv2dSpec { residual: true, bias: true, relu: true, ..base(5, 24, 7, 7, 40, 1) },
        Conv2dSpec { stride: [2, 2], residual: true, ..base(3, 5, 9, 9, 7, 1) },
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

const fn gemm_row(
    name: &'static str,
    here: fn() -> bool,
    run: Run<Conv2dSpec>,
    scratch: fn(&Conv2dSpec) -> usize,
    prepare: Option<Prepare<Conv2dSpec>>,
) -> Row<Conv2dSpec> {
    Row { here, scratch, prepare, ..Row::cpu(name, DType::F32, ROUNDING, run) }
}

/// The packed weight depends on the weight's own shape only, so every image size shares it.
fn weight_key(s: &Conv2dSpec) -> String {
    format!("oc{} patch{} g{}", s.oc, s.patch(), s.groups)
}
/// Beside the shape, the residues of the stride; an image narrower than the stride has fewer of them.
fn dgrad_key(s: &Conv2dSpec) -> String {
    let seen = [s.h.min(s.stride[0]), s.w.min(s.stride[1])];
    format!("oc{} c{} k{:?} g{} s{:?} p{:?} d{:?} {seen:?}", s.oc, s.c, s.kernel, s.groups, s.stride, s.padding, s.dilation)
}
const fn fwd_prepare<V: Vector>() -> Option<Prepare<Conv2dSpec>> {
    Some(Prepare { input: 1, when: |_| true, key: weight_key, make: gemm::pack_fwd::<V> })
}
const fn dgrad_prepare<V: Vector>() -> Option<Prepare<Conv2dSpec>> {
    Some(Prepare { input: 1, when: |_| true, key: dgrad_key, make: gemm::pack_dgrad::<V> })
}

/// A tile of 4x4 outputs multiplies numbers 4 to 10 times as large as the result, and so does its rounding.
const WINOGRAD: Tolerance = Tolerance { ulps: 64.0, reason: "transforms whose factors reach 10" };

/// A Winograd row of `m x m` outputs a tile.
macro_rules! winograd {
    ($name:literal, $v:ty, $t:ident, $m:literal, $a:literal, $run:ident, $wins:ident, $pack:ident, $key:expr) => {
        Row {
            here: simd::here::<$v>,
            fits: winograd::fits,
            wins: winograd::$wins::<$m>,
            scratch: winograd::scratch::<$m, $a>,
            prepare: Some(Prepare { input: 1, when: |_| true, key: $key, make: winograd::$pack::<$v, winograd::$t, $m, $a> }),
            ..Row::cpu($name, DType::F32, WINOGRAD, winograd::$run::<$v, winograd::$t, $m, $a>)
        }
    };
}
macro_rules! winograd_fwd {
    ($name:literal, $v:ty, $t:ident, $m:literal, $a:literal) => {
        winograd!($name, $v, $t, $m, $a, fwd, wins_fwd, pack_fwd, weight_key)
    };
}
macro_rules! winograd_dgrad {
    ($name:literal, $v:ty, $t:ident, $m:literal, $a:literal) => {
        winograd!($name, $v, $t, $m, $a, dgrad, wins_dgrad, pack_dgrad, dgrad_key)
    };
}

/// The row of `dgrad` for few input channels.
macro_rules! col2im {
    ($name:literal, $v:ty) => {
        Row {
            here: simd::here::<$v>,
            fits: col2im::fits,
            wins: col2im::wins,
            scratch: col2im::scratch,
            prepare: Some(Prepare { input: 1, when: |_| true, key: weight_key, make: col2im::pack::<$v> }),
            ..Row::cpu($name, DType::F32, ROUNDING, col2im::dgrad::<$v>)
        }
    };
}
macro_rules! winograd_wgrad {
    ($name:literal, $v:ty) => {
        Row {
            here: simd::here::<$v>,
            fits: winograd::fits,
            wins: winograd_wgrad::wins,
            scratch: winograd_wgrad::scratch::<4, 6>,
            ..Row::cpu($name, DType::F32, WINOGRAD, winograd_wgrad::run::<$v, winograd::F4, 4, 6>)
        }
    };
}

/// `conv2d.fwd`: inputs `x`, `w`, optionally `bias`; output `out`.
pub static FWD: Table<Conv2dSpec> = Table {
    op: "conv2d.fwd",
    signature: fwd_signature,
    flops: Conv2dSpec::flops,
    terms: |s| s.patch(),
    accumulates: false,
    cases,
    rows: &[
        #[cfg(target_arch = "x86_64")]
        winograd_fwd!("winograd_f4_avx512", simd::Avx512, F4, 4, 6),
        #[cfg(target_arch = "x86_64")]
        winograd_fwd!("winograd_f2_avx512", simd::Avx512, F2, 2, 4),
        #[cfg(target_arch = "x86_64")]
        gemm_row(
            "im2col_avx512",
            simd::here::<simd::Avx512>,
            gemm::fwd::<simd::Avx512>,
            gemm::weight_scratch,
            fwd_prepare::<simd::Avx512>(),
        ),
        #[cfg(target_arch = "x86_64")]
        winograd_fwd!("winograd_f4_avx2", simd::Avx2, F4, 4, 6),
        #[cfg(target_arch = "x86_64")]
        winograd_fwd!("winograd_f2_avx2", simd::Avx2, F2, 2, 4),
        #[cfg(target_arch = "x86_64")]
        gemm_row(
            "im2col_avx2",
            simd::here::<simd::Avx2>,
            gemm::fwd::<simd::Avx2>,
            gemm::weight_scratch,
            fwd_prepare::<simd::Avx2>(),
        ),
        #[cfg(target_arch = "aarch64")]
        winograd_fwd!("winograd_f4_neon", simd::Neon, F4, 4, 6),
        #[cfg(target_arch = "aarch64")]
        winograd_fwd!("winograd_f2_neon", simd::Neon, F2, 2, 4),
        #[cfg(target_arch = "aarch64")]
        gemm_row(
            "im2col_neon",
            simd::here::<simd::Neon>,
            gemm::fwd::<simd::Neon>,
            gemm::weight_scratch,
            fwd_prepare::<simd::Neon>(),
        ),
        winograd_fwd!("winograd_f4", simd::Portable, F4, 4, 6),
        winograd_fwd!("winograd_f2", simd::Portable, F2, 2, 4),
        gemm_row("im2col", simd::always, gemm::fwd::<simd::Portable>, gemm::weight_scratch, fwd_prepare::<simd::Portable>()),
        Row::cpu("naive", DType::F32, ROUNDING, naive::fwd::<f32>),
        Row::cpu("naive", DType::F64, ROUNDING, naive::fwd::<f64>),
    ],
};

/// `conv2d.dgrad`: inputs `dout`, `w`; output `dx`.
pub static DGRAD: Table<Conv2dSpec> = Table {
    op: "conv2d.dgrad",
    signature: |s| Signature {
        inputs: vec![Operand::any("dout", s.out_len()), Operand::any("w", s.weight_len())],
        outputs: vec![Operand::any("dx", s.in_len())],
    },
    flops: Conv2dSpec::flops,
    terms: |s| s.oc / s.groups * s.kernel[0] * s.kernel[1],
    accumulates: true,
    cases,
    rows: &[
        #[cfg(target_arch = "x86_64")]
        col2im!("col2im_avx512", simd::Avx512),
        #[cfg(target_arch = "x86_64")]
        winograd_dgrad!("winograd_f4_avx512", simd::Avx512, F4, 4, 6),
        #[cfg(target_arch = "x86_64")]
        winograd_dgrad!("winograd_f2_avx512", simd::Avx512, F2, 2, 4),
        #[cfg(target_arch = "x86_64")]
        gemm_row(
            "im2col_avx512",
            simd::here::<simd::Avx512>,
            gemm::dgrad::<simd::Avx512>,
            gemm::weight_scratch,
            dgrad_prepare::<simd::Avx512>(),
        ),
        #[cfg(target_arch = "x86_64")]
        col2im!("col2im_avx2", simd::Avx2),
        #[cfg(target_arch = "x86_64")]
        winograd_dgrad!("winograd_f4_avx2", simd::Avx2, F4, 4, 6),
        #[cfg(target_arch = "x86_64")]
        winograd_dgrad!("winograd_f2_avx2", simd::Avx2, F2, 2, 4),
        #[cfg(target_arch = "x86_64")]
        gemm_row(
            "im2col_avx2",
            simd::here::<simd::Avx2>,
            gemm::dgrad::<simd::Avx2>,
            gemm::weight_scratch,
            dgrad_prepare::<simd::Avx2>(),
        ),
        #[cfg(target_arch = "aarch64")]
        col2im!("col2im_neon", simd::Neon),
        #[cfg(target_arch = "aarch64")]
        winograd_dgrad!("winograd_f4_neon", simd::Neon, F4, 4, 6),
        #[cfg(target_arch = "aarch64")]
        winograd_dgrad!("winograd_f2_neon", simd::Neon, F2, 2, 4),
        #[cfg(target_arch = "aarch64")]
        gemm_row(
            "im2col_neon",
            simd::here::<simd::Neon>,
            gemm::dgrad::<simd::Neon>,
            gemm::weight_scratch,
            dgrad_prepare::<simd::Neon>(),
        ),
        col2im!("col2im", simd::Portable),
        winograd_dgrad!("winograd_f4", simd::Portable, F4, 4, 6),
        winograd_dgrad!("winograd_f2", simd::Portable, F2, 2, 4),
        gemm_row("im2col", simd::always, gemm::dgrad::<simd::Portable>, gemm::weight_scratch, dgrad_prepare::<simd::Portable>()),
        Row::cpu("naive", DType::F32, ROUNDING, naive::dgrad::<f32>),
        Row::cpu("naive", DType::F64, ROUNDING, naive::dgrad::<f64>),
    ],
};

/// `conv2d.wgrad`: inputs `dout`, `x`; output `dw`.
pub static WGRAD: Table<Conv2dSpec> = Table {
    op: "conv2d.wgrad",
    signature: |s| Signature {
        inputs: vec![Operand::any("dout", s.out_len()), Operand::any("x", s.in_len())],
        outputs: vec![Operand::any("dw", s.weight_len())],
    },
    flops: Conv2dSpec::flops,
    terms: |s| s.n * s.out_plane(),
    accumulates: true,
    cases,
    rows: &[
        #[cfg(target_arch = "x86_64")]
        winograd_wgrad!("winograd_f4_avx512", simd::Avx512),
        #[cfg(target_arch = "x86_64")]
        gemm_row("im2col_avx512", simd::here::<simd::Avx512>, gemm::wgrad::<simd::Avx512>, gemm::gradient_scratch, None),
        #[cfg(target_arch = "x86_64")]
        winograd_wgrad!("winograd_f4_avx2", simd::Avx2),
        #[cfg(target_arch = "x86_64")]
        gemm_row("im2col_avx2", simd::here::<simd::Avx2>, gemm::wgrad::<simd::Avx2>, gemm::gradient_scratch, None),
        #[cfg(target_arch = "aarch64")]
        winograd_wgrad!("winograd_f4_neon", simd::Neon),
        #[cfg(target_arch = "aarch64")]
        gemm_row("im2col_neon", simd::here::<simd::Neon>, gemm::wgrad::<simd::Neon>, gemm::gradient_scratch, None),
        winograd_wgrad!("winograd_f4", simd::Portable),
        gemm_row("im2col", simd::always, gemm::wgrad::<simd::Portable>, gemm::gradient_scratch, None),
        Row::cpu("naive", DType::F32, ROUNDING, naive::wgrad::<f32>),
        Row::cpu("naive", DType::F64, ROUNDING, naive::wgrad::<f64>),
    ],
};
