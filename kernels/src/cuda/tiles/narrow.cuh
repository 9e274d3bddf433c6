// The product of product.cuh where one operand has few rows: a thread for each row of the other, and no tile of it.
#pragma once
#include "common.cuh"

// Threads of a block, and rows of b that it takes.
#define NARROW_THREADS 256
// Steps at a time.
#define NARROW_STEPS 64

// Shared memory of a block: the numbers of a, `[k][row]`, and the steps of b.
template <int M, class A, class B> struct NarrowMemory {
  __align__(16) float a[NARROW_STEPS][M];
  typename B::Step steps[NARROW_STEPS];
};

// Computes M x NARROW_THREADS outputs. A number of b goes from global memory into a register of its thread, and meets M numbers of a that all
// threads of a warp read at once.
template <int M, class A, class B, class C>
__device__ __forceinline__ void narrow_product(NarrowMemory<M, A, B>& memory, const A& a, const B& b, const C& c, int i0, int j0, int m, int n,
                                               int begin, int end) {
  int j = j0 + threadIdx.x;
  typename B::Row row = b.row(j);
  float sums[M] = {};
  for (int k0 = begin; k0 < end; k0 += NARROW_STEPS) {
    __syncthreads();  // The steps before were used.
    if (threadIdx.x < NARROW_STEPS) memory.steps[threadIdx.x] = b.step(k0 + threadIdx.x, end);
#pragma unroll 1
    for (int e = threadIdx.x; e < NARROW_STEPS * M; e += NARROW_THREADS) {
      const float* p = a.at(a.row(i0 + e % M), a.step(k0 + e / M, end));
      memory.a[e / M][e % M] = p ? *p : 0.f;
    }
    __syncthreads();
    int count = min(NARROW_STEPS, end - k0);
#pragma unroll 4
    for (int k = 0; k < count; k++) {
      const float* p = b.at(row, memory.steps[k]);
      float v = p ? *p : 0.f;
#pragma unroll
      for (int i = 0; i < M; i++) sums[i] = fmaf(memory.a[k][i], v, sums[i]);
    }
  }
#pragma unroll
  for (int i = 0; i < M; i++)
    if (i0 + i < m && j < n) c.put(i0 + i, j, sums[i]);
}

// Shared memory of a block of dot products: a number for each warp.
template <class A, class B> struct DotsMemory {
  float part[NARROW_THREADS / 32];
};

// Computes M x N outputs whose sums are long: the threads divide the steps, and add their sums in one order.
template <int M, int N, class A, class B, class C>
__device__ __forceinline__ void dots(DotsMemory<A, B>& memory, const A& a, const B& b, const C& c, int i0, int j0, int m, int n, int begin,
                                     int end) {
  typename A::Row a_rows[M];
  typename B::Row b_rows[N];
#pragma unroll
  for (int i = 0; i < M; i++) a_rows[i] = a.row(i0 + i);
#pragma unroll
  for (int j = 0; j < N; j++) b_rows[j] = b.row(j0 + j);
  float sums[M][N] = {};
#pragma unroll 1
  for (int k = begin + threadIdx.x; k < end; k += NARROW_THREADS) {
    typename A::Step a_step = a.step(k, end);
    typename B::Step b_step = b.step(k, end);
    float x[M];
#pragma unroll
    for (int i = 0; i < M; i++) {
      const float* p = a.at(a_rows[i], a_step);
      x[i] = p ? *p : 0.f;
    }
#pragma unroll
    for (int j = 0; j < N; j++) {
      const float* p = b.at(b_rows[j], b_step);
      float v = p ? *p : 0.f;
#pragma unroll
      for (int i = 0; i < M; i++) sums[i][j] = fmaf(x[i], v, sums[i][j]);
    }
  }
#pragma unroll
  for (int i = 0; i < M; i++)
#pragma unroll
    for (int j = 0; j < N; j++) {
      float sum = block_sum(sums[i][j], memory.part);
      if (threadIdx.x == 0 && i0 + i < m && j0 + j < n) c.put(i0 + i, j0 + j, sum);
    }
}
