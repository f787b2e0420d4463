// layernorm: y[t, :] = (x[t, :] - mean) / sqrt(variance + eps) * w + b, one block a row

#include <cooperative_groups.h>
#include <cooperative_groups/reduce.h>

#include "common.cuh"

namespace cg = cooperative_groups;

// The sum of v over the block, in every thread; partial is [32]. The block is whole warps.
__device__ __forceinline__ float block_sum(float v, float* partial) {
    const uint32_t lane = threadIdx.x % WARP;
    v = warp_sum(v);
    if (lane == 0) partial[threadIdx.x / WARP] = v;
    __syncthreads();  // partial is whole before it is read
    const float total = warp_sum(lane < blockDim.x / WARP ? partial[lane] : 0.0f);
    __syncthreads();  // everyone has read it before the next sum overwrites it
    return total;
}

// layernorm_block_f32
//
//   y, x    [T, C] f32, row-major, not overlapping
//   w, b    [C] f32
//
// Work    one block owns one row; thread i takes columns i, i + block, ... Any T, any C >= 1.
// Launch  grid T, block any multiple of 32 up to 1024, no dynamic shared memory
// Bytes   reads 4*(T*C + 2*C), writes 4*T*C; the second and third walk over a row hit L1
// Exact   no: tree sums
extern "C" __global__ void layernorm_block_f32(float* __restrict__ y, const float* __restrict__ x,
                                               const float* __restrict__ w, const float* __restrict__ b,
                                               uint32_t n_cols, float eps) {
    __shared__ float partial[WARP];
    const float* row = x + uint64_t(blockIdx.x) * n_cols;
    float sum = 0.0f;
    for (uint32_t c = threadIdx.x; c < n_cols; c += blockDim.x) sum += row[c];
    const float mean = block_sum(sum, partial) / float(n_cols);

    // A second pass on purpose: E[x^2] - mean^2 cancels badly when |mean| >> std.
    float squares = 0.0f;
    for (uint32_t c = threadIdx.x; c < n_cols; c += blockDim.x) squares += (row[c] - mean) * (row[c] - mean);
    const float rstd = rsqrtf(block_sum(squares, partial) / float(n_cols) + eps);

    for (uint32_t c = threadIdx.x; c < n_cols; c += blockDim.x) {
        y[uint64_t(blockIdx.x) * n_cols + c] = (row[c] - mean) * rstd * w[c] + b[c];
    }
}

// layernorm_cg_f32: the same with cooperative groups: a tile of 32 threads owns a row, without shared memory
//
// Launch  grid ceil(T * 32 / block), block any multiple of 32, no shared memory
extern "C" __global__ void layernorm_cg_f32(float* __restrict__ y, const float* __restrict__ x,
                                            const float* __restrict__ w, const float* __restrict__ b, uint32_t n_rows,
                                            uint32_t n_cols, float eps) {
    const cg::thread_block block = cg::this_thread_block();
    const cg::thread_block_tile<WARP> warp = cg::tiled_partition<WARP>(block);
    const uint32_t t = blockIdx.x * warp.meta_group_size() + warp.meta_group_rank();
    if (t >= n_rows) return;  // a whole warp leaves at once, and no block barrier follows
    const float* row = x + uint64_t(t) * n_cols;

    float sum = 0.0f;
    for (uint32_t c = warp.thread_rank(); c < n_cols; c += warp.size()) sum += row[c];
    const float mean = cg::reduce(warp, sum, cg::plus<float>()) / float(n_cols);

    float squares = 0.0f;
    for (uint32_t c = warp.thread_rank(); c < n_cols; c += warp.size()) squares += (row[c] - mean) * (row[c] - mean);
    const float rstd = rsqrtf(cg::reduce(warp, squares, cg::plus<float>()) / float(n_cols) + eps);

    for (uint32_t c = warp.thread_rank(); c < n_cols; c += warp.size()) {
        __stcs(&y[uint64_t(t) * n_cols + c], (__ldcs(&row[c]) - mean) * rstd * __ldg(&w[c]) + __ldg(&b[c]));
    }
}
