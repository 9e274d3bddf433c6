// conv2d variant on CUDA for groups of few channels, and of one (depthwise).
//
// Computes        the same as naive
// naive wastes:   each input pixel is read from global memory by each output channel of its group, and each gradient by each weight.
// This variant:   the operands of operands.cuh in the products of narrow.cuh: a thread has all channels of a pixel that fit its registers,
//                 and the weights of a group lie in shared memory. The weight gradient has a block for four output channels and nine taps,
//                 whose pixels its threads divide.
// Loses when:     groups fill the tiles of implicit, where input too is shared between threads.
#include "conv2d/cuda/operands.cuh"
#include "narrow.cuh"

#define MEMORY_1(A, B) __shared__ NarrowMemory<1, A, B> memory
#define MEMORY_4(A, B) __shared__ NarrowMemory<4, A, B> memory
#define MEMORY_8(A, B) __shared__ NarrowMemory<8, A, B> memory
#define DOTS_MEMORY(A, B) __shared__ DotsMemory<A, B> memory
#define DOTS_1 dots<1, 9>
#define DOTS_4 dots<4, 9>

KERNEL conv_fwd_depthwise(CONV_FWD_ARGS) { CONV_FWD(MEMORY_1, narrow_product, 1, NARROW_THREADS); }
KERNEL conv_fwd_grouped_4(CONV_FWD_ARGS) { CONV_FWD(MEMORY_4, narrow_product, 4, NARROW_THREADS); }
KERNEL conv_fwd_grouped_8(CONV_FWD_ARGS) { CONV_FWD(MEMORY_8, narrow_product, 8, NARROW_THREADS); }
KERNEL conv_dgrad_depthwise(CONV_DGRAD_ARGS) { CONV_DGRAD(MEMORY_1, narrow_product, 1, NARROW_THREADS); }
KERNEL conv_dgrad_grouped_4(CONV_DGRAD_ARGS) { CONV_DGRAD(MEMORY_4, narrow_product, 4, NARROW_THREADS); }
KERNEL conv_dgrad_grouped_8(CONV_DGRAD_ARGS) { CONV_DGRAD(MEMORY_8, narrow_product, 8, NARROW_THREADS); }
KERNEL conv_wgrad_depthwise(CONV_WGRAD_ARGS) { CONV_WGRAD(DOTS_MEMORY, DOTS_1, 1, 9); }
KERNEL conv_wgrad_grouped_4(CONV_WGRAD_ARGS) { CONV_WGRAD(DOTS_MEMORY, DOTS_4, 4, 9); }
