//! Which vector instructions may be used, decided once at run time.

use std::sync::OnceLock;

/// Instruction sets that rows are written for, weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Isa {
    /// Whatever the compiler's baseline gives.
    Portable,
    /// AVX2 with FMA.
    Avx2,
    /// AVX-512 F.
    Avx512,
}

impl std::fmt::Display for Isa {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str(match self {
            Isa::Portable => "portable",
            Isa::Avx2 => "avx2",
            Isa::Avx512 => "avx512",
        })
    }
}

/// The best instruction set of this machine, capped by `CONVSCOPE_ISA` (`portable`, `avx2`, `avx512`) if that is set.
pub fn best() -> Isa {
    static BEST: OnceLock<Isa> = OnceLock::new();
    *BEST.get_or_init(|| {
        // A wrong value is reported by check_environment; here it caps nothing.
        detect().min(cap().unwrap_or(Isa::Avx512))
    })
}

/// What `CONVSCOPE_ISA` allows.
pub(crate) fn cap() -> crate::error::Result<Isa> {
    match std::env::var("CONVSCOPE_ISA").as_deref() {
        Err(_) | Ok("" | "avx512") => Ok(Isa::Avx512),
        Ok("avx2") => Ok(Isa::Avx2),
        Ok("portable") => Ok(Isa::Portable),
        Ok(other) => Err(crate::error::Error::BadIsa(other.to_string())),
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

#[cfg(not(target_arch = "x86_64"))]
fn detect() -> Isa {
    Isa::Portable
}

/// Row columns: whether the row's instructions are here.
pub(crate) fn always() -> bool {
    true
}
#[cfg(target_arch = "x86_64")]
pub(crate) fn avx2() -> bool {
    best() >= Isa::Avx2
}
#[cfg(target_arch = "x86_64")]
pub(crate) fn avx512() -> bool {
    best() >= Isa::Avx512
}
