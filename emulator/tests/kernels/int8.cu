// int8: vectors quantised to 8 bits, and products of them with dp4a and with tensor cores

#include "common.cuh"

constexpr uint32_t I8_WARPS = 4;

// quantize_rows_i8: q[t, k] = round(x[t, k] / scale[t]) with scale[t] = max_k |x[t, k]| / 127
//
//   q      [T, stride] i8; the columns from K on become zeros; stride a multiple of 4
//   scale  [T] f32; 0 for a row of zeros, whose q is zeros
//   x      [T, K] f32, finite
//
// Work    one warp owns one row. Any T, K.
// Launch  grid ceil(T / I8_WARPS), block 32 * I8_WARPS, no shared memory
// Bytes   reads 4*T*K twice, the second time from L1; writes T*stride + 4*T
// Exact   the scales are; q is, except where x / scale is within rounding of a half
extern "C" __global__ void __launch_bounds__(WARP * I8_WARPS)
quantize_rows_i8(int8_t* __restrict__ q, float* __restrict__ scale, const float* __restrict__ x, uint32_t n_rows,
                 uint32_t n_cols, uint32_t stride) {
    const uint32_t lane = threadIdx.x % WARP, row = blockIdx.x * I8_WARPS + threadIdx.x / WARP;
    if (row >= n_rows) return;  // a whole warp leaves at once
    const float* from = x + uint64_t(row) * n_cols;
    float max = 0.0f;
    for (uint32_t k = lane; k < n_cols; k += WARP) max = fmaxf(max, fabsf(from[k]));
    max = warp_max(max);
    const float inverse = max > 0.0f ? 127.0f / max : 0.0f;
    for (uint32_t k = 4 * lane; k < stride; k += 4 * WARP) {
        char4 packed = make_char4(0, 0, 0, 0);
        if (k < n_cols) packed.x = static_cast<signed char>(__float2int_rn(from[k] * inverse));
        if (k + 1 < n_cols) packed.y = static_cast<signed char>(__float2int_rn(from[k + 1] * inverse));
        if (k + 2 < n_cols) packed.z = static_cast<signed char>(__float2int_rn(from[k + 2] * inverse));
        if (k + 3 < n_cols) packed.w = static_cast<signed char>(__float2int_rn(from[k + 3] * inverse));
        *reinterpret_cast<char4*>(q + uint64_t(row) * stride + k) = packed;
    }
    if (lane == 0) scale[row] = max / 127.0f;
}

// gemv_i8: y[n] = (sum_k w[n, k] x[k]) * w_scale[n] * x_scale[0]
//
//   w        [N, stride] i8, 16-byte aligned, stride a multiple of 16; columns past the used ones are zeros, here or in x
//   x        [stride] i8, 16-byte aligned
//   w_scale  [N] f32, x_scale [1] f32
//   y        [N] f32
//
// Work    one warp owns one row, 16 bytes a lane. Any N.
// Launch  grid ceil(N / I8_WARPS), block 32 * I8_WARPS, no shared memory
// Bytes   reads N*stride + stride + 4*N, writes 4*N
// Exact   yes: integers, then two roundings
extern "C" __global__ void __launch_bounds__(WARP * I8_WARPS)
gemv_i8(float* __restrict__ y, const int8_t* __restrict__ w, const int8_t* __restrict__ x,
        const float* __restrict__ w_scale, const float* __restrict__ x_scale, uint32_t n_rows, uint32_t stride) {
    const uint32_t lane = threadIdx.x % WARP, row = blockIdx.x * I8_WARPS + threadIdx.x / WARP;
    if (row >= n_rows) return;  // a whole warp leaves at once
    int sum = 0;
    for (uint32_t k = 16 * lane; k < stride; k += 16 * WARP) {
        const uint4 a = load_once(w + uint64_t(row) * stride + k);
        const uint4 b = __ldg(reinterpret_cast<const uint4*>(x + k));
        sum = __dp4a(static_cast<int>(a.x), static_cast<int>(b.x), sum);
        sum = __dp4a(static_cast<int>(a.y), static_cast<int>(b.y), sum);
        sum = __dp4a(static_cast<int>(a.z), static_cast<int>(b.z), sum);
        sum = __dp4a(static_cast<int>(a.w), static_cast<int>(b.w), sum);
    }
#if __CUDA_ARCH__ >= 800
    sum = __reduce_add_sync(ALL_LANES, sum);
#else
    for (uint32_t offset = WARP / 2; offset > 0; offset /= 2) sum += __shfl_xor_sync(ALL_LANES, sum, offset);
#endif
    if (lane == 0) y[row] = float(sum) * w_scale[row] * x_scale[0];
}

// c[16, 8] += a[16, 32] b[32, 8] of i8 with i32 sums: one instruction from sm_80 on, four of 8x8x16 before.
__device__ __forceinline__ void mma_i8(int (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
#if __CUDA_ARCH__ >= 800
    asm("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
#pragma unroll
    for (uint32_t i = 0; i < 4; i++) {  // a[i] holds rows 8 * (i % 2) .., columns 16 * (i / 2) ..
        asm("mma.sync.aligned.m8n8k16.row.col.s32.s8.s8.s32 {%0, %1}, {%2}, {%3}, {%0, %1};"
            : "+r"(c[i % 2 * 2]), "+r"(c[i % 2 * 2 + 1])
            : "r"(a[i]), "r"(b[i / 2]));
    }
#endif
}

// gemm_i8: y[m, n] = sum_k a[m, k] b[n, k]
//
//   a  [M, stride], b [N, stride] i8, 4-byte aligned, stride a multiple of 4; columns past the used ones are zeros
//   y  [M, N] i32
//
// Work    one warp owns a tile of 16 x 8 and takes its parts straight from global memory. Any M, N.
// Launch  grid (ceil(N / 8), ceil(M / 16)), block 32, no shared memory
// Bytes   reads a N / 8 times and b M / 16 times, mostly from L2; writes 4*M*N
// Exact   yes, while sums fit 32 bits
extern "C" __global__ void __launch_bounds__(WARP)
gemm_i8(int* __restrict__ y, const int8_t* __restrict__ a, const int8_t* __restrict__ b, uint32_t m, uint32_t n,
        uint32_t stride) {
    const uint32_t group = threadIdx.x / 4, part = threadIdx.x % 4;
    const uint32_t row = blockIdx.y * 16 + group, column = blockIdx.x * 8;
    int sums[4] = {};
    for (uint32_t k0 = 0; k0 < stride; k0 += 32) {
        uint32_t a_part[4], b_part[2];
#pragma unroll
        for (uint32_t i = 0; i < 4; i++) {
            const uint32_t r = row + i % 2 * 8, k = k0 + i / 2 * 16 + 4 * part;
            const bool inside = r < m && k < stride;
            a_part[i] = inside ? *reinterpret_cast<const uint32_t*>(a + uint64_t(r) * stride + k) : 0;
        }
#pragma unroll
        for (uint32_t i = 0; i < 2; i++) {
            const uint32_t r = column + group, k = k0 + i * 16 + 4 * part;
            const bool inside = r < n && k < stride;
            b_part[i] = inside ? *reinterpret_cast<const uint32_t*>(b + uint64_t(r) * stride + k) : 0;
        }
        mma_i8(sums, a_part, b_part);
    }
#pragma unroll
    for (uint32_t i = 0; i < 4; i++) {
        const uint32_t r = row + i / 2 * 8, c = column + 2 * part + i % 2;
        if (r < m && c < n) y[uint64_t(r) * n + c] = sums[i];
    }
}
