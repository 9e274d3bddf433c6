// The layout of the operands and the epilogue of gemm, shared by its tiled variants.
#pragma once
#include "product.cuh"

#define GEMM_ARGS const float *a, const float *b, const float *bias, float *c, int m, int n, int k, int ta, int tb, int add

// Rows of op(a), and columns of op(b) as rows.
#define GEMM_A Matrix{a, m, ta ? 1 : k, ta ? m : 1}
#define GEMM_B Matrix{b, n, tb ? k : 1, tb ? 1 : n}
#define GEMM_C Store{c, bias, n, add}

// Row-major c, with a bias over columns if there is one.
struct Store {
  float* c;
  const float* bias;
  int n, add;
  __device__ __forceinline__ void put(int i, int j, float v) const { ::put(&c[i * n + j], bias ? v + bias[j] : v, add); }
};
