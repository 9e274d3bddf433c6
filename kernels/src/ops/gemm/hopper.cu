// gemm variant on CUDA: Hopper's products of four warps, fed by bulk copies. For sm_90a alone.
//
// Computes        c[i,j] (+)= sum_k op(a)[i,k] op(b)[k,j] (+ bias[j]), operands rounded to TF32, f16 or bf16, sums in f32
// tensor wastes:  registers and instructions on carrying operands from global through registers into shared memory and on to the
//                 tensor cores, in tiles too small for them.
// This variant:   first writes both operands down rounded, in tiles as wgmma reads them, with zeros where they end (gemm_pack). Then a tile is
//                 one bulk copy, which one thread asks for, in a ring of four; two groups of four warps multiply 64 x 256 each, straight from
//                 shared memory. Barriers say when a tile is here and when its stage of the ring is free.
// Loses when:     there are fewer tiles of 128 x 256 than multiprocessors, or k is short: writing operands down then costs more than it saves.
#include "gemm/store.cuh"
#include "hopper.cuh"

#define HOPPER_M 128
#define HOPPER_N GROUP_N
// Bytes along k of a tile, and tiles of the ring.
#define HOPPER_K 128
#define HOPPER_STAGES 4
#define HOPPER_A (HOPPER_M * HOPPER_K)
#define HOPPER_B (HOPPER_N * HOPPER_K)
// Shared memory: the ring, and two barriers for each of its stages.
#define HOPPER_SHARED (HOPPER_STAGES * (HOPPER_A + HOPPER_B + 16))

// out [rows / tile][k blocks][8][tile] units of 16 bytes along k, from p[row * row_pitch + k * step_pitch]. A thread for each unit.
template <Rounding R>
__device__ __forceinline__ void pack_units(const float* p, unsigned* out, int rows, int k, int row_pitch, int step_pitch, int tile, int blocks) {
  const int each = unit_numbers<R>();
  int i = thread(), units = (rows + tile - 1) / tile * blocks * 8 * tile;
  if (i >= units) return;
  int row = i / (8 * tile * blocks) * tile + i % tile, k0 = (i / (8 * tile) % blocks * 8 + i / tile % 8) * each;
  auto at = [&](int q) { return row < rows && k0 + q < k ? p[row * row_pitch + (k0 + q) * step_pitch] : 0.f; };
  ((Unit*)out)[i] = unit_of<R>(at);
}

#define PACK_ARGS const float *p, unsigned *out, int rows, int k, int row_pitch, int step_pitch, int tile, int blocks
KERNEL gemm_pack_tf32(PACK_ARGS) { pack_units<TF32>(p, out, rows, k, row_pitch, step_pitch, tile, blocks); }
KERNEL gemm_pack_f16(PACK_ARGS) { pack_units<F16>(p, out, rows, k, row_pitch, step_pitch, tile, blocks); }
KERNEL gemm_pack_bf16(PACK_ARGS) { pack_units<BF16>(p, out, rows, k, row_pitch, step_pitch, tile, blocks); }

template <Rounding R>
__device__ __forceinline__ void hopper_product(unsigned char* memory, const unsigned char* a, const unsigned char* b, const Store& c, int m, int n,
                                               int blocks) {
  unsigned char *as = memory, *bs = memory + HOPPER_STAGES * HOPPER_A;
  Barrier* here = (Barrier*)(bs + HOPPER_STAGES * HOPPER_B);
  Barrier* used = here + HOPPER_STAGES;
  const int group = threadIdx.x / 128, lane = threadIdx.x % 32;
  a += (size_t)blockIdx.y * blocks * HOPPER_A;
  b += (size_t)blockIdx.x * blocks * HOPPER_B;

  auto send = [&](int block) {
    int stage = block % HOPPER_STAGES;
    barrier_expect(&here[stage], HOPPER_A + HOPPER_B);
    copy_bulk(as + stage * HOPPER_A, a + (size_t)block * HOPPER_A, HOPPER_A, &here[stage]);
    copy_bulk(bs + stage * HOPPER_B, b + (size_t)block * HOPPER_B, HOPPER_B, &here[stage]);
  };
  if (threadIdx.x == 0) {
    for (int stage = 0; stage < HOPPER_STAGES; stage++) {
      barrier_init(&here[stage], 1);
      barrier_init(&used[stage], 8);  // warps
    }
    barriers_are_made();
    for (int block = 0; block < min(blocks, HOPPER_STAGES); block++) send(block);
  }
  __syncthreads();

  float sums[GROUP_SUMS] = {};
  for (int block = 0; block < blocks; block++) {
    int stage = block % HOPPER_STAGES;
    barrier_wait(&here[stage], block / HOPPER_STAGES % 2);
    group_begin();
#pragma unroll
    for (int k = 0; k < HOPPER_K / GROUP_K; k++)
      group_mma<R>(sums, describe(as + stage * HOPPER_A + group * 64 * 16 + k * 2 * HOPPER_M * 16, HOPPER_M * 16),
                   describe(bs + stage * HOPPER_B + k * 2 * HOPPER_N * 16, HOPPER_N * 16));
    group_commit();
    // The block before is multiplied; its stage is filled next.
    group_wait<R, 1>(sums);
    int before = (block + HOPPER_STAGES - 1) % HOPPER_STAGES;
    if (block > 0 && lane == 0) barrier_arrive(&used[before]);
    if (block > 0 && threadIdx.x == 0 && block - 1 + HOPPER_STAGES < blocks) {
      barrier_wait(&used[before], (block - 1) / HOPPER_STAGES % 2);
      send(block - 1 + HOPPER_STAGES);
    }
    __syncwarp();
  }
  group_wait<R, 0>(sums);
  put_group_sums(sums, c, blockIdx.y * HOPPER_M, blockIdx.x * HOPPER_N, m, n);
}

#define HOPPER_ARGS const unsigned char *a, const unsigned char *b, const float *bias, float *c, int m, int n, int blocks, int add
#define HOPPER(R)                        \
  DYNAMIC_SHARED(memory, HOPPER_SHARED); \
  hopper_product<R>(memory, a, b, GEMM_C, m, n, blocks)
KERNEL gemm_hopper_tf32(HOPPER_ARGS) { HOPPER(TF32); }
KERNEL gemm_hopper_f16(HOPPER_ARGS) { HOPPER(F16); }
KERNEL gemm_hopper_bf16(HOPPER_ARGS) { HOPPER(BF16); }
