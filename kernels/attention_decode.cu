// attention_decode_f32: attention of each column of a decode step over its sequence's cache, split over chunks of keys
//
//   out[t, h, :] = sum_s softmax_s(scale * <q[t, h, :], keys[s, h, :]>) values[s, h, :],  s = 0 ..= position[t]
//
// A block takes one column, one head and one chunk of CHUNK_LEN keys, and leaves a partial softmax: its maximum (of scores
// times log2 e), its sum and its unnormalised output. The kernel after it merges a head's chunks, in order. Chunks have one
// size whatever the context, so that neither grid nor batch changes a bit.
//
//   chunk_out    [MAX_COLUMNS, H, max_chunks, D] f32
//   chunk_stats  [MAX_COLUMNS, H, max_chunks] (maximum, sum) f32
//   q            [MAX_COLUMNS, C] f32
//   keys, values this layer's pages, [pages, H, PAGE_LEN, padded D] f32
//   scale        times log2 e
//
// Work    a warp takes one page of the chunk: eight lanes a key for the scores, eight lanes a value for the mix; then the
//         block's warps merge in order
// Launch  grid (chunks, H, columns), block 32 * CHUNK_PAGES, no dynamic shared memory; D <= MAX_HEAD_DIM
// Bytes   a column: reads 8*H*padded D a position and 4*C, writes 4*(D + 2)*H a chunk
// Exact   no: exp2f, partial sums
#include "common.cuh"

constexpr uint32_t GROUP = 8;                                          // lanes that share a key
constexpr uint32_t GROUPS = WARP / GROUP;                              // keys that a warp reads at once
constexpr uint32_t MAX_OCTETS = MAX_HEAD_DIM / OCTET / GROUP;          // a lane's octets of a key

// Octet `octet` of a row of the cache.
__device__ __forceinline__ void load_octet(float (&f)[OCTET], const float* row, uint32_t octet) {
    const float4* from = reinterpret_cast<const float4*>(row + octet * OCTET);
    const float4 a = from[0], b = from[1];
    f[0] = a.x, f[1] = a.y, f[2] = a.z, f[3] = a.w;
    f[4] = b.x, f[5] = b.y, f[6] = b.z, f[7] = b.w;
}

// This lane's score: that of key `lane` of the warp's page, -inf from n_keys on. Every lane of a group sums its octets, one
// chain each, and the group meets in a butterfly.
__device__ __forceinline__ float page_scores(const float* query, const float* keys, uint32_t n_keys, uint32_t head_dim,
                                             uint32_t padded_dim, float scale) {
    const uint32_t lane = threadIdx.x % WARP, n_octets = padded_dim / OCTET;
    float q[MAX_OCTETS][OCTET];
#pragma unroll
    for (uint32_t i = 0; i < MAX_OCTETS; i++) {
#pragma unroll
        for (uint32_t j = 0; j < OCTET; j++) {
            const uint32_t d = (i * GROUP + lane % GROUP) * OCTET + j;
            q[i][j] = d < head_dim ? query[d] : 0.0f;
        }
    }
    float score = -INFINITY;
#pragma unroll 2
    for (uint32_t first = 0; first < PAGE_LEN; first += GROUPS) {
        if (first >= n_keys) break;  // the whole warp
        const uint32_t key = first + lane / GROUP;
        float sum = 0.0f;
#pragma unroll
        for (uint32_t i = 0; i < MAX_OCTETS; i++) {
            const uint32_t octet = i * GROUP + lane % GROUP;
            if (octet < n_octets && key < n_keys) {
                float k[OCTET];
                load_octet(k, keys + key * padded_dim, octet);
#pragma unroll
                for (uint32_t j = 0; j < OCTET; j++) sum = fmaf(q[i][j], k[j], sum);
            }
        }
#pragma unroll
        for (uint32_t offset = GROUP / 2; offset > 0; offset /= 2) sum += __shfl_xor_sync(ALL_LANES, sum, offset);
        // Lanes first .. first + GROUPS take the scores of these keys.
        const float mine = __shfl_sync(ALL_LANES, sum, (lane - first) * GROUP % WARP);
        if (lane >= first && lane < first + GROUPS && lane < n_keys) score = mine * scale;
    }
    return score;
}

// out[d] = the sum over the page's keys of weight times value: group g of lanes takes keys g, g + GROUPS, ..., and the groups
// meet in a butterfly. `weight` is that of key `lane`.
__device__ __forceinline__ void page_mix(float* out, float weight, const float* values, uint32_t n_keys,
                                         uint32_t padded_dim) {
    const uint32_t lane = threadIdx.x % WARP, n_octets = padded_dim / OCTET;
#pragma unroll
    for (uint32_t i = 0; i < MAX_OCTETS; i++) {
        const uint32_t octet = i * GROUP + lane % GROUP;
        if (i * GROUP >= n_octets) break;  // the whole warp
        float sums[OCTET] = {};
        for (uint32_t first = 0; first < n_keys; first += GROUPS) {
            const uint32_t key = first + lane / GROUP;
            const float w = __shfl_sync(ALL_LANES, weight, key);
            if (octet < n_octets && key < n_keys) {
                float v[OCTET];
                load_octet(v, values + key * padded_dim, octet);
#pragma unroll
                for (uint32_t j = 0; j < OCTET; j++) sums[j] = fmaf(w, v[j], sums[j]);
            }
        }
#pragma unroll
        for (uint32_t j = 0; j < OCTET; j++) {
#pragma unroll
            for (uint32_t offset = GROUP; offset < WARP; offset *= 2) {
                sums[j] += __shfl_xor_sync(ALL_LANES, sums[j], offset);
            }
        }
        // Each group writes two columns of every octet, at once: neighbouring lanes to neighbouring banks.
        float2 mine = make_float2(sums[0], sums[1]);
#pragma unroll
        for (uint32_t group = 1; group < GROUPS; group++) {
            if (lane / GROUP == group) mine = make_float2(sums[2 * group], sums[2 * group + 1]);
        }
        if (octet < n_octets) reinterpret_cast<float2*>(out + octet * OCTET)[lane / GROUP] = mine;
    }
}

extern "C" __global__ void __launch_bounds__(WARP * CHUNK_PAGES)
attention_decode_f32(float* chunk_out, float2* chunk_stats, const float* q, const float* keys, const float* values,
                     const uint32_t* step, uint32_t n_pages, uint32_t head_dim, uint32_t max_chunks, float scale) {
    __shared__ __align__(8) float page_out[CHUNK_PAGES][MAX_HEAD_DIM];
    __shared__ float2 page_stats[CHUNK_PAGES];
    let_next_start();
    wait_for_previous();
    const uint32_t chunk = blockIdx.x, head = blockIdx.y, n_head = gridDim.y, column = blockIdx.z;
    const uint32_t position = step_position(step, column);
    if (position == NO_COLUMN || chunk * CHUNK_LEN > position) return;  // the whole block
    const uint32_t padded_dim = (head_dim + OCTET - 1) / OCTET * OCTET;
    const uint32_t warp = threadIdx.x / WARP, lane = threadIdx.x % WARP;
    const uint32_t page_number = chunk * CHUNK_PAGES + warp;
    if (page_number * PAGE_LEN <= position) {
        const uint32_t n_keys = min(PAGE_LEN, position + 1 - page_number * PAGE_LEN);
        const uint32_t page = step[STEP_PAGES + column * n_pages + page_number];
        const uint64_t at = cache_row(page, head, n_head, 0) * padded_dim;
        const float* query = q + (uint64_t(column) * n_head + head) * head_dim;
        const float score = page_scores(query, keys + at, n_keys, head_dim, padded_dim, scale);
        const float max = warp_max(score);
        const float weight = exp2f(score - max);
        const float sum = warp_sum(weight);
        page_mix(page_out[warp], weight, values + at, n_keys, padded_dim);
        if (lane == 0) page_stats[warp] = make_float2(max, sum);
    } else if (lane == 0) {
        page_stats[warp] = make_float2(-INFINITY, 0.0f);
    }
    __syncthreads();  // every page's part is there before they are merged

    float max = page_stats[0].x;
    for (uint32_t p = 1; p < CHUNK_PAGES; p++) max = fmaxf(max, page_stats[p].x);
    const uint64_t slot = (uint64_t(column) * n_head + head) * max_chunks + chunk;
    for (uint32_t d = threadIdx.x; d < head_dim; d += blockDim.x) {
        float y = 0.0f;
        for (uint32_t p = 0; p < CHUNK_PAGES; p++) {
            if (page_stats[p].y > 0.0f) y = fmaf(exp2f(page_stats[p].x - max), page_out[p][d], y);
        }
        chunk_out[slot * head_dim + d] = y;
    }
    if (threadIdx.x == 0) {
        float sum = 0.0f;
        for (uint32_t p = 0; p < CHUNK_PAGES; p++) sum = fmaf(exp2f(page_stats[p].x - max), page_stats[p].y, sum);
        chunk_stats[slot] = make_float2(max, sum);
    }
}
