// A convolution problem as the launcher gives it.
#pragma once
#include "common.cuh"

struct Conv {
  int n, c, h, w;            // input
  int oc, oh, ow;            // output
  int kh, kw, sh, sw;        // kernel, stride
  int pt, pl, dh, dw;        // padding at top and left, dilation
  int groups;
  __device__ __forceinline__ int cg() const { return c / groups; }   // input channels of a group
  __device__ __forceinline__ int og() const { return oc / groups; }  // output channels of a group
  __device__ __forceinline__ int patch() const { return cg() * kh * kw; }
  __device__ __forceinline__ int plane() const { return oh * ow; }
};

// What the forward pass does with a sum before it stores it.
__device__ __forceinline__ float finish(float v, const float* bias, const float* residual, int channel, int at, int relu) {
  if (bias) v += bias[channel];
  if (residual) v += residual[at];
  return relu && v < 0.f ? 0.f : v;
}
