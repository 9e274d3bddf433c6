//! Activations, sums, products and dropout on CUDA devices.

use super::{args, launch_each};
use crate::buffer::Buffer;
use crate::pointwise::{Binary, BinarySpec, DropoutSpec, ReluRule, Unary, UnarySpec};
use crate::table::{Accum, ROUNDING, Row, TRANSCENDENTAL};

pub(crate) const UNARY_FWD: &[Row<UnarySpec>] = &[Row::cuda("elements_cuda", TRANSCENDENTAL, unary_fwd)];
pub(crate) const UNARY_BWD: &[Row<UnarySpec>] = &[Row::cuda("elements_cuda", TRANSCENDENTAL, unary_bwd)];
pub(crate) const BINARY: &[Row<BinarySpec>] = &[Row::cuda("elements_cuda", ROUNDING, binary)];
pub(crate) const DROPOUT: &[Row<DropoutSpec>] = &[Row::cuda("elements_cuda", ROUNDING, dropout)];

/// Number and parameter of a function in the `.cu` text.
fn function(op: Unary) -> (i32, f64) {
    match op {
        Unary::Relu => (0, 0.0),
        Unary::Relu6 => (1, 0.0),
        Unary::LeakyRelu(slope) => (2, slope),
        Unary::Sigmoid => (3, 0.0),
        Unary::Scale(factor) => (4, factor),
        Unary::Softplus => (5, 0.0),
    }
}

fn unary_fwd(s: &UnarySpec, inputs: &[&Buffer], outputs: &mut [&mut Buffer], accum: Accum) {
    let (op, a) = function(s.op);
    launch_each(inputs[0], "unary_fwd", s.len, args![inputs[0], &mut *outputs[0], s.len, op, a, accum]);
}

fn unary_bwd(s: &UnarySpec, inputs: &[&Buffer], outputs: &mut [&mut Buffer], accum: Accum) {
    let (op, a) = function(s.op);
    let rule = match s.rule {
        ReluRule::Plain => 0,
        ReluRule::Guided => 1,
        ReluRule::Deconv => 2,
    };
    let args = args![inputs[0], inputs[1], &mut *outputs[0], s.len, op, rule, a, accum];
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
