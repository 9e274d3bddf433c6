//! conv2d variant: seven loops with the bounds test inside, the oracle. One `visit` serves all three directions.
//!
//! Computes  out (+)= conv(x, w) + bias,  dx (+)= conv^T(dout, w),  dw (+)= sum over images and pixels of dout * x
//! Loses when: always. It is here to be read and to be right.

use super::Conv2dSpec;
use crate::core::buffer::Buffer;
use crate::core::device::Real;
use crate::core::table::Accum;

/// Calls `f(x index, w index, out index)` for every product that the convolution sums.
fn visit(s: &Conv2dSpec, mut f: impl FnMut(usize, usize, usize)) {
    let ([oh, ow], [kh, kw]) = (s.out_hw(), s.kernel);
    let (cg, og) = (s.c / s.groups, s.oc / s.groups);
    for n in 0..s.n {
        for oc in 0..s.oc {
            for oy in 0..oh {
                for ox in 0..ow {
                    let out = ((n * s.oc + oc) * oh + oy) * ow + ox;
                    for c in 0..cg {
                        for ky in 0..kh {
                            for kx in 0..kw {
                                // Wrapping below zero is out of bounds just as being too large is.
                                let y = (oy * s.stride[0] + ky * s.dilation[0]).wrapping_sub(s.padding[0]);
                                let x = (ox * s.stride[1] + kx * s.dilation[1]).wrapping_sub(s.padding[2]);
                                if y < s.h && x < s.w {
                                    let channel = oc / og * cg + c;
                                    let input = ((n * s.c + channel) * s.h + y) * s.w + x;
                                    f(input, ((oc * cg + c) * kh + ky) * kw + kx, out);
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn clear<T: Real>(out: &mut [T], accum: Accum) {
    if accum == Accum::Write {
        out.fill(T::ZERO);
    }
}

pub(super) fn fwd<T: Real>(s: &Conv2dSpec, inputs: &[&Buffer], outputs: &mut [&mut Buffer], accum: Accum) {
    let (x, w) = (inputs[0].as_slice::<T>(), inputs[1].as_slice::<T>()); // x [n,c,h,w], w [oc,c/g,kh,kw]
    let out = outputs[0].as_mut_slice::<T>(); // out [n,oc,oh,ow]
    clear(out, accum);
    visit(s, |i, j, o| out[o] += x[i] * w[j]);
    let (bias, residual) = s.bias_and_residual::<T>(inputs); // bias [oc], residual [n,oc,oh,ow]
    let plane = s.out_plane().max(1);
    for (i, v) in out.iter_mut().enumerate() {
        *v += bias.map_or(T::ZERO, |b| b[i / plane % s.oc]) + residual.map_or(T::ZERO, |r| r[i]);
        if s.relu && *v < T::ZERO {
            *v = T::ZERO;
        }
    }
}

pub(super) fn dgrad<T: Real>(s: &Conv2dSpec, inputs: &[&Buffer], outputs: &mut [&mut Buffer], accum: Accum) {
    let (dout, w) = (inputs[0].as_slice::<T>(), inputs[1].as_slice::<T>());
    let dx = outputs[0].as_mut_slice::<T>(); // dx [n,c,h,w]
    clear(dx, accum);
    visit(s, |i, j, o| dx[i] += dout[o] * w[j]);
}

pub(super) fn wgrad<T: Real>(s: &Conv2dSpec, inputs: &[&Buffer], outputs: &mut [&mut Buffer], accum: Accum) {
    let (dout, x) = (inputs[0].as_slice::<T>(), inputs[1].as_slice::<T>());
    let dw = outputs[0].as_mut_slice::<T>(); // dw [oc,c/g,kh,kw]
    clear(dw, accum);
    visit(s, |i, j, o| dw[j] += dout[o] * x[i]);
}
