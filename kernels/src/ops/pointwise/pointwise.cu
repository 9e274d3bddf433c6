// Element by element: activations, sums and products, dropout. One thread an element; bound by memory, so there is one variant.
#include "common.cuh"

// Numbers of the functions and rules, as the launcher counts them.
enum {
  RELU, RELU6, LEAKY_RELU, SIGMOID, AFFINE, SOFTPLUS, TANH, ELU, SILU, GELU, GELU_TANH, MISH, HARD_SIGMOID, HARD_SWISH, SOFTSIGN,
  CLIP, THRESHOLD, EXP
};
enum { PLAIN, GUIDED, DECONV };

// Comparisons are written so that NaN stays NaN.
__device__ __forceinline__ float clip(float x, float low, float high) { return x < low ? low : x > high ? high : x; }
__device__ __forceinline__ float sigmoid(float x) { return 1.f / (1.f + expf(-x)); }
__device__ __forceinline__ float softplus(float x) { return fmaxf(x, 0.f) + log1pf(expf(-fabsf(x))); }
// The share of a standard normal distribution below x; by the formula with tanh, whose slope is left in `slope`.
__device__ __forceinline__ float normal(float x) { return 0.5f * (1.f + erff(x * 0.70710678118654752f)); }
__device__ __forceinline__ float normal_by_tanh(float x, float& slope) {
  const float outer = 0.79788456080286536f, inner = 0.044715f;
  float t = tanhf(outer * x * (1.f + inner * x * x));
  slope = 0.5f * (1.f - t * t) * outer * (1.f + 3.f * inner * x * x);
  return 0.5f * (1.f + t);
}

__device__ __forceinline__ float value_of(int op, float a, float b, float x) {
  float slope;
  switch (op) {
    case RELU: return x < 0.f ? 0.f : x;
    case RELU6: return clip(x, 0.f, 6.f);
    case LEAKY_RELU: return x < 0.f ? a * x : x;
    case SIGMOID: return sigmoid(x);
    case SOFTPLUS: return softplus(x);
    case TANH: return tanhf(x);
    case ELU: return b * (x < 0.f ? a * expm1f(x) : x);
    case SILU: return x * sigmoid(x);
    case GELU: return x * normal(x);
    case GELU_TANH: return x * normal_by_tanh(x, slope);
    case MISH: return x * tanhf(softplus(x));
    case HARD_SIGMOID: return clip(a * x + b, 0.f, 1.f);
    case HARD_SWISH: return x * clip(x + 3.f, 0.f, 6.f) / 6.f;
    case SOFTSIGN: return x / (1.f + fabsf(x));
    case CLIP: return clip(x, a, b);
    case THRESHOLD: return x <= a ? 0.f : x;
    case EXP: return expf(x);
    default: return a * x + b;
  }
}

// Gradient at value y or argument x: one of the two is given, as the host's Unary::gradient_reads says.
__device__ __forceinline__ float gradient_of(int op, int rule, float a, float b, float read, float dout) {
  float x = read, y = read;
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
    case TANH: return dout * (1.f - y * y);
    case ELU: return dout * (y > 0.f ? b : y + a * b);
    case SILU: {
      float s = sigmoid(x);
      return dout * s * (1.f + x * (1.f - s));
    }
    case GELU: return dout * (normal(x) + x * expf(x * x * -0.5f) * 0.39894228040143268f);
    case GELU_TANH: {
      float slope, value = normal_by_tanh(x, slope);
      return dout * (value + x * slope);
    }
    case MISH: {
      float t = tanhf(softplus(x));
      return dout * (t + x * (1.f - t * t) * sigmoid(x));
    }
    case HARD_SIGMOID: return y > 0.f && y < 1.f ? a * dout : 0.f;
    case HARD_SWISH: return x <= -3.f ? 0.f : x >= 3.f ? dout : dout * (x + x + 3.f) / 6.f;
    case SOFTSIGN: {
      float rest = 1.f - fabsf(y);
      return dout * rest * rest;
    }
    case CLIP: return y > a && y < b ? dout : 0.f;
    case THRESHOLD: return x > a ? dout : 0.f;
    case EXP: return dout * y;
    default: return a * dout;
  }
}

KERNEL unary_fwd(const float* x, float* out, int len, int op, float a, float b, int add) {
  int i = thread();
  if (i < len) put(&out[i], value_of(op, a, b, x[i]), add);
}

KERNEL unary_bwd(const float* read, const float* dout, float* dx, int len, int op, int rule, float a, float b, int add) {
  int i = thread();
  if (i < len) put(&dx[i], gradient_of(op, rule, a, b, read[i], dout[i]), add);
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
