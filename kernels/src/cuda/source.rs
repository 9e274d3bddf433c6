//! The CUDA texts, and what NVRTC made of them.
//!
//! A user with the driver alone has no compiler, so the PTX is part of the program: files in `kernels/ptx/`, which
//! `tests/nvrtc.sh --write` makes and `tests/nvrtc.sh` compares with the sources. The driver assembles it for its own device when a
//! kernel is first used, and remembers the result.

/// A `.cu` file.
pub struct CudaSource {
    /// Name, which its PTX bears too.
    pub file: &'static str,
    /// Its text.
    pub text: &'static str,
    /// The virtual architecture of its PTX.
    pub arch: &'static str,
    /// The same for the driver.
    pub ptx: &'static str,
}

/// The oldest driver that takes the PTX as it is: its version is that of the NVRTC that wrote it, [`NVRTC`].
pub const OLDEST_DRIVER: &str = "550";
/// Version of the NVRTC that writes the PTX.
pub const NVRTC: (i32, i32) = (12, 4);
/// Virtual architecture of the PTX that any device takes.
pub const ARCH: &str = "compute_80";

/// A text below `src/`, and its PTX, which bears the name.
macro_rules! source {
    ($name:literal, $text:literal) => {
        source!($name, $text, ARCH)
    };
    ($name:literal, $text:literal, $arch:expr) => {
        CudaSource {
            file: $name,
            text: include_str!(concat!("../", $text)),
            arch: $arch,
            ptx: include_str!(concat!("../../ptx/", $name, ".ptx")),
        }
    };
}
/// Architecture of the instructions that only Hopper has.
const HOPPER: &str = "compute_90a";

/// Every file with kernels.
pub const SOURCES: &[CudaSource] = &[
    source!("memory", "cuda/memory.cu"),
    source!("gemm/naive", "ops/gemm/naive.cu"),
    source!("gemm/tile", "ops/gemm/tile.cu"),
    source!("gemm/register", "ops/gemm/register.cu"),
    source!("gemm/rows", "ops/gemm/rows.cu"),
    source!("gemm/tensor", "ops/gemm/tensor.cu"),
    source!("gemm/hopper", "ops/gemm/hopper.cu", HOPPER),
    source!("conv2d/naive", "ops/conv2d/cuda/naive.cu"),
    source!("conv2d/grouped", "ops/conv2d/cuda/grouped.cu"),
    source!("conv2d/implicit", "ops/conv2d/cuda/implicit.cu"),
    source!("conv2d/tensor", "ops/conv2d/cuda/tensor.cu"),
    source!("conv2d/hopper", "ops/conv2d/cuda/hopper.cu", HOPPER),
    source!("conv2d/winograd", "ops/conv2d/cuda/winograd.cu"),
    source!("norm", "ops/norm/norm.cu"),
    source!("optim", "ops/optim/optim.cu"),
    source!("peak", "verify/peak.cu"),
    source!("peak_hopper", "verify/peak_hopper.cu", HOPPER),
    source!("copy", "ops/copy/copy.cu"),
    source!("pointwise", "ops/pointwise/pointwise.cu"),
    source!("pool", "ops/pool/pool.cu"),
    source!("reduce", "ops/reduce/reduce.cu"),
    source!("softmax", "ops/softmax/softmax.cu"),
];

/// Headers, by the name in `#include`.
pub const HEADERS: &[(&str, &str)] = &[
    ("common.cuh", include_str!("tiles/common.cuh")),
    ("product.cuh", include_str!("tiles/product.cuh")),
    ("narrow.cuh", include_str!("tiles/narrow.cuh")),
    ("mma.cuh", include_str!("tiles/mma.cuh")),
    ("tensor.cuh", include_str!("tiles/tensor.cuh")),
    ("half.cuh", include_str!("tiles/half.cuh")),
    ("hopper.cuh", include_str!("tiles/hopper.cuh")),
    ("gathered.cuh", include_str!("tiles/gathered.cuh")),
    ("gemm/store.cuh", include_str!("../ops/gemm/store.cuh")),
    ("conv2d/cuda/problem.cuh", include_str!("../ops/conv2d/cuda/problem.cuh")),
    ("conv2d/cuda/operands.cuh", include_str!("../ops/conv2d/cuda/operands.cuh")),
];

/// Names of the kernels of a text.
pub fn kernels(text: &str) -> impl Iterator<Item = &str> {
    text.split("\nKERNEL ").skip(1).filter_map(|rest| rest.split('(').next()).map(str::trim)
}

/// The file of a kernel.
pub fn of_kernel(name: &str) -> Option<&'static CudaSource> {
    SOURCES.iter().find(|s| kernels(s.text).any(|k| k == name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// Checks that need no compiler: names are unique, headers are known, and the PTX has every kernel of its text.
    #[test]
    fn texts_headers_and_ptx_go_together() {
        let mut names = BTreeSet::new();
        for source in SOURCES {
            assert!(kernels(source.text).count() > 0, "{} has no kernels", source.file);
            for name in kernels(source.text) {
                assert!(names.insert(name), "two kernels are called {name}");
                assert_eq!(of_kernel(name).map(|s| s.file), Some(source.file));
                assert!(source.ptx.contains(&format!(".entry {name}(")), "ptx/{}.ptx lacks {name}", source.file);
            }
            assert!(source.ptx.contains(&format!(".target {}", source.arch.replace("compute", "sm"))), "{}", source.file);
        }
        let texts = SOURCES.iter().map(|s| s.text).chain(HEADERS.iter().map(|h| h.1));
        for include in texts.flat_map(str::lines).filter_map(|l| l.strip_prefix("#include \"")) {
            let name = include.trim_end_matches('"');
            assert!(name == "emu.h" || HEADERS.iter().any(|h| h.0 == name), "{name} is not among the headers");
        }
    }
}
