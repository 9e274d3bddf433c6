// One step of an optimiser on one parameter: one thread a number. Formulas and names are those of kernels/src/ops/optim.
#include "common.cuh"

// Factor on gradients whose sum of squares, a number and its rounding error, is given: their norm is `most` at most. A norm that is no
// number leaves them as they are.
__device__ __forceinline__ float factor(const float* squares, float most) {
  if (!squares) return 1.f;
  float norm = sqrtf(squares[0] + squares[1]);
  return norm > most ? most / norm : 1.f;
}

KERNEL step_sgd(const float* w, const float* g, const float* v, float* w2, float* v2, const float* squares, float most, int len, float lr,
                float momentum, float weight_decay, int nesterov) {
  int i = thread();
  if (i >= len) return;
  float d = factor(squares, most) * g[i] + weight_decay * w[i], velocity = momentum * v[i] + d;
  v2[i] = velocity;
  w2[i] = w[i] - lr * (nesterov ? d + momentum * velocity : velocity);
}

// `keep` is what decoupled decay leaves of a weight; `rate` and `root` hold the corrections of this step.
KERNEL step_adam(const float* w, const float* g, const float* m, const float* v, float* w2, float* m2, float* v2, const float* squares,
                 float most, int len, float beta1, float rest1, float beta2, float rest2, float eps, float weight_decay, float keep, float rate, float root) {
  int i = thread();
  if (i >= len) return;
  float d = factor(squares, most) * g[i] + weight_decay * w[i];
  float first = beta1 * m[i] + rest1 * d, second = beta2 * v[i] + rest2 * d * d;
  m2[i] = first;
  v2[i] = second;
  w2[i] = w[i] * keep - rate * first / (sqrtf(second) / root + eps);
}

KERNEL step_rmsprop(const float* w, const float* g, const float* s, float* w2, float* s2, const float* squares, float most, int len,
                    float lr, float alpha, float rest, float eps, float weight_decay) {
  int i = thread();
  if (i >= len) return;
  float d = factor(squares, most) * g[i] + weight_decay * w[i], square = alpha * s[i] + rest * d * d;
  s2[i] = square;
  w2[i] = w[i] - lr * d / (sqrtf(square) + eps);
}

// The moving average of a parameter. What does not change stays to the bit.
KERNEL step_ema(const float* average, const float* w, float* out, int len, float rate) {
  int i = thread();
  if (i < len) out[i] = average[i] + rate * (w[i] - average[i]);
}
