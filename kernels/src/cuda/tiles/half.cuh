// The product of product.cuh on tensor cores, operands in f16 or bf16, sums in f32.
//
// Numbers are rounded once, on their way from global into shared memory, where they take half the memory with neighbours along k in one word:
// a warp then reads its operands by ldmatrix, four 8x8 matrices at a time, ready for mma. What is rounded passes through registers, so a tile
// is fetched while the one before is multiplied, in two rooms that take turns.
#pragma once
#include "tensor.cuh"

#define HALF_K 32
// Words of a row: four more than it has, so that the eight rows of a matrix lie in different banks, each aligned to its 16 bytes.
#define HALF_PITCH (HALF_K / 2 + 4)

template <class A, class B> struct HalfMemory {
  __align__(16) unsigned a[2][TENSOR_M][HALF_PITCH];
  __align__(16) unsigned b[2][TENSOR_N][HALF_PITCH];
  typename A::Step a_steps[2][HALF_K];
  typename B::Step b_steps[2][HALF_K];
};

// The part of a tile that a thread fetches: pairs of neighbours along k, of rows that are the same for every tile.
template <int ROWS, class S> struct HalfFetch {
  static const int EACH = ROWS * HALF_K / 2 / PRODUCT_THREADS;
  typename S::Row rows[EACH];
  float low[EACH], high[EACH];

  bool along_k;
  __device__ __forceinline__ int row_of(int i) const {
    int e = threadIdx.x + i * PRODUCT_THREADS;
    return along_k ? e / (HALF_K / 2) : e % ROWS;
  }
  __device__ __forceinline__ int word_of(int i) const {
    int e = threadIdx.x + i * PRODUCT_THREADS;
    return along_k ? e % (HALF_K / 2) : e / ROWS;
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
      const float* p = source.at(rows[i], steps[2 * word_of(i)]);
      const float* q = source.at(rows[i], steps[2 * word_of(i) + 1]);
      low[i] = p ? *p : 0.f;
      high[i] = q ? *q : 0.f;
    }
  }
  // From registers into shared memory, rounded.
  template <Rounding R> __device__ __forceinline__ void store(unsigned (*tile)[HALF_PITCH]) const {
#pragma unroll
    for (int i = 0; i < EACH; i++) tile[row_of(i)][word_of(i)] = pack<R>(low[i], high[i]);
  }
};

// As tensor_product().
template <Rounding R, class A, class B, class C>
__device__ __forceinline__ void half_product(HalfMemory<A, B>& memory, const A& a, const B& b, const C& c, int i0, int j0, int m, int n, int begin,
                                             int end) {
  const int lane = threadIdx.x % 32;
  HalfFetch<TENSOR_M, A> fetch_a;
  HalfFetch<TENSOR_N, B> fetch_b;
  fetch_a.begin(a, i0);
  fetch_b.begin(b, j0);
  TensorSums sums = {};

  auto steps = [&](int tile) {
    int k = begin + tile * HALF_K;
    if (threadIdx.x < HALF_K) memory.a_steps[tile % 2][threadIdx.x] = a.step(k + threadIdx.x, end);
    else if (threadIdx.x < 2 * HALF_K) memory.b_steps[tile % 2][threadIdx.x - HALF_K] = b.step(k + threadIdx.x - HALF_K, end);
  };
  auto load = [&](int tile) {
    fetch_a.load(a, memory.a_steps[tile % 2]);
    fetch_b.load(b, memory.b_steps[tile % 2]);
  };
  steps(0);
  steps(1);
  __syncthreads();
  load(0);
  const int tiles = (end - begin + HALF_K - 1) / HALF_K;
  for (int tile = 0; tile < tiles; tile++) {
    auto& ta = memory.a[tile % 2];
    auto& tb = memory.b[tile % 2];
    fetch_a.template store<R>(ta);
    fetch_b.template store<R>(tb);
    __syncthreads();  // This tile is here for all; all have multiplied the one before, and used this one's steps.
    if (tile + 1 < tiles) load(tile + 1);
    steps(tile + 2);
#pragma unroll
    for (int k = 0; k < HALF_K / 2; k += 8) {
      unsigned x[2][4], y[2][4];
#pragma unroll
      for (int i = 0; i < 2; i++) load_matrices(x[i], &ta[sums.wi() + 16 * i + lane % 16][k + 4 * (lane / 16)]);
      // Of b each brings 16 columns: both halves of k of eight, then of the next eight.
#pragma unroll
      for (int j = 0; j < 2; j++) load_matrices(y[j], &tb[sums.wj() + 16 * j + lane % 8 + 8 * (lane / 16)][k + 4 * (lane / 8 % 2)]);
#pragma unroll
      for (int i = 0; i < 2; i++)
#pragma unroll
        for (int j = 0; j < 4; j++) mma<R>(sums.at[i][j], x[i], y[j / 2][j % 2 * 2], y[j / 2][j % 2 * 2 + 1]);
    }
  }
  sums.put(c, i0, j0, m, n);
}
