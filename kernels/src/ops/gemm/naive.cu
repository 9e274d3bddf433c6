// gemm variant on CUDA: one thread an output, one product after the other.
//
// Computes        c[i,j] (+)= sum_k op(a)[i,k] op(b)[k,j] (+ bias[j])
// This variant:   threads of a warp stand side by side along j, so what they read of b and write of c is contiguous.
// Loses when:     always: every number of a and b is read from global memory as often as it is used.
#include "common.cuh"

KERNEL gemm_naive(const float* a, const float* b, const float* bias, float* c, int m, int n, int k, int ta, int tb, int add) {
  int j = blockIdx.x * blockDim.x + threadIdx.x, i = blockIdx.y * blockDim.y + threadIdx.y;
  if (i >= m || j >= n) return;
  float sum = 0.f;
  for (int q = 0; q < k; q++) sum = fmaf(ta ? a[q * m + i] : a[i * k + q], tb ? b[j * k + q] : b[q * n + j], sum);
  put(&c[i * n + j], bias ? sum + bias[j] : sum, add);
}
