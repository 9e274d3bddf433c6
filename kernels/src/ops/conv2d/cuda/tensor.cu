// conv2d variant on CUDA: implicit gemm on tensor cores.
//
// Computes        the same as naive, operands rounded to TF32, f16 or bf16, sums in f32
// implicit wastes: an instruction for each 32 multiply-adds of a warp.
// This variant:   the same operands: TF32 gathered by asynchronous copies of single numbers straight into shared memory (tensor.cuh), f16 and
//                 bf16 rounded on their way (half.cuh).
// Loses when:     numbers must not be rounded (it runs only where `--precision` allows it), or groups are narrow.
#include "conv2d/cuda/operands.cuh"
#include "half.cuh"

#define TENSOR_MEMORY(A, B) __shared__ TensorMemory<A, B> memory
#define HALF_MEMORY(A, B) __shared__ HalfMemory<A, B> memory

KERNEL conv_fwd_tf32(CONV_FWD_ARGS) { CONV_FWD(TENSOR_MEMORY, tensor_product, TENSOR_M, TENSOR_N); }
KERNEL conv_fwd_f16(CONV_FWD_ARGS) { CONV_FWD(HALF_MEMORY, half_product<F16>, TENSOR_M, TENSOR_N); }
KERNEL conv_fwd_bf16(CONV_FWD_ARGS) { CONV_FWD(HALF_MEMORY, half_product<BF16>, TENSOR_M, TENSOR_N); }
KERNEL conv_dgrad_tf32(CONV_DGRAD_ARGS) { CONV_DGRAD(TENSOR_MEMORY, tensor_product, TENSOR_M, TENSOR_N); }
KERNEL conv_dgrad_f16(CONV_DGRAD_ARGS) { CONV_DGRAD(HALF_MEMORY, half_product<F16>, TENSOR_M, TENSOR_N); }
KERNEL conv_dgrad_bf16(CONV_DGRAD_ARGS) { CONV_DGRAD(HALF_MEMORY, half_product<BF16>, TENSOR_M, TENSOR_N); }
KERNEL conv_wgrad_tf32(CONV_WGRAD_ARGS) { CONV_WGRAD(TENSOR_MEMORY, tensor_product, TENSOR_M, TENSOR_N); }
KERNEL conv_wgrad_f16(CONV_WGRAD_ARGS) { CONV_WGRAD(HALF_MEMORY, half_product<F16>, TENSOR_M, TENSOR_N); }
KERNEL conv_wgrad_bf16(CONV_WGRAD_ARGS) { CONV_WGRAD(HALF_MEMORY, half_product<BF16>, TENSOR_M, TENSOR_N); }
