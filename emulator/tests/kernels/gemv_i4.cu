// gemv_i4: y = W x with weights of 4 bits in groups that share a scale

#include "common.cuh"

constexpr uint32_t I4_WARPS = 4;
constexpr uint32_t I4_GROUP = 32;  // weights a scale: four words

// The four pairs of a word's weights as halves of -8 .. 7. Pair j is in bits 4j .. 4j + 4 and 16 + 4j .. 20 + 4j.
// A weight w is stored as w + 8. Put below the exponent of 1024 it reads as 1024 + 8 + w; four bits higher, 16 times that.
__device__ __forceinline__ void unpack_i4(__half2 (&pairs)[4], uint32_t word) {
    constexpr uint32_t EXPONENT = 0x64006400u;  // 1024 in both halves
    uint32_t bits[4];
    asm("lop3.b32 %0, %1, 0x000f000f, %2, 0xea;" : "=r"(bits[0]) : "r"(word), "n"(EXPONENT));
    asm("lop3.b32 %0, %1, 0x00f000f0, %2, 0xea;" : "=r"(bits[1]) : "r"(word), "n"(EXPONENT));
    asm("lop3.b32 %0, %1, 0x000f000f, %2, 0xea;" : "=r"(bits[2]) : "r"(word >> 8), "n"(EXPONENT));
    asm("lop3.b32 %0, %1, 0x00f000f0, %2, 0xea;" : "=r"(bits[3]) : "r"(word >> 8), "n"(EXPONENT));
    const __half2 low = __float2half2_rn(-1032.0f), sixteenth = __float2half2_rn(0.0625f), high = __float2half2_rn(-72.0f);
#pragma unroll
    for (uint32_t j = 0; j < 4; j++) {
        const __half2 raw = *reinterpret_cast<const __half2*>(&bits[j]);
        pairs[j] = j % 2 == 0 ? __hadd2(raw, low) : __hfma2(raw, sixteenth, high);
    }
}

// gemv_i4_f16: y[n] = sum_k scale[n, k / I4_GROUP] w[n, k] x[k]
//
//   w      [N, K / 8] u32 of 8 weights each, 16-byte aligned; weight 2j + i of a word is its pair j, half i
//   scale  [N, K / I4_GROUP] f16
//   x      [K] f16, 16-byte aligned
//   y      [N] f32; K a multiple of I4_GROUP, any N
//
// Work    one warp owns one row; a lane takes whole groups. Products are fp16, their sums over a group fp32.
// Launch  grid ceil(N / I4_WARPS), block 32 * I4_WARPS, no shared memory
// Bytes   reads N*K/2 + N*K/16 + 2*K, writes 4*N
// Exact   no: the products of a weight and an input are rounded to fp16
extern "C" __global__ void __launch_bounds__(WARP * I4_WARPS)
gemv_i4_f16(float* __restrict__ y, const uint32_t* __restrict__ w, const __half* __restrict__ scale,
            const __half* __restrict__ x, uint32_t n_rows, uint32_t n_cols) {
    const uint32_t lane = threadIdx.x % WARP, row = blockIdx.x * I4_WARPS + threadIdx.x / WARP;
    if (row >= n_rows) return;  // a whole warp leaves at once
    const uint32_t n_groups = n_cols / I4_GROUP;
    float sum = 0.0f;
    for (uint32_t group = lane; group < n_groups; group += WARP) {
        const uint4 quad = load_once(w + (uint64_t(row) * n_groups + group) * 4);
        const uint32_t words[4] = {quad.x, quad.y, quad.z, quad.w};
        float part = 0.0f;
#pragma unroll
        for (uint32_t i = 0; i < 4; i++) {
            __half2 pairs[4];
            unpack_i4(pairs, words[i]);
            const uint4 inputs = *reinterpret_cast<const uint4*>(x + group * I4_GROUP + 8 * i);
            const uint32_t halves[4] = {inputs.x, inputs.y, inputs.z, inputs.w};
#pragma unroll
            for (uint32_t j = 0; j < 4; j++) {
                const float2 products = __half22float2(__hmul2(pairs[j], *reinterpret_cast<const __half2*>(&halves[j])));
                part += products.x + products.y;
            }
        }
        sum = fmaf(__half2float(scale[uint64_t(row) * n_groups + group]), part, sum);
    }
    sum = warp_sum(sum);
    if (lane == 0) y[row] = sum;
}

// pack_i4: the words that gemv_i4_f16 takes, from one weight a byte
//
//   w  [n] u32
//   q  [8 n] i8 of -8 .. 7, 4-byte aligned
//
// Launch  grid ceil(n / block), any block; no shared memory
// Bytes   reads 8*n, writes 4*n
// Exact   yes
extern "C" __global__ void pack_i4(uint32_t* __restrict__ w, const uint32_t* __restrict__ q, uint32_t n) {
    const uint32_t i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    uint32_t word = 0;
#pragma unroll
    for (uint32_t pair = 0; pair < 4; pair++) {
        // Bytes 2 (pair % 2) and 2 (pair % 2) + 1 of their word, spread to the low bytes of both halves.
        const uint32_t spread = __byte_perm(q[2 * i + pair / 2], 0, pair % 2 == 0 ? 0x4140 : 0x4342);
        word |= ((spread + 0x00080008u) & 0x000f000fu) << (4 * pair);
    }
    w[i] = word;
}
