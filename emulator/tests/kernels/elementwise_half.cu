// elementwise_half: arithmetic on pairs of fp16 and of bf16

#include <cuda_bf16.h>

#include "common.cuh"

// fma_f16x2: y = a * x + b in four ways
//
//   y        [4, n] f16x2: rounded once; the same, but 0 where negative; the same, but held to 0 .. 1; a * x + b with a
//            rounding after the product
//   a, x, b  [n] f16x2
//
// Launch  grid ceil(n / block), any block; no shared memory
// Bytes   reads 12*n, writes 16*n
// Exact   yes
extern "C" __global__ void fma_f16x2(__half2* __restrict__ y, const __half2* __restrict__ a, const __half2* __restrict__ x,
                                     const __half2* __restrict__ b, uint32_t n) {
    const uint32_t i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    y[i] = __hfma2(a[i], x[i], b[i]);
#if __CUDA_ARCH__ >= 800
    y[n + i] = __hfma2_relu(a[i], x[i], b[i]);
#else
    // What the instruction of sm_80 gives: its maximum takes the number where the other side is NaN, and so a NaN stays.
    const __half2 sum = __hfma2(a[i], x[i], b[i]), zero = __float2half2_rn(0.0f);
    y[n + i] = __halves2half2(__hgt(zero.x, sum.x) ? zero.x : sum.x, __hgt(zero.y, sum.y) ? zero.y : sum.y);
#endif
    y[2 * uint64_t(n) + i] = __hfma2_sat(a[i], x[i], b[i]);
    y[3 * uint64_t(n) + i] = __hadd2_rn(__hmul2_rn(a[i], x[i]), b[i]);
}

// fma_bf16x2: y = a * x + b of bf16; before sm_80 through fp32, rounded once more
//
//   y        [2, n] bf16x2: the result; the same, but 0 where negative
//   a, x, b  [n] bf16x2
//
// Launch  grid ceil(n / block), any block; no shared memory
// Bytes   reads 12*n, writes 8*n
// Exact   yes from sm_80 on
extern "C" __global__ void fma_bf16x2(__nv_bfloat162* __restrict__ y, const __nv_bfloat162* __restrict__ a,
                                      const __nv_bfloat162* __restrict__ x, const __nv_bfloat162* __restrict__ b,
                                      uint32_t n) {
    const uint32_t i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
#if __CUDA_ARCH__ >= 800
    y[i] = __hfma2(a[i], x[i], b[i]);
    y[n + i] = __hfma2_relu(a[i], x[i], b[i]);
#else
    const float2 u = __bfloat1622float2(a[i]), v = __bfloat1622float2(x[i]), w = __bfloat1622float2(b[i]);
    const float2 sum = make_float2(fmaf(u.x, v.x, w.x), fmaf(u.y, v.y, w.y));
    y[i] = __float22bfloat162_rn(sum);
    y[n + i] = __float22bfloat162_rn(make_float2(fmaxf(sum.x, 0.0f), fmaxf(sum.y, 0.0f)));
#endif
}

// compare_f16: minima, maxima, comparisons, signs and roundings
//
//   y     [10, n] f16: min, max, the minimum and the maximum that keep NaN (from sm_80 on; before as without), |a|, -a,
//         floor a, a to the nearest even integer, a < b or unordered, a <= b (1 or 0)
//   a, b  [n] f16
//
// Launch  grid ceil(n / block), any block; no shared memory
// Exact   yes
extern "C" __global__ void compare_f16(__half* __restrict__ y, const __half* __restrict__ a, const __half* __restrict__ b,
                                       uint32_t n) {
    const uint32_t i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    const __half u = a[i], v = b[i];
#if __CUDA_ARCH__ >= 800
    const __half least = __hmin_nan(u, v), greatest = __hmax_nan(u, v);
#else
    const __half least = __hmin(u, v), greatest = __hmax(u, v);
#endif
    const __half results[10] = {
        __hmin(u, v), __hmax(u, v), least, greatest, __habs(u), __hneg(u), hfloor(u), hrint(u),
        __half(__hltu(u, v) ? 1.0f : 0.0f), __half(__hle(u, v) ? 1.0f : 0.0f),
    };
#pragma unroll
    for (uint32_t r = 0; r < 10; r++) y[uint64_t(r) * n + i] = results[r];
}

// functions_f16: the special functions of a pair of halves
//
//   y  [6, n] f16x2: 1/x, 1/sqrt(x), sqrt(x), exp(x), log2(x), sin(x)
//   x  [n] f16x2, positive
//
// Launch  grid ceil(n / block), any block; no shared memory
// Exact   no: within 2 units in the last place, exp and sin besides 2^-10 of 1
extern "C" __global__ void functions_f16(__half2* __restrict__ y, const __half2* __restrict__ x, uint32_t n) {
    const uint32_t i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    const __half2 results[6] = {h2rcp(x[i]), h2rsqrt(x[i]), h2sqrt(x[i]), h2exp(x[i]), h2log2(x[i]), h2sin(x[i])};
#pragma unroll
    for (uint32_t r = 0; r < 6; r++) y[uint64_t(r) * n + i] = results[r];
}

// convert_bf16: fp32 to bf16 pairs and back
//
//   pairs  [n] bf16x2, sums [n] f32: the sum of the two after rounding
//   x      [2 n] f32, 8-byte aligned
//
// Launch  grid ceil(n / block), any block; no shared memory
// Bytes   reads 8*n, writes 8*n
// Exact   yes
extern "C" __global__ void convert_bf16(__nv_bfloat162* __restrict__ pairs, float* __restrict__ sums,
                                        const float2* __restrict__ x, uint32_t n) {
    const uint32_t i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    const __nv_bfloat162 pair = __float22bfloat162_rn(x[i]);
    const float2 back = __bfloat1622float2(pair);
    pairs[i] = pair;
    sums[i] = back.x + back.y;
}
