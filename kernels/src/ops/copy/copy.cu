// Copies a block of one image stack into another that is zero elsewhere, and back. One thread an element of the result.
#include "common.cuh"

struct Copy {
  int n, c, h, w, oc, oh, ow;  // from [n, c, h, w] to [n, oc, oh, ow]
  int from, to, count;         // channels
  int y0, x0, sh, sw;          // first row and column taken, steps
};

KERNEL place_fwd(Copy s, const float* x, float* out, int add) {
  int i = thread();
  if (i >= s.n * s.oc * s.oh * s.ow) return;
  int ox = i % s.ow, oy = i / s.ow % s.oh, channel = i / s.ow / s.oh % s.oc - s.to, n = i / s.ow / s.oh / s.oc;
  bool inside = channel >= 0 && channel < s.count;
  float v = inside ? x[((n * s.c + s.from + channel) * s.h + s.y0 + oy * s.sh) * s.w + s.x0 + ox * s.sw] : 0.f;
  if (inside || !add) put(&out[i], v, add);
}

KERNEL place_bwd(Copy s, const float* dout, float* dx, int add) {
  int i = thread();
  if (i >= s.n * s.c * s.h * s.w) return;
  int x = i % s.w - s.x0, y = i / s.w % s.h - s.y0, channel = i / s.w / s.h % s.c - s.from, n = i / s.w / s.h / s.c;
  bool inside = channel >= 0 && channel < s.count && x >= 0 && y >= 0 && x % s.sw == 0 && y % s.sh == 0 && x / s.sw < s.ow && y / s.sh < s.oh;
  float v = inside ? dout[((n * s.oc + s.to + channel) * s.oh + y / s.sh) * s.ow + x / s.sw] : 0.f;
  if (inside || !add) put(&dx[i], v, add);
}
