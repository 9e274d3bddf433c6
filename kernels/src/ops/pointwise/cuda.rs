//! Activations, sums, products and dropout on CUDA devices.

use crate::core::buffer::Buffer;
use crate::core::table::{Accum, ROUNDING, Row, TRANSCENDENTAL};
use crate::cuda::{args, launch_each};
use crate::ops::pointwise::{Binary, BinarySpec, DropoutSpec, ReluRule, Unary, UnarySpec};

pub(crate) const UNARY_FWD: &[Row<UnarySpec>] = &[Row::cuda("elements_cuda", TRANSCENDENTAL, unary_fwd)];
pub(crate) const UNARY_BWD: &[Row<UnarySpec>] = &[Row::cuda("elements_cuda", TRANSCENDENTAL, unary_bwd)];
pub(crate) const BINARY: &[Row<BinarySpec>] = &[Row::cuda("elements_cuda", ROUNDING, binary)];
pub(crate) const DROPOUT: &[Row<DropoutSpec>] = &[Row::cuda("elements_cuda", ROUNDING, dropout)];

/// Number and parameters of a function in the `.cu` text.
fn function(op: Unary) -> (i32, [f64; 2]) {
    match op {
        Unary::Relu => (0, [0.0; 2]),
        Unary::Relu6 => (1, [0.0; 2]),
        Unary::LeakyRelu(slope) => (2, [slope, 0.0]),
        Unary::Sigmoid => (3, [0.0; 2]),
        Unary::Affine(factor, shift) => (4, [factor, shift]),
        Unary::Softplus => (5, [0.0; 2]),
        Unary::Tanh => (6, [0.0; 2]),
        Unary::Elu(alpha, gain) => (7, [alpha, gain]),
        Unary::Silu => (8, [0.0; 2]),
        Unary::Gelu => (9, [0.0; 2]),
        Unary::GeluTanh => (10, [0.0; 2]),
        Unary::Mish => (11, [0.0; 2]),
        Unary::HardSigmoid(slope, shift) => (12, [slope, shift]),
        Unary::HardSwish => (13, [0.0; 2]),
        Unary::Softsign => (14, [0.0; 2]),
        Unary::Clip(low, high) => (15, [low, high]),
        Unary::Threshold(least) => (16, [least, 0.0]),
        Unary::Exp => (17, [0.0; 2]),
    }
}

fn unary_fwd(s: &UnarySpec, inputs: &[&Buffer], outputs: &mut [&mut Buffer], accum: Accum) {
    let (op, [a, b]) = function(s.op);
    launch_each(inputs[0], "unary_fwd", s.len, args![inputs[0], &mut *outputs[0], s.len, op, a, b, accum]);
}

fn unary_bwd(s: &UnarySpec, inputs: &[&Buffer], outputs: &mut [&mut Buffer], accum: Accum) {
    let (op, [a, b]) = function(s.op);
    let rule = match s.rule {
        ReluRule::Plain => 0,
        ReluRule::Guided => 1,
        ReluRule::Deconv => 2,
    };
    let args = args![inputs[0], inputs[1], &mut *outputs[0], s.len, op, rule, a, b, accum];
    launch_each(inputs[0], "unary_bwd", s.len, args);
}

fn binary(s: &BinarySpec, inputs: &[&Buffer], outputs: &mut [&mut Buffer], accum: Accum) {
    let args = args![inputs[0], inputs[1], &mut *outputs[0], s.len, s.op == Binary::Mul, accum];
    launch_each(inputs[0], "binary", s.len, args);
}

fn dropout(s: &DropoutSpec, inputs: &[&Buffer], outputs: &mut [&mut Buffer], accum: Accum) {
    // A number of 24 bits is below p where its integer is below this.
    let below = (s.p * f64::from(1 << 24)).ceil() as i32;
    let args = args![inputs[0], &mut *outputs[0], s.len, s.seed, below, 1.0 / (1.0 - s.p), accum];
    launch_each(inputs[0], "dropout", s.len, args);
}
