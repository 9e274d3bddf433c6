// Memory as such.
#include "common.cuh"

// out[i] = value
KERNEL fill(float* out, float value, int len) {
  int i = thread();
  if (i < len) out[i] = value;
}
