// scan: the sums of all prefixes of an array in one pass over it (Merrill and Garland, "Single-pass parallel prefix scan
// with decoupled look-back", 2016)

#include "common.cuh"

constexpr uint32_t SCAN_THREADS = 128;
constexpr uint32_t SCAN_TILE = 4 * SCAN_THREADS;

// What a tile has published: nothing, its own sum, or the sum of it and everything before, in the upper half of 64 bits.
constexpr uint64_t SCAN_OWN = 1ull << 32, SCAN_PREFIX = 2ull << 32;

__device__ __forceinline__ void publish(uint64_t* state, uint64_t flag, uint32_t sum) {
    asm volatile("st.release.gpu.global.u64 [%0], %1;" ::"l"(state), "l"(flag | sum) : "memory");
}

__device__ __forceinline__ uint64_t observe(const uint64_t* state) {
    uint64_t seen;
    asm volatile("ld.acquire.gpu.global.u64 %0, [%1];" : "=l"(seen) : "l"(state) : "memory");
    return seen;
}

// The sum of all tiles before `tile`, by one thread that looks back until it meets a tile that knows its prefix.
__device__ uint32_t sum_before(const uint64_t* states, uint32_t tile) {
    uint32_t sum = 0;
    while (tile > 0) {
        const uint64_t seen = observe(&states[tile - 1]);
        if (seen == 0) continue;  // its block has drawn its tile and is at work
        sum += uint32_t(seen);
        if (seen & SCAN_PREFIX) break;
        tile--;
    }
    return sum;
}

// inclusive_scan_u32: y[i] = x[0] + ... + x[i]
//
//   y, x    [n] u32, modulo 2^32; y may be x
//   ticket  [1] u32, 0 before the launch
//   states  [ceil(n / SCAN_TILE)] u64, 0 before the launch
//
// Work    a block draws its tile, so that the tiles before it belong to blocks that run already: no cooperative launch
// Launch  grid ceil(n / SCAN_TILE), block SCAN_THREADS, no dynamic shared memory
// Bytes   reads 4*n, writes 4*n
// Exact   yes
extern "C" __global__ void __launch_bounds__(SCAN_THREADS)
inclusive_scan_u32(uint32_t* y, const uint32_t* x, uint32_t* ticket, uint64_t* states, uint32_t n) {
    __shared__ uint32_t drawn, warps[SCAN_THREADS / WARP], before;
    const uint32_t lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    if (threadIdx.x == 0) drawn = atomicAdd(ticket, 1);
    __syncthreads();  // the tile is drawn
    const uint32_t tile = drawn;
    const uint64_t first = uint64_t(tile) * SCAN_TILE + 4 * threadIdx.x;

    uint32_t sums[4], total = 0;
#pragma unroll
    for (uint32_t j = 0; j < 4; j++) {
        total += first + j < n ? x[first + j] : 0;
        sums[j] = total;
    }
    uint32_t inclusive = total;
    for (uint32_t offset = 1; offset < WARP; offset *= 2) {
        const uint32_t other = __shfl_up_sync(ALL_LANES, inclusive, offset);
        if (lane >= offset) inclusive += other;
    }
    if (lane == WARP - 1) warps[warp] = inclusive;
    __syncthreads();  // the sums of all warps are there
    if (threadIdx.x == 0) {
        uint32_t own = 0;
        for (uint32_t w = 0; w < SCAN_THREADS / WARP; w++) own += warps[w];
        if (tile > 0) publish(&states[tile], SCAN_OWN, own);
        before = sum_before(states, tile);
        publish(&states[tile], SCAN_PREFIX, before + own);
    }
    __syncthreads();  // what is before this tile is known to all
    uint32_t base = before + inclusive - total;
    for (uint32_t w = 0; w < warp; w++) base += warps[w];
#pragma unroll
    for (uint32_t j = 0; j < 4; j++) {
        if (first + j < n) y[first + j] = base + sums[j];
    }
}
