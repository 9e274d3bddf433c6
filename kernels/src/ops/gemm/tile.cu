// gemm variant on CUDA: tiles of both matrices in shared memory.
//
// Computes        c[i,j] (+)= sum_k op(a)[i,k] op(b)[k,j] (+ bias[j])
// naive wastes:   each of the 256 threads of a block read the same rows and columns from global memory by itself.
// This variant:   a block computes 16x16 outputs; its threads fetch a 16x16 tile of a and of b together and use each number 16 times.
// Loses when:     always to the register tile: two reads of shared memory for one multiply-add.
#include "common.cuh"

#define TILE 16

KERNEL gemm_tile(const float* a, const float* b, const float* bias, float* c, int m, int n, int k, int ta, int tb, int add) {
  __shared__ float as[TILE][TILE + 1];  // [i][k]; the odd pitch spreads columns over the banks
  __shared__ float bs[TILE][TILE + 1];  // [k][j]
  int tx = threadIdx.x % TILE, ty = threadIdx.x / TILE;
  int i0 = blockIdx.y * TILE, j0 = blockIdx.x * TILE, i = i0 + ty, j = j0 + tx;
  float sum = 0.f;
  for (int k0 = 0; k0 < k; k0 += TILE) {
    // tx runs along what is contiguous.
    int ai = ta ? i0 + tx : i, ak = k0 + (ta ? ty : tx);
    float x = ai < m && ak < k ? (ta ? a[ak * m + ai] : a[ai * k + ak]) : 0.f;
    if (ta) as[tx][ty] = x; else as[ty][tx] = x;
    int bk = k0 + (tb ? tx : ty), bj = tb ? j0 + ty : j;
    float y = bk < k && bj < n ? (tb ? b[bj * k + bk] : b[bk * n + bj]) : 0.f;
    if (tb) bs[tx][ty] = y; else bs[ty][tx] = y;
    __syncthreads();
#pragma unroll
    for (int q = 0; q < TILE; q++) sum = fmaf(as[ty][q], bs[q][tx], sum);
    __syncthreads();
  }
  if (i < m && j < n) put(&c[i * n + j], bias ? sum + bias[j] : sum, add);
}
