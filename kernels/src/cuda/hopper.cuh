// Hopper's own instructions (sm_90a) in small functions, each with a twin for the host: products of a group of four warps on operands in
// shared memory (wgmma), copies of whole pieces of memory (bulk copies), and the barriers on which they are waited for (mbarrier).
//
// An operand lies in shared memory as core matrices: 8 rows of 16 bytes along k, one after the other. Neighbours along rows follow each
// other; those along k are a tile's rows apart: 16 bytes of row r lie at `(k16 * rows + r) * 16`.
#pragma once
#include "mma.cuh"

// Bytes along k of one product, 16 halves or 8 numbers of TF32, and columns of it.
#define GROUP_K 32
#define GROUP_N 256
// Numbers of it that a thread holds: of row 16 w + g (w the warp of four, lane 4 g + t) columns 8 j + 2t, 8 j + 2t + 1, then of row + 8.
#define GROUP_SUMS (GROUP_N / 2)

#ifdef CUDA_EMU
#include <map>

// Copies arrive when they are waited for.
struct EmuBarrier {
  int count, missing, bytes, phase;
  std::vector<std::tuple<void*, const void*, int>> copies;
  void turn() {
    if (missing || bytes) return;
    missing = count;
    phase ^= 1;
  }
};
typedef unsigned long long Barrier;
static std::map<const Barrier*, EmuBarrier> emu_barriers;
static inline void barrier_init(Barrier* b, int count) { emu_barriers[b] = EmuBarrier{count, count, 0, 0, {}}; }
static inline void barriers_are_made() {}
static inline void barrier_arrive(Barrier* b) {
  emu_barriers[b].missing--;
  emu_barriers[b].turn();
}
static inline void barrier_expect(Barrier* b, int bytes) {
  emu_barriers[b].bytes += bytes;
  barrier_arrive(b);
}
static inline void barrier_wait(Barrier* b, int phase) {
  for (;;) {
    auto& barrier = emu_barriers[b];
    for (auto& [to, from, bytes] : barrier.copies) {
      memcpy(to, from, bytes);
      barrier.bytes -= bytes;
    }
    if (!barrier.copies.empty()) barrier.turn();
    barrier.copies.clear();
    if (barrier.phase != phase) return;
    emu_sync(2);
  }
}
static inline void copy_bulk(void* shared, const void* global, int bytes, Barrier* b) { emu_barriers[b].copies.push_back({shared, global, bytes}); }

// Products are done when they are waited for.
struct EmuProduct {
  float* d;
  const unsigned char *a, *b;
};
static std::vector<std::vector<EmuProduct>> emu_products[1024];
static inline void group_begin() {
  if (emu_products[emu_thread()].empty()) emu_products[emu_thread()].push_back({});
}
static inline void group_commit() { emu_products[emu_thread()].push_back({}); }
template <Rounding R> static inline float emu_element(const unsigned char* p, int rows, int row, int i) {
  const int size = R == TF32 ? 4 : 2, each = 16 / size;
  p += (i / each * rows + row) * 16 + i % each * size;
  if (R == TF32) return *(const float*)p;
  unsigned half = *(const unsigned short*)p;
  return R == F16 ? emu_from_half(half) : __uint_as_float(half << 16);
}
template <Rounding R, int ROWS> static inline void group_mma(float (&d)[GROUP_SUMS], const unsigned char* a, const unsigned char* b) {
  emu_products[emu_thread()].back().push_back({d, a, b});
}
template <Rounding R, int ROWS, int PENDING> static inline void group_wait(float (&)[GROUP_SUMS]) {
  auto& groups = emu_products[emu_thread()];
  int warp = emu_thread() / 32 % 4, g = emu_lane() / 4, t = emu_lane() % 4;
  while ((int)groups.size() > PENDING + 1) {
    for (auto& p : groups.front())
      for (int half = 0; half < 2; half++) {
        const int count = GROUP_K / (R == TF32 ? 4 : 2);
        float a[count], b[count];
        for (int i = 0; i < count; i++) a[i] = emu_element<R>(p.a, ROWS, 16 * warp + g + 8 * half, i);
        for (int o = 2 * half; o < GROUP_SUMS; o += o % 2 ? 3 : 1) {
          for (int i = 0; i < count; i++) b[i] = emu_element<R>(p.b, GROUP_N, o / 4 * 8 + 2 * t + o % 2, i);
          for (int i = 0; i < count; i++) p.d[o] = fmaf(a[i], b[i], p.d[o]);
        }
      }
    groups.erase(groups.begin());
  }
  // The next block begins anew.
  if (PENDING == 0) groups.clear();
}

#else

typedef unsigned long long Barrier;
__device__ __forceinline__ unsigned shared_address(const void* p) { return (unsigned)__cvta_generic_to_shared(p); }

// A barrier of `count` arrivals; one thread makes it.
__device__ __forceinline__ void barrier_init(Barrier* b, int count) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(b)), "r"(count) : "memory");
}
// After the last one, by the same thread; others may use them after __syncthreads().
__device__ __forceinline__ void barriers_are_made() { asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory"); }
__device__ __forceinline__ void barrier_arrive(Barrier* b) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(b)) : "memory");
}
// Arrives, and has the barrier wait for so many bytes of bulk copies.
__device__ __forceinline__ void barrier_expect(Barrier* b, int bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(b)), "r"(bytes) : "memory");
}
// Waits for the end of the barrier's phase of this parity: 0 at first.
__device__ __forceinline__ void barrier_wait(Barrier* b, int phase) {
  unsigned done = 0;
  while (!done)
    asm volatile(
        "{ .reg .pred p; mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2; selp.u32 %0, 1, 0, p; }"
        : "=r"(done)
        : "r"(shared_address(b)), "r"(phase)
        : "memory");
}
// So many bytes, a multiple of 16, from global to shared memory; they arrive at the barrier.
__device__ __forceinline__ void copy_bulk(void* shared, const void* global, int bytes, Barrier* b) {
  asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(shared_address(shared)),
               "l"(global), "r"(bytes), "r"(shared_address(b))
               : "memory");
}

// How an operand lies: bytes between core matrices along k, and 128 between those along rows.
__device__ __forceinline__ unsigned long long describe(const unsigned char* p, int along_k) {
  return (unsigned long long)(shared_address(p) >> 4 & 0x3fff) | (unsigned long long)(along_k >> 4) << 16 | (unsigned long long)(128 >> 4) << 32;
}

// Before the first product of a group: registers are ready.
__device__ __forceinline__ void group_begin() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
// Ends a group of products.
__device__ __forceinline__ void group_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }

#define F4(i) "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3])
#define F16X(i) F4(i), F4(i + 4), F4(i + 8), F4(i + 12)
#define F128 F16X(0), F16X(16), F16X(32), F16X(48), F16X(64), F16X(80), F16X(96), F16X(112)
#define GROUP_MMA(shape, types, more)                                                                                                \
  asm volatile("{ .reg .pred p; setp.ne.b32 p, 1, 0; wgmma.mma_async.sync.aligned." shape ".f32." types                              \
               " {%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31," \
               "%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47,%48,%49,%50,%51,%52,%53,%54,%55,%56,%57,%58,%59,%60,%61,"  \
               "%62,%63,%64,%65,%66,%67,%68,%69,%70,%71,%72,%73,%74,%75,%76,%77,%78,%79,%80,%81,%82,%83,%84,%85,%86,%87,%88,%89,%90,%91,"  \
               "%92,%93,%94,%95,%96,%97,%98,%99,%100,%101,%102,%103,%104,%105,%106,%107,%108,%109,%110,%111,%112,%113,%114,%115,%116,"     \
               "%117,%118,%119,%120,%121,%122,%123,%124,%125,%126,%127}, %128, %129, p, 1, 1" more "; }"                             \
               : F128                                                                                                                \
               : "l"(describe(a, ROWS * 16)), "l"(describe(b, GROUP_N * 16)))
// d += a b^T for 64 of the ROWS rows of a's tile and 256 rows of b's, over 32 bytes along k. Each of four warps has 16 rows. Nothing may
// touch d before it is waited for.
template <Rounding R, int ROWS> __device__ __forceinline__ void group_mma(float (&d)[GROUP_SUMS], const unsigned char* a, const unsigned char* b) {
  if (R == TF32) GROUP_MMA("m64n256k8", "tf32.tf32", "");
  else if (R == F16) GROUP_MMA("m64n256k16", "f16.f16", ", 0, 0");
  else GROUP_MMA("m64n256k16", "bf16.bf16", ", 0, 0");
}
// Waits until at most so many groups of products are under way; with none left, d may be read.
template <Rounding R, int ROWS, int PENDING> __device__ __forceinline__ void group_wait(float (&d)[GROUP_SUMS]) {
  if (PENDING) asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(PENDING) : "memory");
  else asm volatile("wgmma.wait_group.sync.aligned %128;" : F128 : "n"(PENDING) : "memory");
}

#endif
