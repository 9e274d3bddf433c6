//! Batch normalisation at inference, by given statistics.

use super::{NormSpec, affine, affine_of, cases, flops};
use crate::core::buffer::Buffer;
use crate::core::device::Real;
use crate::core::table::{Accum, Operand, Row, Signature, TRANSCENDENTAL, Table};
use crate::simd::elementwise::{Affine, par_map_planes};
use crate::simd::rows::{each_isa, naive, names};
use crate::simd::{self, Vector};

fn infer_fwd<T: Real>(s: &NormSpec, inputs: &[&Buffer], outputs: &mut [&mut Buffer], accum: Accum) {
    let [x, gamma, beta, mean, var] = [0, 1, 2, 3, 4].map(|i| inputs[i].as_slice::<T>());
    affine(s, x, outputs[0].as_mut_slice(), accum, |c| affine_of(s, c, gamma, beta, mean, var));
}

fn infer_fwd_vector<V: Vector>(s: &NormSpec, inputs: &[&Buffer], outputs: &mut [&mut Buffer], accum: Accum) {
    simd::require::<V>();
    let [x, gamma, beta, mean, var] = [0, 1, 2, 3, 4].map(|i| inputs[i].as_slice::<f32>());
    let of = |i: usize| {
        let c = i % s.c;
        Affine { centre: mean[c], scale: gamma[c] * s.inverse_std(var[c]), shift: beta[c] }
    };
    // SAFETY: the instructions are here (required).
    unsafe { par_map_planes::<V, _, 1>(of, s.plane, [x], outputs[0].as_mut_slice(), accum) }
}

fn infer_dgrad<T: Real>(s: &NormSpec, inputs: &[&Buffer], outputs: &mut [&mut Buffer], accum: Accum) {
    let [dout, gamma, var] = [0, 1, 2].map(|i| inputs[i].as_slice::<T>());
    affine(s, dout, outputs[0].as_mut_slice(), accum, |c| (gamma[c] * s.inverse_std(var[c]), T::ZERO));
}

fn infer_dgrad_vector<V: Vector>(s: &NormSpec, inputs: &[&Buffer], outputs: &mut [&mut Buffer], accum: Accum) {
    simd::require::<V>();
    let [dout, gamma, var] = [0, 1, 2].map(|i| inputs[i].as_slice::<f32>());
    let of = |i: usize| Affine { centre: 0.0, scale: gamma[i % s.c] * s.inverse_std(var[i % s.c]), shift: 0.0 };
    // SAFETY: the instructions are here (required).
    unsafe { par_map_planes::<V, _, 1>(of, s.plane, [dout], outputs[0].as_mut_slice(), accum) }
}

const fn infer_fwd_rows<V: Vector>() -> [Row<NormSpec>; 1] {
    [Row::on::<V>(names!("vector"), TRANSCENDENTAL, infer_fwd_vector::<V>)]
}

/// `norm.infer`: inputs `x`, `gamma`, `beta`, `mean`, `var`; output `out`.
pub static INFER_FWD: Table<NormSpec> = Table {
    op: "norm.infer",
    valid: NormSpec::valid,
    signature: |s| Signature {
        inputs: vec![
            Operand::any("x", s.len()),
            Operand::any("gamma", s.c),
            Operand::any("beta", s.c),
            Operand::any("mean", s.c),
            Operand::positive("var", s.c),
        ],
        outputs: vec![Operand::any("out", s.len())],
    },
    flops,
    terms: |_| 1,
    accumulates: true,
    cases,
    indices: None,
    joined: Vec::new(),
    cuda: crate::ops::norm::cuda::INFER_FWD,
    rows: each_isa!(infer_fwd_rows, naive(TRANSCENDENTAL, infer_fwd::<f32>, infer_fwd::<f64>)),
};

const fn infer_dgrad_rows<V: Vector>() -> [Row<NormSpec>; 1] {
    [Row::on::<V>(names!("vector"), TRANSCENDENTAL, infer_dgrad_vector::<V>)]
}

/// `norm.infer_dgrad`: inputs `dout`, `gamma`, `var`; output `dx`.
pub static INFER_DGRAD: Table<NormSpec> = Table {
    op: "norm.infer_dgrad",
    valid: NormSpec::valid,
    signature: |s| Signature {
        inputs: vec![Operand::any("dout", s.len()), Operand::any("gamma", s.c), Operand::positive("var", s.c)],
        outputs: vec![Operand::any("dx", s.len())],
    },
    flops,
    terms: |_| 1,
    accumulates: true,
    cases,
    indices: None,
    joined: Vec::new(),
    cuda: crate::ops::norm::cuda::INFER_DGRAD,
    rows: each_isa!(infer_dgrad_rows, naive(TRANSCENDENTAL, infer_dgrad::<f32>, infer_dgrad::<f64>)),
};
