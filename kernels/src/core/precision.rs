//! Precision of products on tensor cores. `f32`, the default, allows no rounding of operands.

use std::fmt;

/// Rounding of the operands of products; sums are always f32.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    /// Nothing.
    #[default]
    F32,
    /// 10 bits of mantissa, the range of f32.
    Tf32,
    /// IEEE binary16: 10 bits, numbers up to 65504.
    F16,
    /// bfloat16: 7 bits, the range of f32.
    Bf16,
}

impl Precision {
    /// All of them.
    pub const ALL: [Precision; 4] = [Precision::F32, Precision::Tf32, Precision::F16, Precision::Bf16];
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            Precision::F32 => "f32",
            Precision::Tf32 => "tf32",
            Precision::F16 => "f16",
            Precision::Bf16 => "bf16",
        })
    }
}
