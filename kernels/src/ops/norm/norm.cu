// Batch normalisation at inference and in training, on x [n, c, plane]. Formulas and names are those of kernels/src/norm.
//
// Statistics are sums over a channel: a block for each, whose threads' sums are added in one order. Loses when there are few channels of
// many pixels: most of the device then waits for a few blocks.
#include "common.cuh"

struct Norm {
  int n, c, plane;
};

// Calls f(i) for each element of this block's channel.
template <class F> __device__ __forceinline__ void each(const Norm& s, F f) {
  for (int e = threadIdx.x; e < s.n * s.plane; e += blockDim.x) f((e / s.plane * s.c + blockIdx.x) * s.plane + e % s.plane);
}

__device__ __forceinline__ float inverse_std(float var, float eps) { return 1.f / sqrtf(var + eps); }

KERNEL norm_infer(Norm s, const float* x, const float* gamma, const float* beta, const float* mean, const float* var, float* out, float eps,
                  int add) {
  int i = thread();
  if (i >= s.n * s.c * s.plane) return;
  int c = i / s.plane % s.c;
  put(&out[i], (x[i] - mean[c]) * (gamma[c] * inverse_std(var[c], eps)) + beta[c], add);
}

KERNEL norm_infer_dgrad(Norm s, const float* dout, const float* gamma, const float* var, float* dx, float eps, int add) {
  int i = thread();
  if (i >= s.n * s.c * s.plane) return;
  int c = i / s.plane % s.c;
  put(&dx[i], dout[i] * (gamma[c] * inverse_std(var[c], eps)), add);
}

KERNEL norm_params(Norm s, const float* dout, const float* x, const float* mean, const float* var, float* dgamma, float* dbeta, float eps,
                   int add) {
  __shared__ float part[8];
  int c = blockIdx.x;
  float products = 0.f, sum = 0.f;
  each(s, [&](int i) {
    products = fmaf(x[i] - mean[c], dout[i], products);
    sum += dout[i];
  });
  products = block_sum(products, part);
  sum = block_sum(sum, part);
  if (threadIdx.x == 0) {
    put(&dgamma[c], products * inverse_std(var[c], eps), add);
    put(&dbeta[c], sum, add);
  }
}

// Forward and backward must round alike, for backward knows from it where the ReLU was open.
__device__ __forceinline__ float normalised(float x, float gamma, float beta, float mean, float var, float eps) {
  return fmaf(x - mean, gamma * inverse_std(var, eps), beta);
}

// Mean and variance in two passes: the one-pass formula cancels.
KERNEL norm_train(Norm s, const float* x, const float* gamma, const float* beta, const float* residual, float* out, float* mean, float* var,
                  float eps, int relu) {
  __shared__ float part[8];
  int c = blockIdx.x;
  float count = (float)(s.n * s.plane), sum = 0.f, squares = 0.f;
  each(s, [&](int i) { sum += x[i]; });
  float centre = block_sum(sum, part) / count;
  each(s, [&](int i) { squares = fmaf(x[i] - centre, x[i] - centre, squares); });
  float spread = block_sum(squares, part) / count;
  if (threadIdx.x == 0) {
    mean[c] = centre;
    var[c] = spread;
  }
  each(s, [&](int i) {
    float v = normalised(x[i], gamma[c], beta[c], centre, spread, eps);
    if (residual) v += residual[i];
    out[i] = relu && v < 0.f ? 0.f : v;  // NaN stays NaN.
  });
}

// `out` is null where the ReLU's argument is the batch-norm alone, which is computed again; `dresidual` is null without one.
KERNEL norm_train_bwd(Norm s, const float* dout, const float* x, const float* gamma, const float* beta, const float* mean, const float* var,
                      const float* out, float* dx, float* dgamma, float* dbeta, float* dresidual, float eps, int relu) {
  __shared__ float part[8];
  int c = blockIdx.x;
  float centre = mean[c], spread = var[c], inverse = inverse_std(spread, eps), count = (float)(s.n * s.plane);
  auto gated = [&](int i) {
    if (!relu) return dout[i];
    float value = out ? out[i] : normalised(x[i], gamma[c], beta[c], centre, spread, eps);
    return value > 0.f ? dout[i] : 0.f;  // NaN shuts it.
  };
  float products = 0.f, sum = 0.f;
  each(s, [&](int i) {
    float d = gated(i);
    products = fmaf(x[i] - centre, d, products);
    sum += d;
  });
  products = block_sum(products, part) * inverse;
  sum = block_sum(sum, part);
  if (threadIdx.x == 0) {
    dgamma[c] = products;
    dbeta[c] = sum;
  }
  // dx = gamma/std * (dout - dbeta/N - xhat * dgamma/N), because mean and variance depend on x too.
  float mean_d = sum / count, slope = inverse * products / count, scale = gamma[c] * inverse;
  each(s, [&](int i) {
    float d = gated(i);
    dx[i] = scale * (d - mean_d - (x[i] - centre) * slope);
    if (dresidual) dresidual[i] = d;
  });
}

// The running statistics: a moving average of those of the batches.
KERNEL norm_running(const float* old, const float* batch, float* out, int len, float keep, float rate) {
  int i = thread();
  if (i < len) out[i] = keep * old[i] + rate * batch[i];
}
