// attention_prefill: causal attention of all tokens of a prompt, with tensor cores and without the score matrix in memory
//
//   out[h, i, :] = sum_{j <= i} softmax_j(scale * <q[h, i, :], k[h, j, :]>) v[h, j, :]
//
// A block owns PREFILL_ROWS queries of one head; each of its warps 16 of them. It walks over the keys in tiles of
// PREFILL_KEYS, with the next tile on its way to the other buffer, and rescales its sums whenever a row's maximum grows.

#include "common.cuh"

constexpr uint32_t HEAD_DIM = 64;
constexpr uint32_t PREFILL_WARPS = 4;
constexpr uint32_t PREFILL_ROWS = 16 * PREFILL_WARPS;
constexpr uint32_t PREFILL_KEYS = 64;
constexpr float LOG2_E = 1.4426950408889634f;

// A tile of 64 rows of 64 halves. The 16-byte pieces of a row are permuted by its number, so that the 8 rows of a column
// of pieces, which ldmatrix reads together, lie in different banks.
struct alignas(128) Tile {
    __half data[64 * HEAD_DIM];
    __device__ __forceinline__ __half* piece(uint32_t row, uint32_t piece) {
        return data + row * HEAD_DIM + 8 * (piece ^ (row % 8));
    }
};

// Starts to load rows first .. first + 64 of x [T, HEAD_DIM] into the tile; rows from T on become zeros.
__device__ __forceinline__ void load_tile(Tile& tile, const __half* x, uint32_t first, uint32_t n_tokens) {
    for (uint32_t i = threadIdx.x; i < 64 * HEAD_DIM / 8; i += blockDim.x) {
        const uint32_t row = i / 8, piece = i % 8;
        const uint32_t t = min(first + row, n_tokens - 1);
        cp_async_16(tile.piece(row, piece), x + uint64_t(t) * HEAD_DIM + 8 * piece, first + row < n_tokens ? 16 : 0);
    }
}

// scores[n] = the 16x8 products of the warp's queries with keys 8n .. 8n + 8 of the tile.
__device__ __forceinline__ void multiply_keys(float (&scores)[8][4], const uint32_t (&q)[4][4], Tile& keys) {
    const uint32_t lane = threadIdx.x % WARP;
#pragma unroll
    for (uint32_t n = 0; n < 8; n++) {
#pragma unroll
        for (uint32_t i = 0; i < 4; i++) scores[n][i] = 0.0f;
#pragma unroll
        for (uint32_t k = 0; k < 2; k++) {  // 32 columns at a time
            uint32_t b[4];
            ldmatrix_x4(b, keys.piece(8 * n + lane % 8, 4 * k + lane / 8));
            mma_f16(scores[n], q[2 * k], b[0], b[1]);
            mma_f16(scores[n], q[2 * k + 1], b[2], b[3]);
        }
    }
}

// out += weights * values, where weights are the exponentials in scores.
__device__ __forceinline__ void multiply_values(float (&out)[8][4], const float (&scores)[8][4], Tile& values) {
    const uint32_t lane = threadIdx.x % WARP;
#pragma unroll
    // 16 keys at a time: what a thread holds of the scores is its part of the left factor.
    for (uint32_t k = 0; k < 4; k++) {
        const uint32_t a[4] = {
            pack_half2(scores[2 * k][0], scores[2 * k][1]),
            pack_half2(scores[2 * k][2], scores[2 * k][3]),
            pack_half2(scores[2 * k + 1][0], scores[2 * k + 1][1]),
            pack_half2(scores[2 * k + 1][2], scores[2 * k + 1][3]),
        };
#pragma unroll
        for (uint32_t n = 0; n < 8; n += 2) {
            uint32_t b[4];
            ldmatrix_x4_trans(b, values.piece(16 * k + lane % 16, n + lane / 16));
            mma_f16(out[n], a, b[0], b[1]);
            mma_f16(out[n + 1], a, b[2], b[3]);
        }
    }
}

// One step of the softmax for the two rows of this thread: masks, raises the maxima, turns scores into exponentials and
// scales what was summed under the old maxima. A row shares its maximum among the 4 threads that hold it.
__device__ __forceinline__ void update_softmax(float (&scores)[8][4], float (&out)[8][4], float (&max)[2],
                                               float (&sum)[2], uint32_t row, uint32_t first_key, float scale_log2) {
    const uint32_t lane = threadIdx.x % WARP;
#pragma unroll
    for (uint32_t half = 0; half < 2; half++) {
        float tile_max = -INFINITY;
#pragma unroll
        for (uint32_t n = 0; n < 8; n++) {
#pragma unroll
            for (uint32_t j = 0; j < 2; j++) {
                const uint32_t key = first_key + 8 * n + 2 * (lane % 4) + j;
                float& score = scores[n][2 * half + j];
                score = key <= row + 8 * half ? score * scale_log2 : -INFINITY;
                tile_max = fmaxf(tile_max, score);
            }
        }
        tile_max = fmaxf(tile_max, __shfl_xor_sync(ALL_LANES, tile_max, 1));
        tile_max = fmaxf(tile_max, __shfl_xor_sync(ALL_LANES, tile_max, 2));
        // Key 0 is in the first tile and seen by every row: the maximum is finite from then on.
        const float new_max = fmaxf(max[half], tile_max);
        const float shrink = exp2f(max[half] - new_max);
        max[half] = new_max;
        sum[half] *= shrink;
#pragma unroll
        for (uint32_t n = 0; n < 8; n++) {
#pragma unroll
            for (uint32_t j = 0; j < 2; j++) {
                float& score = scores[n][2 * half + j];
                score = exp2f(score - new_max);
                sum[half] += score;
                out[n][2 * half + j] *= shrink;
            }
        }
    }
}

// attention_prefill_f16
//
//   out, q, k, v  [H, T, HEAD_DIM] f16, 16-byte aligned, out not overlapping the others; T >= 1
//
// Launch  grid (ceil(T / PREFILL_ROWS), H), block 32 * PREFILL_WARPS, no dynamic shared memory (40 KiB static)
// Bytes   reads q once and k, v about T / (2 * PREFILL_ROWS) times, mostly from L2; writes 2*H*T*HEAD_DIM
// Exact   no: exponentials are rounded to fp16 before they meet v
extern "C" __global__ void __launch_bounds__(WARP * PREFILL_WARPS)
attention_prefill_f16(__half* __restrict__ out, const __half* __restrict__ q, const __half* __restrict__ k,
                      const __half* __restrict__ v, uint32_t n_tokens, float scale) {
    __shared__ Tile queries, keys[2], values[2];
    const uint64_t head = uint64_t(blockIdx.y) * n_tokens * HEAD_DIM;
    const uint32_t lane = threadIdx.x % WARP, warp_row = threadIdx.x / WARP * 16;
    const uint32_t first_row = blockIdx.x * PREFILL_ROWS;
    const uint32_t n_tiles = (min(first_row + PREFILL_ROWS, n_tokens) + PREFILL_KEYS - 1) / PREFILL_KEYS;

    load_tile(queries, q + head, first_row, n_tokens);
    load_tile(keys[0], k + head, 0, n_tokens);
    load_tile(values[0], v + head, 0, n_tokens);
    cp_async_commit();

    uint32_t qs[4][4];
    float acc[8][4] = {}, max[2] = {-INFINITY, -INFINITY}, sum[2] = {};
    for (uint32_t tile = 0; tile < n_tiles; tile++) {
        if (tile + 1 < n_tiles) {
            load_tile(keys[(tile + 1) % 2], k + head, (tile + 1) * PREFILL_KEYS, n_tokens);
            load_tile(values[(tile + 1) % 2], v + head, (tile + 1) * PREFILL_KEYS, n_tokens);
        }
        cp_async_commit();  // empty at the end, so that the wait below always leaves the tile after this one
        cp_async_wait<1>();
        __syncthreads();  // all threads' parts of this tile have arrived
        if (tile == 0) {
            for (uint32_t i = 0; i < 4; i++) ldmatrix_x4(qs[i], queries.piece(warp_row + lane % 16, 2 * i + lane / 16));
        }
        float scores[8][4];
        multiply_keys(scores, qs, keys[tile % 2]);
        update_softmax(scores, acc, max, sum, first_row + warp_row + lane / 4, tile * PREFILL_KEYS, scale * LOG2_E);
        multiply_values(acc, scores, values[tile % 2]);
        __syncthreads();  // everyone is done with this tile before the next iteration loads over it
    }

#pragma unroll
    for (uint32_t half = 0; half < 2; half++) {
        const float total = sum[half] + __shfl_xor_sync(ALL_LANES, sum[half], 1);
        const float inverse = 1.0f / (total + __shfl_xor_sync(ALL_LANES, total, 2));
        const uint32_t row = first_row + warp_row + lane / 4 + 8 * half;
        if (row < n_tokens) {
            uint32_t* at = reinterpret_cast<uint32_t*>(out + head + uint64_t(row) * HEAD_DIM + 2 * (lane % 4));
#pragma unroll
            for (uint32_t n = 0; n < 8; n++) {
                at[4 * n] = pack_half2(acc[n][2 * half] * inverse, acc[n][2 * half + 1] * inverse);
            }
        }
    }
}
