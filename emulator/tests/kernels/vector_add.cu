// vector_add: y[i] = a[i] + b[i]

#include <cstdint>

// vector_add_f32: y[i] = a[i] + b[i] for i < n, grid-stride
//
//   y, a, b  [n] f32; y may be a or b
//
// Launch  any grid, any block; no shared memory
// Bytes   reads 8*n, writes 4*n
// Exact   yes: one rounding, as on the CPU
extern "C" __global__ void vector_add_f32(float* y, const float* a, const float* b, uint32_t n) {
    for (uint64_t i = uint64_t(blockIdx.x) * blockDim.x + threadIdx.x; i < n; i += uint64_t(gridDim.x) * blockDim.x) {
        y[i] = a[i] + b[i];
    }
}

// vector_add_f32x4: the same, 16 bytes a thread, and the tail of n % 4 elements by the first threads of the grid
//
//   y, a, b  [n] f32, 16-byte aligned, not overlapping
//
// Launch  grid ceil(n / (4 * block)), at least 1; any block >= 3
// Bytes   reads 8*n, writes 4*n
// Exact   yes
extern "C" __global__ void vector_add_f32x4(float* __restrict__ y, const float* __restrict__ a,
                                            const float* __restrict__ b, uint32_t n) {
    const uint64_t i = uint64_t(blockIdx.x) * blockDim.x + threadIdx.x;
    if (i < n / 4) {
        const float4 u = reinterpret_cast<const float4*>(a)[i];
        const float4 v = reinterpret_cast<const float4*>(b)[i];
        reinterpret_cast<float4*>(y)[i] = make_float4(u.x + v.x, u.y + v.y, u.z + v.z, u.w + v.w);
    }
    const uint64_t tail = uint64_t(n / 4) * 4 + i;
    if (tail < n) y[tail] = a[tail] + b[tail];
}
