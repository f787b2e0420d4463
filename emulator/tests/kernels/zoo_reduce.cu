// zoo_reduce: the warp reductions of integers

#include "common.cuh"

// reductions: every reduction of the warp's numbers, then sums over equal lanes modulo 4
//
//   y  [7, n] u32: sum, unsigned least and greatest, signed least, and, or, xor
//   z  [n] u32: the sum over the lanes whose number is the same modulo 4
//   x  [n] u32, n a multiple of 32
//
// Launch  grid ceil(n / block), block a multiple of 32; no shared memory
// Exact   yes
extern "C" __global__ void reductions(uint32_t* y, uint32_t* z, const uint32_t* x, uint32_t n) {
    const uint32_t i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;  // a whole warp leaves at once
    const uint32_t v = x[i];
    const uint32_t results[7] = {
        __reduce_add_sync(ALL_LANES, v), __reduce_min_sync(ALL_LANES, v), __reduce_max_sync(ALL_LANES, v),
        uint32_t(__reduce_min_sync(ALL_LANES, static_cast<int>(v))), __reduce_and_sync(ALL_LANES, v),
        __reduce_or_sync(ALL_LANES, v), __reduce_xor_sync(ALL_LANES, v),
    };
    for (uint32_t r = 0; r < 7; r++) y[uint64_t(r) * n + i] = results[r];
    switch (threadIdx.x % 4) {
        case 0: z[i] = __reduce_add_sync(0x11111111u, v); break;
        case 1: z[i] = __reduce_add_sync(0x22222222u, v); break;
        case 2: z[i] = __reduce_add_sync(0x44444444u, v); break;
        default: z[i] = __reduce_add_sync(0x88888888u, v); break;
    }
}
