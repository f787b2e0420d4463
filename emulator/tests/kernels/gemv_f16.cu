// gemv_f16: y = residual + gelu(W x + bias) for one token, with fp16 weights

#include "common.cuh"

constexpr uint32_t GEMV_WARPS = 4;

// The products of 8 weights with 8 inputs, added to acc.
__device__ __forceinline__ float dot8(float acc, uint4 w, float4 x0, float4 x1) {
    const float2 w0 = __half22float2(*reinterpret_cast<const __half2*>(&w.x));
    const float2 w1 = __half22float2(*reinterpret_cast<const __half2*>(&w.y));
    const float2 w2 = __half22float2(*reinterpret_cast<const __half2*>(&w.z));
    const float2 w3 = __half22float2(*reinterpret_cast<const __half2*>(&w.w));
    acc = fmaf(w0.x, x0.x, acc);
    acc = fmaf(w0.y, x0.y, acc);
    acc = fmaf(w1.x, x0.z, acc);
    acc = fmaf(w1.y, x0.w, acc);
    acc = fmaf(w2.x, x1.x, acc);
    acc = fmaf(w2.y, x1.y, acc);
    acc = fmaf(w3.x, x1.z, acc);
    return fmaf(w3.y, x1.w, acc);
}

// Rows row .. row + ROWS of the result, by one warp. Rows past the end read the last row again and are not written.
template <uint32_t ROWS>
__device__ __forceinline__ void gemv_rows(float* y, const __half* __restrict__ w, const float* x, const float* bias,
                                          const float* residual, uint32_t n_rows, uint32_t n_cols, uint32_t stride) {
    extern __shared__ float4 staged[];  // [ceil(K / 4)]
    float* xs = reinterpret_cast<float*>(staged);
    for (uint32_t k = threadIdx.x; k < n_cols; k += blockDim.x) xs[k] = x[k];
    __syncthreads();  // xs is whole before any warp reads it

    const uint32_t lane = threadIdx.x % WARP;
    const uint32_t row = (blockIdx.x * GEMV_WARPS + threadIdx.x / WARP) * ROWS;
    if (row >= n_rows) return;  // a whole warp leaves at once, and no block barrier follows

    const __half* rows[ROWS];
    float acc[ROWS];
#pragma unroll
    for (uint32_t r = 0; r < ROWS; r++) {
        rows[r] = w + uint64_t(min(row + r, n_rows - 1)) * stride;
        acc[r] = 0.0f;
    }
    for (uint32_t chunk = lane; chunk < n_cols / 8; chunk += WARP) {
        const float4 x0 = staged[2 * chunk];
        const float4 x1 = staged[2 * chunk + 1];
#pragma unroll
        for (uint32_t r = 0; r < ROWS; r++) acc[r] = dot8(acc[r], load_once(rows[r] + 8 * chunk), x0, x1);
    }
    const uint32_t k = n_cols / 8 * 8 + lane;  // at most 7 columns are left
    if (k < n_cols) {
#pragma unroll
        for (uint32_t r = 0; r < ROWS; r++) acc[r] = fmaf(__half2float(rows[r][k]), xs[k], acc[r]);
    }
#pragma unroll
    for (uint32_t r = 0; r < ROWS; r++) {
        const float sum = warp_sum(acc[r]);
        if (lane == r && row + r < n_rows) y[row + r] = residual[row + r] + gelu_tanh(sum + bias[row + r]);
    }
}

// gemv_f16_r1: y[n] = residual[n] + gelu(sum_k w[n, k] x[k] + bias[n])
//
//   w         [N, stride] f16, row-major, 16-byte aligned; stride >= K, a multiple of 8
//   x         [K] f32
//   y         [N] f32; y may be residual
//   bias, residual  [N] f32
//
// Work    one warp owns one row; lane i takes columns 8i .. 8i + 8 of every 256. Any N, any K >= 1.
// Launch  grid ceil(N / GEMV_WARPS), block 32 * GEMV_WARPS, 16 * ceil(K / 4) bytes of shared memory
// Bytes   reads 2*N*K + 4*K + 8*N, writes 4*N; x is read once a block, from L2
// Exact   no: 32 partial sums of fp32
extern "C" __global__ void __launch_bounds__(WARP * GEMV_WARPS)
gemv_f16_r1(float* y, const __half* __restrict__ w, const float* x, const float* bias, const float* residual,
            uint32_t n_rows, uint32_t n_cols, uint32_t stride) {
    gemv_rows<1>(y, w, x, bias, residual, n_rows, n_cols, stride);
}

// gemv_f16_r4: the same, with four rows a warp, so that each piece of x is read from shared memory once for four rows
//
// Launch  grid ceil(N / (4 * GEMV_WARPS)), block 32 * GEMV_WARPS, 16 * ceil(K / 4) bytes of shared memory
extern "C" __global__ void __launch_bounds__(WARP * GEMV_WARPS)
gemv_f16_r4(float* y, const __half* __restrict__ w, const float* x, const float* bias, const float* residual,
            uint32_t n_rows, uint32_t n_cols, uint32_t stride) {
    gemv_rows<4>(y, w, x, bias, residual, n_rows, n_cols, stride);
}
