// What Hopper's products of four warps do at best: of the same operands in shared memory, over and over. For sm_90a alone.
#include "hopper.cuh"

// Products of a round, as in peak.cu.
#define CHAINS 8
// Rows of the first operand, and shared memory for both.
#define PEAK_M 64
#define PEAK_SHARED ((PEAK_M + GROUP_N) * GROUP_K)

// CHAINS products of 64 x K and K x 256 a group of four warps and round, K the numbers in 32 bytes.
template <Rounding R> __device__ __forceinline__ void peak_groups(unsigned char* memory, float* out, float a, float b, int rounds) {
  Unit *as = (Unit*)memory, *bs = as + PEAK_M * GROUP_K / 16;
  for (int i = threadIdx.x; i < (PEAK_M + GROUP_N) * GROUP_K / 16; i += blockDim.x) {
    float value = as + i < bs ? a : b;
    put_unit(&as[i], unit_of<R>([&](int) { return value; }));
  }
  units_are_put();
  __syncthreads();

  float sums[GROUP_SUMS] = {};
  for (int i = 0; i < rounds; i++) {
    group_begin();
#pragma unroll
    for (int c = 0; c < CHAINS; c++) group_mma<R>(sums, describe(as, PEAK_M * 16), describe(bs, GROUP_N * 16));
    group_commit();
    group_wait<R, 1>(sums);
  }
  group_wait<R, 0>(sums);
  float sum = 0.f;
#pragma unroll
  for (int o = 0; o < GROUP_SUMS; o++) sum += sums[o];
  out[thread()] = sum;
}

#define PEAK_ARGS float *out, float a, float b, int rounds
#define PEAK(R)                        \
  DYNAMIC_SHARED(memory, PEAK_SHARED); \
  peak_groups<R>(memory, out, a, b, rounds)
KERNEL peak_hopper_tf32(PEAK_ARGS) { PEAK(TF32); }
KERNEL peak_hopper_f16(PEAK_ARGS) { PEAK(F16); }
KERNEL peak_hopper_bf16(PEAK_ARGS) { PEAK(BF16); }
