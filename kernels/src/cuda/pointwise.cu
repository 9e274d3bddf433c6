// Element by element: activations, sums and products, dropout. One thread an element; bound by memory, so there is one rung.
#include "common.cuh"

// Numbers of the functions and rules, as the launcher counts them.
enum { RELU, RELU6, LEAKY_RELU, SIGMOID, SCALE, SOFTPLUS };
enum { PLAIN, GUIDED, DECONV };

// Comparisons are written so that NaN stays NaN.
__device__ __forceinline__ float value_of(int op, float a, float x) {
  switch (op) {
    case RELU: return x < 0.f ? 0.f : x;
    case RELU6: return x < 0.f ? 0.f : x > 6.f ? 6.f : x;
    case LEAKY_RELU: return x < 0.f ? a * x : x;
    case SIGMOID: return 1.f / (1.f + expf(-x));
    case SOFTPLUS: return fmaxf(x, 0.f) + log1pf(expf(-fabsf(x)));
    default: return a * x;
  }
}

// Gradient at value y.
__device__ __forceinline__ float gradient_of(int op, int rule, float a, float y, float dout) {
  switch (op) {
    case RELU:
    case RELU6: {
      bool active = y > 0.f && (op == RELU || y < 6.f);
      bool open = rule == PLAIN ? active : rule == GUIDED ? active && dout > 0.f : dout > 0.f;
      return open ? dout : 0.f;
    }
    case LEAKY_RELU: return y > 0.f ? dout : a * dout;
    case SIGMOID: return dout * y * (1.f - y);
    case SOFTPLUS: return dout * -expm1f(-y);
    default: return a * dout;
  }
}

KERNEL unary_fwd(const float* x, float* out, int len, int op, float a, int add) {
  int i = thread();
  if (i < len) put(&out[i], value_of(op, a, x[i]), add);
}

KERNEL unary_bwd(const float* y, const float* dout, float* dx, int len, int op, int rule, float a, int add) {
  int i = thread();
  if (i < len) put(&dx[i], gradient_of(op, rule, a, y[i], dout[i]), add);
}

KERNEL binary(const float* x, const float* y, float* out, int len, int product, int add) {
  int i = thread();
  if (i < len) put(&out[i], product ? x[i] * y[i] : x[i] + y[i], add);
}

// The host's Philox4x32-10 (kernels/src/random.rs): number i is word i % 4 of counter i / 4.
__device__ __forceinline__ unsigned philox(unsigned long long seed, unsigned long long counter, int word) {
  unsigned k0 = (unsigned)seed, k1 = (unsigned)(seed >> 32);
  unsigned c0 = (unsigned)counter, c1 = (unsigned)(counter >> 32), c2 = 0, c3 = 0;
  for (int round = 0; round < 10; round++) {
    unsigned long long p0 = 0xD2511F53ull * c0, p1 = 0xCD9E8D57ull * c2;
    c0 = (unsigned)(p1 >> 32) ^ c1 ^ k0;
    c1 = (unsigned)p1;
    c2 = (unsigned)(p0 >> 32) ^ c3 ^ k1;
    c3 = (unsigned)p0;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return word == 0 ? c0 : word == 1 ? c1 : word == 2 ? c2 : c3;
}

// `below` is the first of 2^24 equal steps that is kept.
KERNEL dropout(const float* x, float* out, int len, unsigned long long seed, int below, float keep, int add) {
  int i = thread();
  if (i >= len) return;
  bool zero = (int)(philox(seed, i / 4, i % 4) >> 8) < below;
  put(&out[i], zero ? 0.f : x[i] * keep, add);
}
