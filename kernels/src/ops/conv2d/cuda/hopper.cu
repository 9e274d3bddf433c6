// conv2d variant on CUDA: implicit gemm by Hopper's products of four warps. For sm_90a alone.
//
// Computes        the same as naive, operands rounded to TF32, f16 or bf16, sums in f32
// tensor wastes:  a warp's registers and instructions on carrying operands from shared memory to the tensor cores, four times what
//                 a tile of this size carries, while tensor cores wait.
// This variant:   the same operands, gathered into tiles that wgmma reads where they lie, and the next tile is gathered while it does
//                 (gathered.cuh). Bulk copies are of no use: what they copy must lie in tiles already, and rounded.
// Loses when:     a group has less than a tile of channels, or there are fewer tiles of 128 x 256 than multiprocessors.
#include "conv2d/cuda/operands.cuh"
#include "gathered.cuh"

#define GATHERED_MEMORY(A, B)              \
  DYNAMIC_SHARED(bytes, GATHERED_SHARED); \
  auto& memory = *(GatheredMemory<A, B>*)bytes

KERNEL conv_fwd_hopper_tf32(CONV_FWD_ARGS) { CONV_FWD(GATHERED_MEMORY, gathered_product<TF32>, GATHERED_M, GATHERED_N); }
KERNEL conv_fwd_hopper_f16(CONV_FWD_ARGS) { CONV_FWD(GATHERED_MEMORY, gathered_product<F16>, GATHERED_M, GATHERED_N); }
KERNEL conv_fwd_hopper_bf16(CONV_FWD_ARGS) { CONV_FWD(GATHERED_MEMORY, gathered_product<BF16>, GATHERED_M, GATHERED_N); }
KERNEL conv_dgrad_hopper_tf32(CONV_DGRAD_ARGS) { CONV_DGRAD(GATHERED_MEMORY, gathered_product<TF32>, GATHERED_M, GATHERED_N); }
KERNEL conv_dgrad_hopper_f16(CONV_DGRAD_ARGS) { CONV_DGRAD(GATHERED_MEMORY, gathered_product<F16>, GATHERED_M, GATHERED_N); }
KERNEL conv_dgrad_hopper_bf16(CONV_DGRAD_ARGS) { CONV_DGRAD(GATHERED_MEMORY, gathered_product<BF16>, GATHERED_M, GATHERED_N); }
KERNEL conv_wgrad_hopper_tf32(CONV_WGRAD_ARGS) { CONV_WGRAD(GATHERED_MEMORY, gathered_product<TF32>, GATHERED_M, GATHERED_N); }
KERNEL conv_wgrad_hopper_f16(CONV_WGRAD_ARGS) { CONV_WGRAD(GATHERED_MEMORY, gathered_product<F16>, GATHERED_M, GATHERED_N); }
KERNEL conv_wgrad_hopper_bf16(CONV_WGRAD_ARGS) { CONV_WGRAD(GATHERED_MEMORY, gathered_product<BF16>, GATHERED_M, GATHERED_N); }
