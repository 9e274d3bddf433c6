//! The CUDA texts, and what NVRTC made of them.
//!
//! A user with the driver alone has no compiler, so the PTX is part of the program: files in `ptx/`, which
//! `tests/nvrtc.sh --write` makes and `tests/nvrtc.sh` compares with the sources. The driver assembles it for its own device when a
//! kernel is first used, and remembers the result.

/// A `.cu` file.
pub struct Source {
    /// Its place in this folder, without the ending.
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

macro_rules! sources {
    ($($file:literal $(for $arch:literal)?)*) => {
        /// Every file with kernels.
        pub const SOURCES: &[Source] = &[$(Source {
            file: $file,
            arch: [ARCH $(, $arch)?][[ARCH $(, $arch)?].len() - 1],
            text: include_str!(concat!($file, ".cu")),
            ptx: include_str!(concat!("ptx/", $file, ".ptx")),
        }),*];
    };
}
macro_rules! headers {
    ($($file:literal)*) => {
        /// What they include, by the name they do it with.
        pub const HEADERS: &[(&str, &str)] = &[$(($file, include_str!($file))),*];
    };
}

sources!(
    "memory" "gemm/naive" "gemm/tile" "gemm/register" "gemm/rows" "gemm/tensor" "gemm/hopper" for "compute_90a" "conv2d/naive" "conv2d/grouped" "conv2d/implicit" "conv2d/tensor" "conv2d/hopper" for "compute_90a" "conv2d/winograd" "norm"
    "optim" "peak" "peak_hopper" for "compute_90a" "place" "pointwise" "pool" "reduce" "softmax"
);
headers!("common.cuh" "product.cuh" "narrow.cuh" "mma.cuh" "tensor.cuh" "half.cuh" "hopper.cuh" "gathered.cuh" "gemm/store.cuh" "conv2d/problem.cuh" "conv2d/operands.cuh");

/// Names of the kernels of a text.
pub fn kernels(text: &str) -> impl Iterator<Item = &str> {
    text.split("\nKERNEL ").skip(1).filter_map(|rest| rest.split('(').next()).map(str::trim)
}

/// The file of a kernel.
pub fn of_kernel(name: &str) -> Option<&'static Source> {
    SOURCES.iter().find(|s| kernels(s.text).any(|k| k == name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// What can be told without a compiler: names are unique, headers are known, and the PTX has every kernel of its text.
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
