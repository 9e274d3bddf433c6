//! The instruction sets of the CPU.

use crate::core::error::{Error, Result};
use std::sync::OnceLock;

/// Instruction sets that rows are written for, weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Isa {
    /// Whatever the compiler's baseline gives.
    Portable,
    /// Arm's 128-bit vectors.
    Neon,
    /// AVX2 with FMA.
    Avx2,
    /// AVX-512 F.
    Avx512,
}

impl Isa {
    /// As in the names of rows and in `CONVSCOPE_ISA`.
    pub const fn name(self) -> &'static str {
        match self {
            Isa::Portable => "portable",
            Isa::Neon => "neon",
            Isa::Avx2 => "avx2",
            Isa::Avx512 => "avx512",
        }
    }

    /// The best of this machine, at most `CONVSCOPE_ISA` if that is set. Found once.
    pub fn best() -> Self {
        static BEST: OnceLock<Isa> = OnceLock::new();
        // A wrong value is reported by `Context::from_environment`; here it caps nothing.
        *BEST.get_or_init(|| detect().min(Self::from_environment().unwrap_or(Isa::Avx512)))
    }

    /// The cap of `CONVSCOPE_ISA`.
    pub(super) fn from_environment() -> Result<Self> {
        match std::env::var("CONVSCOPE_ISA").as_deref() {
            Err(_) | Ok("" | "avx512") => Ok(Isa::Avx512),
            Ok("avx2") => Ok(Isa::Avx2),
            Ok("neon") => Ok(Isa::Neon),
            Ok("portable") => Ok(Isa::Portable),
            Ok(other) => Err(Error::BadIsa(other.to_string())),
        }
    }
}

impl std::fmt::Display for Isa {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(target_arch = "x86_64")]
fn detect() -> Isa {
    let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
    match avx2 {
        true if is_x86_feature_detected!("avx512f") => Isa::Avx512,
        true => Isa::Avx2,
        false => Isa::Portable,
    }
}

/// NEON is part of the baseline of 64-bit Arm.
#[cfg(target_arch = "aarch64")]
fn detect() -> Isa {
    Isa::Neon
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn detect() -> Isa {
    Isa::Portable
}
