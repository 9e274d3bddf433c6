//! Rows for each instruction set, and rows of plain loops.

use super::{Isa, Vector};
use crate::core::device::DType;
use crate::core::table::{Row, Run, Tolerance};

/// The names of a kernel's rows, by instruction set: `names!("direct")` names `direct_avx512`, `direct_avx2`, `direct_neon` and `direct`.
macro_rules! names {
    ($kernel:literal) => {
        $crate::simd::rows::Names {
            portable: $kernel,
            neon: concat!($kernel, "_neon"),
            avx2: concat!($kernel, "_avx2"),
            avx512: concat!($kernel, "_avx512"),
        }
    };
}
pub(crate) use names;

/// The rows of a table: `$rows::<V>()` for each vector type of this processor family, best first, then the sets of rows of plain loops.
macro_rules! each_isa {
    ($rows:ident, $($plain:expr),+ $(,)?) => {
        &[
            #[cfg(target_arch = "x86_64")]
            &$rows::<$crate::simd::Avx512>(),
            #[cfg(target_arch = "x86_64")]
            &$rows::<$crate::simd::Avx2>(),
            #[cfg(target_arch = "aarch64")]
            &$rows::<$crate::simd::Neon>(),
            &$rows::<$crate::simd::Portable>(),
            $(&$plain),+
        ]
    };
}
pub(crate) use each_isa;

/// See [`names`].
pub(crate) struct Names {
    pub portable: &'static str,
    pub neon: &'static str,
    pub avx2: &'static str,
    pub avx512: &'static str,
}

impl<S> Row<S> {
    /// A CPU row of a kernel on `V`. It supports every problem and needs no scratch.
    pub(crate) const fn on<V: Vector>(names: Names, tolerance: Tolerance, run: Run<S>) -> Self {
        let name = match V::ISA {
            Isa::Portable => names.portable,
            Isa::Neon => names.neon,
            Isa::Avx2 => names.avx2,
            Isa::Avx512 => names.avx512,
        };
        Row::cpu(name, DType::F32, tolerance, run).isa(V::ISA)
    }
}

/// Plain loops on one thread: in f32 for reading, and in f64 as the oracle.
pub(crate) const fn naive<S>(tolerance: Tolerance, f32: Run<S>, f64: Run<S>) -> [Row<S>; 2] {
    [Row::cpu("naive", DType::F32, tolerance, f32), Row::cpu("naive", DType::F64, tolerance, f64)]
}

/// Plain loops in f32 on all threads.
pub(crate) const fn threaded<S>(tolerance: Tolerance, run: Run<S>) -> [Row<S>; 1] {
    [Row::cpu("threaded", DType::F32, tolerance, run)]
}
