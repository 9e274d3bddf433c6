// The three convolutions as products of matrices that are never written down: operands for product.cuh and tensor.cuh.
//
//             rows i               rows j                  steps k
//   fwd       output channels      output pixels           input channel, ky, kx      a: weight   b: input
//   dgrad     input channels       pixels of a phase       output channel, ky, kx    a: weight   b: gradient
//   wgrad     output channels      input channel, ky, kx   output pixels              a: gradient b: input
//
// Pixels count through all images; channels are those of one group, and blockIdx.z counts groups. The input gradient of a strided
// convolution is a product for each stride phase, with some of the kernel's taps, see Phase; a stride of 1 has one phase.
#pragma once
#include "conv2d/cuda/problem.cuh"
#include "product.cuh"

// Far outside of any image, whatever is added to it once.
#define OUTSIDE (-(1 << 30))

// A pixel of an image stack: offset in elements, row and column.
struct Position {
  int base, y, x;
};

// The input under the kernel: rows are output pixels, steps are channels and taps.
struct Patches {
  typedef Position Row;
  typedef Position Step;
  Conv s;
  const float* x;  // first channel of the group
  __device__ __forceinline__ bool along_k() const { return false; }
  __device__ __forceinline__ Position row(int j) const {
    if (j >= s.n * s.plane()) return Position{0, OUTSIDE, 0};
    int n = j / s.plane(), p = j % s.plane();
    int y = p / s.ow * s.sh - s.pt, x = p % s.ow * s.sw - s.pl;
    return Position{n * s.c * s.h * s.w + y * s.w + x, y, x};
  }
  __device__ __forceinline__ Position step(int k, int end) const {
    if (k >= end) return Position{0, OUTSIDE, 0};
    int c = k / (s.kh * s.kw), r = k % (s.kh * s.kw);
    int y = r / s.kw * s.dh, x = r % s.kw * s.dw;
    return Position{c * s.h * s.w + y * s.w + x, y, x};
  }
  __device__ __forceinline__ const float* at(const Position& row, const Position& step) const {
    int yy = row.y + step.y, xx = row.x + step.x;
    return (unsigned)yy < (unsigned)s.h && (unsigned)xx < (unsigned)s.w ? x + (row.base + step.base) : nullptr;
  }
};

// The transpose of Patches, for the weight gradient.
struct TurnedPatches {
  typedef Position Row;
  typedef Position Step;
  Patches of;
  __device__ __forceinline__ bool along_k() const { return true; }
  __device__ __forceinline__ Position row(int j) const { return of.step(j, of.s.patch()); }
  __device__ __forceinline__ Position step(int k, int end) const { return k < end ? of.row(k) : Position{0, OUTSIDE, 0}; }
  __device__ __forceinline__ const float* at(const Position& row, const Position& step) const { return of.at(step, row); }
};

// The pixels along an axis at one distance, modulo the stride, from the padding's start: a stride phase. The same taps reach all of them.
// Tap `k0 + a * every` sees pixel `first + i * stride` from output pixel `above + i - a * back`.
struct Phase {
  int first, stride, pixels, k0, every, taps, above, back;
  __device__ __forceinline__ Phase(int phase, int size, int kernel, int by, int dilation, int before) {
    first = phase;
    stride = by;
    pixels = first < size ? (size - first + stride - 1) / stride : 0;
    every = 1;
    while (every * dilation % stride) every++;
    k0 = 0;
    while (k0 < kernel && (first + before - k0 * dilation) % stride) k0++;
    taps = (kernel - k0 + every - 1) / every;
    above = (first + before - k0 * dilation) / stride;
    back = every * dilation / stride;
  }
};

// The output's gradient above an input pixel: rows are input pixels of a phase, steps are output channels and taps.
struct Gradients {
  typedef Position Row;
  typedef Position Step;
  Conv s;
  const float* dout;  // first output channel of the group
  Phase y, x;
  __device__ __forceinline__ bool along_k() const { return false; }
  __device__ __forceinline__ Position row(int j) const {
    int pixels = y.pixels * x.pixels;
    if (j >= s.n * pixels) return Position{0, OUTSIDE, 0};
    int n = j / pixels, p = j % pixels, yy = y.above + p / x.pixels, xx = x.above + p % x.pixels;
    return Position{n * s.oc * s.plane() + yy * s.ow + xx, yy, xx};
  }
  __device__ __forceinline__ Position step(int k, int end) const {
    if (k >= end) return Position{0, OUTSIDE, 0};
    int taps = y.taps * x.taps, r = k % taps, yy = r / x.taps * y.back, xx = r % x.taps * x.back;
    return Position{k / taps * s.plane() - (yy * s.ow + xx), -yy, -xx};
  }
  __device__ __forceinline__ const float* at(const Position& row, const Position& step) const {
    int yy = row.y + step.y, xx = row.x + step.x;
    return (unsigned)yy < (unsigned)s.oh && (unsigned)xx < (unsigned)s.ow ? dout + (row.base + step.base) : nullptr;
  }
};

// The transposed weight, for dgrad: rows are input channels, steps are output channels and taps.
struct TurnedWeight {
  typedef int Row;
  typedef int Step;
  Conv s;
  const float* w;  // first output channel of the group
  Phase y, x;
  __device__ __forceinline__ bool along_k() const { return true; }
  __device__ __forceinline__ int row(int i) const { return i < s.cg() ? i * s.kh * s.kw : -1; }
  __device__ __forceinline__ int step(int k, int end) const {
    if (k >= end) return -1;
    int taps = y.taps * x.taps, r = k % taps;
    return k / taps * s.patch() + (y.k0 + r / x.taps * y.every) * s.kw + x.k0 + r % x.taps * x.every;
  }
  __device__ __forceinline__ const float* at(int row, int step) const { return row < 0 || step < 0 ? nullptr : w + row + step; }
};

// The gradient of wgrad: rows are output channels, steps are output pixels.
struct Channels {
  typedef int Row;
  typedef int Step;
  Conv s;
  const float* dout;  // first output channel of the group
  __device__ __forceinline__ bool along_k() const { return true; }
  __device__ __forceinline__ int row(int i) const { return i < s.og() ? i * s.plane() : -1; }
  __device__ __forceinline__ int step(int k, int end) const {
    return k < end ? k / s.plane() * s.oc * s.plane() + k % s.plane() : -1;
  }
  __device__ __forceinline__ const float* at(int row, int step) const { return row < 0 || step < 0 ? nullptr : dout + row + step; }
};

// Where results go.
struct StoreOut {
  Conv s;
  float* out;
  const float *bias, *residual;
  int first, relu;  // first output channel of the group
  __device__ __forceinline__ void put(int i, int j, float v) const {
    int channel = first + i, at = (j / s.plane() * s.oc + channel) * s.plane() + j % s.plane();
    out[at] = finish(v, bias, residual, channel, at, relu);
  }
};
struct StoreImage {
  Conv s;
  float* dx;
  int first, add;  // first input channel of the group
  Phase y, x;
  __device__ __forceinline__ void put(int i, int j, float v) const {
    int pixels = y.pixels * x.pixels, p = j % pixels;
    int yy = y.first + p / x.pixels * y.stride, xx = x.first + p % x.pixels * x.stride;
    ::put(&dx[((j / pixels * s.c + first + i) * s.h + yy) * s.w + xx], v, add);
  }
};
struct StoreWeight {
  float* dw;
  int patch, add;
  __device__ __forceinline__ void put(int i, int j, float v) const { ::put(&dw[i * patch + j], v, add); }
};

// One kernel of each direction, for a product of M x N tiles: MEMORY(A, B) declares the shared `memory` of its operands, and it is
// PRODUCT(memory, a, b, c, i0, j0, m, n, begin, end).
#define CONV_FWD_ARGS Conv s, const float *x, const float *w, const float *bias, const float *residual, float *out, int relu
#define CONV_FWD(MEMORY, PRODUCT, M, N)                                                                              \
  MEMORY(Matrix, Patches);                                                                                           \
  int group = blockIdx.z;                                                                                            \
  Matrix a = {w + group * s.og() * s.patch(), s.og(), s.patch(), 1};                                                 \
  Patches b = {s, x + group * s.cg() * s.h * s.w};                                                                   \
  StoreOut c = {s, out, bias, residual, group * s.og(), relu};                                                       \
  PRODUCT(memory, a, b, c, blockIdx.y * M, blockIdx.x * N, s.og(), s.n * s.plane(), 0, s.patch())

#define CONV_DGRAD_ARGS Conv s, const float *dout, const float *w, float *dx, int add
// A product for each stride phase.
#define CONV_DGRAD(MEMORY, PRODUCT, M, N)                                                                            \
  MEMORY(TurnedWeight, Gradients);                                                                                   \
  int group = blockIdx.z / (s.sh * s.sw), phase = blockIdx.z % (s.sh * s.sw);                                        \
  Phase y(phase / s.sw, s.h, s.kh, s.sh, s.dh, s.pt), x(phase % s.sw, s.w, s.kw, s.sw, s.dw, s.pl);                  \
  int pixels = s.n * y.pixels * x.pixels;                                                                            \
  if ((int)blockIdx.x * N >= pixels) return;                                                                         \
  TurnedWeight a = {s, w + group * s.og() * s.patch(), y, x};                                                        \
  Gradients b = {s, dout + group * s.og() * s.plane(), y, x};                                                        \
  StoreImage c = {s, dx, group * s.cg(), add, y, x};                                                                 \
  PRODUCT(memory, a, b, c, blockIdx.y * M, blockIdx.x * N, s.cg(), pixels, 0, s.og() * y.taps * x.taps)

// The pixels are cut into `splits` ranges of `chunk` pixels; split p of a group writes its own dw, `stride` elements after that of split p - 1.
#define CONV_WGRAD_ARGS Conv s, const float *dout, const float *x, float *dw, int splits, int chunk, int stride, int add
#define CONV_WGRAD(MEMORY, PRODUCT, M, N)                                                                            \
  MEMORY(Channels, TurnedPatches);                                                                                   \
  int group = blockIdx.z / splits, split = blockIdx.z % splits;                                                      \
  Channels a = {s, dout + group * s.og() * s.plane()};                                                               \
  TurnedPatches b = {Patches{s, x + group * s.cg() * s.h * s.w}};                                                    \
  StoreWeight c = {dw + split * stride + group * s.og() * s.patch(), s.patch(), add};                                \
  int begin = split * chunk, all = s.n * s.plane();                                                                  \
  PRODUCT(memory, a, b, c, blockIdx.y * M, blockIdx.x * N, s.og(), s.patch(), begin, min(begin + chunk, all))
