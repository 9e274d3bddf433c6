// Sums over axes: out[b] (+)= scale * sum over a and c of x[a, b, c], and back. Bound by memory; sums are added in one order.
#include "common.cuh"

// A block for each b.
KERNEL reduce_rows(const float* x, float* out, int a, int b, int c, float scale, int add) {
  __shared__ float part[8];
  float sum = 0.f;
  for (int e = threadIdx.x; e < a * c; e += blockDim.x) sum += x[(e / c * b + blockIdx.x) * c + e % c];
  sum = block_sum(sum, part);
  if (threadIdx.x == 0) put(&out[blockIdx.x], sum * scale, add);
}

// c = 1, columns of a matrix [a, b]: a block for 32 of them, whose eight warps divide the rows.
KERNEL reduce_columns(const float* x, float* out, int a, int b, float scale, int add) {
  __shared__ float part[8][32];
  int lane = threadIdx.x % 32, warp = threadIdx.x / 32, column = blockIdx.x * 32 + lane;
  float sum = 0.f;
  if (column < b)
    for (int row = warp; row < a; row += 8) sum += x[row * b + column];
  part[warp][lane] = sum;
  __syncthreads();
  if (warp == 0 && column < b) {
    sum = 0.f;
    for (int w = 0; w < 8; w++) sum += part[w][lane];
    put(&out[column], sum * scale, add);
  }
}

// dx[a, b, c] (+)= scale * dout[b]
KERNEL reduce_bwd(const float* dout, float* dx, int len, int b, int c, float scale, int add) {
  int i = thread();
  if (i < len) put(&dx[i], dout[i / c % b] * scale, add);
}

// Sum of squares, in two kernels: the partial sum of each block, then their total.
KERNEL sum_squares_parts(const float* x, float* partials, int len) {
  __shared__ float part[8];
  float sum = 0.f;
  for (long long i = thread(); i < len; i += (long long)gridDim.x * blockDim.x) sum = fmaf(x[i], x[i], sum);
  sum = block_sum(sum, part);
  if (threadIdx.x == 0) partials[blockIdx.x] = sum;
}

// `out` is a number and its rounding error, and stays so when it is added to (Knuth, The Art of Computer Programming 2, 4.2.2).
KERNEL sum_squares(const float* partials, float* out, int count, int add) {
  __shared__ float part[8];
  float sum = 0.f;
  for (int i = threadIdx.x; i < count; i += blockDim.x) sum += partials[i];
  sum = block_sum(sum, part);
  if (threadIdx.x > 0) return;
  float old = add ? out[0] : 0.f, both = old + sum, taken = both - old;
  float error = (old - (both - taken)) + (sum - taken) + (add ? out[1] : 0.f);
  float total = both + error;
  out[0] = total;
  out[1] = total - total == 0.f ? error - (total - both) : 0.f;  // An infinite sum has no error.
}
