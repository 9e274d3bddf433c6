// Softmax and log-softmax over the rows of a matrix: a block for each row.
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
