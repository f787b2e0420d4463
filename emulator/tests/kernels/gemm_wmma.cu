// gemm_wmma: y = a w^T + bias through the portable tensor-core interface

#include <mma.h>

#include "common.cuh"

namespace wmma = nvcuda::wmma;

constexpr uint32_t WMMA_TILE = 16;
constexpr uint32_t WMMA_WARPS = 4;  // 2 x 2 tiles a block
constexpr uint32_t WMMA_PITCH = WMMA_TILE + 8;

// The 16 columns from k0 of 16 rows of x [n_rows, n_cols], zeros outside, by one warp.
__device__ __forceinline__ void stage(__half* tile, const __half* x, uint32_t first, uint32_t n_rows, uint32_t k0,
                                      uint32_t n_cols) {
    for (uint32_t i = threadIdx.x % WARP; i < WMMA_TILE * WMMA_TILE; i += WARP) {
        const uint32_t row = first + i / WMMA_TILE, k = k0 + i % WMMA_TILE;
        const bool inside = row < n_rows && k < n_cols;
        tile[i / WMMA_TILE * WMMA_PITCH + i % WMMA_TILE] = inside ? x[uint64_t(row) * n_cols + k] : __half(0.0f);
    }
}

// gemm_wmma_f16: y[m, n] = sum_k a[m, k] w[n, k] + bias[n]
//
//   a     [M, K] f16
//   w     [N, K] f16
//   bias  [N] f32
//   y     [M, N] f32; any M, N, K >= 1
//
// Work    one warp owns a tile of 16 x 16; its inputs pass through its own shared memory, so warps never wait for others
// Launch  grid (ceil(N / 32), ceil(M / 32)), block 32 * WMMA_WARPS, no dynamic shared memory
// Bytes   reads a N / 16 times and w M / 16 times, mostly from L2; writes 4*M*N
// Exact   no: fp32 sums in the tensor core's order
extern "C" __global__ void __launch_bounds__(WARP * WMMA_WARPS)
gemm_wmma_f16(float* __restrict__ y, const __half* __restrict__ a, const __half* __restrict__ w,
              const float* __restrict__ bias, uint32_t m, uint32_t n, uint32_t k) {
    __shared__ __align__(32) __half a_tiles[WMMA_WARPS][WMMA_TILE * WMMA_PITCH];
    __shared__ __align__(32) __half w_tiles[WMMA_WARPS][WMMA_TILE * WMMA_PITCH];
    __shared__ __align__(32) float y_tiles[WMMA_WARPS][WMMA_TILE * WMMA_TILE];
    const uint32_t lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    const uint32_t row = (blockIdx.y * 2 + warp / 2) * WMMA_TILE, column = (blockIdx.x * 2 + warp % 2) * WMMA_TILE;
    __half* a_tile = a_tiles[warp];
    __half* w_tile = w_tiles[warp];
    float* y_tile = y_tiles[warp];

    wmma::fragment<wmma::matrix_a, WMMA_TILE, WMMA_TILE, 16, __half, wmma::row_major> a_part;
    wmma::fragment<wmma::matrix_b, WMMA_TILE, WMMA_TILE, 16, __half, wmma::col_major> w_part;
    wmma::fragment<wmma::accumulator, WMMA_TILE, WMMA_TILE, 16, float> sums;
    for (uint32_t i = lane; i < WMMA_TILE * WMMA_TILE; i += WARP) {
        const uint32_t c = column + i % WMMA_TILE;
        y_tile[i] = c < n ? bias[c] : 0.0f;
    }
    __syncwarp();  // the bias is there before the fragment takes it
    wmma::load_matrix_sync(sums, y_tile, WMMA_TILE, wmma::mem_row_major);
    for (uint32_t k0 = 0; k0 < k; k0 += WMMA_TILE) {
        stage(a_tile, a, row, m, k0, k);
        stage(w_tile, w, column, n, k0, k);
        __syncwarp();  // the tiles are whole before they are read
        wmma::load_matrix_sync(a_part, a_tile, WMMA_PITCH);
        wmma::load_matrix_sync(w_part, w_tile, WMMA_PITCH);
        wmma::mma_sync(sums, a_part, w_part, sums);
        __syncwarp();  // and read before the next ones replace them
    }
    wmma::store_matrix_sync(y_tile, sums, WMMA_TILE, wmma::mem_row_major);
    __syncwarp();  // the result is whole before it leaves
    for (uint32_t i = lane; i < WMMA_TILE * WMMA_TILE; i += WARP) {
        const uint32_t r = row + i / WMMA_TILE, c = column + i % WMMA_TILE;
        if (r < m && c < n) y[uint64_t(r) * n + c] = y_tile[i];
    }
}

// gemm_wmma_whole_f16: y = a w^T of whole tiles, straight from global memory, with fp16 sums
//
//   a  [M, K] f16, w [N, K] f16, y [M, N] f16, 32-byte aligned; M a multiple of 32, N of 8, K of 16
//
// Launch  grid (N / 8, M / 32), block 32
// Bytes   reads a N / 8 times and w M / 32 times; writes 2*M*N
// Exact   no: sums are rounded to fp16
extern "C" __global__ void __launch_bounds__(WARP)
gemm_wmma_whole_f16(__half* __restrict__ y, const __half* __restrict__ a, const __half* __restrict__ w, uint32_t n,
                    uint32_t k) {
    wmma::fragment<wmma::matrix_a, 32, 8, 16, __half, wmma::row_major> a_part;
    wmma::fragment<wmma::matrix_b, 32, 8, 16, __half, wmma::col_major> w_part;
    wmma::fragment<wmma::accumulator, 32, 8, 16, __half> sums;
    wmma::fill_fragment(sums, __half(0.0f));
    for (uint32_t k0 = 0; k0 < k; k0 += 16) {
        wmma::load_matrix_sync(a_part, a + uint64_t(blockIdx.y) * 32 * k + k0, k);
        wmma::load_matrix_sync(w_part, w + uint64_t(blockIdx.x) * 8 * k + k0, k);
        wmma::mma_sync(sums, a_part, w_part, sums);
    }
    wmma::store_matrix_sync(y + uint64_t(blockIdx.y) * 32 * n + blockIdx.x * 8, sums, n, wmma::mem_row_major);
}
