//! Two-dimensional convolution (cross-correlation, as in every framework): problem and tables.
//!
//! `out[n,oc,oh,ow] = bias[oc] + sum_{c,kh,kw} x[n, g*cg + c, oh*sh - pt + kh*dh, ow*sw - pl + kw*dw] * w[oc,c,kh,kw]`
//! where `g` is the group of `oc` and `cg = c / groups`. Pairs are `[height, width]`; padding is per side.

mod gemm;
mod naive;

use crate::device::DType;
use crate::gemm::tile;
use crate::simd;
use crate::table::{Operand, Prepare, ROUNDING, Row, Run, Signature, Table};
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
    /// Whether the forward pass adds a third input `[oc]`.
    pub bias: bool,
}

impl Conv2dSpec {
    /// A square kernel, stride 1, no padding, no bias.
    pub const fn simple(n: usize, c: usize, h: usize, w: usize, oc: usize, k: usize) -> Self {
        let one = [1, 1];
        Conv2dSpec { n, c, h, w, oc, kernel: [k, k], stride: one, padding: [0; 4], dilation: one, groups: 1, bias: false }
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
        if self.bias { f.write_str(" +bias") } else { Ok(()) }
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
    ]
}

fn fwd_signature(s: &Conv2dSpec) -> Signature {
    let mut inputs = vec![Operand::any("x", s.in_len()), Operand::any("w", s.weight_len())];
    if s.bias {
        inputs.push(Operand::any("bias", s.oc));
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
fn dgrad_key(s: &Conv2dSpec) -> String {
    format!("oc{} c{} k{:?} g{}", s.oc, s.c, s.kernel, s.groups)
}
const fn fwd_prepare<T: tile::Tile>() -> Option<Prepare<Conv2dSpec>> {
    Some(Prepare { input: 1, when: |_| true, key: weight_key, make: gemm::pack_fwd::<T> })
}
const fn dgrad_prepare<T: tile::Tile>() -> Option<Prepare<Conv2dSpec>> {
    Some(Prepare { input: 1, when: |_| true, key: dgrad_key, make: gemm::pack_dgrad::<T> })
}

/// `conv2d.fwd`: inputs `x`, `w`, optionally `bias`; output `out`.
pub static FWD: Table<Conv2dSpec> = Table {
    op: "conv2d.fwd",
    signature: fwd_signature,
    flops: Conv2dSpec::flops,
    terms: |s| s.patch(),
    accumulates: true,
    cases,
    rows: &[
        #[cfg(target_arch = "x86_64")]
        gemm_row("im2col_avx512", simd::avx512, gemm::fwd::<tile::Avx512>, gemm::weight_scratch, fwd_prepare::<tile::Avx512>()),
        #[cfg(target_arch = "x86_64")]
        gemm_row("im2col_avx2", simd::avx2, gemm::fwd::<tile::Avx2>, gemm::weight_scratch, fwd_prepare::<tile::Avx2>()),
        gemm_row("im2col", simd::always, gemm::fwd::<tile::Portable>, gemm::weight_scratch, fwd_prepare::<tile::Portable>()),
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
        gemm_row(
            "im2col_avx512",
            simd::avx512,
            gemm::dgrad::<tile::Avx512>,
            gemm::weight_scratch,
            dgrad_prepare::<tile::Avx512>(),
        ),
        #[cfg(target_arch = "x86_64")]
        gemm_row("im2col_avx2", simd::avx2, gemm::dgrad::<tile::Avx2>, gemm::weight_scratch, dgrad_prepare::<tile::Avx2>()),
        gemm_row("im2col", simd::always, gemm::dgrad::<tile::Portable>, gemm::weight_scratch, dgrad_prepare::<tile::Portable>()),
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
        gemm_row("im2col_avx512", simd::avx512, gemm::wgrad::<tile::Avx512>, gemm::gradient_scratch, None),
        #[cfg(target_arch = "x86_64")]
        gemm_row("im2col_avx2", simd::avx2, gemm::wgrad::<tile::Avx2>, gemm::gradient_scratch, None),
        gemm_row("im2col", simd::always, gemm::wgrad::<tile::Portable>, gemm::gradient_scratch, None),
        Row::cpu("naive", DType::F32, ROUNDING, naive::wgrad::<f32>),
        Row::cpu("naive", DType::F64, ROUNDING, naive::wgrad::<f64>),
    ],
};
