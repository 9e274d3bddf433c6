// CUDA C++ on the host: what the kernels use of it, by calls into the coroutines of lib.rs.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __align__(n) alignas(n)
// One block runs at a time. A section of their own for each file (build.rs names it), so that shared memory can be poisoned.
#define __shared__ static __attribute__((section(EMU_SHARED)))

struct emu_uint3 {
  unsigned x, y, z;
};
extern "C" {
struct emu_state {
  emu_uint3 thread, block, block_size, grid_size;
  unsigned exchanges;
  unsigned shared;  // bytes of dynamic shared memory
  size_t index;     // of the thread in its block, x fastest
};
emu_state* emu_current(void);             // of the running thread
void emu_sync(int kind);                  // waits: 0 at the block's barrier, 1 at the warp's, 2 for another thread; 3 is the end: too little shared memory
uint32_t* emu_lanes(void);                // 32 words for each lane of the running warp, in two halves
}
#define threadIdx (emu_current()->thread)
#define blockIdx (emu_current()->block)
#define blockDim (emu_current()->block_size)
#define gridDim (emu_current()->grid_size)

static inline void __syncthreads() { emu_sync(0); }
static inline void __syncwarp(unsigned = ~0u) { emu_sync(1); }
static inline unsigned emu_thread() { return emu_current()->index; }
static inline unsigned emu_lane() { return emu_thread() % 32; }

// Every lane shows words to its warp, then reads those of the others. Two halves take turns: who shows words again has seen, at the
// barrier in between, that all have read those of the time before last.
template <class Read> static inline auto emu_exchange(const uint32_t* words, int count, Read read) {
  uint32_t* all = emu_lanes() + 16 * (++emu_current()->exchanges & 1);
  memcpy(all + 32 * emu_lane(), words, 4 * count);
  emu_sync(1);
  return read(all);
}
template <class T> static inline T emu_from(T v, unsigned lane) {
  static_assert(sizeof(T) == 4, "shuffles of 4 bytes");
  uint32_t word;
  memcpy(&word, &v, 4);
  word = emu_exchange(&word, 1, [=](const uint32_t* all) { return all[32 * (lane % 32)]; });
  memcpy(&v, &word, 4);
  return v;
}
template <class T> static inline T __shfl_xor_sync(unsigned, T v, unsigned mask) { return emu_from(v, emu_lane() ^ mask); }
template <class T> static inline T __shfl_sync(unsigned, T v, unsigned lane) { return emu_from(v, lane); }

struct alignas(16) float4 {
  float x, y, z, w;
};
static inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
static inline int min(int a, int b) { return a < b ? a : b; }
static inline int max(int a, int b) { return a > b ? a : b; }
static inline float __uint_as_float(unsigned u) { float f; memcpy(&f, &u, 4); return f; }
static inline unsigned __float_as_uint(float f) { unsigned u; memcpy(&u, &f, 4); return u; }

// Where the shared memory of a file's kernels lies.
struct EmuRange {
  char *start, *end;
};

// A kernel that can be called with an array of pointers to its arguments, as the driver's launch takes them, and the kind of each.
struct EmuEntry {
  const char* name;
  void (*call)(void* const*);
  const char* kinds;
};
template <class T> constexpr char emu_kind() {
  if (std::is_pointer<T>::value) return 'p';
  if (std::is_same<T, int>::value) return 'i';
  if (std::is_same<T, float>::value) return 'f';
  if (std::is_same<T, unsigned long long>::value) return 'l';
  return std::is_class<T>::value ? 's' : '?';
}
// Kind and size of each argument, such as `p8i4s72`.
template <class... A> static const char* emu_kinds(void (*)(A...)) {
  static const std::string text = ((emu_kind<A>() + std::to_string(sizeof(A))) + ...);
  return text.c_str();
}
template <auto F> struct EmuCall;
template <class... A, void (*F)(A...)> struct EmuCall<F> {
  static void call(void* const* args) { spread(args, std::index_sequence_for<A...>()); }
  template <size_t... I> static void spread(void* const* args, std::index_sequence<I...>) { F(*(A*)args[I]...); }
};
#define emu_entry(name, f) \
  { name, &EmuCall<f>::call, emu_kinds(f) }
