// pack: a checkpoint's matrices in the order in which decode and prefill read them (layout.h), once, while a model loads
#include "common.cuh"

__device__ __forceinline__ __half to_half(__half v) { return v; }
__device__ __forceinline__ __half to_half(float v) { return __float2half_rn(v); }

// One 16-byte piece a thread: `column(k)` is the element at column k of the thread's row.
template <typename Column>
__device__ __forceinline__ void write_piece(uint4* packed, uint64_t index, Column column) {
    __half piece[OCTET];
#pragma unroll
    for (uint32_t i = 0; i < OCTET; i++) piece[i] = column(i);
    packed[index] = *reinterpret_cast<const uint4*>(piece);
}

// Columns first_k .. of the packed matrix, from `from` [n_k, n_rows]: GPT-2's Conv1D keeps its weights as [in, out].
template <typename T>
__device__ __forceinline__ void pack_transposed(uint4* packed, const T* from, uint32_t n_rows, uint32_t first_k,
                                                uint32_t n_k, uint32_t n_tiles) {
    const uint32_t row = blockIdx.x * PACK_THREADS + threadIdx.x;
    const uint32_t k = blockIdx.y * OCTET;
    if (row >= (n_rows + TILE_ROWS - 1) / TILE_ROWS * TILE_ROWS) return;
    write_piece(packed, packed_index(row, (first_k + k) / OCTET, n_tiles), [&](uint32_t i) {
        const bool exists = row < n_rows && k + i < n_k;
        return exists ? to_half(from[uint64_t(k + i) * n_rows + row]) : __half(0.0f);
    });
}

// Rows first_row .. of the packed matrix, from `from` [n_rows, n_cols]: embeddings are kept as [V, C].
template <typename T>
__device__ __forceinline__ void pack_rows(uint4* packed, const T* from, uint32_t first_row, uint32_t n_rows,
                                          uint32_t n_cols, uint32_t n_tiles) {
    const uint32_t octet = blockIdx.y * PACK_THREADS + threadIdx.x;
    const uint32_t row = blockIdx.x;
    if (octet >= n_tiles * TILE_OCTETS) return;
    write_piece(packed, packed_index(first_row + row, octet, n_tiles), [&](uint32_t i) {
        const uint32_t k = octet * OCTET + i;
        return row < n_rows && k < n_cols ? to_half(from[uint64_t(row) * n_cols + k]) : __half(0.0f);
    });
}

// pack_transposed_{f16,f32}: packed W [n_rows, K] from columns first_k .. first_k + n_k of it, transposed
//
//   packed  W, packed
//   from    [n_k, n_rows] f16 or f32 (rounded to nearest even)
//
// first_k is a multiple of TILE_K; n_k is too, except in the last call. Columns up to the next multiple of 8 after n_k are
// zeroed; `n_octets` = gridDim.y covers the rest of the last tile.
// Launch  grid (ceil(padded rows / PACK_THREADS), octets), block PACK_THREADS
// Bytes   reads n_k*n_rows elements, writes as many halves
// Exact   yes, from f16
extern "C" __global__ void __launch_bounds__(PACK_THREADS)
pack_transposed_f16(uint4* packed, const __half* from, uint32_t n_rows, uint32_t first_k, uint32_t n_k, uint32_t n_tiles) {
    pack_transposed(packed, from, n_rows, first_k, n_k, n_tiles);
}
extern "C" __global__ void __launch_bounds__(PACK_THREADS)
pack_transposed_f32(uint4* packed, const float* from, uint32_t n_rows, uint32_t first_k, uint32_t n_k, uint32_t n_tiles) {
    pack_transposed(packed, from, n_rows, first_k, n_k, n_tiles);
}

// pack_rows_{f16,f32}: rows first_row .. of packed W from as many rows of it
//
//   packed  W [rows, n_cols], packed
//   from    [n_rows, n_cols] f16 or f32 (rounded to nearest even); rows from n_rows up to the grid's are zeroed
//
// Launch  grid (rows, ceil(octets / PACK_THREADS)), block PACK_THREADS
// Bytes   reads n_rows*n_cols elements, writes as many halves
// Exact   yes, from f16
extern "C" __global__ void __launch_bounds__(PACK_THREADS)
pack_rows_f16(uint4* packed, const __half* from, uint32_t first_row, uint32_t n_rows, uint32_t n_cols, uint32_t n_tiles) {
    pack_rows(packed, from, first_row, n_rows, n_cols, n_tiles);
}
extern "C" __global__ void __launch_bounds__(PACK_THREADS)
pack_rows_f32(uint4* packed, const float* from, uint32_t first_row, uint32_t n_rows, uint32_t n_cols, uint32_t n_tiles) {
    pack_rows(packed, from, first_row, n_rows, n_cols, n_tiles);
}
