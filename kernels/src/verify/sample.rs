//! Single output elements in f64, straight from the definition: the oracle of problems that are too large for the naive row.

use super::bench::SampleFn;
use crate::core::buffer::Buffer;
use crate::ops::conv2d::Conv2dSpec;
use crate::ops::gemm::{Bias, GemmSpec};

/// Elements of `gemm`.
pub const GEMM: SampleFn<GemmSpec> = |s, inputs, i| {
    let (a, b) = (inputs[0].as_slice::<f32>(), inputs[1].as_slice::<f32>()); // a [m,k], b [k,n]
    let (row, col) = (i / s.n, i % s.n);
    let product = |k: usize| {
        let x = if s.ta { a[k * s.m + row] } else { a[row * s.k + k] };
        let y = if s.tb { b[col * s.k + k] } else { b[k * s.n + col] };
        f64::from(x) * f64::from(y)
    };
    let sum: f64 = (0..s.k).map(product).sum();
    if s.bias == Bias::Columns { sum + f64::from(inputs[2].as_slice::<f32>()[col]) } else { sum }
};

/// Elements of `conv2d.fwd`.
pub const CONV2D_FWD: SampleFn<Conv2dSpec> = |s, inputs, i| {
    let (x, w) = operands(inputs); // x [n,c,h,w], w [oc,c/g,kh,kw]
    let (cg, [oh, ow]) = (s.c / s.groups, s.out_hw());
    let [n, oc, oy, ox] = split(i, [s.oc, oh, ow]);
    let (bias, residual) = s.bias_and_residual::<f32>(inputs); // bias [oc], residual [n,oc,oh,ow]
    let mut sum = bias.map_or(0.0, |b| f64::from(b[oc])) + residual.map_or(0.0, |r| f64::from(r[i]));
    for c in 0..cg {
        let channel = oc / (s.oc / s.groups) * cg + c;
        for [ky, kx] in grid(s.kernel) {
            if let (Some(y), Some(px)) = (seen(s, 0, oy, ky), seen(s, 1, ox, kx)) {
                let x = x[join([n, channel, y, px], [s.c, s.h, s.w])];
                sum += f64::from(x) * f64::from(w[join([oc, c, ky, kx], [cg, s.kernel[0], s.kernel[1]])]);
            }
        }
    }
    if s.relu { sum.max(0.0) } else { sum }
};

/// Elements of `conv2d.dgrad`.
pub const CONV2D_DGRAD: SampleFn<Conv2dSpec> = |s, inputs, i| {
    let (dout, w) = operands(inputs); // dout [n,oc,oh,ow], w [oc,c/g,kh,kw]
    let (cg, og, out) = (s.c / s.groups, s.oc / s.groups, s.out_hw());
    let [n, channel, y, x] = split(i, [s.c, s.h, s.w]);
    // The output that sees this pixel through tap `k`.
    let output_at = |axis: usize, at: usize, k: usize| {
        let from = (at + s.padding[2 * axis]).checked_sub(k * s.dilation[axis])?;
        let o = from / s.stride[axis];
        (from.is_multiple_of(s.stride[axis]) && o < out[axis]).then_some(o)
    };
    let mut sum = 0.0;
    for oc in channel / cg * og..(channel / cg + 1) * og {
        for [ky, kx] in grid(s.kernel) {
            if let (Some(oy), Some(ox)) = (output_at(0, y, ky), output_at(1, x, kx)) {
                let d = dout[join([n, oc, oy, ox], [s.oc, out[0], out[1]])];
                sum += f64::from(d) * f64::from(w[join([oc, channel % cg, ky, kx], [cg, s.kernel[0], s.kernel[1]])]);
            }
        }
    }
    sum
};

/// Elements of `conv2d.wgrad`.
pub const CONV2D_WGRAD: SampleFn<Conv2dSpec> = |s, inputs, i| {
    let (dout, x) = operands(inputs); // dout [n,oc,oh,ow], x [n,c,h,w]
    let (cg, out) = (s.c / s.groups, s.out_hw());
    let [oc, c, ky, kx] = split(i, [cg, s.kernel[0], s.kernel[1]]);
    let channel = oc / (s.oc / s.groups) * cg + c;
    let mut sum = 0.0;
    for n in 0..s.n {
        for [oy, ox] in grid(out) {
            if let (Some(y), Some(px)) = (seen(s, 0, oy, ky), seen(s, 1, ox, kx)) {
                let d = dout[join([n, oc, oy, ox], [s.oc, out[0], out[1]])];
                sum += f64::from(d) * f64::from(x[join([n, channel, y, px], [s.c, s.h, s.w])]);
            }
        }
    }
    sum
};

fn operands<'a>(inputs: &[&'a Buffer]) -> (&'a [f32], &'a [f32]) {
    (inputs[0].as_slice(), inputs[1].as_slice())
}

/// Index along an axis (0 height, 1 width) that output `o` sees through tap `k`; `None` in the padding.
fn seen(s: &Conv2dSpec, axis: usize, o: usize, k: usize) -> Option<usize> {
    let at = (o * s.stride[axis] + k * s.dilation[axis]).checked_sub(s.padding[2 * axis])?;
    (at < [s.h, s.w][axis]).then_some(at)
}

/// Four indices of element `i`, of which the last three run below `sizes`.
fn split(i: usize, [a, b, c]: [usize; 3]) -> [usize; 4] {
    [i / (a * b * c), i / (b * c) % a, i / c % b, i % c]
}

fn join([n, x, y, z]: [usize; 4], [a, b, c]: [usize; 3]) -> usize {
    ((n * a + x) * b + y) * c + z
}

fn grid([rows, cols]: [usize; 2]) -> impl Iterator<Item = [usize; 2]> {
    (0..rows).flat_map(move |y| (0..cols).map(move |x| [y, x]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::device::DType;
    use crate::core::table::{Accum, Table};
    use crate::verify::check::{input, muts, refs};
    use crate::{conv2d, gemm};

    /// Every element of every test problem of the table is what the naive row says.
    fn agrees<S>(table: &Table<S>, sample: SampleFn<S>) {
        let naive = table.oracle().unwrap();
        for spec in (table.cases)() {
            let sig = (table.signature)(&spec);
            let inputs: Vec<Buffer> =
                sig.inputs.iter().enumerate().map(|(i, o)| input(table, &spec, o, DType::F32, i as u64)).collect();
            let wide: Vec<Buffer> = inputs.iter().map(|b| b.cast(DType::F64)).collect();
            let mut want = vec![Buffer::new(DType::F64, sig.outputs[0].len)];
            (naive.run)(&spec, &refs(&wide), &mut muts(&mut want), Accum::Write);
            for (i, want) in want[0].as_slice::<f64>().iter().enumerate() {
                let got = sample(&spec, &refs(&inputs), i);
                assert!((got - want).abs() < 1e-11, "{} [{i}]: {got}, not {want}", table.op);
            }
        }
    }

    #[test]
    fn samples_are_what_the_naive_rows_compute() {
        agrees(&gemm::GEMM, GEMM);
        agrees(&conv2d::FWD, CONV2D_FWD);
        agrees(&conv2d::DGRAD, CONV2D_DGRAD);
        agrees(&conv2d::WGRAD, CONV2D_WGRAD);
    }
}
