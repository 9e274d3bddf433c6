//! Devices and element types, as values.

use std::fmt;

/// Where a buffer lives and where kernels on it run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Device {
    /// Host memory, kernels on the CPU's threads.
    Cpu,
    /// The CUDA device with this ordinal.
    Cuda(u8),
}

impl Device {
    /// Whether both are CPUs or both CUDA devices.
    pub fn is_like(self, other: Device) -> bool {
        std::mem::discriminant(&self) == std::mem::discriminant(&other)
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Device::Cpu => f.write_str("cpu"),
            Device::Cuda(i) => write!(f, "cuda:{i}"),
        }
    }
}

/// Element type of a buffer.
///
/// ```
/// use convscope_kernels::{DType, Element};
///
/// assert_eq!((f32::DTYPE, DType::F64.size(), DType::U32.to_string()), (DType::F32, 8, "u32".to_string()));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DType {
    /// IEEE binary32: what networks run in.
    F32,
    /// IEEE binary64: oracle and gradient check.
    F64,
    /// Indices (argmax of a pooling window).
    U32,
}

impl DType {
    /// Bytes of one element.
    pub const fn size(self) -> usize {
        match self {
            DType::F32 | DType::U32 => 4,
            DType::F64 => 8,
        }
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            DType::F32 => "f32",
            DType::F64 => "f64",
            DType::U32 => "u32",
        })
    }
}

/// A Rust type that a [`DType`] stands for.
pub trait Element: bytemuck::Pod + Send + Sync {
    /// The tag of this type.
    const DTYPE: DType;
}
impl Element for f32 {
    const DTYPE: DType = DType::F32;
}
impl Element for f64 {
    const DTYPE: DType = DType::F64;
}
impl Element for u32 {
    const DTYPE: DType = DType::U32;
}

/// Arithmetic of the naive rows: one text serves f32 and the f64 oracle.
pub trait Real:
    Element
    + PartialOrd
    + std::ops::Add<Output = Self>
    + std::ops::Sub<Output = Self>
    + std::ops::Mul<Output = Self>
    + std::ops::Div<Output = Self>
    + std::ops::Neg<Output = Self>
    + std::ops::AddAssign
    + std::ops::MulAssign
    + std::iter::Sum
{
    /// Zero.
    const ZERO: Self;
    /// One.
    const ONE: Self;
    /// Below every number.
    const NEG_INF: Self;
    /// Rounds a f64 to this type.
    fn of(v: f64) -> Self;
    /// Widens to f64.
    fn wide(self) -> f64;
    /// e to the power of self.
    fn exp(self) -> Self;
    /// Natural logarithm.
    fn ln(self) -> Self;
    /// `exp(self) - 1`, exact near zero.
    fn exp_m1(self) -> Self;
    /// `ln(1 + self)`, exact near zero.
    fn ln_1p(self) -> Self;
    /// Square root.
    fn sqrt(self) -> Self;
    /// Hyperbolic tangent.
    fn tanh(self) -> Self;
    /// The error function.
    fn erf(self) -> Self;
}

macro_rules! real {
    ($t:ty, $erf:path) => {
        impl Real for $t {
            const ZERO: Self = 0.0;
            const ONE: Self = 1.0;
            const NEG_INF: Self = <$t>::NEG_INFINITY;
            fn of(v: f64) -> Self {
                v as $t
            }
            fn wide(self) -> f64 {
                self as f64
            }
            fn exp(self) -> Self {
                self.exp()
            }
            fn ln(self) -> Self {
                self.ln()
            }
            fn exp_m1(self) -> Self {
                self.exp_m1()
            }
            fn ln_1p(self) -> Self {
                self.ln_1p()
            }
            fn sqrt(self) -> Self {
                self.sqrt()
            }
            fn tanh(self) -> Self {
                self.tanh()
            }
            fn erf(self) -> Self {
                $erf(self)
            }
        }
    };
}
real!(f32, libm::erff);
real!(f64, libm::erf);
