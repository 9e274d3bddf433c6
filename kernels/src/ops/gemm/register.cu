// gemm variant on CUDA: tiles of registers, fed from shared memory by vectors.
//
// Computes        c[i,j] (+)= sum_k op(a)[i,k] op(b)[k,j] (+ bias[j])
// tile wastes:    two reads of shared memory for each multiply-add.
// This variant:   a thread keeps 8x8 (or 4x4) outputs in registers, so 16 numbers from shared memory, four reads of vectors, serve 64
//                 multiply-adds; the next tile comes from global memory meanwhile. The tiles are in product.cuh.
// Loses when:     there are few outputs: a large tile then leaves most of the device idle. The 64x64 tile is for those.
#include "gemm/store.cuh"

KERNEL gemm_register_128(GEMM_ARGS) {
  __shared__ ProductMemory<128, 128, 8, Matrix, Matrix> memory;
  product<128, 128, 8, 8, 8>(memory, GEMM_A, GEMM_B, GEMM_C, blockIdx.y * 128, blockIdx.x * 128, m, n, 0, k);
}

KERNEL gemm_register_64(GEMM_ARGS) {
  __shared__ ProductMemory<64, 64, 16, Matrix, Matrix> memory;
  product<64, 64, 16, 4, 4>(memory, GEMM_A, GEMM_B, GEMM_C, blockIdx.y * 64, blockIdx.x * 64, m, n, 0, k);
}
