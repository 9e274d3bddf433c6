// gemm variant on CUDA for a few rows: a dense layer on a few images, forward and its input gradient.
//
// Computes        c[i,j] (+)= dot(a[i,:], b[j,:]) (+ bias[j])   where b is transposed,   c[i,:] (+)= sum_k a[i,k] b[k,:]   where it is not
// register wastes: nearly all of a 64x64 tile on rows that are not there, and most of the device on few tiles.
// This variant:   reads b once, as it lies, by the whole device; it is bound by memory. The sums of a block are added in one order.
// Loses when:     a has more than 8 rows.
#include "common.cuh"

#define ROWS 8

// A block for each column.
KERNEL gemm_rows_dot(const float* a, const float* b, const float* bias, float* c, int m, int n, int k, int add) {
  __shared__ float part[4];
  int j = blockIdx.x;
  float sums[ROWS] = {};
  for (int q = threadIdx.x; q < k; q += 128) {
    float y = b[j * k + q];
#pragma unroll
    for (int i = 0; i < ROWS; i++)
      if (i < m) sums[i] = fmaf(a[i * k + q], y, sums[i]);
  }
#pragma unroll
  for (int i = 0; i < ROWS; i++) {
    if (i >= m) break;
    float sum = block_sum(sums[i], part);
    if (threadIdx.x == 0) put(&c[i * n + j], bias ? sum + bias[j] : sum, add);
  }
}

// A block for 32 columns: eight warps divide the sum.
KERNEL gemm_rows_update(const float* a, const float* b, const float* bias, float* c, int m, int n, int k, int add) {
  __shared__ float part[8][ROWS][32];
  int lane = threadIdx.x % 32, warp = threadIdx.x / 32, j = blockIdx.x * 32 + lane;
  float sums[ROWS] = {};
  if (j < n)
    for (int q = warp; q < k; q += 8) {
      float y = b[q * n + j];
#pragma unroll
      for (int i = 0; i < ROWS; i++)
        if (i < m) sums[i] = fmaf(a[i * k + q], y, sums[i]);
    }
#pragma unroll
  for (int i = 0; i < ROWS; i++) part[warp][i][lane] = sums[i];
  __syncthreads();
  // Warp i adds up row i.
  if (warp < m && j < n) {
    float sum = 0.f;
    for (int w = 0; w < 8; w++) sum += part[w][warp][lane];
    put(&c[warp * n + j], bias ? sum + bias[j] : sum, add);
  }
}
