// Softmax and log-softmax: over the rows of a matrix, a block for each; over the channels of each pixel, a thread for each.
#include "common.cuh"

KERNEL softmax_fwd(const float* x, float* out, int cols, int log, int add) {
  __shared__ float part[8];
  x += blockIdx.x * cols;
  out += blockIdx.x * cols;
  // The largest is subtracted so that no exponential overflows.
  float max = __uint_as_float(0xff800000u), sum = 0.f;
  for (int i = threadIdx.x; i < cols; i += blockDim.x) max = fmaxf(max, x[i]);
  max = block_max(max, part);
  for (int i = threadIdx.x; i < cols; i += blockDim.x) sum += expf(x[i] - max);
  sum = block_sum(sum, part);
  float log_sum = logf(sum);
  for (int i = threadIdx.x; i < cols; i += blockDim.x) put(&out[i], log ? x[i] - max - log_sum : expf(x[i] - max) / sum, add);
}

// softmax: dx = y (dout - sum(y dout));  log-softmax: dx = dout - exp(y) sum(dout)
KERNEL softmax_bwd(const float* y, const float* dout, float* dx, int cols, int log, int add) {
  __shared__ float part[8];
  y += blockIdx.x * cols;
  dout += blockIdx.x * cols;
  dx += blockIdx.x * cols;
  float sum = 0.f;
  for (int i = threadIdx.x; i < cols; i += blockDim.x) sum += log ? dout[i] : y[i] * dout[i];
  sum = block_sum(sum, part);
  for (int i = threadIdx.x; i < cols; i += blockDim.x) put(&dx[i], log ? dout[i] - expf(y[i]) * sum : y[i] * (dout[i] - sum), add);
}

// x [rows,cols,inner]: neighbouring threads read neighbouring pixels.
KERNEL softmax_pixels_fwd(const float* x, float* out, int pixels, int cols, int inner, int log, int add) {
  int i = thread();
  if (i >= pixels) return;
  int first = i / inner * cols * inner + i % inner;
  x += first;
  out += first;
  float max = __uint_as_float(0xff800000u), sum = 0.f;
  for (int c = 0; c < cols; c++) max = fmaxf(max, x[c * inner]);
  for (int c = 0; c < cols; c++) sum += expf(x[c * inner] - max);
  float log_sum = logf(sum);
  for (int c = 0; c < cols; c++) put(&out[c * inner], log ? x[c * inner] - max - log_sum : expf(x[c * inner] - max) / sum, add);
}

KERNEL softmax_pixels_bwd(const float* y, const float* dout, float* dx, int pixels, int cols, int inner, int log, int add) {
  int i = thread();
  if (i >= pixels) return;
  int first = i / inner * cols * inner + i % inner;
  y += first;
  dout += first;
  dx += first;
  float sum = 0.f;
  for (int c = 0; c < cols; c++) sum += log ? dout[c * inner] : y[c * inner] * dout[c * inner];
  for (int c = 0; c < cols; c++) {
    float d = dout[c * inner], v = y[c * inner];
    put(&dx[c * inner], log ? d - expf(v) * sum : v * (d - sum), add);
  }
}
