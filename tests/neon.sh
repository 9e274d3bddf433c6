#!/usr/bin/env bash
# The kernel tests on 64-bit Arm under emulation, because no x86 machine runs the NEON rows. On Arm, `cargo test` does.
#
#     rustup target add aarch64-unknown-linux-gnu
#     apt-get install gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user    # Debian's and Ubuntu's names
#     tests/neon.sh [CARGO OPTION...]
#
# What is missing is named, and the tests are skipped. Another linker, emulator or compiler goes into
# CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER, CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER or RUSTC; Arm's C library is
# sought in QEMU_LD_PREFIX. Where rustup does not offer the target, Debian 12 has a compiler that does:
#
#     tests/neon.sh --fetch DIR [CARGO OPTION...]    # once 130 MB, 600 MB unpacked into DIR; installs nothing
set -euo pipefail
target=aarch64-unknown-linux-gnu

skip() {
    echo "skipped: $*"
    exit 0
}

# Compiler and standard library must be of one version, so both come from the same packages, for both machines.
fetch() {
    local dir=$1 own std llvm
    # Lists of our own: those of the system need not know Arm's packages, and only root may bring them up to date.
    own=(-q -o "APT::Architectures=$(dpkg --print-architecture),arm64"
        -o "Dir::State::Lists=$dir/lists" -o "Dir::Cache=$dir/cache")
    mkdir -p "$dir"/{lists,cache/archives}/partial "$dir/unpacked"
    cd "$dir/cache"
    apt-get "${own[@]}" update
    std=$(apt-cache "${own[@]}" depends rustc-web libstd-rust-web-dev | sed -n 's/.*Depends: \(libstd-rust-web-[0-9].*\)/\1/p')
    llvm=$(apt-cache "${own[@]}" depends "$std" | sed -n 's/.*Depends: \(libllvm.*\)/\1/p')
    apt-get "${own[@]}" download rustc-web libstd-rust-web-dev libstd-rust-web-dev:arm64 "$std" "$llvm"
    for package in ./*.deb; do
        dpkg -x "$package" ../unpacked
    done
    # Last, because it says that all the rest is there.
    printf '#!/bin/sh\nLD_LIBRARY_PATH=%q exec %q "$@"\n' \
        "$(echo "$dir"/unpacked/usr/lib/*-linux-gnu)" "$dir/unpacked/usr/bin/rustc" > ../rustc
    chmod +x ../rustc
}

if [ "${1-}" = --fetch ]; then
    mkdir -p "$2"
    dir=$(cd "$2" && pwd)
    shift 2
    [ -x "$dir/rustc" ] || (fetch "$dir")
    export RUSTC=$dir/rustc
fi

export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=${CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER:-aarch64-linux-gnu-gcc}
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER=${CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER:-qemu-aarch64}
export QEMU_LD_PREFIX=${QEMU_LD_PREFIX:-/usr/aarch64-linux-gnu}
for program in "$CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER" "${CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER%% *}"; do
    command -v "$program" > /dev/null || skip "there is no $program"
done
[ -e "$QEMU_LD_PREFIX/lib/ld-linux-aarch64.so.1" ] || skip "there is no C library for Arm in $QEMU_LD_PREFIX"
library=$("${RUSTC:-rustc}" --print target-libdir --target $target)
[ -d "$library" ] || skip "${RUSTC:-rustc} has no standard library for $target"

cd "$(dirname "$0")/.."
cargo test --target $target -p convscope-kernels -p convscope-tests --lib --test kernels "$@" -- --nocapture
