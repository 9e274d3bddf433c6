// Hopper's own instructions (sm_90a) in small functions, each with a twin for the host: products of a group of four warps on operands in
// shared memory (wgmma), copies of whole blocks of memory (bulk copies), and the barriers on which they are waited for (mbarrier).
//
// An operand lies in shared memory as core matrices: 8 rows of 16 bytes along k, one after the other. Neighbours along rows follow each
// other; those along k have a stride of a tile's rows: 16 bytes of row r lie at `(k16 * rows + r) * 16`. Both operands are K-major, the only order
// that TF32 has; nothing is swizzled, for eight rows of 16 bytes are all banks once.
//
// What says so: sections of "Asynchronous Warpgroup Level Matrix Instructions" of the PTX ISA, named where they settle something.
#pragma once
#include "mma.cuh"

// Bytes along k of one product, 16 halves or 8 numbers of TF32, and columns of it.
#define GROUP_K 32
#define GROUP_N 256
// Numbers of it that a thread holds: of row 16 w + g (w the warp of four, lane 4 g + t) columns 8 j + 2t, 8 j + 2t + 1, then of row + 8.
#define GROUP_SUMS (GROUP_N / 2)

// 16 bytes along k of a row of an operand.
struct __align__(16) Unit {
  unsigned words[4];
};
// Numbers of a unit.
template <Rounding R> __device__ __forceinline__ constexpr int unit_numbers() { return R == TF32 ? 4 : 8; }
// One of the numbers at(0), at(1), ..., rounded to the nearest: wgmma itself would cut TF32 off.
template <Rounding R, class At> __device__ __forceinline__ Unit unit_of(const At& at) {
  float v[unit_numbers<R>()];
#pragma unroll
  for (int q = 0; q < unit_numbers<R>(); q++) v[q] = at(q);
  Unit unit;
#pragma unroll
  for (int w = 0; w < 4; w++) {
    if constexpr (R == TF32) unit.words[w] = to_tf32(v[w]);
    else unit.words[w] = pack<R>(v[2 * w], v[2 * w + 1]);
  }
  return unit;
}

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

// A write is seen by products only after the fence.
static std::vector<std::pair<Unit*, Unit>> emu_units[1024];
static inline void put_unit(Unit* shared, Unit unit) { emu_units[emu_thread()].push_back({shared, unit}); }
static inline void units_are_put() {
  for (auto& [to, unit] : emu_units[emu_thread()]) *to = unit;
  emu_units[emu_thread()].clear();
}

// Shared memory begins somewhere above zero, at an address as aligned as it is declared to be and no more.
static const unsigned emu_shared_begin = 1024 + 128;
static inline unsigned shared_address(const void* p) { return (unsigned)((const unsigned char*)p - emu_dynamic) + emu_shared_begin; }

// The 16 bytes from byte `16 unit` along k of a row, of a K-major operand that a descriptor describes. Swizzling exchanges units of 16
// bytes: the bits of the address from 4 on with those from 7 on, as many as the width has. Null where the hardware defines nothing.
static inline const unsigned char* emu_operand(unsigned long long descriptor, int row, int unit) {
  auto field = [&](int first, int bits) { return (unsigned)(descriptor >> first & ((1u << bits) - 1)); };
  unsigned start = field(0, 14) << 4, leading = field(16, 14) << 4, stride = field(32, 14) << 4, mode = field(62, 2);
  unsigned unused = field(14, 2) | field(30, 2) | field(46, 3) | field(52, 10), base = field(49, 3);
  unsigned width = mode ? 256 >> mode : 16, address;
  // A pattern repeats after eight rows; one that begins elsewhere would want a base offset, which none of ours has.
  if (unused || base || (mode && start / 128 % 8 * 128 % (8 * width))) return nullptr;
  if (mode == 0) address = start + row / 8 * stride + unit * leading + row % 8 * 16;
  else {
    address = start + row / 8 * stride + row % 8 * width + unit * 16;
    address ^= (address >> 7 & (width / 16 - 1)) << 4;
  }
  if (address < emu_shared_begin || address + 16 - emu_shared_begin > emu_current()->shared) return nullptr;
  return emu_dynamic + (address - emu_shared_begin);
}
// The numbers of a row, GROUP_K bytes of it.
template <Rounding R, class Put> static inline void emu_row(unsigned long long descriptor, int row, const Put& put) {
  const int each = 16 / (R == TF32 ? 4 : 2);
  for (int unit = 0; unit < GROUP_K / 16; unit++) {
    const unsigned char* p = emu_operand(descriptor, row, unit);
    for (int i = 0; i < each; i++) {
      float v = NAN;
      // TF32 is what is left of f32 without its last 13 bits.
      if (p && R == TF32) v = __uint_as_float(((const unsigned*)p)[i] & ~0x1fffu);
      if (p && R == F16) v = emu_from_half(((const unsigned short*)p)[i]);
      if (p && R == BF16) v = __uint_as_float(((const unsigned short*)p)[i] << 16);
      put(unit * each + i, v);
    }
  }
}

// Products are done when they are waited for.
struct EmuProduct {
  float* d;
  unsigned long long a, b;
};
static std::vector<std::vector<EmuProduct>> emu_products[1024];
static inline void group_begin() {
  if (emu_products[emu_thread()].empty()) emu_products[emu_thread()].push_back({});
}
static inline void group_commit() { emu_products[emu_thread()].push_back({}); }
template <Rounding R> static inline void group_mma(float (&d)[GROUP_SUMS], unsigned long long a, unsigned long long b) {
  emu_products[emu_thread()].back().push_back({d, a, b});
}
template <Rounding R, int PENDING> static inline void group_wait(float (&)[GROUP_SUMS]) {
  auto& groups = emu_products[emu_thread()];
  int warp = emu_thread() / 32 % 4, g = emu_lane() / 4, t = emu_lane() % 4;
  const int count = GROUP_K / (R == TF32 ? 4 : 2);
  while ((int)groups.size() > PENDING + 1) {
    for (auto& p : groups.front()) {
      // Columns of the thread follow each other, so that the compiler makes vectors of them.
      float a[2][count], b[count][GROUP_N / 4], d[2][GROUP_N / 4];
      for (int half = 0; half < 2; half++) emu_row<R>(p.a, 16 * warp + g + 8 * half, [&](int i, float v) { a[half][i] = v; });
      for (int c = 0; c < GROUP_N / 4; c++) emu_row<R>(p.b, c / 2 * 8 + 2 * t + c % 2, [&](int i, float v) { b[i][c] = v; });
      for (int half = 0; half < 2; half++)
        for (int c = 0; c < GROUP_N / 4; c++) d[half][c] = p.d[c / 2 * 4 + c % 2 + 2 * half];
      for (int i = 0; i < count; i++)
        for (int half = 0; half < 2; half++)
          for (int c = 0; c < GROUP_N / 4; c++) d[half][c] = fmaf(a[half][i], b[i][c], d[half][c]);
      for (int half = 0; half < 2; half++)
        for (int c = 0; c < GROUP_N / 4; c++) p.d[c / 2 * 4 + c % 2 + 2 * half] = d[half][c];
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
// After the last one, by the same thread; others may use them after __syncthreads(). Bulk copies, which this thread may ask for at once, see
// barriers through the async proxy: "Async proxy" wants a proxy fence between that and what the generic proxy wrote.
__device__ __forceinline__ void barriers_are_made() {
  asm volatile("fence.mbarrier_init.release.cluster; fence.proxy.async.shared::cta;" ::: "memory");
}
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

// Writes a unit of an operand; products see it after units_are_put() by the thread that wrote, and a barrier.
__device__ __forceinline__ void put_unit(Unit* shared, Unit unit) { *shared = unit; }
// wgmma reads shared memory through the async proxy: "wgmma.mma_async" and "Async proxy" want this between it and ordinary stores.
__device__ __forceinline__ void units_are_put() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

// "Register Fragments and Shared Memory Matrix Layouts" and "wgmma.fence": before the first product, and after registers were written.
// Before the products of a group: registers are ready.
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
               : "l"(a), "l"(b))
// d += a b^T for 64 rows of a and 256 of b, which are described, over 32 bytes along k. Each of four warps has 16 rows. Nothing may touch d
// before it is waited for. The last numbers: neither operand is negated, and (halves) neither is transposed, that is both are K-major.
template <Rounding R> __device__ __forceinline__ void group_mma(float (&d)[GROUP_SUMS], unsigned long long a, unsigned long long b) {
  if (R == TF32) GROUP_MMA("m64n256k8", "tf32.tf32", "");
  else if (R == F16) GROUP_MMA("m64n256k16", "f16.f16", ", 0, 0");
  else GROUP_MMA("m64n256k16", "bf16.bf16", ", 0, 0");
}
// Waits until at most so many groups of products are under way; with none left, d may be read.
template <Rounding R, int PENDING> __device__ __forceinline__ void group_wait(float (&d)[GROUP_SUMS]) {
  if (PENDING) asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(PENDING) : "memory");
  else asm volatile("wgmma.wait_group.sync.aligned %128;" : F128 : "n"(PENDING) : "memory");
}

#endif

// How an operand lies, "Matrix Descriptor Format": its address in bits 0-13, the leading byte offset (of K-major operands without swizzling the
// bytes between core matrices along k, "Leading dimension byte offset") in 16-29, the stride byte offset (between those along rows, 128) in
// 32-45, each without its last four bits; no base offset (49-51), for that is of swizzled patterns, and mode 0 (62-63), no swizzling.
__device__ __forceinline__ unsigned long long describe(const void* p, int along_k) {
  return (unsigned long long)(shared_address(p) >> 4 & 0x3fff) | (unsigned long long)(along_k >> 4) << 16 | (unsigned long long)(128 >> 4) << 32;
}

// Gives the sums of a block, whose groups of warps have 64 rows each, to c.put(i, j, value).
template <class C> __device__ __forceinline__ void put_group_sums(const float (&sums)[GROUP_SUMS], const C& c, int i0, int j0, int m, int n) {
  int i = i0 + threadIdx.x / 32 * 16 + threadIdx.x % 32 / 4, j = j0 + threadIdx.x % 4 * 2;
#pragma unroll
  for (int o = 0; o < GROUP_SUMS; o++) {
    int row = i + o / 2 % 2 * 8, col = j + o / 4 * 8 + o % 2;
    if (row < m && col < n) c.put(row, col, sums[o]);
  }
}
