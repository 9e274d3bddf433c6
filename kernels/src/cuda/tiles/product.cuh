// A product of two matrices that are given as functions, in tiles of registers. gemm and the three convolutions are this product.
//
//   c(i, j) = sum over k of a(i, k) * b(j, k)
//
// An operand is a struct with
//   Row, row(i)              what is known of a row before the sum begins (where an output pixel sees the input, say)
//   Step, step(k, end)       what is known of a step of the sum before it is met with a row (a channel and a tap)
//   at(row, step)            where that number lies, or null for a zero
//   along_k()                whether neighbours along k are neighbours in memory, rather than neighbours along rows
//
// Divisions are in row() and step(), which run once for a row and a step, so at() is additions and comparisons.
#pragma once
#include "common.cuh"

// Threads of a block.
#define PRODUCT_THREADS 256

// Shared memory of a block: a tile of each operand, `[k][row]`, and the steps of the next one.
template <int BM, int BN, int BK, class A, class B> struct ProductMemory {
  float a[BK][BM + 4];  // rows stay aligned to vectors, and columns of a tile spread over the banks
  float b[BK][BN + 4];
  typename A::Step a_steps[BK];
  typename B::Step b_steps[BK];
};

// The part of a tile that a thread fetches: its rows are the same for every tile.
template <int ROWS, int BK, class S> struct Fetch {
  static const int EACH = ROWS * BK / PRODUCT_THREADS;
  typename S::Row rows[EACH];
  float values[EACH];

  bool along_k;
  __device__ __forceinline__ int row_of(int i) const {
    int e = threadIdx.x + i * PRODUCT_THREADS;
    return along_k ? e / BK : e % ROWS;
  }
  __device__ __forceinline__ int k_of(int i) const {
    int e = threadIdx.x + i * PRODUCT_THREADS;
    return along_k ? e % BK : e / ROWS;
  }

  __device__ __forceinline__ void begin(const S& source, int first) {
    along_k = source.along_k();
#pragma unroll
    for (int i = 0; i < EACH; i++) rows[i] = source.row(first + row_of(i));
  }
  // From global memory into registers.
  __device__ __forceinline__ void load(const S& source, const typename S::Step* steps) {
#pragma unroll
    for (int i = 0; i < EACH; i++) {
      const float* p = source.at(rows[i], steps[k_of(i)]);
      values[i] = p ? *p : 0.f;
    }
  }
  // From registers into shared memory.
  template <int PITCH> __device__ __forceinline__ void store(float (*tile)[PITCH]) const {
#pragma unroll
    for (int i = 0; i < EACH; i++) tile[k_of(i)][row_of(i)] = values[i];
  }
};

// Computes the BM x BN outputs from (i0, j0) on, over k from `begin` to `end`, and gives each to c.put(i, j, value). A thread keeps
// TM x TN of them in registers. While a tile is multiplied, the next one is on its way from global memory into registers.
template <int BM, int BN, int BK, int TM, int TN, class A, class B, class C>
__device__ __forceinline__ void product(ProductMemory<BM, BN, BK, A, B>& memory, const A& a, const B& b, const C& c, int i0, int j0, int m, int n,
                                        int begin, int end) {
  static_assert((BM / TM) * (BN / TN) == PRODUCT_THREADS, "a thread for each register tile");
  static_assert(TM % 4 == 0 && TN % 4 == 0, "register tiles of whole vectors");
  const int across = BN / TN;  // threads along j
  const int tx = threadIdx.x % across, ty = threadIdx.x / across;
  Fetch<BM, BK, A> fetch_a;
  Fetch<BN, BK, B> fetch_b;
  float sums[TM][TN] = {};

  auto steps = [&](int k0) {
    if (threadIdx.x < BK) memory.a_steps[threadIdx.x] = a.step(k0 + threadIdx.x, end);
    else if (threadIdx.x - 32 < BK) memory.b_steps[threadIdx.x - 32] = b.step(k0 + threadIdx.x - 32, end);
  };
  steps(begin);
  fetch_a.begin(a, i0);
  fetch_b.begin(b, j0);
  __syncthreads();
  fetch_a.load(a, memory.a_steps);
  fetch_b.load(b, memory.b_steps);
  for (int k0 = begin; k0 < end; k0 += BK) {
    __syncthreads();  // The tile before was used, and the steps of this one.
    fetch_a.store(memory.a);
    fetch_b.store(memory.b);
    steps(k0 + BK);
    __syncthreads();
    if (k0 + BK < end) {
      fetch_a.load(a, memory.a_steps);
      fetch_b.load(b, memory.b_steps);
    }
#pragma unroll
    for (int k = 0; k < BK; k++) {
      float x[TM], y[TN];
      // Four neighbours at a time; the groups of four have a stride at which a warp reads from all banks.
#pragma unroll
      for (int i = 0; i < TM; i += 4) *(float4*)&x[i] = *(const float4*)&memory.a[k][ty * 4 + i * (BM / TM)];
#pragma unroll
      for (int j = 0; j < TN; j += 4) *(float4*)&y[j] = *(const float4*)&memory.b[k][tx * 4 + j * across];
#pragma unroll
      for (int i = 0; i < TM; i++)
#pragma unroll
        for (int j = 0; j < TN; j++) sums[i][j] = fmaf(x[i], y[j], sums[i][j]);
    }
  }
#pragma unroll
  for (int i = 0; i < TM; i++)
#pragma unroll
    for (int j = 0; j < TN; j++) {
      int row = i0 + ty * 4 + i / 4 * 4 * (BM / TM) + i % 4, col = j0 + tx * 4 + j / 4 * 4 * across + j % 4;
      if (row < m && col < n) c.put(row, col, sums[i][j]);
    }
}

// A matrix in memory: element (i, k) at p[i * row_pitch + k * step_pitch].
struct Matrix {
  typedef int Row;   // offset, or -1 outside
  typedef int Step;  // the same
  const float* p;
  int rows, row_pitch, step_pitch;
  __device__ __forceinline__ bool along_k() const { return step_pitch == 1; }
  __device__ __forceinline__ int row(int i) const { return i < rows ? i * row_pitch : -1; }
  __device__ __forceinline__ int step(int k, int end) const { return k < end ? k * step_pitch : -1; }
  __device__ __forceinline__ const float* at(int row, int step) const { return row < 0 || step < 0 ? nullptr : p + row + step; }
};
