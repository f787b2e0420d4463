// attention_prefill: y[t, h, :] = sum_s softmax_s(scale <q[t, h, :], keys[s, h, :]>) values[s, h, :],  s = 0 ..= position[t],
// for all tokens t of a prompt, on tensor cores and without the scores in memory
//
// All factors come in two halves (mma.cuh), and a product is three: low * high, high * low, high * high, in this order.
//
//   y            [2][MAX_PREFILL][padded C] f16
//   q            [T, C] f32
//   keys, values this layer's pages, [pages, H, PAGE_LEN, padded D] f32; rows after a sequence's last token are not read
//   plan         see layout.h: a block finds its tile there
//   padded       columns of a row of y
//   scale        times log2 e
//
// Work    a block takes up to TILE_QUERIES tokens of one sequence and one head; a warp 16 of them. It walks over the sequence's
//         pages up to its last token's, and rescales its sums whenever a row's maximum grows. A page's floats wait in registers
//         until there is room for them in shared memory.
// Order   pages ascend from position 0; within one, sums of an instruction each, from zero; pages add up in order. What follows a
//         token's position adds zeros, which change nothing, not even the exponent to which tensor cores align the terms of a sum
//         (as far as published models of them go): so neither the other tokens nor the cut into tiles matter.
// Launch  grid (tiles, H), block 32 * TILE_WARPS, shared ATTENTION_STEP_BYTES for each 16 of the number in the
//         name, which is at least D
// Bytes   a tile: reads 8*padded D a position and head, and 4*C a token, writes 4*C a token
// Exact   no (tolerance: tests/cuda/prefill)
#include "mma.cuh"

// ROWS rows of 16 * STEPS halves. The 16-byte pieces of a row are permuted, so that the same piece of eight neighbouring rows,
// which ldmatrix reads together, lies in different banks, whether a row is half the banks, all of them, or more.
template <uint32_t ROWS, uint32_t STEPS>
struct Rows {
    static constexpr uint32_t OCTETS = 2 * STEPS;
    uint4 data[ROWS * OCTETS];

    __device__ __forceinline__ uint4* piece(uint32_t row, uint32_t octet) {
        return data + row * OCTETS + (octet ^ (OCTETS % 8 == 0 ? row % 8 : row / 2 % 4));
    }
    // Columns 4 * quad .. + 4.
    __device__ __forceinline__ uint2* quad(uint32_t row, uint32_t quad) {
        return reinterpret_cast<uint2*>(piece(row, quad / 2)) + quad % 2;
    }
};

// High halves, then low ones.
template <uint32_t STEPS>
struct Shared {
    Rows<TILE_QUERIES, STEPS> queries[2];
    Rows<PAGE_LEN, STEPS> keys[2], values[2];
};

static_assert(sizeof(Shared<8>) == 8 * ATTENTION_STEP_BYTES, "what Rust allocates");

template <uint32_t ROWS, uint32_t STEPS>
__device__ __forceinline__ void store_quad(Rows<ROWS, STEPS> (&to)[2], uint32_t row, uint32_t quad, float4 v) {
    uint2 high, low;
    split(high.x, low.x, v.x, v.y);
    split(high.y, low.y, v.z, v.w);
    *to[0].quad(row, quad) = high;
    *to[1].quad(row, quad) = low;
}

// This thread's part of a page's keys or values, on its way.
template <uint32_t STEPS>
struct Staged {
    float4 part[STEPS];

    // Rows from n_keys on become zeros, as do columns from padded_dim on.
    __device__ __forceinline__ void load(const float* page, uint32_t n_keys, uint32_t padded_dim) {
#pragma unroll
        for (uint32_t i = 0; i < STEPS; i++) {
            const uint32_t place = i * TILE_THREADS + threadIdx.x, row = place / (4 * STEPS), quad = place % (4 * STEPS);
            const bool exists = row < n_keys && 4 * quad < padded_dim;
            part[i] = exists ? *reinterpret_cast<const float4*>(page + row * padded_dim + 4 * quad)
                             : make_float4(0.0f, 0.0f, 0.0f, 0.0f);
        }
    }
    __device__ __forceinline__ void store(Rows<PAGE_LEN, STEPS> (&to)[2]) const {
#pragma unroll
        for (uint32_t i = 0; i < STEPS; i++) {
            const uint32_t place = i * TILE_THREADS + threadIdx.x;
            store_quad(to, place / (4 * STEPS), place % (4 * STEPS), part[i]);
        }
    }
};

// The left factors of 16 columns of the warp's queries.
template <uint32_t STEPS>
__device__ __forceinline__ void load_queries(uint32_t (&a)[2][4], Rows<TILE_QUERIES, STEPS> (&queries)[2], uint32_t step) {
    const uint32_t lane = threadIdx.x % WARP, row = threadIdx.x / WARP * 16 + lane % 16;
    ldmatrix_x4(a[0], queries[0].piece(row, 2 * step + lane / 16));
    ldmatrix_x4(a[1], queries[1].piece(row, 2 * step + lane / 16));
}

// Two 16x8 products of factors in two halves: a times columns 0 .. 8 and 8 .. 16 of b.
__device__ __forceinline__ void mma_split(float (&c0)[4], float (&c1)[4], const uint32_t (&a)[2][4],
                                          const uint32_t (&high)[4], const uint32_t (&low)[4]) {
    mma_f16(c0, a[1], high[0], high[1]);
    mma_f16(c1, a[1], high[2], high[3]);
    mma_f16(c0, a[0], low[0], low[1]);
    mma_f16(c1, a[0], low[2], low[3]);
    mma_f16(c0, a[0], high[0], high[1]);
    mma_f16(c1, a[0], high[2], high[3]);
}

// scores[n] += the products of the warp's queries with keys 8 * n .. + 8 of the page, over 16 columns.
template <uint32_t STEPS>
__device__ __forceinline__ void multiply_keys(float (&scores)[4][4], const uint32_t (&a)[2][4],
                                              Rows<PAGE_LEN, STEPS> (&keys)[2], uint32_t step) {
    const uint32_t lane = threadIdx.x % WARP;
#pragma unroll
    for (uint32_t n = 0; n < 2; n++) {
        const uint32_t key = 16 * n + lane / 16 * 8 + lane % 8, octet = 2 * step + lane / 8 % 2;
        uint32_t high[4], low[4];
        ldmatrix_x4(high, keys[0].piece(key, octet));
        ldmatrix_x4(low, keys[1].piece(key, octet));
        mma_split(scores[2 * n], scores[2 * n + 1], a, high, low);
    }
}

// A thread's two rows: `row` and row + 8, of which it holds every fourth pair of keys.
struct Softmax {
    float max[2] = {-INFINITY, -INFINITY}, sum[2] = {};

    // Turns the page's scores into exponentials, under new maxima; returns what earlier sums shrink by in `shrink`. Key 0 is on
    // the first page and every row sees it, so a maximum is finite from then on.
    __device__ __forceinline__ void update(float (&scores)[4][4], float (&shrink)[2], uint32_t position, uint32_t first_key,
                                           float scale) {
        const uint32_t lane = threadIdx.x % WARP;
#pragma unroll
        for (uint32_t half = 0; half < 2; half++) {
            float page_max = -INFINITY;
#pragma unroll
            for (uint32_t n = 0; n < 4; n++) {
#pragma unroll
                for (uint32_t j = 0; j < 2; j++) {
                    const uint32_t key = first_key + 8 * n + lane % 4 * 2 + j;
                    float& score = scores[n][2 * half + j];
                    score = key <= position + 8 * half ? score * scale : -INFINITY;
                    page_max = fmaxf(page_max, score);
                }
            }
            page_max = fmaxf(page_max, __shfl_xor_sync(ALL_LANES, page_max, 1));
            page_max = fmaxf(page_max, __shfl_xor_sync(ALL_LANES, page_max, 2));
            const float new_max = fmaxf(max[half], page_max);
            shrink[half] = exp2f(max[half] - new_max);
            max[half] = new_max;
            float page_sum = 0.0f;
#pragma unroll
            for (uint32_t n = 0; n < 4; n++) {
#pragma unroll
                for (uint32_t j = 0; j < 2; j++) {
                    float& score = scores[n][2 * half + j];
                    score = exp2f(score - new_max);
                    page_sum += score;
                }
            }
            sum[half] = fmaf(sum[half], shrink[half], page_sum);
        }
    }
    // One over row `half`'s sum.
    __device__ __forceinline__ float inverse(uint32_t half) const {
        const float two = sum[half] + __shfl_xor_sync(ALL_LANES, sum[half], 1);
        return 1.0f / (two + __shfl_xor_sync(ALL_LANES, two, 2));
    }
};

// out = out * shrink + weights * values of the page. What a thread holds of the weights is its part of the left factor.
template <uint32_t STEPS>
__device__ __forceinline__ void multiply_values(float (&out)[2 * STEPS][4], const float (&weights)[4][4],
                                                const float (&shrink)[2], Rows<PAGE_LEN, STEPS> (&values)[2]) {
    const uint32_t lane = threadIdx.x % WARP;
    uint32_t a[2][2][4];
#pragma unroll
    for (uint32_t k = 0; k < 2; k++) {  // 16 keys
#pragma unroll
        for (uint32_t i = 0; i < 4; i++) {
            const float* w = &weights[2 * k + i / 2][i % 2 * 2];
            split(a[k][0][i], a[k][1][i], w[0], w[1]);
        }
    }
#pragma unroll
    for (uint32_t n = 0; n < 2 * STEPS; n += 2) {
        float part[2][4] = {};
#pragma unroll
        for (uint32_t k = 0; k < 2; k++) {
            uint32_t high[4], low[4];
            ldmatrix_x4_trans(high, values[0].piece(16 * k + lane % 16, n + lane / 16));
            ldmatrix_x4_trans(low, values[1].piece(16 * k + lane % 16, n + lane / 16));
            mma_split(part[0], part[1], a[k], high, low);
        }
#pragma unroll
        for (uint32_t c = 0; c < 4; c++) {
            out[n][c] = fmaf(out[n][c], shrink[c / 2], part[0][c]);
            out[n + 1][c] = fmaf(out[n + 1][c], shrink[c / 2], part[1][c]);
        }
    }
}

struct Heads {
    __half* y;
    const float *q, *keys, *values;
    const uint32_t* plan;
    uint32_t head_dim, padded;
    float scale;
};

// Row `row` of the tile's output, columns 8 * n + 2 * (lane % 4) .. + 2 of the head.
__device__ __forceinline__ void store_pair(const Heads& h, uint32_t t, uint32_t n, float a, float b) {
    const uint32_t d = 8 * n + threadIdx.x % 4 * 2;
    if (d >= h.head_dim) return;
    const uint64_t at = uint64_t(t) * h.padded + blockIdx.y * h.head_dim + d;
    uint32_t high, low;
    split(high, low, a, b);
    if (h.head_dim % 2 == 0) {
        *reinterpret_cast<uint32_t*>(h.y + at) = high;
        *reinterpret_cast<uint32_t*>(h.y + at + low_plane(h.padded)) = low;
        return;
    }
    const __half2 hs = *reinterpret_cast<const __half2*>(&high), ls = *reinterpret_cast<const __half2*>(&low);
    h.y[at] = __low2half(hs);
    h.y[at + low_plane(h.padded)] = __low2half(ls);
    if (d + 1 < h.head_dim) {
        h.y[at + 1] = __high2half(hs);
        h.y[at + 1 + low_plane(h.padded)] = __high2half(ls);
    }
}

extern __shared__ uint4 shared_rows[];

template <uint32_t STEPS>
__device__ __forceinline__ void attention(const Heads& h) {
    // From registers where they fit.
    constexpr bool KEEP_QUERIES = STEPS <= 4;
    Shared<STEPS>& shared = *reinterpret_cast<Shared<STEPS>*>(shared_rows);
    let_next_start();
    wait_for_previous();
    const uint32_t* tile = h.plan + PLAN_TILES + 4 * blockIdx.x;
    const uint32_t first = tile[0], n_queries = tile[1], first_position = tile[2];
    const uint32_t* pages = h.plan + PLAN_PAGES + tile[3];
    const uint32_t n_head = gridDim.y, padded_dim = (h.head_dim + OCTET - 1) / OCTET * OCTET;
    const uint32_t n_keys = first_position + n_queries;
    const uint32_t lane = threadIdx.x % WARP, warp_row = threadIdx.x / WARP * 16;

    for (uint32_t i = threadIdx.x; i < TILE_QUERIES * 4 * STEPS; i += TILE_THREADS) {
        const uint32_t row = i / (4 * STEPS), d = i % (4 * STEPS) * 4;
        const float* q = h.q + (uint64_t(first + row) * n_head + blockIdx.y) * h.head_dim + d;
        float f[4];
#pragma unroll
        for (uint32_t j = 0; j < 4; j++) f[j] = row < n_queries && d + j < h.head_dim ? q[j] : 0.0f;
        store_quad(shared.queries, row, d / 4, make_float4(f[0], f[1], f[2], f[3]));
    }
    const auto load = [&](Staged<STEPS>& staged, const float* rows, uint32_t first_key) {
        const uint64_t at = cache_row(pages[first_key / PAGE_LEN], blockIdx.y, n_head, 0) * padded_dim;
        staged.load(rows + at, n_keys - first_key, padded_dim);
    };

    uint32_t q[KEEP_QUERIES ? STEPS : 1][2][4];
    float out[2 * STEPS][4] = {};
    Softmax softmax;
    Staged<STEPS> staged;
    load(staged, h.keys, 0);
    for (uint32_t first_key = 0; first_key < n_keys; first_key += PAGE_LEN) {
        // Rows that do not exist, or that precede the page, have nothing to do; their warp waits for the others.
        const bool works = warp_row < n_queries && first_key <= first_position + warp_row + 15;
        staged.store(shared.keys);
        load(staged, h.values, first_key);
        __syncthreads();  // the keys are there, at first the queries too; and nobody reads the last page's values any more
        float scores[4][4] = {}, shrink[2];
        if (works) {
#pragma unroll(KEEP_QUERIES ? STEPS : 1)
            for (uint32_t step = 0; step < STEPS; step++) {
                const uint32_t kept = KEEP_QUERIES ? step : 0;
                if (!KEEP_QUERIES || first_key == 0) load_queries(q[kept], shared.queries, step);
                multiply_keys(scores, q[kept], shared.keys, step);
            }
            softmax.update(scores, shrink, first_position + warp_row + lane / 4, first_key, h.scale);
        }
        staged.store(shared.values);
        if (first_key + PAGE_LEN < n_keys) load(staged, h.keys, first_key + PAGE_LEN);
        __syncthreads();  // the values are there, and nobody reads this page's keys any more
        if (works) multiply_values(out, scores, shrink, shared.values);
    }

#pragma unroll
    for (uint32_t half = 0; half < 2; half++) {
        const uint32_t row = warp_row + lane / 4 + 8 * half;
        const float inverse = softmax.inverse(half);
        if (row >= n_queries) continue;  // no lane waits for another below
#pragma unroll
        for (uint32_t n = 0; n < 2 * STEPS; n++) {
            store_pair(h, first + row, n, out[n][2 * half] * inverse, out[n][2 * half + 1] * inverse);
        }
    }
}

#define KERNEL_FOR(DIM, ...)                                                                                                \
    extern "C" __global__ void __launch_bounds__(TILE_THREADS, ##__VA_ARGS__)                                               \
    attention_prefill_f32_##DIM(__half* y, const float* q, const float* keys, const float* values, const uint32_t* plan,    \
                                uint32_t head_dim, uint32_t padded, float scale) {                                          \
        attention<DIM / 16>({y, q, keys, values, plan, head_dim, padded, scale});                                           \
    }

KERNEL_FOR(32)
// With a whole multiprocessor's registers to choose from the compiler spills none.
KERNEL_FOR(64, 1)
KERNEL_FOR(96)
KERNEL_FOR(128)
