// conv2d variant on CUDA: implicit gemm in tiles of registers.
//
// Computes        the same as naive
// naive wastes:   each input pixel is read from global memory by each output channel.
// This variant:   the convolution is a product of the weight and of a matrix of patches, whose tiles are gathered from the image when they
//                 are needed; im2col would write it down, nine times the image for a kernel of 3x3. See operands.cuh and product.cuh.
//                 The weight gradient sums over all pixels: it is cut into splits, which are added in a fixed order.
//                 The input gradient of a strided convolution is a product for each stride phase, and multiplies no zeros.
// Loses when:     groups are narrow: a tile is mostly empty.
#include "conv2d/cuda/operands.cuh"

#define MEMORY_128(A, B) __shared__ ProductMemory<128, 128, 8, A, B> memory
#define MEMORY_64(A, B) __shared__ ProductMemory<64, 64, 16, A, B> memory
#define PRODUCT_128 product<128, 128, 8, 8, 8>
#define PRODUCT_64 product<64, 64, 16, 4, 4>

KERNEL conv_fwd_128(CONV_FWD_ARGS) { CONV_FWD(MEMORY_128, PRODUCT_128, 128, 128); }
KERNEL conv_fwd_64(CONV_FWD_ARGS) { CONV_FWD(MEMORY_64, PRODUCT_64, 64, 64); }
KERNEL conv_dgrad_128(CONV_DGRAD_ARGS) { CONV_DGRAD(MEMORY_128, PRODUCT_128, 128, 128); }
KERNEL conv_dgrad_64(CONV_DGRAD_ARGS) { CONV_DGRAD(MEMORY_64, PRODUCT_64, 64, 64); }
KERNEL conv_wgrad_128(CONV_WGRAD_ARGS) { CONV_WGRAD(MEMORY_128, PRODUCT_128, 128, 128); }
KERNEL conv_wgrad_64(CONV_WGRAD_ARGS) { CONV_WGRAD(MEMORY_64, PRODUCT_64, 64, 64); }
