// gemm variant on CUDA: tensor cores.
//
// Computes        c[i,j] (+)= sum_k op(a)[i,k] op(b)[k,j] (+ bias[j]), operands rounded to TF32, f16 or bf16, sums in f32
// register wastes: an instruction for each 32 multiply-adds of a warp, and registers on numbers that only pass through.
// This variant:   an instruction for 1024 (TF32) or 2048 of them, on tiles in shared memory: TF32 copied asynchronously as they are
//                 (tensor.cuh), f16 and bf16 rounded on their way (half.cuh).
// Loses when:     numbers must not be rounded: it runs only where `--precision` allows it.
#include "gemm/store.cuh"
#include "half.cuh"

#define TENSOR_GEMM(MEMORY, PRODUCT)                                                                       \
  __shared__ MEMORY<Matrix, Matrix> memory;                                                                \
  PRODUCT(memory, GEMM_A, GEMM_B, GEMM_C, blockIdx.y * TENSOR_M, blockIdx.x * TENSOR_N, m, n, 0, k)

KERNEL gemm_tf32(GEMM_ARGS) { TENSOR_GEMM(TensorMemory, tensor_product); }
KERNEL gemm_f16(GEMM_ARGS) { TENSOR_GEMM(HalfMemory, half_product<F16>); }
KERNEL gemm_bf16(GEMM_ARGS) { TENSOR_GEMM(HalfMemory, half_product<BF16>); }
