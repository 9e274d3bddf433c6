// Tensor cores and asynchronous copies in small functions, each with a twin for the host.
#pragma once
#include "common.cuh"

// What operands are rounded to before they are multiplied; sums are f32.
enum Rounding { TF32, F16, BF16 };

#ifdef CUDA_EMU

// Copies happen when they are waited for, so that a missing wait is seen.
struct EmuCopies {
  std::vector<std::vector<std::pair<float*, const float*>>> groups = {{}};
};
static EmuCopies emu_copies[1024];
static inline void copy_async(float* shared, const float* global) { emu_copies[emu_thread()].groups.back().push_back({shared, global}); }
static inline void copy_commit() { emu_copies[emu_thread()].groups.push_back({}); }
template <int PENDING> static inline void copy_wait() {
  auto& groups = emu_copies[emu_thread()].groups;
  while ((int)groups.size() > PENDING + 1) {
    for (auto& [to, from] : groups.front()) *to = *from;
    groups.erase(groups.begin());
  }
}

static inline unsigned emu_half(float f) {  // round to nearest even
  unsigned u = __float_as_uint(f), sign = u >> 16 & 0x8000u;
  float a = fabsf(f);
  if (a != a) return sign | 0x7e00u;
  if (a >= 65520.f) return sign | 0x7c00u;
  if (a < 6.103515625e-05f) return sign | (unsigned)nearbyintf(a * 16777216.f);  // subnormal, in steps of 2^-24
  unsigned v = (u & 0x7fffffffu) - (112u << 23);
  return sign | (v + 0xfffu + (v >> 13 & 1u)) >> 13;
}
static inline float emu_from_half(unsigned h) {
  unsigned e = h >> 10 & 31, m = h & 0x3ff;
  // Exponents are 112 less than those of f32; also where both are zero, of subnormals.
  float a = e == 31 ? (m ? NAN : INFINITY) : __uint_as_float((h & 0x7fff) << 13) * 0x1p112f;
  return h & 0x8000u ? -a : a;
}
static inline unsigned emu_bf16(float f) {
  unsigned u = __float_as_uint(f);
  return f != f ? 0x7fc0u : (u + 0x7fffu + (u >> 16 & 1u)) >> 16;
}
static inline unsigned to_tf32(float f) { return (__float_as_uint(f) + 0x1000u) & ~0x1fffu; }
template <Rounding R> static inline unsigned pack(float low, float high) {
  return R == F16 ? emu_half(low) | emu_half(high) << 16 : emu_bf16(low) | emu_bf16(high) << 16;
}

// d += a b for a 16 x K tile of a and a K x 8 tile of b, of which b0 and b1 are the halves of K.
// Lane l = 4 g + t holds rows g, g + 8 of a and column g of b at elements 2t, 2t + 1
// (TF32: t) of each half of K, and outputs (g, 2t), (g, 2t + 1), (g + 8, 2t), (g + 8, 2t + 1).
template <Rounding R> static inline void mma(float (&d)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
  // Of each lane the numbers of its words: four of a, then two of b, one or two in a word.
  const int numbers = R == TF32 ? 1 : 2;
  float shown[6 * numbers];
  for (int w = 0; w < 6; w++)
    for (int e = 0; e < numbers; e++) {
      unsigned word = w < 4 ? a[w] : w == 4 ? b0 : b1, half = word >> 16 * e & 0xffff;
      shown[w * numbers + e] = R == TF32 ? __uint_as_float(word) : R == F16 ? emu_from_half(half) : __uint_as_float(half << 16);
    }
  int g = emu_lane() / 4, t = emu_lane() % 4;
  emu_exchange((const uint32_t*)shown, 6 * numbers, [&](const uint32_t* all) {
    const float* lanes = (const float*)all;
    for (int o = 0; o < 4; o++) {
      int row = o / 2, col = 2 * t + o % 2;
      for (int half = 0; half < 2; half++)
        for (int w = 0; w < 4; w++)
          for (int e = 0; e < numbers; e++)
            d[o] = fmaf(lanes[32 * (4 * g + w) + (row + 2 * half) * numbers + e], lanes[32 * (4 * col + w) + (4 + half) * numbers + e], d[o]);
    }
    return 0;
  });
}

// Four matrices of 8 x 8 halves: lane 8 i + r says where row r of matrix i lies, and lane 4 r + t gets of each matrix the elements 2t, 2t + 1
// of row r.
static inline void load_matrices(unsigned (&d)[4], const unsigned* row) {
  emu_exchange((const uint32_t*)&row, 2, [&](const uint32_t* all) {
    for (int i = 0; i < 4; i++) {
      const unsigned* from;
      memcpy(&from, all + 32 * (8 * i + emu_lane() / 4), sizeof from);
      d[i] = from[emu_lane() % 4];
    }
    return 0;
  });
}

#else

// Four bytes from global into shared memory, without a register in between.
__device__ __forceinline__ void copy_async(float* shared, const float* global) {
  unsigned to = (unsigned)__cvta_generic_to_shared(shared);
  asm volatile("cp.async.ca.shared.global [%0], [%1], 4;" ::"r"(to), "l"(global) : "memory");
}
// Ends a group of copies.
__device__ __forceinline__ void copy_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
// Waits until at most so many of this thread's groups are under way.
template <int PENDING> __device__ __forceinline__ void copy_wait() { asm volatile("cp.async.wait_group %0;" ::"n"(PENDING) : "memory"); }

__device__ __forceinline__ unsigned to_tf32(float f) {
  unsigned u;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(u) : "f"(f));
  return u;
}
// Two numbers in a word.
template <Rounding R> __device__ __forceinline__ unsigned pack(float low, float high) {
  unsigned u;
  if (R == F16) asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(u) : "f"(high), "f"(low));
  else asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(u) : "f"(high), "f"(low));
  return u;
}

// Four matrices of 8 x 8 halves: lane 8 i + r says where row r of matrix i lies, and lane 4 r + t gets of each matrix the elements 2t, 2t + 1
// of row r.
__device__ __forceinline__ void load_matrices(unsigned (&d)[4], const unsigned* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(d[0]), "=r"(d[1]), "=r"(d[2]), "=r"(d[3])
               : "r"((unsigned)__cvta_generic_to_shared(row))
               : "memory");
}

#define MMA(shape, types)                                                                                       \
  asm("mma.sync.aligned." shape ".row.col.f32." types ".f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};" \
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])                                                          \
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1))
// d += a b for a 16 x K tile of a and a K x 8 tile of b, of which b0 and b1 are the halves of K.
// Lane l = 4 g + t holds rows g, g + 8 of a and column g of b at elements 2t, 2t + 1
// (TF32: t) of each half of K, and outputs (g, 2t), (g, 2t + 1), (g + 8, 2t), (g + 8, 2t + 1).
template <Rounding R> __device__ __forceinline__ void mma(float (&d)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
  if (R == TF32) MMA("m16n8k8", "tf32.tf32");
  else if (R == F16) MMA("m16n8k16", "f16.f16");
  else MMA("m16n8k16", "bf16.bf16");
}

#endif
