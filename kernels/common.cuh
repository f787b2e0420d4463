// What every kernel needs: sizes that Rust shares (build.rs reads the constants of this file), reductions of a warp, the
// layout of packed weights, the step that a decode kernel runs, and instructions that CUDA C++ has no name for.
#pragma once

#include <cstdint>
#include <cuda_fp16.h>

constexpr uint32_t WARP = 32;
constexpr uint32_t ALL_LANES = 0xffffffffu;

// ---- Packed weights -----------------------------------------------------------------------------------------------
//
// A matrix W [rows, K] (row r gives output r) is kept as tiles of TILE_ROWS rows by TILE_K columns, one after another along
// K, then along the rows: 512 bytes a tile, which a warp loads with 16 bytes a lane. Lane i holds columns
// 8 * (i % 8) .. + 8 of the tile's row i / 8. Rows and columns that do not exist are zero.
constexpr uint32_t TILE_ROWS = 4;
constexpr uint32_t TILE_K = 64;
constexpr uint32_t OCTET = 8;                           // columns in 16 bytes
constexpr uint32_t TILE_OCTETS = TILE_K / OCTET;        // 8: also the lanes that share a row
// A row's tiles are cut into slices of at most SLICE_TILES, each summed by one warp.
constexpr uint32_t SLICE_TILES = 16;

// The 16 bytes that hold columns 8 * octet .. + 8 of a row, for a matrix of n_tiles tiles along K.
__device__ __forceinline__ uint64_t packed_index(uint32_t row, uint32_t octet, uint32_t n_tiles) {
    const uint64_t tile = uint64_t(row / TILE_ROWS) * n_tiles + octet / TILE_OCTETS;
    return tile * WARP + (row % TILE_ROWS) * TILE_OCTETS + octet % TILE_OCTETS;
}

// ---- Activations of a decode step ---------------------------------------------------------------------------------
//
// A vector x [K] that goes into a product is kept as two planes of floats, [2][octets + PLANE_GAP][4]: the first and the second
// half of each octet. Eight lanes that read neighbouring octets then touch neighbouring 16 bytes, in each of two loads; and
// since octets are whole tiles, the gap puts the planes into different halves of the banks, for 32 lanes that write in order.
constexpr uint32_t PLANE_GAP = 4;

__device__ __forceinline__ uint32_t plane_index(uint32_t k, uint32_t n_octets) {
    return ((k % OCTET) / 4 * (n_octets + PLANE_GAP) + k / OCTET) * 4 + k % 4;
}

// Floats of a column's planes.
__device__ __forceinline__ uint32_t planes_len(uint32_t n_octets) { return 2 * 4 * (n_octets + PLANE_GAP); }

// ---- The step -----------------------------------------------------------------------------------------------------
//
// A decode kernel runs up to MAX_COLUMNS tokens, its columns, which may belong to different sequences. What they are stands
// in device memory, so that one captured graph serves every step:
//
//   token     [MAX_COLUMNS]  token ids
//   position  [MAX_COLUMNS]  their positions; NO_COLUMN where there is none
//   row       [MAX_COLUMNS]  the row of logits that a column leaves; NO_COLUMN if none
//   pages     [MAX_COLUMNS, n_pages]  the page tables
constexpr uint32_t MAX_COLUMNS = 8;
constexpr uint32_t NO_COLUMN = 0xffffffffu;
constexpr uint32_t STEP_TOKENS = 0;
constexpr uint32_t STEP_POSITIONS = 8;
constexpr uint32_t STEP_ROWS = 16;
constexpr uint32_t STEP_PAGES = 24;

__device__ __forceinline__ uint32_t step_position(const uint32_t* step, uint32_t column) {
    return step[STEP_POSITIONS + column];
}

// ---- The KV cache -------------------------------------------------------------------------------------------------
//
// A layer's keys and values are [pages, H, PAGE_LEN, padded D] f32 each; D is padded with zeros to a multiple of 8.
constexpr uint32_t PAGE_LEN = 32;
constexpr uint32_t MAX_HEAD_DIM = 128;
// Keys whose part of a decode's attention one block computes: a fixed number, so that the order of sums is fixed.
constexpr uint32_t CHUNK_PAGES = 4;
constexpr uint32_t CHUNK_LEN = CHUNK_PAGES * PAGE_LEN;

__device__ __forceinline__ uint64_t cache_row(uint32_t page, uint32_t head, uint32_t n_head, uint32_t slot) {
    return (uint64_t(page) * n_head + head) * PAGE_LEN + slot;
}

// ---- Reductions of a warp, called by all 32 lanes; every lane gets the same bits ------------------------------------

__device__ __forceinline__ float warp_sum(float v) {
#pragma unroll
    for (uint32_t offset = WARP / 2; offset > 0; offset /= 2) v += __shfl_xor_sync(ALL_LANES, v, offset);
    return v;
}

__device__ __forceinline__ float warp_max(float v) {
#pragma unroll
    for (uint32_t offset = WARP / 2; offset > 0; offset /= 2) v = fmaxf(v, __shfl_xor_sync(ALL_LANES, v, offset));
    return v;
}

// ---- Loads and waits ------------------------------------------------------------------------------------------------

// 16 bytes of weights: never written while the model lives, and read once a step, so they take no place in L1.
__device__ __forceinline__ uint4 load_weights(const uint4* p) {
    uint4 v;
    asm volatile("ld.global.nc.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];"
                 : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
                 : "l"(p));
    return v;
}

// Lets the kernel after this one start, and waits for the one before: what it wrote can be read from here on. Where kernels
// do not overlap, nothing.
__device__ __forceinline__ void let_next_start() {
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.launch_dependents;");
#endif
}

__device__ __forceinline__ void wait_for_previous() {
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

// ---- Numbers --------------------------------------------------------------------------------------------------------

// Eight halves as floats, exactly.
__device__ __forceinline__ void unpack8(float (&f)[8], uint4 v) {
    const uint32_t words[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
    for (uint32_t i = 0; i < 4; i++) {
        const float2 pair = __half22float2(*reinterpret_cast<const __half2*>(&words[i]));
        f[2 * i] = pair.x;
        f[2 * i + 1] = pair.y;
    }
}

// config.json's activations, by the numbers that Rust gives them.
constexpr uint32_t ACTIVATION_GELU_TANH = 0;
constexpr uint32_t ACTIVATION_GELU_ERF = 1;
constexpr uint32_t ACTIVATION_RELU = 2;

__device__ __forceinline__ float activate(float x, uint32_t activation) {
    if (activation == ACTIVATION_RELU) return fmaxf(x, 0.0f);
    if (activation == ACTIVATION_GELU_ERF) return 0.5f * x * (1.0f + erff(x * 0.70710678f));
    return 0.5f * x * (1.0f + tanhf(0.7978845608f * (x + 0.044715f * x * x * x)));
}
