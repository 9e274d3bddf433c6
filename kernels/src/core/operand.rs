//! The buffers of a problem: name, length, type, and the values that the check may give them.

use crate::core::device::DType;

/// Length and type of one buffer of a problem.
#[derive(Clone, Copy, Debug)]
pub struct Operand {
    /// Name in error messages.
    pub name: &'static str,
    /// Number of elements.
    pub len: usize,
    /// Values that the check fills it with, and whether its type is the row's (all but indices).
    pub fill: Fill,
}

/// Values that an operand may hold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fill {
    /// Any real number; of the row's type.
    Any,
    /// Any real numbers from -8 to 8, where saturating functions have long saturated; of the row's type.
    Wide,
    /// Positive numbers (variances); of the row's type.
    Positive,
    /// `u32` indices into the elements of some other buffer, below this bound.
    Index(usize),
}

impl Operand {
    /// An operand of any real numbers.
    pub const fn any(name: &'static str, len: usize) -> Self {
        Operand { name, len, fill: Fill::Any }
    }
    /// An operand of real numbers from -8 to 8.
    pub const fn wide(name: &'static str, len: usize) -> Self {
        Operand { name, len, fill: Fill::Wide }
    }
    /// An operand of positive numbers.
    pub const fn positive(name: &'static str, len: usize) -> Self {
        Operand { name, len, fill: Fill::Positive }
    }
    /// An operand of indices below `bound`.
    pub const fn index(name: &'static str, len: usize, bound: usize) -> Self {
        Operand { name, len, fill: Fill::Index(bound) }
    }
    /// The type of this operand in a problem of `dtype`.
    pub fn dtype(&self, dtype: DType) -> DType {
        match self.fill {
            Fill::Index(_) => DType::U32,
            _ => dtype,
        }
    }
}

/// The buffers of a problem.
#[derive(Clone, Debug)]
pub struct Signature {
    /// Read.
    pub inputs: Vec<Operand>,
    /// Written, or added to.
    pub outputs: Vec<Operand>,
}
