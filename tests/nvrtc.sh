#!/bin/sh
# Assembles the CUDA kernels with NVRTC, which needs no GPU, and compares the PTX in the repository with the sources; with --write,
# writes that PTX. The compilers come from PyPI (NVIDIA's licence; 115 MB) into ${TMPDIR:-/tmp}/convscope-nvrtc and are kept there.
#
#   tests/nvrtc.sh            assemble for sm_80, sm_90 and sm_90a; fail on errors, spills, and PTX that is not that of the sources
#   tests/nvrtc.sh --write    write kernels/ptx, and the table of registers and shared memory
set -eu
cd "$(dirname "$0")/.."
folder=${TMPDIR:-/tmp}/convscope-nvrtc
# 12.4 writes the PTX: drivers from 550 on take it. 13.0 assembles too: what a newer compiler makes of the same text.
get() {
  [ -d "$folder/$1" ] && return
  python3 -m pip download -q --no-deps -d "$folder/wheels" "$2"
  mkdir -p "$folder/$1.part"
  for wheel in "$folder"/wheels/*"$3"*.whl; do python3 -m zipfile -e "$wheel" "$folder/$1.part"; done
  mv "$folder/$1.part" "$folder/$1"
}
get 12.4 nvidia-cuda-nvrtc-cu12==12.4.127 12.4.127
get 13.0 nvidia-cuda-nvrtc==13.0.88 13.0.88
[ "${1:-}" = --write ] && export CONVSCOPE_WRITE_PTX=1
CONVSCOPE_NVRTC="$folder/12.4/nvidia/cuda_nvrtc/lib" cargo test -p convscope-emu --test nvrtc -- --nocapture
unset CONVSCOPE_WRITE_PTX
CONVSCOPE_NVRTC="$folder/13.0/nvidia/cu13/lib" cargo test -p convscope-emu --test nvrtc -- --nocapture
