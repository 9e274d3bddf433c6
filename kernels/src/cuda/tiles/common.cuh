// What every kernel uses. The same text is compiled for a GPU by NVRTC and for the host by the emulation, which defines CUDA_EMU.
#pragma once
#ifdef CUDA_EMU
#include "emu.h"
#endif

// Blocks have at most 256 threads, so that each may have 255 registers.
#define KERNEL extern "C" __global__ void __launch_bounds__(256)

// Shared memory beyond the 48 KiB that a kernel has anyway; the launcher gives as many bytes.
#ifdef CUDA_EMU
static unsigned char* emu_dynamic;
#define DYNAMIC_SHARED(name, bytes)                     \
  __align__(128) __shared__ unsigned char name[bytes]; \
  emu_dynamic = name;                                   \
  if (emu_current()->shared != bytes) emu_sync(3)
#else
#define DYNAMIC_SHARED(name, bytes) extern __shared__ __align__(128) unsigned char name[]
#endif

// Index of this thread among all of a one-dimensional grid.
__device__ __forceinline__ int thread() { return blockIdx.x * blockDim.x + threadIdx.x; }

// Stores, or adds to what is there; what is only written is never read.
__device__ __forceinline__ void put(float* p, float v, int add) { *p = add ? *p + v : v; }

// Sum over a warp; every lane gets it.
__device__ __forceinline__ float warp_sum(float v) {
#pragma unroll
  for (int o = 16; o > 0; o >>= 1) v += __shfl_xor_sync(0xffffffffu, v, o);
  return v;
}

// Maximum over a warp; every lane gets it.
__device__ __forceinline__ float warp_max(float v) {
#pragma unroll
  for (int o = 16; o > 0; o >>= 1) v = fmaxf(v, __shfl_xor_sync(0xffffffffu, v, o));
  return v;
}

// Sum over a block of whole warps, always added in the same order; every thread gets it. `part` has a number for each warp.
__device__ __forceinline__ float block_sum(float v, float* part) {
  v = warp_sum(v);
  __syncthreads();  // `part` may still be read from the sum before.
  if (threadIdx.x % 32 == 0) part[threadIdx.x / 32] = v;
  __syncthreads();
  float sum = 0.f;
  for (int i = 0; i < (int)blockDim.x / 32; i++) sum += part[i];
  return sum;
}

// The same for the maximum.
__device__ __forceinline__ float block_max(float v, float* part) {
  v = warp_max(v);
  __syncthreads();
  if (threadIdx.x % 32 == 0) part[threadIdx.x / 32] = v;
  __syncthreads();
  float max = part[0];
  for (int i = 1; i < (int)blockDim.x / 32; i++) max = fmaxf(max, part[i]);
  return max;
}
