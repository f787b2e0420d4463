// What every kernel needs: addresses in the data that layout.h describes, reductions of a warp, and instructions that CUDA C++ has
// no name for.
#pragma once

#include "layout.h"

#include <cuda_fp16.h>

constexpr uint32_t ALL_LANES = 0xffffffffu;

// ---- Places (layout.h) ----------------------------------------------------------------------------------------------

// The 16 bytes that hold columns 8 * octet .. + 8 of a row, for a matrix of n_tiles tiles along K.
__device__ __forceinline__ uint64_t packed_index(uint32_t row, uint32_t octet, uint32_t n_tiles) {
    const uint64_t tile = uint64_t(row / TILE_ROWS) * n_tiles + octet / TILE_OCTETS;
    return tile * WARP + (row % TILE_ROWS) * TILE_OCTETS + octet % TILE_OCTETS;
}

// Of element k of a vector in planes.
__device__ __forceinline__ uint32_t plane_index(uint32_t k, uint32_t n_octets) {
    return ((k % OCTET) / 4 * (n_octets + PLANE_GAP) + k / OCTET) * 4 + k % 4;
}

// Floats of a column's planes.
__device__ __forceinline__ uint32_t planes_len(uint32_t n_octets) { return 2 * 4 * (n_octets + PLANE_GAP); }

__device__ __forceinline__ uint32_t step_position(const uint32_t* step, uint32_t column) {
    return step[STEP_POSITIONS + column];
}

__device__ __forceinline__ uint64_t cache_row(uint32_t page, uint32_t head, uint32_t n_head, uint32_t slot) {
    return (uint64_t(page) * n_head + head) * PAGE_LEN + slot;
}

// ---- Reductions of a warp, called by all 32 lanes; every lane gets the same bits ------------------------------------

__device__ __forceinline__ float warp_sum(float v) {
#pragma unroll
    for (uint32_t offset = WARP / 2; offset > 0; offset /= 2) v += __shfl_xor_sync(ALL_LANES, v, offset);
    return v;
}

__device__ __forceinline__ float warp_max(float v) {
#pragma unroll
    for (uint32_t offset = WARP / 2; offset > 0; offset /= 2) v = fmaxf(v, __shfl_xor_sync(ALL_LANES, v, offset));
    return v;
}

// ---- Loads and waits ------------------------------------------------------------------------------------------------

// 16 bytes of weights: never written while the model lives, and read once a step, so they take no place in L1.
__device__ __forceinline__ uint4 load_weights(const uint4* p) {
    uint4 v;
    asm volatile("ld.global.nc.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];"
                 : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
                 : "l"(p));
    return v;
}

// Lets the kernel after this one start, and waits for the one before: what it wrote can be read from here on. Where kernels
// do not overlap, nothing.
__device__ __forceinline__ void let_next_start() {
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.launch_dependents;");
#endif
}

__device__ __forceinline__ void wait_for_previous() {
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

// ---- Numbers --------------------------------------------------------------------------------------------------------

// Eight halves as floats, exactly.
__device__ __forceinline__ void unpack8(float (&f)[8], uint4 v) {
    const uint32_t words[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
    for (uint32_t i = 0; i < 4; i++) {
        const float2 pair = __half22float2(*reinterpret_cast<const __half2*>(&words[i]));
        f[2 * i] = pair.x;
        f[2 * i + 1] = pair.y;
    }
}

__device__ __forceinline__ float activate(float x, uint32_t activation) {
    if (activation == ACTIVATION_RELU) return fmaxf(x, 0.0f);
    if (activation == ACTIVATION_GELU_ERF) return 0.5f * x * (1.0f + erff(x * 0.70710678f));
    return 0.5f * x * (1.0f + tanhf(0.7978845608f * (x + 0.044715f * x * x * x)));
}
