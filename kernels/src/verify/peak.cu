// What a device does at best: multiply-adds in registers, and copying memory. Benchmarks are set against it.
#include "mma.cuh"

// Sums that do not wait for each other.
#define CHAINS 8

KERNEL peak_copy(const float* from, float* to, int len) {
  int i = thread();
  if (i < len / 4) ((float4*)to)[i] = ((const float4*)from)[i];
}

// CHAINS multiply-adds a thread and round.
KERNEL peak_f32(float* out, float a, float b, int rounds) {
  float sums[CHAINS];
#pragma unroll
  for (int c = 0; c < CHAINS; c++) sums[c] = (float)(threadIdx.x + c);
  for (int i = 0; i < rounds; i++)
#pragma unroll
    for (int c = 0; c < CHAINS; c++) sums[c] = fmaf(sums[c], a, b);
  float sum = 0.f;
#pragma unroll
  for (int c = 0; c < CHAINS; c++) sum += sums[c];
  out[thread()] = sum;
}

// CHAINS products of 16 x K and K x 8 a warp and round.
template <Rounding R> __device__ __forceinline__ void peak_tensor(float* out, float a, float b, int rounds) {
  float sums[CHAINS][4] = {};
  unsigned x[4], y[2];
#pragma unroll
  for (int w = 0; w < 4; w++) x[w] = R == TF32 ? to_tf32(a) : pack<R>(a, a);
#pragma unroll
  for (int w = 0; w < 2; w++) y[w] = R == TF32 ? to_tf32(b) : pack<R>(b, b);
  for (int i = 0; i < rounds; i++)
#pragma unroll
    for (int c = 0; c < CHAINS; c++) mma<R>(sums[c], x, y[0], y[1]);
  float sum = 0.f;
#pragma unroll
  for (int c = 0; c < CHAINS; c++) sum += sums[c][0] + sums[c][1] + sums[c][2] + sums[c][3];
  out[thread()] = sum;
}

KERNEL peak_tf32(float* out, float a, float b, int rounds) { peak_tensor<TF32>(out, a, b, rounds); }
KERNEL peak_f16(float* out, float a, float b, int rounds) { peak_tensor<F16>(out, a, b, rounds); }
KERNEL peak_bf16(float* out, float a, float b, int rounds) { peak_tensor<BF16>(out, a, b, rounds); }
