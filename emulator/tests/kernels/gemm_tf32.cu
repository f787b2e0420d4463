// gemm_tf32: y = a b^T with tensor cores, of fp32 rounded to 10 bits of fraction, and of bf16

#include "common.cuh"

// gemm_tf32: y[m, n] = sum_k tf32(a[m, k]) tf32(b[n, k])
//
//   a  [M, K], b [N, K] f32
//   y  [M, N] f32; any M, N, K
//
// Work    one warp owns a tile of 16 x 8 and takes its parts straight from global memory
// Launch  grid (ceil(N / 8), ceil(M / 16)), block 32, no shared memory
// Bytes   reads a N / 8 times and b M / 16 times, mostly from L2; writes 4*M*N
// Exact   no: fp32 sums in the tensor core's order
extern "C" __global__ void __launch_bounds__(WARP)
gemm_tf32(float* __restrict__ y, const float* __restrict__ a, const float* __restrict__ b, uint32_t m, uint32_t n,
          uint32_t k) {
    const uint32_t group = threadIdx.x / 4, part = threadIdx.x % 4;
    const uint32_t row = blockIdx.y * 16 + group, column = blockIdx.x * 8;
    float c[4] = {};
    for (uint32_t k0 = 0; k0 < k; k0 += 8) {
        uint32_t a_part[4], b_part[2];
#pragma unroll
        for (uint32_t i = 0; i < 4; i++) {
            const uint32_t r = row + i % 2 * 8, j = k0 + i / 2 * 4 + part;
            const float value = r < m && j < k ? a[uint64_t(r) * k + j] : 0.0f;
            asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(a_part[i]) : "f"(value));
        }
#pragma unroll
        for (uint32_t i = 0; i < 2; i++) {
            const uint32_t r = column + group, j = k0 + i * 4 + part;
            const float value = r < n && j < k ? b[uint64_t(r) * k + j] : 0.0f;
            asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(b_part[i]) : "f"(value));
        }
        asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32"
            " {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
            : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
            : "r"(a_part[0]), "r"(a_part[1]), "r"(a_part[2]), "r"(a_part[3]), "r"(b_part[0]), "r"(b_part[1]));
    }
#pragma unroll
    for (uint32_t i = 0; i < 4; i++) {
        const uint32_t r = row + i / 2 * 8, j = column + 2 * part + i % 2;
        if (r < m && j < n) y[uint64_t(r) * n + j] = c[i];
    }
}

// gemm_bf16: y[m, n] = sum_k a[m, k] b[n, k]
//
//   a  [M, K], b [N, K] bf16 as pairs, K a multiple of 2
//   y  [M, N] f32; any M, N
//
// Launch  grid (ceil(N / 8), ceil(M / 16)), block 32, no shared memory
// Exact   no: fp32 sums in the tensor core's order
extern "C" __global__ void __launch_bounds__(WARP)
gemm_bf16(float* __restrict__ y, const uint32_t* __restrict__ a, const uint32_t* __restrict__ b, uint32_t m, uint32_t n,
          uint32_t k) {
    const uint32_t group = threadIdx.x / 4, part = threadIdx.x % 4;
    const uint32_t row = blockIdx.y * 16 + group, column = blockIdx.x * 8, n_pairs = k / 2;
    float c[4] = {};
    for (uint32_t k0 = 0; k0 < n_pairs; k0 += 8) {
        uint32_t a_part[4], b_part[2];
#pragma unroll
        for (uint32_t i = 0; i < 4; i++) {
            const uint32_t r = row + i % 2 * 8, j = k0 + i / 2 * 4 + part;
            a_part[i] = r < m && j < n_pairs ? a[uint64_t(r) * n_pairs + j] : 0;
        }
#pragma unroll
        for (uint32_t i = 0; i < 2; i++) {
            const uint32_t r = column + group, j = k0 + i * 4 + part;
            b_part[i] = r < n && j < n_pairs ? b[uint64_t(r) * n_pairs + j] : 0;
        }
        asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32"
            " {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
            : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
            : "r"(a_part[0]), "r"(a_part[1]), "r"(a_part[2]), "r"(a_part[3]), "r"(b_part[0]), "r"(b_part[1]));
    }
#pragma unroll
    for (uint32_t i = 0; i < 4; i++) {
        const uint32_t r = row + i / 2 * 8, j = column + 2 * part + i % 2;
        if (r < m && j < n) y[uint64_t(r) * n + j] = c[i];
    }
}
