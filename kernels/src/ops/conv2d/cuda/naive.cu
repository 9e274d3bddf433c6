// conv2d variant on CUDA: one thread an output (an input pixel, a weight), the sum as it is written.
//
// Computes        out = conv(x, w) (+ bias, + residual, relu),   dx (+)= conv^T(dout, w),   dw (+)= sum over images and pixels of dout * x
// This variant:   threads of a warp stand side by side along a row of pixels. Groups of one channel have nothing to share but the
//                 weights, so this variant serves them.
// Loses when:     several output channels read the same input: each thread reads it again. The weight gradient has a block for each
//                 weight, and loses always.
#include "conv2d/cuda/problem.cuh"

KERNEL conv_fwd_naive(Conv s, const float* x, const float* w, const float* bias, const float* residual, float* out, int relu) {
  int i = thread();
  if (i >= s.n * s.oc * s.plane()) return;
  int ox = i % s.ow, oy = i / s.ow % s.oh, oc = i / s.plane() % s.oc, n = i / s.plane() / s.oc;
  const float* image = x + (n * s.c + oc / s.og() * s.cg()) * s.h * s.w;
  const float* filter = w + oc * s.patch();
  float sum = 0.f;
  for (int c = 0; c < s.cg(); c++)
    for (int ky = 0; ky < s.kh; ky++) {
      int y = oy * s.sh - s.pt + ky * s.dh;
      if (y < 0 || y >= s.h) continue;
      for (int kx = 0; kx < s.kw; kx++) {
        int xx = ox * s.sw - s.pl + kx * s.dw;
        if (xx < 0 || xx >= s.w) continue;
        sum = fmaf(image[(c * s.h + y) * s.w + xx], filter[(c * s.kh + ky) * s.kw + kx], sum);
      }
    }
  out[i] = finish(sum, bias, residual, oc, i, relu);
}

KERNEL conv_dgrad_naive(Conv s, const float* dout, const float* w, float* dx, int add) {
  int i = thread();
  if (i >= s.n * s.c * s.h * s.w) return;
  int x = i % s.w, y = i / s.w % s.h, c = i / (s.h * s.w) % s.c, n = i / (s.h * s.w) / s.c;
  int group = c / s.cg();
  float sum = 0.f;
#pragma unroll 1
  for (int o = group * s.og(); o < (group + 1) * s.og(); o++) {
    const float* image = dout + (n * s.oc + o) * s.plane();
    const float* filter = w + o * s.patch() + c % s.cg() * s.kh * s.kw;
#pragma unroll 1
    for (int ky = 0; ky < s.kh; ky++) {
      int ty = y + s.pt - ky * s.dh;  // the output row times the stride
      if (ty < 0 || ty % s.sh || ty / s.sh >= s.oh) continue;
#pragma unroll 1
      for (int kx = 0; kx < s.kw; kx++) {
        int tx = x + s.pl - kx * s.dw;
        if (tx < 0 || tx % s.sw || tx / s.sw >= s.ow) continue;
        sum = fmaf(image[ty / s.sh * s.ow + tx / s.sw], filter[ky * s.kw + kx], sum);
      }
    }
  }
  put(&dx[i], sum, add);
}

// A block for each weight: its threads divide images and pixels and add their sums in one order.
KERNEL conv_wgrad_naive(Conv s, const float* dout, const float* x, float* dw, int add) {
  __shared__ float part[8];
  int i = blockIdx.x;
  int kx = i % s.kw, ky = i / s.kw % s.kh, c = i / (s.kh * s.kw) % s.cg(), oc = i / s.patch();
  int channel = oc / s.og() * s.cg() + c;
  float sum = 0.f;
  for (int e = threadIdx.x; e < s.n * s.plane(); e += blockDim.x) {
    int ox = e % s.ow, oy = e / s.ow % s.oh, n = e / s.plane();
    int y = oy * s.sh - s.pt + ky * s.dh, xx = ox * s.sw - s.pl + kx * s.dw;
    if (y < 0 || y >= s.h || xx < 0 || xx >= s.w) continue;
    sum = fmaf(dout[(n * s.oc + oc) * s.plane() + oy * s.ow + ox], x[((n * s.c + channel) * s.h + y) * s.w + xx], sum);
  }
  sum = block_sum(sum, part);
  if (threadIdx.x == 0) put(&dw[i], sum, add);
}
