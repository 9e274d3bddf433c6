#!/bin/sh
# On a machine with an NVIDIA GPU: every row against the oracle, pictures and whole networks against the CPU, then times of both.
# Without one each part says what it skipped, and nothing is timed.
#
#   tests/gpu.sh [network ...]    networks to time; resnet50 and vgg16 where none is named
set -eu
cd "$(dirname "$0")/.."
CONVSCOPE_GPU=1 cargo test --release -p convscope-emu --test rows -- --nocapture
cargo test --release -p convscope-viz --test device -- --nocapture
cargo test --release -p convscope-viz on_a_gpu -- --nocapture
cargo build --release
convscope=${CARGO_TARGET_DIR:-target}/release/convscope
[ $# -gt 0 ] || set -- resnet50 vgg16
# The driver's own word, which asking for a device repeats.
if ! nvidia-smi -L >/dev/null 2>&1; then
  echo "skipped 2 benchmarks of $# networks: no NVIDIA GPU"
  exit 0
fi
for network in "$@"; do
  for precision in f32 tf32 f16 bf16; do
    "$convscope" bench kernels "$network" --device cuda --precision $precision
    "$convscope" bench models "$network" --device cuda --precision $precision
  done
done
