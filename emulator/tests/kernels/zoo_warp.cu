// zoo_warp: what the lanes of a warp do together

#include <cooperative_groups.h>

#include "common.cuh"

namespace cg = cooperative_groups;

// shuffles: the four shuffles, over 32 lanes and over parts
//
//   y  [8, n] u32: from the lane above by 3; below by 5; lane ^ 9; lane 17; then within 8 lanes: above by 1; below by 2;
//      lane ^ 3; lane 6. A lane without a source keeps its own.
//   x  [n] u32, n a multiple of 32
//
// Launch  grid ceil(n / block), block a multiple of 32; no shared memory
// Exact   yes
extern "C" __global__ void shuffles(uint32_t* y, const uint32_t* x, uint32_t n) {
    const uint32_t i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;  // a whole warp leaves at once
    const uint32_t v = x[i];
    const uint32_t results[8] = {
        __shfl_up_sync(ALL_LANES, v, 3),    __shfl_down_sync(ALL_LANES, v, 5),    __shfl_xor_sync(ALL_LANES, v, 9),
        __shfl_sync(ALL_LANES, v, 17),      __shfl_up_sync(ALL_LANES, v, 1, 8),   __shfl_down_sync(ALL_LANES, v, 2, 8),
        __shfl_xor_sync(ALL_LANES, v, 3, 8), __shfl_sync(ALL_LANES, v, 6, 8),
    };
    for (uint32_t r = 0; r < 8; r++) y[uint64_t(r) * n + i] = results[r];
}

// votes: votes and matches, by all lanes and by the odd ones alone
//
//   y  [9, n] u32: any x > 100; all; uniform; the ballot; who has the same x; who, minus 1, if all have the same upper
//      bytes, or 0; the number of lanes below; then by the odd lanes alone (even lanes: 0): the ballot; who has the same x
//   x  [n] u32, n a multiple of 32
//
// Launch  grid ceil(n / block), block a multiple of 32; no shared memory
// Exact   yes
extern "C" __global__ void votes(uint32_t* y, const uint32_t* x, uint32_t n) {
    const uint32_t i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;  // a whole warp leaves at once
    constexpr uint32_t ODD_LANES = 0xaaaaaaaau;
    const uint32_t v = x[i];
    const bool large = v > 100;
    int all_same;
    uint32_t below;
    asm("mov.u32 %0, %%lanemask_lt;" : "=r"(below));
    uint32_t results[9] = {
        uint32_t(__any_sync(ALL_LANES, large) != 0),
        uint32_t(__all_sync(ALL_LANES, large) != 0),
        uint32_t(__uni_sync(ALL_LANES, large) != 0),
        __ballot_sync(ALL_LANES, large),
        __match_any_sync(ALL_LANES, v),
        __match_all_sync(ALL_LANES, v / 256, &all_same),
        0, 0, 0,
    };
    if (all_same) results[5] -= 1;
    results[6] = uint32_t(__popc(below));
    if (threadIdx.x % 2 == 1) {
        results[7] = __ballot_sync(ODD_LANES, large);
        results[8] = __match_any_sync(ODD_LANES, static_cast<unsigned long long>(v) << 32);
    }
    __syncwarp();  // the even lanes wait for the odd ones
    for (uint32_t r = 0; r < 9; r++) y[uint64_t(r) * n + i] = results[r];
}

// exchange: neighbours swap through shared memory, halves of a warp on their own
//
//   y, x  [n] u32, n a multiple of 32: y[i] = x of the lane on the other end of its half warp
//
// Launch  grid ceil(n / block), block a multiple of 32 up to 256; no dynamic shared memory
// Exact   yes
extern "C" __global__ void exchange(uint32_t* y, const uint32_t* x, uint32_t n) {
    __shared__ uint32_t slots[256];
    const uint32_t i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;  // a whole warp leaves at once
    const uint32_t half = threadIdx.x % WARP / 16;
    if (half == 0) {
        slots[threadIdx.x] = x[i];
        __syncwarp(0x0000ffffu);  // the half's slots are there
        y[i] = slots[threadIdx.x ^ 15];
    } else {
        slots[threadIdx.x] = x[i];
        __syncwarp(0xffff0000u);
        y[i] = slots[threadIdx.x ^ 15] + 1;
    }
}

// aggregate: the lanes that want a slot take theirs with one atomic for all of them
//
//   slots  [n] u32: the slot that i got, or 0xffffffff
//   count  [1] u32, 0 before the launch: the number of slots taken
//   x      [n] u32: i wants a slot when x[i] is odd
//
// Launch  grid ceil(n / block), any block; no shared memory
// Exact   which slot is not determined; that they are different ones below count is
extern "C" __global__ void aggregate(uint32_t* slots, uint32_t* count, const uint32_t* x, uint32_t n) {
    const uint32_t i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    slots[i] = 0xffffffffu;
    if (x[i] % 2 == 1) {
        const cg::coalesced_group together = cg::coalesced_threads();
        uint32_t first = 0;
        if (together.thread_rank() == 0) first = atomicAdd(count, together.size());
        slots[i] = together.shfl(first, 0) + together.thread_rank();
    }
}

// block_votes: barriers that count
//
//   y  [3, n] u32: how many threads of the block have an odd x; whether all have; whether any has
//   x  [n] u32
//
// Launch  grid ceil(n / block), any block; no shared memory
// Exact   yes
extern "C" __global__ void block_votes(uint32_t* y, const uint32_t* x, uint32_t n) {
    const uint32_t i = blockIdx.x * blockDim.x + threadIdx.x;
    const bool odd = i < n && x[i] % 2 == 1;
    const uint32_t count = uint32_t(__syncthreads_count(odd));
    const bool all = __syncthreads_and(odd || i >= n), any = __syncthreads_or(odd);
    if (i >= n) return;
    y[i] = count;
    y[n + i] = all;
    y[2 * n + i] = any;
}

// hand_over: half of the block fills a buffer, the other half takes it, with two named barriers
//
//   y, x  [n] u32, n a multiple of 64: y[i] = 3 * x[i]
//
// Work    warps 0 and 1 fill, warps 2 and 3 take, 64 numbers a round
// Launch  grid 1, block 128; no dynamic shared memory
// Exact   yes
extern "C" __global__ void __launch_bounds__(128) hand_over(uint32_t* y, const uint32_t* x, uint32_t n) {
    __shared__ uint32_t buffer[64];
    for (uint32_t first = 0; first < n; first += 64) {
        if (threadIdx.x < 64) {
            if (first > 0) asm volatile("bar.sync 2, 128;" ::: "memory");  // the buffer is taken
            buffer[threadIdx.x] = 3 * x[first + threadIdx.x];
            asm volatile("bar.arrive 1, 128;" ::: "memory");  // the buffer is full
        } else {
            asm volatile("bar.sync 1, 128;" ::: "memory");
            y[first + threadIdx.x - 64] = buffer[threadIdx.x - 64];
            if (first + 64 < n) asm volatile("bar.arrive 2, 128;" ::: "memory");
        }
    }
}
