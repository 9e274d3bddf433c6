// The product of product.cuh on tensor cores: operands rounded to TF32, sums in f32.
//
// Numbers stay f32 until they are in registers, so a tile of each operand goes straight from global into shared memory, in a ring of three:
// one is multiplied while two are under way.
#pragma once
#include "mma.cuh"
#include "product.cuh"

#define TENSOR_M 128
#define TENSOR_N 64
#define TENSOR_K 16
#define TENSOR_STAGES 3

template <class A, class B> struct TensorMemory {
  // Eight more than a multiple of 32: the four rows and eight columns that a warp reads at once lie in different banks.
  float a[TENSOR_STAGES][TENSOR_K][TENSOR_M + 8];
  float b[TENSOR_STAGES][TENSOR_K][TENSOR_N + 8];
  typename A::Step a_steps[4][TENSOR_K];
  typename B::Step b_steps[4][TENSOR_K];
};

// Sends a thread's part of a tile on its way.
template <int ROWS, class S, int PITCH>
__device__ __forceinline__ void fetch(const Fetch<ROWS, TENSOR_K, S>& rows, const S& source, const typename S::Step* steps, float (*tile)[PITCH]) {
#pragma unroll
  for (int i = 0; i < rows.EACH; i++) {
    float* to = &tile[rows.k_of(i)][rows.row_of(i)];
    const float* from = source.at(rows.rows[i], steps[rows.k_of(i)]);
    if (from) copy_async(to, from);
    else *to = 0.f;
  }
}

// The sums of a tile of 128 x 64 outputs: eight warps of 32 x 32 each.
struct TensorSums {
  float at[2][4][4];
  // Where those of this warp begin.
  __device__ __forceinline__ int wi() const { return threadIdx.x / 64 * 32; }
  __device__ __forceinline__ int wj() const { return threadIdx.x / 32 % 2 * 32; }

  template <class C> __device__ __forceinline__ void put(const C& c, int i0, int j0, int m, int n) const {
    const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
#pragma unroll
    for (int i = 0; i < 2; i++)
#pragma unroll
      for (int j = 0; j < 4; j++)
#pragma unroll
        for (int o = 0; o < 4; o++) {
          int row = i0 + wi() + 16 * i + g + o / 2 * 8, col = j0 + wj() + 8 * j + 2 * t + o % 2;
          if (row < m && col < n) c.put(row, col, at[i][j][o]);
        }
  }
};

// As product(), for a tile of 128 x 64 outputs.
template <class A, class B, class C>
__device__ __forceinline__ void tensor_product(TensorMemory<A, B>& memory, const A& a, const B& b, const C& c, int i0, int j0, int m, int n, int begin,
                                               int end) {
  const int lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
  Fetch<TENSOR_M, TENSOR_K, A> fetch_a;
  Fetch<TENSOR_N, TENSOR_K, B> fetch_b;
  fetch_a.begin(a, i0);
  fetch_b.begin(b, j0);
  TensorSums sums = {};

  auto steps = [&](int tile) {
    int k = begin + tile * TENSOR_K;
    if (threadIdx.x < TENSOR_K) memory.a_steps[tile % 4][threadIdx.x] = a.step(k + threadIdx.x, end);
    else if (threadIdx.x < 2 * TENSOR_K) memory.b_steps[tile % 4][threadIdx.x - TENSOR_K] = b.step(k + threadIdx.x - TENSOR_K, end);
  };
  auto send = [&](int tile) {
    fetch(fetch_a, a, memory.a_steps[tile % 4], memory.a[tile % TENSOR_STAGES]);
    fetch(fetch_b, b, memory.b_steps[tile % 4], memory.b[tile % TENSOR_STAGES]);
    copy_commit();
  };
  steps(0);
  steps(1);
  steps(2);
  __syncthreads();
  send(0);
  send(1);
  const int tiles = (end - begin + TENSOR_K - 1) / TENSOR_K;
  for (int tile = 0; tile < tiles; tile++) {
    copy_wait<1>();
    __syncthreads();  // This tile is here for all, and all are done with the one before, whose stage is filled next.
    steps(tile + 3);
    send(tile + 2);
    auto& ta = memory.a[tile % TENSOR_STAGES];
    auto& tb = memory.b[tile % TENSOR_STAGES];
#pragma unroll
    for (int k = 0; k < TENSOR_K; k += 8) {
      unsigned x[2][4], y[4][2];
#pragma unroll
      for (int i = 0; i < 2; i++)
#pragma unroll
        for (int w = 0; w < 4; w++) x[i][w] = to_tf32(ta[k + w / 2 * 4 + t][sums.wi() + 16 * i + g + 8 * (w % 2)]);
#pragma unroll
      for (int j = 0; j < 4; j++)
#pragma unroll
        for (int w = 0; w < 2; w++) y[j][w] = to_tf32(tb[k + 4 * w + t][sums.wj() + 8 * j + g]);
#pragma unroll
      for (int i = 0; i < 2; i++)
#pragma unroll
        for (int j = 0; j < 4; j++) mma<TF32>(sums.at[i][j], x[i], y[j][0], y[j][1]);
    }
  }
  copy_wait<0>();
  sums.put(c, i0, j0, m, n);
}
