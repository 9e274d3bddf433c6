#!/usr/bin/env bash
# Every CPU row of every kernel table against its oracle on every case, with memory checked to the last byte.
#
#   tests/sanitize.sh          AddressSanitizer over the rows of all instruction sets of this machine: minutes, part of .ci/run
#   tests/sanitize.sh whole    also with each lesser set as the best one, and the portable rows under memcheck: an hour
#
# The feature exact-alloc gives each buffer and scratch a heap allocation of its own, of exactly its size. Pools, size classes,
# huge pages and guard words would hide a read past the end.
#
# Not here: ThreadSanitizer and Miri. Without the source of the standard library (-Zbuild-std) its locks are not instrumented, and
# ThreadSanitizer reports each job of the thread pool as a race. Miri is no component of the stable toolchain. That no sum depends
# on the threads is tested by the same check, on three threads and on one.
#
# ONLY=conv2d.fwd/direct tests/sanitize.sh checks the rows whose name contains this.
set -uo pipefail
cd "$(dirname "$0")/.."
host=$(rustc -vV | sed -n 's/^host: //p')
passed=0 failed=0
skipped=()

# The test of the rows, optimised a little and in few parts: compiling takes longer than running. $1 is a folder below target/.
rows() {
    CARGO_PROFILE_DEV_OVERFLOW_CHECKS=false cargo test --quiet --target "$host" --target-dir "target/sanitize/$1" \
        --config profile.dev.package.convscope-kernels.opt-level=1 \
        --config profile.dev.package.convscope-kernels.codegen-units=4 \
        -p convscope-kernels --features exact-alloc --test rows -- --nocapture
}
# Sanitizers come with the stable toolchain, but their option is not stable yet.
sanitized() {
    RUSTC_BOOTSTRAP=1 RUSTFLAGS="-Zsanitizer=$1 ${2:-}" rows "$1"
}
part() { # words, command
    echo "== $1"
    if "${@:2}"; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "FAILED: $1"
    fi
}
skip() { # words, reason
    skipped+=("$1: $2")
}
capped() { # instruction set, command
    CONVSCOPE_ISA=$1 "${@:2}"
}
memcheck() {
    local runner
    runner=CARGO_TARGET_$(echo "$host" | tr 'a-z-' 'A-Z_')_RUNNER
    env "$runner=valgrind --quiet --error-exitcode=1" bash -c "$(declare -f rows); host=$host; rows plain"
}

# Calls instead of inlined checks: the unrolled loops of the kernels would grow several times.
calls=-Cllvm-args=-asan-instrumentation-with-call-threshold=0
part "AddressSanitizer, all instruction sets" sanitized address "$calls"
if [ "${1:-}" = whole ]; then
    for isa in avx2 portable; do
        part "AddressSanitizer, $isa as the best set" capped "$isa" sanitized address "$calls"
    done
    if command -v valgrind >/dev/null; then
        part "memcheck, portable rows" capped portable memcheck
    else
        skip "memcheck" "valgrind is not installed"
    fi
else
    skip "lesser sets as the best one, memcheck" "only in the whole form"
fi
skip "ThreadSanitizer, Miri" "see the head of this script"

echo "sanitize: $passed parts clean, $failed failed, ${#skipped[@]} skipped"
printf 'skipped: %s\n' "${skipped[@]}"
[ "$failed" = 0 ]
