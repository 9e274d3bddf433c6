//! Two-dimensional convolution (cross-correlation, as in every framework): problem and tables.
//!
//! `out[n,oc,oh,ow] = bias[oc] + sum_{c,kh,kw} x[n, g*cg + c, oh*sh - pt + kh*dh, ow*sw - pl + kw*dw] * w[oc,c,kh,kw]`
//! where `g` is the group of `oc` and `cg = c / groups`. Pairs are `[height, width]`; padding is per side.
//!
//! ```
//! use convscope_kernels::conv2d::{Conv2dSpec, DGRAD};
//! use convscope_kernels::{Accum, Buffer, Context, DType};
//!
//! // One row of three pixels, a kernel of one row and two columns: two outputs.
//! let spec = Conv2dSpec { kernel: [1, 2], ..Conv2dSpec::simple(1, 1, 1, 3, 1, 1) };
//! assert_eq!(spec.out_size(), Some([1, 2]));
//! let (dout, w) = (Buffer::from_slice(&[1.0f32, 1.0]), Buffer::from_slice(&[2.0f32, 3.0]));
//! let mut dx = Buffer::new(DType::F32, spec.in_len());
//! DGRAD.run(&Context::default(), &spec, &[&dout, &w], &mut [&mut dx], Accum::Write)?;
//! assert_eq!(dx.as_slice::<f32>(), [2.0, 5.0, 3.0]);
//! # Ok::<_, convscope_kernels::Error>(())
//! ```

pub(crate) mod cuda;
mod direct;
mod epilogue;
mod geometry;
mod im2col;
mod microkernel;
mod naive;
mod rows;
mod shifted;
mod winograd;

pub use rows::{DGRAD, FWD, WGRAD};

use crate::core::buffer::Buffer;
use crate::core::sizes::{bounded, elements, positive, window_positions};
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
        let [t, b, l, r] = self.padding;
        Some([
            window_positions(self.h, [t, b], self.kernel[0], self.stride[0], self.dilation[0])?,
            window_positions(self.w, [l, r], self.kernel[1], self.stride[1], self.dilation[1])?,
        ])
    }

    /// Checks the sizes; a message about the first fault.
    pub(crate) fn valid(&self) -> Result<(), String> {
        let Conv2dSpec { n, c, h, w, oc, kernel, stride, padding, dilation, groups, .. } = *self;
        positive("the input", &[n, c, h, w])?;
        positive("output channels and groups", &[oc, groups])?;
        positive("kernel", &kernel)?;
        positive("stride", &stride)?;
        positive("dilation", &dilation)?;
        bounded("padding", &padding)?;
        if !c.is_multiple_of(groups) || !oc.is_multiple_of(groups) {
            return Err(format!("{c} input and {oc} output channels do not divide into {groups} groups"));
        }
        let [oh, ow] = self.out_size().ok_or("the kernel is larger than the padded input")?;
        elements("x", &[n, c, h, w])?;
        elements("w", &[oc, c / groups, kernel[0], kernel[1]])?;
        elements("out", &[n, oc, oh, ow])?;
        elements("products", &[n, oc, oh, ow, c / groups, kernel[0], kernel[1]]).map(|_| ())
    }

    /// Whether padded planes, separated by stride phase, take little more memory than the planes that are read and written.
    /// Variants that lay them out so would otherwise need memory out of proportion.
    pub(crate) fn compact(&self) -> Result<(), &'static str> {
        const TIMES: usize = 64;
        const SMALL: usize = 1 << 16;
        let [t, b, l, r] = self.padding;
        let padded = (self.h + t + b + self.stride[0]).saturating_mul(self.w + l + r + self.stride[1]);
        if padded <= TIMES * (self.h * self.w + self.out_plane()) + SMALL {
            Ok(())
        } else {
            Err("padding or strides many times as large as the planes")
        }
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
