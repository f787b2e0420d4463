// grid_sync: a softmax by the whole grid, whose blocks wait for each other with cooperative groups

#include <cooperative_groups.h>

#include "common.cuh"

constexpr uint32_t GRID_THREADS = 128;
constexpr uint32_t GRID_WARPS = GRID_THREADS / WARP;

// The largest (MAX) or the sum of v over the block, in every thread. Shared memory is free again when it returns.
template <bool MAX>
__device__ __forceinline__ float block_reduce(float v) {
    __shared__ float warps[GRID_WARPS];
    v = MAX ? warp_max(v) : warp_sum(v);
    if (threadIdx.x % WARP == 0) warps[threadIdx.x / WARP] = v;
    __syncthreads();  // the results of all warps are there
    v = warps[0];
#pragma unroll
    for (uint32_t i = 1; i < GRID_WARPS; i++) v = MAX ? fmaxf(v, warps[i]) : v + warps[i];
    __syncthreads();  // and read, so that the next call may overwrite them
    return v;
}

// softmax_grid_f32: y = exp(x - max(x)) / sum(exp(x - max(x)))
//
//   y, x     [n] f32; y may be x
//   maxima   [blocks] f32, scratch
//   sums     [blocks] f32, scratch
//
// Work    a thread takes every n-th element, n the number of threads in the grid. Any n >= 1.
// Launch  cooperative, any grid that is resident at once, block GRID_THREADS, static shared memory only
// Bytes   reads 4*n three times (the later ones hit L2), writes 4*n
// Exact   no: tree sum of fp32
extern "C" __global__ void __launch_bounds__(GRID_THREADS)
softmax_grid_f32(float* y, const float* x, float* maxima, float* sums, uint32_t n) {
    const cooperative_groups::grid_group grid = cooperative_groups::this_grid();
    const uint32_t first = blockIdx.x * GRID_THREADS + threadIdx.x, step = gridDim.x * GRID_THREADS;
    float largest = -INFINITY;
    for (uint32_t i = first; i < n; i += step) largest = fmaxf(largest, x[i]);
    largest = block_reduce<true>(largest);
    // Not by thread 0, which arrives for its block: so it matters that sync() begins with a barrier of the block.
    if (threadIdx.x == GRID_THREADS - 1) maxima[blockIdx.x] = largest;
    grid.sync();  // the maxima of all blocks are there
    for (uint32_t b = 0; b < gridDim.x; b++) largest = fmaxf(largest, maxima[b]);
    float sum = 0.0f;
    for (uint32_t i = first; i < n; i += step) sum += __expf(x[i] - largest);
    sum = block_reduce<false>(sum);
    if (threadIdx.x == GRID_THREADS - 1) sums[blockIdx.x] = sum;
    grid.sync();  // the sums of all blocks are there
    sum = 0.0f;
    for (uint32_t b = 0; b < gridDim.x; b++) sum += sums[b];
    for (uint32_t i = first; i < n; i += step) y[i] = __expf(x[i] - largest) / sum;
}
