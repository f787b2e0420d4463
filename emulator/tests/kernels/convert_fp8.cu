// convert_fp8: 8-bit floats, two at a time

#include <cuda_fp8.h>

#include "common.cuh"

// quantize_fp8: fp32 to e4m3 and to e5m2, values too large held to the largest finite one
//
//   e4m3, e5m2  [n] pairs of bytes, the first in the low byte
//   x           [2 n] f32, 8-byte aligned
//
// Launch  grid ceil(n / block), any block; no shared memory
// Bytes   reads 8*n, writes 4*n
// Exact   yes
extern "C" __global__ void quantize_fp8(uint16_t* __restrict__ e4m3, uint16_t* __restrict__ e5m2,
                                        const float2* __restrict__ x, uint32_t n) {
    const uint32_t i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    e4m3[i] = __nv_cvt_float2_to_fp8x2(x[i], __NV_SATFINITE, __NV_E4M3);
    e5m2[i] = __nv_cvt_float2_to_fp8x2(x[i], __NV_SATFINITE, __NV_E5M2);
}

// quantize_fp8_f16: the same from fp16
//
//   x  [n] f16x2
//
// Launch  grid ceil(n / block), any block; no shared memory
// Exact   yes
extern "C" __global__ void quantize_fp8_f16(uint16_t* __restrict__ e4m3, uint16_t* __restrict__ e5m2,
                                            const __half2_raw* __restrict__ x, uint32_t n) {
    const uint32_t i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    e4m3[i] = __nv_cvt_halfraw2_to_fp8x2(x[i], __NV_SATFINITE, __NV_E4M3);
    e5m2[i] = __nv_cvt_halfraw2_to_fp8x2(x[i], __NV_SATFINITE, __NV_E5M2);
}

// dequantize_fp8: pairs of 8-bit floats to pairs of halves
//
//   y     [2, n] f16x2: the pairs read as e4m3, then as e5m2
//   bits  [n] pairs of bytes
//
// Launch  grid ceil(n / block), any block; no shared memory
// Bytes   reads 2*n, writes 8*n
// Exact   yes
extern "C" __global__ void dequantize_fp8(__half2* __restrict__ y, const uint16_t* __restrict__ bits, uint32_t n) {
    const uint32_t i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    y[i] = __half2(__nv_cvt_fp8x2_to_halfraw2(bits[i], __NV_E4M3));
    y[n + i] = __half2(__nv_cvt_fp8x2_to_halfraw2(bits[i], __NV_E5M2));
}

// gemv_fp8: y[n] = scale[n] * sum_k w[n, k] x[k] with e4m3 weights
//
//   w      [N, K] e4m3, 16-byte aligned, K a multiple of 16
//   scale  [N] f32, x [K] f32, y [N] f32; any N
//
// Work    one warp owns one row, 16 weights a lane
// Launch  grid ceil(N / 4), block 128, no shared memory
// Bytes   reads N*K + 4*N + 4*K, writes 4*N
// Exact   no: 32 partial sums of fp32
extern "C" __global__ void __launch_bounds__(128)
gemv_fp8(float* __restrict__ y, const uint8_t* __restrict__ w, const float* __restrict__ scale, const float* __restrict__ x,
         uint32_t n_rows, uint32_t n_cols) {
    const uint32_t lane = threadIdx.x % WARP, row = blockIdx.x * 4 + threadIdx.x / WARP;
    if (row >= n_rows) return;  // a whole warp leaves at once
    float sum = 0.0f;
    for (uint32_t k = 16 * lane; k < n_cols; k += 16 * WARP) {
        const uint4 quad = load_once(w + uint64_t(row) * n_cols + k);
        const uint32_t words[4] = {quad.x, quad.y, quad.z, quad.w};
#pragma unroll
        for (uint32_t i = 0; i < 8; i++) {
            const uint16_t pair = static_cast<uint16_t>(words[i / 2] >> (16 * (i % 2)));
            const float2 weights = __half22float2(__half2(__nv_cvt_fp8x2_to_halfraw2(pair, __NV_E4M3)));
            sum = fmaf(weights.x, x[k + 2 * i], sum);
            sum = fmaf(weights.y, x[k + 2 * i + 1], sum);
        }
    }
    sum = warp_sum(sum);
    if (lane == 0) y[row] = scale[row] * sum;
}
