// persistent_mlp: several layers of x += W2 gelu(W1 x) in one cooperative launch, with a barrier of our own

#include "common.cuh"

constexpr uint32_t MLP_THREADS = 128;

// Waits until all blocks of the grid are here, and makes what they wrote before visible after. `arrived` only grows;
// `passed` counts this block's barriers. All blocks must be resident at once: a cooperative launch.
__device__ __forceinline__ void grid_barrier(uint32_t* arrived, uint32_t& passed) {
    __syncthreads();  // the whole block is here: thread 0 releases the writes of all
    passed++;
    if (threadIdx.x == 0) {
        asm volatile("red.release.gpu.global.add.u32 [%0], 1;" ::"l"(arrived) : "memory");
        uint32_t seen;
        do {
            asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(seen) : "l"(arrived) : "memory");
        } while (seen < passed * gridDim.x);
    }
    __syncthreads();  // the block goes on with what thread 0 acquired
}

// <w, x> over n columns by one warp, the sum in every lane. x is written by other blocks: no read-only path.
__device__ __forceinline__ float row_dot(const float* __restrict__ w, const float* x, uint32_t n) {
    float sum = 0.0f;
    for (uint32_t k = threadIdx.x % WARP; k < n; k += WARP) sum = fmaf(w[k], x[k], sum);
    return warp_sum(sum);
}

// persistent_mlp_f32
//
//   x        [C] f32, replaced by the result
//   hidden   [F] f32, scratch
//   w1, b1   [L, F, C], [L, F] f32
//   w2, b2   [L, C, F], [L, C] f32
//   arrived  [1] u32, 0 before the launch
//
// Work    a warp takes every n-th row, n the number of warps in the grid. Any C, F >= 1.
// Launch  cooperative, any grid that is resident at once, block MLP_THREADS, no shared memory
// Bytes   reads 4*L*(2*C*F + C + F) of weights once; x and hidden come from L2
// Exact   no: 32 partial sums of fp32
extern "C" __global__ void __launch_bounds__(MLP_THREADS)
persistent_mlp_f32(float* x, float* hidden, const float* __restrict__ w1, const float* __restrict__ b1,
                   const float* __restrict__ w2, const float* __restrict__ b2, uint32_t* arrived, uint32_t n_layers,
                   uint32_t n_embd, uint32_t n_hidden) {
    const uint32_t warp = (blockIdx.x * MLP_THREADS + threadIdx.x) / WARP;
    const uint32_t n_warps = gridDim.x * MLP_THREADS / WARP;
    const bool first_lane = threadIdx.x % WARP == 0;
    uint32_t passed = 0;
    for (uint32_t layer = 0; layer < n_layers; layer++) {
        for (uint32_t row = warp; row < n_hidden; row += n_warps) {
            const uint64_t at = uint64_t(layer) * n_hidden + row;
            const float sum = row_dot(w1 + at * n_embd, x, n_embd);
            if (first_lane) hidden[row] = gelu_tanh(sum + b1[at]);
        }
        grid_barrier(arrived, passed);  // hidden is whole
        for (uint32_t row = warp; row < n_embd; row += n_warps) {
            const uint64_t at = uint64_t(layer) * n_embd + row;
            const float sum = row_dot(w2 + at * n_hidden, hidden, n_hidden);
            if (first_lane) x[row] += sum + b2[at];
        }
        grid_barrier(arrived, passed);  // x is whole, and hidden read
    }
}
