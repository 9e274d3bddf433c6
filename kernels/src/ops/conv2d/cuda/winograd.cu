// conv2d variant on CUDA for 3x3 kernels of stride 1: Winograd's minimal filtering, F(2x2, 3x3) and F(4x4, 3x3).
//
// Computes        the same as naive; see Lavin & Gray, "Fast algorithms for convolutional neural networks", CVPR 2016
// implicit wastes: 36 (144) multiplications for 2x2 (4x4) outputs of a channel where 16 (36) do.
// This variant:   inputs are cut into overlapping tiles, transformed, multiplied by the transformed weight (a product of matrices for each of
//                 the 16 or 36 points in a tile), and transformed back. The weight gradient is the transpose of this: tiles of the input and of
//                 the output's gradient are multiplied over all tiles, in splits that are added in a fixed order.
// Loses when:     there are few channels (the transforms cost as much as they save), or the image is smaller than a few tiles.
//                 It rounds more: the factors of F(4x4) reach 8.
#include "conv2d/cuda/problem.cuh"
#include "product.cuh"

// What is convolved: fwd reads x, dgrad reads dout, with the weight rotated by 180 degrees.
struct Tiles {
  int n, c, h, w;     // read
  int oc, oh, ow;     // written
  int top, left;      // rows and columns of zeros before what is read
  int down, across;   // tiles of an image
  __device__ __forceinline__ int count() const { return n * down * across; }
};

// out = B^T in: the data transform of M + 2 numbers with stride `step`.
template <int M> __device__ __forceinline__ void data(float* v, int step);
template <> __device__ __forceinline__ void data<2>(float* v, int step) {
  float a = v[0], b = v[step], c = v[2 * step], d = v[3 * step];
  v[0] = a - c;
  v[step] = b + c;
  v[2 * step] = c - b;
  v[3 * step] = b - d;
}
template <> __device__ __forceinline__ void data<4>(float* v, int step) {
  float a = v[0], b = v[step], c = v[2 * step], d = v[3 * step], e = v[4 * step], f = v[5 * step];
  v[0] = 4.f * a - 5.f * c + e;
  v[step] = (d + e) - 4.f * (b + c);
  v[2 * step] = (e - d) + 4.f * (b - c);
  v[3 * step] = (e - c) + 2.f * (d - b);
  v[4 * step] = (e - c) - 2.f * (d - b);
  v[5 * step] = 4.f * b - 5.f * d + f;
}

// u = G w: from three numbers to M + 2.
template <int M> __device__ __forceinline__ void filter(const float* w, int from, float* u, int to);
template <> __device__ __forceinline__ void filter<2>(const float* w, int from, float* u, int to) {
  float a = w[0], b = w[from], c = w[2 * from];
  u[0] = a;
  u[to] = 0.5f * (a + b + c);
  u[2 * to] = 0.5f * (a - b + c);
  u[3 * to] = c;
}
template <> __device__ __forceinline__ void filter<4>(const float* w, int from, float* u, int to) {
  float a = w[0], b = w[from], c = w[2 * from];
  u[0] = a / 4.f;
  u[to] = -(a + b + c) / 6.f;
  u[2 * to] = -(a - b + c) / 6.f;
  u[3 * to] = a / 24.f + b / 12.f + c / 6.f;
  u[4 * to] = a / 24.f - b / 12.f + c / 6.f;
  u[5 * to] = c;
}

// out = A^T m: from M + 2 numbers to M.
template <int M> __device__ __forceinline__ void result(const float* m, int from, float* out, int to);
template <> __device__ __forceinline__ void result<2>(const float* m, int from, float* out, int to) {
  float b = m[from], c = m[2 * from];
  out[0] = m[0] + b + c;
  out[to] = b - c - m[3 * from];
}
template <> __device__ __forceinline__ void result<4>(const float* m, int from, float* out, int to) {
  float p = m[from] + m[2 * from], q = m[from] - m[2 * from], r = m[3 * from] + m[4 * from], s = m[3 * from] - m[4 * from];
  out[0] = m[0] + p + r;
  out[to] = q + 2.f * s;
  out[2 * to] = p + 4.f * r;
  out[3 * to] = q + 8.f * s + m[5 * from];
}

// out = A g: the transpose of result, from M numbers to M + 2.
template <int M> __device__ __forceinline__ void spread(const float* g, int from, float* out, int to);
template <> __device__ __forceinline__ void spread<2>(const float* g, int from, float* out, int to) {
  float a = g[0], b = g[from];
  out[0] = a;
  out[to] = a + b;
  out[2 * to] = a - b;
  out[3 * to] = -b;
}
template <> __device__ __forceinline__ void spread<4>(const float* g, int from, float* out, int to) {
  float a = g[0], b = g[from], c = g[2 * from], d = g[3 * from];
  out[0] = a;
  out[to] = (a + c) + (b + d);
  out[2 * to] = (a + c) - (b + d);
  out[3 * to] = (a + 4.f * c) + (2.f * b + 8.f * d);
  out[4 * to] = (a + 4.f * c) - (2.f * b + 8.f * d);
  out[5 * to] = d;
}

// w = G^T u: the transpose of filter, from M + 2 numbers to three.
template <int M> __device__ __forceinline__ void gather(const float* u, int from, float* w, int to);
template <> __device__ __forceinline__ void gather<2>(const float* u, int from, float* w, int to) {
  float p = 0.5f * (u[from] + u[2 * from]);
  w[0] = u[0] + p;
  w[to] = 0.5f * (u[from] - u[2 * from]);
  w[2 * to] = p + u[3 * from];
}
template <> __device__ __forceinline__ void gather<4>(const float* u, int from, float* w, int to) {
  float p = u[from] + u[2 * from], q = u[2 * from] - u[from], r = u[3 * from] + u[4 * from], s = u[3 * from] - u[4 * from];
  w[0] = u[0] / 4.f - p / 6.f + r / 24.f;
  w[to] = q / 6.f + s / 12.f;
  w[2 * to] = (r - p) / 6.f + u[5 * from];
}

// u [(M+2)^2][oc][c] from w [oc][c][3][3], or with `rotated` from w [c][oc][3][3] rotated by 180 degrees. A thread for each oc and c.
template <int M> __device__ __forceinline__ void weight_transform(const float* w, float* u, int oc, int c, int rotated) {
  const int A = M + 2;
  int i = thread();
  if (i >= oc * c) return;
  float g[9], rows[3 * A], all[A * A];
#pragma unroll
  for (int k = 0; k < 9; k++) g[k] = rotated ? w[(i % c * oc + i / c) * 9 + 8 - k] : w[i * 9 + k];
#pragma unroll
  for (int x = 0; x < 3; x++) filter<M>(g + x, 3, rows + x, 3);
#pragma unroll
  for (int y = 0; y < A; y++) filter<M>(rows + 3 * y, 1, all + A * y, 1);
#pragma unroll
  for (int k = 0; k < A * A; k++) u[k * oc * c + i] = all[k];
}

// v [(M+2)^2][c][tiles] from x. A thread for each channel and tile; neighbours are neighbouring tiles.
template <int M> __device__ __forceinline__ void data_transform(const Tiles& s, const float* x, float* v) {
  const int A = M + 2;
  int i = thread(), tiles = s.count();
  if (i >= s.c * tiles) return;
  int tile = i % tiles, c = i / tiles, n = tile / (s.down * s.across);
  int y0 = tile / s.across % s.down * M - s.top, x0 = tile % s.across * M - s.left;
  const float* plane = x + (n * s.c + c) * s.h * s.w;
  float d[A * A];
#pragma unroll
  for (int ty = 0; ty < A; ty++)
#pragma unroll
    for (int tx = 0; tx < A; tx++) {
      int yy = y0 + ty, xx = x0 + tx;
      d[A * ty + tx] = (unsigned)yy < (unsigned)s.h && (unsigned)xx < (unsigned)s.w ? plane[yy * s.w + xx] : 0.f;
    }
#pragma unroll
  for (int k = 0; k < A; k++) data<M>(d + k, A);
#pragma unroll
  for (int k = 0; k < A; k++) data<M>(d + A * k, 1);
#pragma unroll
  for (int k = 0; k < A * A; k++) v[k * s.c * tiles + i] = d[k];
}

// out from m [(M+2)^2][oc][tiles]. A thread for each output channel and tile.
template <int M>
__device__ __forceinline__ void result_transform(const Tiles& s, const float* m, const float* bias, const float* residual, float* out, int relu,
                                                 int add) {
  const int A = M + 2;
  int i = thread(), tiles = s.count();
  if (i >= s.oc * tiles) return;
  int tile = i % tiles, oc = i / tiles, n = tile / (s.down * s.across);
  int y0 = tile / s.across % s.down * M, x0 = tile % s.across * M;
  float all[A * A], rows[M * A], o[M * M];
#pragma unroll
  for (int k = 0; k < A * A; k++) all[k] = m[k * s.oc * tiles + i];
#pragma unroll
  for (int x = 0; x < A; x++) result<M>(all + x, A, rows + x, A);
#pragma unroll
  for (int y = 0; y < M; y++) result<M>(rows + A * y, 1, o + M * y, 1);
#pragma unroll
  for (int y = 0; y < M; y++)
#pragma unroll
    for (int x = 0; x < M; x++)
      if (y0 + y < s.oh && x0 + x < s.ow) {
        int at = ((n * s.oc + oc) * s.oh + y0 + y) * s.ow + x0 + x;
        put(&out[at], finish(o[M * y + x], bias, residual, oc, at, relu), add);
      }
}

// g [(M+2)^2][oc][tiles] from the output's gradient. A thread for each output channel and tile.
template <int M> __device__ __forceinline__ void gradient_transform(const Tiles& s, const float* dout, float* g) {
  const int A = M + 2;
  int i = thread(), tiles = s.count();
  if (i >= s.oc * tiles) return;
  int tile = i % tiles, oc = i / tiles, n = tile / (s.down * s.across);
  int y0 = tile / s.across % s.down * M, x0 = tile % s.across * M;
  const float* plane = dout + (n * s.oc + oc) * s.oh * s.ow;
  float d[M * M], rows[A * M], all[A * A];
#pragma unroll
  for (int y = 0; y < M; y++)
#pragma unroll
    for (int x = 0; x < M; x++) d[M * y + x] = y0 + y < s.oh && x0 + x < s.ow ? plane[(y0 + y) * s.ow + x0 + x] : 0.f;
#pragma unroll
  for (int x = 0; x < M; x++) spread<M>(d + x, M, rows + x, M);
#pragma unroll
  for (int y = 0; y < A; y++) spread<M>(rows + M * y, 1, all + A * y, 1);
#pragma unroll
  for (int k = 0; k < A * A; k++) g[k * s.oc * tiles + i] = all[k];
}

// dw [oc][c][3][3] from u [splits][(M+2)^2][oc][c]. A thread for each oc and c.
template <int M> __device__ __forceinline__ void kernel_transform(const float* u, float* dw, int oc, int c, int splits, int add) {
  const int A = M + 2;
  int i = thread();
  if (i >= oc * c) return;
  float all[A * A] = {}, rows[3 * A], w[9];
  for (int split = 0; split < splits; split++)
#pragma unroll
    for (int k = 0; k < A * A; k++) all[k] += u[(split * A * A + k) * oc * c + i];
#pragma unroll
  for (int x = 0; x < A; x++) gather<M>(all + x, A, rows + x, A);
#pragma unroll
  for (int y = 0; y < 3; y++) gather<M>(rows + A * y, 1, w + 3 * y, 1);
#pragma unroll
  for (int k = 0; k < 9; k++) put(&dw[i * 9 + k], w[k], add);
}

#define WINOGRAD_DATA Tiles s, const float *x, float *v
#define WINOGRAD_RESULT Tiles s, const float *m, const float *bias, const float *residual, float *out, int relu, int add

KERNEL winograd_weight_2(const float* w, float* u, int oc, int c, int rotated) { weight_transform<2>(w, u, oc, c, rotated); }
KERNEL winograd_weight_4(const float* w, float* u, int oc, int c, int rotated) { weight_transform<4>(w, u, oc, c, rotated); }
KERNEL winograd_data_2(WINOGRAD_DATA) { data_transform<2>(s, x, v); }
KERNEL winograd_data_4(WINOGRAD_DATA) { data_transform<4>(s, x, v); }
KERNEL winograd_result_2(WINOGRAD_RESULT) { result_transform<2>(s, m, bias, residual, out, relu, add); }
KERNEL winograd_result_4(WINOGRAD_RESULT) { result_transform<4>(s, m, bias, residual, out, relu, add); }

KERNEL winograd_gradient_2(Tiles s, const float* dout, float* g) { gradient_transform<2>(s, dout, g); }
KERNEL winograd_gradient_4(Tiles s, const float* dout, float* g) { gradient_transform<4>(s, dout, g); }
KERNEL winograd_kernel_2(const float* u, float* dw, int oc, int c, int splits, int add) { kernel_transform<2>(u, dw, oc, c, splits, add); }
KERNEL winograd_kernel_4(const float* u, float* dw, int oc, int c, int splits, int add) { kernel_transform<4>(u, dw, oc, c, splits, add); }

// m[z] = u[z] v[z], [oc, tiles] from [oc, c] and [c, tiles]: a product of matrices for each point in a tile.
struct StoreProduct {
  float* p;
  int n;
  __device__ __forceinline__ void put(int i, int j, float v) const { p[i * n + j] = v; }
};
KERNEL winograd_product(const float* u, const float* v, float* m, int oc, int c, int tiles) {
  __shared__ ProductMemory<64, 64, 16, Matrix, Matrix> memory;
  int z = blockIdx.z;
  Matrix a = {u + z * oc * c, oc, c, 1}, b = {v + z * c * tiles, tiles, 1, tiles};
  product<64, 64, 16, 4, 4>(memory, a, b, StoreProduct{m + z * oc * tiles, tiles}, blockIdx.y * 64, blockIdx.x * 64, oc, tiles, 0, c);
}

// u[split][z] = g[z] v[z]^T, [oc, c] from [oc, tiles] and [c, tiles], over the tiles of a split.
KERNEL winograd_sum(const float* g, const float* v, float* u, int oc, int c, int tiles, int splits, int chunk) {
  __shared__ ProductMemory<64, 64, 16, Matrix, Matrix> memory;
  int z = blockIdx.z / splits, split = blockIdx.z % splits, points = gridDim.z / splits;
  Matrix a = {g + z * oc * tiles, oc, tiles, 1}, b = {v + z * c * tiles, c, tiles, 1};
  StoreProduct to = {u + (split * points + z) * oc * c, c};
  int begin = split * chunk;
  product<64, 64, 16, 4, 4>(memory, a, b, to, blockIdx.y * 64, blockIdx.x * 64, oc, c, begin, min(begin + chunk, tiles));
}
