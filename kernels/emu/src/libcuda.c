// NVIDIA's driver library on the host: the functions that kernels/src/cuda/nvidia.rs calls, and one kernel, `fill`. Work of a stream runs as
// late as the driver may run it, when something waits for it, and reads and writes its memory then. Memory is not checked.
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef enum { SUCCESS = 0, INVALID_VALUE = 1, OUT_OF_MEMORY = 2, NOT_FOUND = 500 } CUresult;
enum { MEMORY = 1 << 26, USUAL_SHARED = 48 << 10 };

struct work {
  enum { COPY, FILL, FREE } kind;
  uint64_t to, from;
  size_t bytes;
  float value;
};
struct list {
  struct work* work;
  size_t count, done;
};
struct stream {
  struct list list, *capture;
};
struct event {
  struct stream* stream;
  size_t end;
};

static int most_shared = USUAL_SHARED;

static CUresult push(struct list* list, struct work work) {
  list->work = realloc(list->work, (list->count + 1) * sizeof(work));
  list->work[list->count++] = work;
  return SUCCESS;
}
static CUresult enqueue(struct stream* s, struct work work) { return push(s->capture ? s->capture : &s->list, work); }
static CUresult run(struct list* list, size_t end) {
  for (; list->done < end; list->done++) {
    struct work w = list->work[list->done];
    if (w.kind == COPY) memmove((void*)w.to, (void*)w.from, w.bytes);
    if (w.kind == FREE) free((void*)w.to);
    if (w.kind == FILL)
      for (size_t i = 0; i < w.bytes / 4; i++) ((float*)w.to)[i] = w.value;
  }
  return SUCCESS;
}
static CUresult give(void** to, size_t bytes) { return (*to = calloc(1, bytes)) ? SUCCESS : OUT_OF_MEMORY; }

CUresult cuInit(unsigned flags) { return SUCCESS; }
CUresult cuGetErrorString(CUresult e, const char** text) { return *text = "invalid argument", SUCCESS; }
CUresult cuDeviceGetCount(int* count) { return *count = 1, SUCCESS; }
CUresult cuDeviceGet(int* device, int ordinal) { return *device = ordinal, SUCCESS; }
CUresult cuDeviceGetName(char* name, int len, int device) { return strncpy(name, "library on the host", len), SUCCESS; }
// 75 and 76 are the compute capability, 8.8 here; 38 the bytes of L2, 115 whether there are memory pools.
CUresult cuDeviceGetAttribute(int* value, int which, int device) { return *value = which == 38 ? 4096 : 8, SUCCESS; }
CUresult cuDevicePrimaryCtxRetain(void** context, int device) { return give(context, 1); }
CUresult cuCtxSetCurrent(void* context) { return SUCCESS; }
CUresult cuDeviceGetDefaultMemPool(void** pool, int device) { return give(pool, 1); }
CUresult cuMemPoolSetAttribute(void* pool, int which, void* value) { return SUCCESS; }
CUresult cuMemGetInfo_v2(size_t* free, size_t* total) { return *free = *total = MEMORY, SUCCESS; }

CUresult cuStreamCreate(void** s, unsigned flags) { return give(s, sizeof(struct stream)); }
CUresult cuStreamSynchronize(struct stream* s) { return run(&s->list, s->list.count); }
CUresult cuStreamBeginCapture_v2(struct stream* s, int mode) { return give((void**)&s->capture, sizeof(struct list)); }
CUresult cuStreamEndCapture(struct stream* s, void** graph) { return *graph = s->capture, s->capture = 0, SUCCESS; }

CUresult cuEventCreate(void** event, unsigned flags) { return give(event, sizeof(struct event)); }
CUresult cuEventDestroy_v2(void* event) { return free(event), SUCCESS; }
CUresult cuEventRecord(struct event* e, struct stream* s) { return e->stream = s, e->end = s->list.count, SUCCESS; }
CUresult cuEventSynchronize(struct event* e) { return e->stream ? run(&e->stream->list, e->end) : SUCCESS; }
CUresult cuEventElapsedTime(float* ms, void* start, void* end) { return *ms = 1.5f, SUCCESS; }

CUresult cuMemHostAlloc(void** memory, size_t bytes, unsigned flags) { return give(memory, bytes); }
CUresult cuMemAllocAsync(uint64_t* address, size_t bytes, void* s) {
  return bytes > MEMORY ? OUT_OF_MEMORY : give((void**)address, bytes);
}
CUresult cuMemFreeAsync(uint64_t address, struct stream* s) { return enqueue(s, (struct work){FREE, address}); }
CUresult cuMemcpyHtoDAsync_v2(uint64_t to, const void* from, size_t bytes, struct stream* s) {
  return enqueue(s, (struct work){COPY, to, (uint64_t)from, bytes});
}
CUresult cuMemcpyDtoHAsync_v2(void* to, uint64_t from, size_t bytes, struct stream* s) {
  return enqueue(s, (struct work){COPY, (uint64_t)to, from, bytes});
}
CUresult cuMemcpyDtoDAsync_v2(uint64_t to, uint64_t from, size_t bytes, struct stream* s) {
  return enqueue(s, (struct work){COPY, to, from, bytes});
}

CUresult cuModuleLoadData(void** module, const char* ptx) { return strstr(ptx, ".version") ? give(module, 1) : INVALID_VALUE; }
CUresult cuModuleGetFunction(void** f, void* module, const char* name) { return strcmp(name, "fill") ? NOT_FOUND : give(f, 1); }
// 8 is the most dynamic shared memory.
CUresult cuFuncSetAttribute(void* f, int which, int value) { return which == 8 ? (most_shared = value, SUCCESS) : INVALID_VALUE; }
CUresult cuLaunchKernel(void* f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz, unsigned shared,
                        struct stream* s, void** args, void** extra) {
  if (bx * by * bz > 1024 || shared > most_shared) return INVALID_VALUE;
  return enqueue(s, (struct work){FILL, *(uint64_t*)args[0], 0, 4 * (size_t) * (int*)args[2], *(float*)args[1]});
}

CUresult cuGraphInstantiateWithFlags(struct list** exec, struct list* graph, uint64_t flags) {
  CUresult given = give((void**)exec, sizeof(struct list));
  for (size_t i = 0; !given && i < graph->count; i++) push(*exec, graph->work[i]);
  return given;
}
CUresult cuGraphDestroy(struct list* graph) { return free(graph->work), free(graph), SUCCESS; }
CUresult cuGraphExecDestroy(struct list* exec) { return free(exec->work), free(exec), SUCCESS; }
CUresult cuGraphLaunch(struct list* exec, struct stream* s) {
  for (size_t i = 0; i < exec->count; i++) enqueue(s, exec->work[i]);
  return SUCCESS;
}
