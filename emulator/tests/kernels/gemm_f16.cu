// gemm_f16: y = gelu(a w + bias) with tensor cores, tiles on their way through a ring of shared memory

#include "common.cuh"

constexpr uint32_t GEMM_M = 64, GEMM_N = 64, GEMM_K = 32;
constexpr uint32_t GEMM_STAGES = 3;
constexpr uint32_t GEMM_WARPS = 4;  // 2 x 2, each 32 rows and 32 columns

struct alignas(128) Stage {
    __half a[GEMM_M * GEMM_K];
    __half w[GEMM_K * GEMM_N];
};

// The 16-byte pieces of a row are permuted, so that pieces that ldmatrix reads together lie in different banks: a row of
// `a` has 4 pieces, half the width of the banks; a row of `w` has 8.
__device__ __forceinline__ __half* piece_of_a(Stage& s, uint32_t row, uint32_t piece) {
    return s.a + row * GEMM_K + 8 * (piece ^ (row / 2 % 4));
}
__device__ __forceinline__ __half* piece_of_w(Stage& s, uint32_t row, uint32_t piece) {
    return s.w + row * GEMM_N + 8 * (piece ^ (row % 8));
}

// How many of the 16 bytes at (row, column) lie within an [n_rows, n_cols] matrix of halves.
__device__ __forceinline__ uint32_t bytes_inside(uint32_t row, uint32_t column, uint32_t n_rows, uint32_t n_cols) {
    return row < n_rows && column < n_cols ? 2 * min(n_cols - column, 8) : 0;
}

struct Gemm {
    const __half* a;
    const __half* w;
    uint32_t m, n, k, a_stride, w_stride;
};

// Starts to load the tiles at column k0 of `a` and row k0 of `w`; what lies outside becomes zeros.
__device__ __forceinline__ void load_stage(Stage& stage, const Gemm& g, uint32_t k0) {
    for (uint32_t i = threadIdx.x; i < GEMM_M * GEMM_K / 8; i += blockDim.x) {
        const uint32_t row = i / (GEMM_K / 8), piece = i % (GEMM_K / 8);
        const uint32_t r = blockIdx.y * GEMM_M + row, c = k0 + 8 * piece;
        const uint32_t bytes = bytes_inside(r, c, g.m, g.k);
        cp_async_16(piece_of_a(stage, row, piece), g.a + (bytes ? uint64_t(r) * g.a_stride + c : 0), bytes);
    }
    for (uint32_t i = threadIdx.x; i < GEMM_K * GEMM_N / 8; i += blockDim.x) {
        const uint32_t row = i / (GEMM_N / 8), piece = i % (GEMM_N / 8);
        const uint32_t r = k0 + row, c = blockIdx.x * GEMM_N + 8 * piece;
        const uint32_t bytes = bytes_inside(r, c, g.k, g.n);
        cp_async_16(piece_of_w(stage, row, piece), g.w + (bytes ? uint64_t(r) * g.w_stride + c : 0), bytes);
    }
}

// acc += the warp's 32 x 32 part of the stage's product.
__device__ __forceinline__ void multiply_stage(float (&acc)[2][4][4], Stage& stage, uint32_t warp_m, uint32_t warp_n) {
    const uint32_t lane = threadIdx.x % WARP;
#pragma unroll
    for (uint32_t k = 0; k < GEMM_K; k += 16) {
        uint32_t a[2][4], b[2][4];
#pragma unroll
        for (uint32_t i = 0; i < 2; i++) {
            ldmatrix_x4(a[i], piece_of_a(stage, warp_m + 16 * i + lane % 16, k / 8 + lane / 16));
            ldmatrix_x4_trans(b[i], piece_of_w(stage, k + lane % 16, warp_n / 8 + 2 * i + lane / 16));
        }
#pragma unroll
        for (uint32_t i = 0; i < 2; i++) {
#pragma unroll
            for (uint32_t j = 0; j < 4; j++) mma_f16(acc[i][j], a[i], b[j / 2][j % 2 * 2], b[j / 2][j % 2 * 2 + 1]);
        }
    }
}

// Lays a 16x16 part of the result, two accumulators wide, into rows of shared memory.
__device__ __forceinline__ void store_part(__half* tile, uint32_t pitch, const uint32_t (&r)[4]) {
    const uint32_t lane = threadIdx.x % WARP;
#if __CUDA_ARCH__ >= 900
    asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1, %2, %3, %4};"
                 :
                 : "r"(shared_address(tile + lane % 16 * pitch + lane / 16 * 8)), "r"(r[0]), "r"(r[1]), "r"(r[2]), "r"(r[3])
                 : "memory");
#else
#pragma unroll
    for (uint32_t i = 0; i < 4; i++) {
        *reinterpret_cast<uint32_t*>(tile + (lane / 4 + i % 2 * 8) * pitch + i / 2 * 8 + lane % 4 * 2) = r[i];
    }
#endif
}

// gemm_bias_gelu_f16: y[m, n] = gelu(sum_k a[m, k] w[k, n] + bias[n])
//
//   a     [M, a_stride] f16, K columns used
//   w     [K, w_stride] f16, N columns used
//   bias  [N] f32
//   y     [M, w_stride] f16, N columns written
//   All matrices are 16-byte aligned and their strides multiples of 8; any M, N, K >= 1.
//
// Launch  grid (ceil(N / GEMM_N), ceil(M / GEMM_M)), block 32 * GEMM_WARPS, no dynamic shared memory (24 KiB static)
// Bytes   reads a ceil(N / GEMM_N) times and w ceil(M / GEMM_M) times, mostly from L2; writes 2*M*N
// Exact   no: fp32 sums in the tensor core's order
extern "C" __global__ void __launch_bounds__(WARP * GEMM_WARPS)
gemm_bias_gelu_f16(__half* __restrict__ y, const __half* __restrict__ a, const __half* __restrict__ w,
                   const float* __restrict__ bias, uint32_t m, uint32_t n, uint32_t k, uint32_t a_stride,
                   uint32_t w_stride) {
    constexpr uint32_t PITCH = GEMM_N + 8;
    __shared__ union {
        Stage stages[GEMM_STAGES];
        __half result[GEMM_M * PITCH];
    } shared;
    const Gemm g = {a, w, m, n, k, a_stride, w_stride};
    const uint32_t lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    const uint32_t warp_m = warp / 2 * 32, warp_n = warp % 2 * 32;
    const uint32_t n_steps = (k + GEMM_K - 1) / GEMM_K;

#pragma unroll
    for (uint32_t s = 0; s < GEMM_STAGES - 1; s++) {
        if (s < n_steps) load_stage(shared.stages[s], g, s * GEMM_K);
        cp_async_commit();  // also when empty: one group a step
    }
    float acc[2][4][4] = {};
    for (uint32_t step = 0; step < n_steps; step++) {
        cp_async_wait<GEMM_STAGES - 2>();
        __syncthreads();  // this stage has arrived for all, and all are done with the stage that is loaded next
        const uint32_t next = step + GEMM_STAGES - 1;
        if (next < n_steps) load_stage(shared.stages[next % GEMM_STAGES], g, next * GEMM_K);
        cp_async_commit();
        multiply_stage(acc, shared.stages[step % GEMM_STAGES], warp_m, warp_n);
    }
    cp_async_wait<0>();
    __syncthreads();  // everyone is done with the stages before the result takes their place

#pragma unroll
    for (uint32_t i = 0; i < 2; i++) {
#pragma unroll
        for (uint32_t j = 0; j < 4; j += 2) {
            uint32_t r[4];
#pragma unroll
            for (uint32_t part = 0; part < 4; part++) {
                const float* c = &acc[i][j + part / 2][part % 2 * 2];
                const uint32_t column = blockIdx.x * GEMM_N + warp_n + 8 * (j + part / 2) + lane % 4 * 2;
                const float b0 = column < n ? bias[column] : 0.0f, b1 = column + 1 < n ? bias[column + 1] : 0.0f;
                r[part] = pack_half2(gelu_tanh(c[0] + b0), gelu_tanh(c[1] + b1));
            }
            store_part(shared.result + (warp_m + 16 * i) * PITCH + warp_n + 8 * j, PITCH, r);
        }
    }
    __syncthreads();  // the result is whole before rows of it leave

    for (uint32_t i = threadIdx.x; i < GEMM_M * GEMM_N / 8; i += blockDim.x) {
        const uint32_t row = blockIdx.y * GEMM_M + i / (GEMM_N / 8), column = blockIdx.x * GEMM_N + i % (GEMM_N / 8) * 8;
        const __half* from = shared.result + i / (GEMM_N / 8) * PITCH + i % (GEMM_N / 8) * 8;
        __half* to = y + uint64_t(row) * w_stride + column;
        const uint32_t bytes = bytes_inside(row, column, m, n);
        if (bytes == 16) {
            *reinterpret_cast<uint4*>(to) = *reinterpret_cast<const uint4*>(from);
        } else {
            for (uint32_t c = 0; c < bytes / 2; c++) to[c] = from[c];
        }
    }
}
