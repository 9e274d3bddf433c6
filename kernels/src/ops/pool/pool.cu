// Max and average pooling: one thread an output, and backward one thread an input pixel, which gathers from the windows that see it: no
// two threads add to one number.
#include "common.cuh"

struct Pool {
  int planes, h, w, oh, ow;
  int adaptive;  // windows that divide the input; what follows is of sliding ones
  int kh, kw, sh, sw, pt, pb, pl, pr, count_padding;
};

// The pixels lo .. hi of a window along an axis, and the count that an average divides by along it.
struct Window {
  int lo, hi, count;
};
__device__ __forceinline__ Window window(int adaptive, int size, int out, int kernel, int stride, int before, int after, int count_padding, int o) {
  if (adaptive) {
    int lo = o * size / out, hi = ((o + 1) * size + out - 1) / out;
    return Window{lo, hi, hi - lo};
  }
  int lo = o * stride, hi = min(lo + kernel, size + before + after);
  int a = min(max(lo - before, 0), size), b = min(max(hi - before, 0), size);
  return Window{a, b, count_padding ? hi - lo : b - a};
}
__device__ __forceinline__ Window rows_of(const Pool& s, int oy) {
  return window(s.adaptive, s.h, s.oh, s.kh, s.sh, s.pt, s.pb, s.count_padding, oy);
}
__device__ __forceinline__ Window columns_of(const Pool& s, int ox) {
  return window(s.adaptive, s.w, s.ow, s.kw, s.sw, s.pl, s.pr, s.count_padding, ox);
}

// The first and the last window along an axis that may see pixel `i`.
__device__ __forceinline__ int first_window(int adaptive, int size, int out, int kernel, int stride, int before, int i) {
  return adaptive ? i * out / size : max(0, (i + before - kernel) / stride);
}
__device__ __forceinline__ int last_window(int adaptive, int size, int out, int stride, int before, int i) {
  return min(out - 1, adaptive ? (i + 1) * out / size : (i + before) / stride);
}

KERNEL max_pool_fwd(Pool s, const float* x, float* out, unsigned* arg) {
  int i = thread();
  if (i >= s.planes * s.oh * s.ow) return;
  const float* plane = x + i / (s.oh * s.ow) * s.h * s.w;
  Window ys = rows_of(s, i / s.ow % s.oh), xs = columns_of(s, i % s.ow);
  float best = __uint_as_float(0xff800000u);
  int at = ys.lo * s.w + xs.lo;
  for (int y = ys.lo; y < ys.hi; y++)
    for (int xx = xs.lo; xx < xs.hi; xx++) {
      float v = plane[y * s.w + xx];
      // The first of equal ones; NaN wins.
      if (v > best || v != v) {
        best = v;
        at = y * s.w + xx;
      }
    }
  out[i] = best;
  arg[i] = at;
}

KERNEL max_pool_bwd(Pool s, const float* dout, const unsigned* arg, float* dx, int add) {
  int i = thread();
  if (i >= s.planes * s.h * s.w) return;
  int x = i % s.w, y = i / s.w % s.h, first = i / (s.h * s.w) * s.oh * s.ow;
  float sum = 0.f;
  int oy1 = last_window(s.adaptive, s.h, s.oh, s.sh, s.pt, y), ox1 = last_window(s.adaptive, s.w, s.ow, s.sw, s.pl, x);
  for (int oy = first_window(s.adaptive, s.h, s.oh, s.kh, s.sh, s.pt, y); oy <= oy1; oy++)
    for (int ox = first_window(s.adaptive, s.w, s.ow, s.kw, s.sw, s.pl, x); ox <= ox1; ox++) {
      int o = first + oy * s.ow + ox;
      if (arg[o] == (unsigned)(y * s.w + x)) sum += dout[o];
    }
  put(&dx[i], sum, add);
}

KERNEL avg_pool_fwd(Pool s, const float* x, float* out, int add) {
  int i = thread();
  if (i >= s.planes * s.oh * s.ow) return;
  const float* plane = x + i / (s.oh * s.ow) * s.h * s.w;
  Window ys = rows_of(s, i / s.ow % s.oh), xs = columns_of(s, i % s.ow);
  float sum = 0.f;
  for (int y = ys.lo; y < ys.hi; y++)
    for (int xx = xs.lo; xx < xs.hi; xx++) sum += plane[y * s.w + xx];
  put(&out[i], sum / (ys.count * xs.count), add);
}

KERNEL avg_pool_bwd(Pool s, const float* dout, float* dx, int add) {
  int i = thread();
  if (i >= s.planes * s.h * s.w) return;
  int x = i % s.w, y = i / s.w % s.h, first = i / (s.h * s.w) * s.oh * s.ow;
  float sum = 0.f;
  int oy1 = last_window(s.adaptive, s.h, s.oh, s.sh, s.pt, y), ox1 = last_window(s.adaptive, s.w, s.ow, s.sw, s.pl, x);
  for (int oy = first_window(s.adaptive, s.h, s.oh, s.kh, s.sh, s.pt, y); oy <= oy1; oy++) {
    Window ys = rows_of(s, oy);
    if (y < ys.lo || y >= ys.hi) continue;
    for (int ox = first_window(s.adaptive, s.w, s.ow, s.kw, s.sw, s.pl, x); ox <= ox1; ox++) {
      Window xs = columns_of(s, ox);
      if (x >= xs.lo && x < xs.hi) sum += dout[first + oy * s.ow + ox] / (ys.count * xs.count);
    }
  }
  put(&dx[i], sum, add);
}
