// The product of product.cuh by Hopper's wgmma (sm_90a), operands rounded to TF32, f16 or bf16, sums in f32.
//
// Two groups of four warps have 64 x 256 sums each. A thread keeps to one row of each operand: it fetches 16 bytes along k of it, rounded, and
// puts them where wgmma reads them, neighbours beside neighbours. While a tile is multiplied, which takes no threads, the next one is fetched.
#pragma once
#include "hopper.cuh"
#include "product.cuh"

#define GATHERED_M 128
#define GATHERED_N GROUP_N
// Units of 16 bytes along k of a tile, and numbers of it at most.
#define GATHERED_UNITS 8
#define GATHERED_K (GATHERED_UNITS * 8)
// Tiles: one is multiplied, one is fetched, and of the one before not every warp may know yet that it is multiplied.
#define GATHERED_STAGES 3

template <class A, class B> struct GatheredMemory {
  Unit a[GATHERED_STAGES][GATHERED_UNITS][GATHERED_M];
  Unit b[GATHERED_STAGES][GATHERED_UNITS][GATHERED_N];
  typename A::Step a_steps[2][GATHERED_K];
  typename B::Step b_steps[2][GATHERED_K];
};
// Bytes of it with the largest steps, of 12 bytes.
#define GATHERED_SHARED (GATHERED_STAGES * GATHERED_UNITS * 16 * (GATHERED_M + GATHERED_N) + 2 * 2 * GATHERED_K * 12)

// A thread's part of a tile: of row `row`, threadIdx.x % ROWS of the tile, every unit or every second one.
template <Rounding R, int ROWS, class S>
__device__ __forceinline__ void gather(const S& source, const typename S::Row& row, const typename S::Step* steps, Unit (*tile)[ROWS]) {
#pragma unroll 1
  for (int u = threadIdx.x / ROWS; u < GATHERED_UNITS; u += PRODUCT_THREADS / ROWS)
    put_unit(&tile[u][threadIdx.x % ROWS], unit_of<R>([&](int q) {
               const float* p = source.at(row, steps[u * unit_numbers<R>() + q]);
               return p ? *p : 0.f;
             }));
}

// As product(), for a tile of 128 x 256 outputs.
template <Rounding R, class A, class B, class C>
__device__ __forceinline__ void gathered_product(GatheredMemory<A, B>& memory, const A& a, const B& b, const C& c, int i0, int j0, int m, int n,
                                                 int begin, int end) {
  static_assert(sizeof(GatheredMemory<A, B>) <= GATHERED_SHARED, "the launcher gives this much");
  const int numbers = GATHERED_UNITS * unit_numbers<R>(), group = threadIdx.x / 128;
  const typename A::Row a_row = a.row(i0 + threadIdx.x % GATHERED_M);
  const typename B::Row b_row = b.row(j0 + threadIdx.x % GATHERED_N);

  auto steps = [&](int tile) {
    int q = threadIdx.x % GATHERED_K, k = begin + tile * numbers + q;
    if (q >= numbers) return;
    if (threadIdx.x < GATHERED_K) memory.a_steps[tile % 2][q] = a.step(k, end);
    else if (threadIdx.x < 2 * GATHERED_K) memory.b_steps[tile % 2][q] = b.step(k, end);
  };
  auto fetch = [&](int tile) {
    gather<R, GATHERED_M>(a, a_row, memory.a_steps[tile % 2], memory.a[tile % GATHERED_STAGES]);
    gather<R, GATHERED_N>(b, b_row, memory.b_steps[tile % 2], memory.b[tile % GATHERED_STAGES]);
    units_are_put();
  };
  steps(0);
  steps(1);
  __syncthreads();
  fetch(0);

  float sums[GROUP_SUMS] = {};
  const int tiles = (end - begin + numbers - 1) / numbers;
  for (int tile = 0; tile < tiles; tile++) {
    __syncthreads();  // This tile is here, the next one's steps are, and all have multiplied the one before the last.
    int stage = tile % GATHERED_STAGES;
    group_begin();
#pragma unroll
    for (int k = 0; k < GATHERED_UNITS; k += 2)
      group_mma<R>(sums, describe(&memory.a[stage][k][64 * group], GATHERED_M * 16), describe(&memory.b[stage][k][0], GATHERED_N * 16));
    group_commit();
    group_wait<R, 1>(sums);
    if (tile + 1 < tiles) fetch(tile + 1);
    steps(tile + 2);
  }
  group_wait<R, 0>(sums);
  put_group_sums(sums, c, i0, j0, m, n);
}
