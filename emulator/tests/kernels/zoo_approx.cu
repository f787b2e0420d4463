// zoo_approx: the approximate instructions themselves

#include "common.cuh"

// approximations_f32: one instruction a row
//
//   y  [9, n] f32: rcp, rsqrt, sqrt, lg2 of |x|; ex2, sin, cos, tanh of x; x / 3
//   x  [n] f32, normal numbers
//
// Launch  grid ceil(n / block), any block; no shared memory
// Exact   no: within the errors that the PTX ISA gives
extern "C" __global__ void approximations_f32(float* __restrict__ y, const float* __restrict__ x, uint32_t n) {
    const uint32_t i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    const float v = x[i], magnitude = fabsf(v);
    float r[9];
    asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(r[0]) : "f"(magnitude));
    asm("rsqrt.approx.ftz.f32 %0, %1;" : "=f"(r[1]) : "f"(magnitude));
    asm("sqrt.approx.ftz.f32 %0, %1;" : "=f"(r[2]) : "f"(magnitude));
    asm("lg2.approx.ftz.f32 %0, %1;" : "=f"(r[3]) : "f"(magnitude));
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(r[4]) : "f"(v));
    asm("sin.approx.ftz.f32 %0, %1;" : "=f"(r[5]) : "f"(v));
    asm("cos.approx.ftz.f32 %0, %1;" : "=f"(r[6]) : "f"(v));
    asm("tanh.approx.f32 %0, %1;" : "=f"(r[7]) : "f"(v));
    asm("div.approx.ftz.f32 %0, %1, 0f40400000;" : "=f"(r[8]) : "f"(v));
#pragma unroll
    for (uint32_t row = 0; row < 9; row++) y[uint64_t(row) * n + i] = r[row];
}

// approximations_f16: the two instructions that halves have
//
//   y  [4, n] f16x2: ex2 and tanh of both; of the first half alone, and 0
//   x  [n] f16x2
//
// Launch  grid ceil(n / block), any block; no shared memory
// Exact   no: within the errors that the PTX ISA gives
extern "C" __global__ void approximations_f16(uint32_t* __restrict__ y, const uint32_t* __restrict__ x, uint32_t n) {
    const uint32_t i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    uint32_t ex2, tanh;
    uint16_t ex2_first, tanh_first;
    asm("ex2.approx.f16x2 %0, %1;" : "=r"(ex2) : "r"(x[i]));
    asm("tanh.approx.f16x2 %0, %1;" : "=r"(tanh) : "r"(x[i]));
    asm("ex2.approx.f16 %0, %1;" : "=h"(ex2_first) : "h"(uint16_t(x[i])));
    asm("tanh.approx.f16 %0, %1;" : "=h"(tanh_first) : "h"(uint16_t(x[i])));
    y[i] = ex2;
    y[n + i] = tanh;
    y[2 * uint64_t(n) + i] = ex2_first;
    y[3 * uint64_t(n) + i] = tanh_first;
}
