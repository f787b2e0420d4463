// linear_prefill: y[t, r] = sum_k W[r, k] x[t, k] for all tokens t of a prompt, on tensor cores
//
// W is what decode reads, packed. x comes in two halves (mma.cuh), so that fp32 activations lose nothing that shows: W * low and
// W * high are two products into the same sums.
//
// Work    a block takes BLOCK_ROWS outputs of BLOCK_TOKENS tokens; each of its 2 x 2 warps 32 x 32 of them. It walks along K in
//         steps of TILE_K, which is one tile of packed weights: a warp copies it with 16 bytes a lane. Up to STAGES steps are in
//         shared memory at a time, from sm_80 on by asynchronous copies; before, the next step waits in registers.
// Order   along K: 16 columns an instruction (8 before sm_80), low before high, from zero in each step; steps add up in order, by
//         plain additions, because tensor cores truncate sums. It depends on K alone: neither on T nor on a token's place.
//
// Where y goes differs: the kernels below fuse bias, GELU, the residual and the KV cache.
#include "prefill.cuh"

constexpr uint32_t BLOCK_ROWS = 64;
constexpr uint32_t BLOCK_TOKENS = 64;
constexpr uint32_t LINEAR_PREFILL_WARPS = 4;
constexpr uint32_t LINEAR_PREFILL_THREADS = 32 * LINEAR_PREFILL_WARPS;
constexpr uint32_t STAGES_SM75 = 2;
constexpr uint32_t STAGES_SM80 = 3;
constexpr uint32_t STAGE_WEIGHTS = 2 * TILE_K * BLOCK_ROWS;
constexpr uint32_t STAGE_TOKENS = 4 * TILE_K * BLOCK_TOKENS;
constexpr uint32_t STAGE_BYTES = STAGE_WEIGHTS + STAGE_TOKENS;
static_assert(STAGES_SM80 > STAGES_SM75, "copies that are under way need a stage of their own");

// One step along K. The 16-byte pieces of a row of 128 are permuted, so that the eight that ldmatrix reads together lie in
// different banks: those of every other row of the weights (multiply_step says why), and of neighbouring tokens.
struct Stage {
    uint4 weights[BLOCK_ROWS * TILE_OCTETS];
    uint4 tokens[2][BLOCK_TOKENS * TILE_OCTETS];  // high, low

    __device__ __forceinline__ uint4* weight(uint32_t row, uint32_t octet) {
        return weights + row * TILE_OCTETS + (octet ^ row / 2 % TILE_OCTETS);
    }
    __device__ __forceinline__ uint4* token(uint32_t half, uint32_t t, uint32_t octet) {
        return tokens[half] + t * TILE_OCTETS + (octet ^ t % TILE_OCTETS);
    }
};
static_assert(sizeof(Stage) == STAGE_BYTES, "what Rust allocates");

struct Product {
    const uint4* packed;  // W [n_rows, K]
    const uint4* x;       // [2][MAX_PREFILL][padded K]
    uint32_t n_rows, n_tiles, n_tokens;
};

constexpr uint32_t WEIGHT_PIECES = BLOCK_ROWS * TILE_OCTETS / LINEAR_PREFILL_THREADS;
constexpr uint32_t TOKEN_PIECES = 2 * BLOCK_TOKENS * TILE_OCTETS / LINEAR_PREFILL_THREADS;

// copy(i, to, from, exists) for each of this thread's pieces of the step's weights: a warp takes a tile at a time.
template <typename Copy>
__device__ __forceinline__ void each_weight(Stage& stage, const Product& p, uint32_t step, Copy copy) {
    const uint32_t lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    const uint32_t n_groups = (p.n_rows + TILE_ROWS - 1) / TILE_ROWS;
#pragma unroll
    for (uint32_t i = 0; i < WEIGHT_PIECES; i++) {
        const uint32_t in_block = i * LINEAR_PREFILL_WARPS + warp;
        const uint32_t group = blockIdx.y * (BLOCK_ROWS / TILE_ROWS) + in_block;
        const bool exists = group < n_groups;
        const uint4* from = p.packed + (exists ? (uint64_t(group) * p.n_tiles + step) * WARP + lane : 0);
        copy(i, stage.weight(in_block * TILE_ROWS + lane / TILE_OCTETS, lane % TILE_OCTETS), from, exists);
    }
}

// The same for the tokens.
template <typename Copy>
__device__ __forceinline__ void each_token(Stage& stage, const Product& p, uint32_t step, Copy copy) {
    const uint32_t n_octets = p.n_tiles * TILE_OCTETS;
#pragma unroll
    for (uint32_t i = 0; i < TOKEN_PIECES; i++) {
        const uint32_t half = i / (TOKEN_PIECES / 2);
        const uint32_t place = i % (TOKEN_PIECES / 2) * LINEAR_PREFILL_THREADS + threadIdx.x;
        const uint32_t in_block = place / TILE_OCTETS, octet = place % TILE_OCTETS;
        const uint32_t t = blockIdx.x * BLOCK_TOKENS + in_block;
        const bool exists = t < p.n_tokens;
        const uint64_t at = half * low_plane(n_octets) + uint64_t(t) * n_octets + step * TILE_OCTETS + octet;
        copy(i, stage.token(half, in_block, octet), p.x + (exists ? at : 0), exists);
    }
}

// sums[i][j] are 16 outputs of 8 tokens, as mma_f16 has them, except that rows i and i + 8 of its left factor are outputs 2 * i
// and 2 * i + 1: a lane then has two neighbouring outputs of a token, and eight lanes sixteen.
typedef float Sums[2][4][4];

// Adds the warp's part of a step's product.
__device__ __forceinline__ void multiply_step(Sums& sums, Stage& stage) {
    const uint32_t lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    const uint32_t first_row = warp / 2 * 32, first_token = warp % 2 * 32;
    Sums part = {};
#pragma unroll
    for (uint32_t k = 0; k < TILE_OCTETS; k += 2) {
        uint32_t a[2][4];
#pragma unroll
        for (uint32_t i = 0; i < 2; i++) {
            const uint32_t row = first_row + 16 * i + lane % 8 * 2 + lane / 8 % 2;
            ldmatrix_x4(a[i], stage.weight(row, k + lane / 16));
        }
#pragma unroll
        for (uint32_t half = 2; half-- > 0;) {
            uint32_t b[2][4];
#pragma unroll
            for (uint32_t j = 0; j < 2; j++) {
                const uint32_t t = first_token + 16 * j + lane / 16 * 8 + lane % 8;
                ldmatrix_x4(b[j], stage.token(half, t, k + lane / 8 % 2));
            }
#pragma unroll
            for (uint32_t i = 0; i < 2; i++) {
#pragma unroll
                for (uint32_t j = 0; j < 4; j++) mma_f16(part[i][j], a[i], b[j / 2][j % 2 * 2], b[j / 2][j % 2 * 2 + 1]);
            }
        }
    }
#pragma unroll
    for (uint32_t i = 0; i < 2; i++) {
#pragma unroll
        for (uint32_t j = 0; j < 4; j++) {
#pragma unroll
            for (uint32_t c = 0; c < 4; c++) sums[i][j][c] += part[i][j][c];
        }
    }
}

extern __shared__ Stage stages[];

// Walks along K. The weights of the first steps are asked for before the kernel waits for its input.
__device__ __forceinline__ void multiply(Sums& sums, const Product& p) {
    let_next_start();
#if __CUDA_ARCH__ >= 800
    constexpr uint32_t STAGES = STAGES_SM80;
    const auto copy = [](uint32_t, uint4* to, const uint4* from, bool exists) { cp_async_16(to, from, exists); };
    for (uint32_t s = 0; s < STAGES - 1; s++) {
        if (s < p.n_tiles) each_weight(stages[s], p, s, copy);
    }
    wait_for_previous();
    for (uint32_t s = 0; s < STAGES - 1; s++) {
        if (s < p.n_tiles) each_token(stages[s], p, s, copy);
        cp_async_commit();  // also when empty: one group a step
    }
    for (uint32_t step = 0; step < p.n_tiles; step++) {
        cp_async_wait<STAGES - 2>();
        __syncthreads();  // this step has arrived for all, and all are done with the stage that is written next
        const uint32_t next = step + STAGES - 1;
        if (next < p.n_tiles) {
            each_weight(stages[next % STAGES], p, next, copy);
            each_token(stages[next % STAGES], p, next, copy);
        }
        cp_async_commit();
        multiply_step(sums, stages[step % STAGES]);
    }
    cp_async_wait<0>();  // of empty groups
#else
    constexpr uint32_t STAGES = STAGES_SM75;
    uint4 weights[WEIGHT_PIECES], tokens[TOKEN_PIECES];
    const auto load = [&](uint32_t step) {
        each_weight(stages[0], p, step, [&](uint32_t i, uint4*, const uint4* from, bool exists) {
            weights[i] = exists ? *from : make_uint4(0, 0, 0, 0);
        });
        each_token(stages[0], p, step, [&](uint32_t i, uint4*, const uint4* from, bool exists) {
            tokens[i] = exists ? *from : make_uint4(0, 0, 0, 0);
        });
    };
    const auto store = [&](Stage& stage) {
        each_weight(stage, p, 0, [&](uint32_t i, uint4* to, const uint4*, bool) { *to = weights[i]; });
        each_token(stage, p, 0, [&](uint32_t i, uint4* to, const uint4*, bool) { *to = tokens[i]; });
    };
    wait_for_previous();
    load(0);
    store(stages[0]);
    for (uint32_t step = 0; step < p.n_tiles; step++) {
        if (step + 1 < p.n_tiles) load(step + 1);
        __syncthreads();  // this step has been written by all, and all are done with the one before, which is written over below
        multiply_step(sums, stages[step % STAGES]);
        if (step + 1 < p.n_tiles) store(stages[(step + 1) % STAGES]);
    }
#endif
}

// The whole product: store(t, r, y0, y1) takes the results of outputs r and r + 1, where r is even and exists.
template <typename Store>
__device__ __forceinline__ void linear(const Product& p, Store store) {
    Sums sums = {};
    multiply(sums, p);
    const uint32_t lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
#pragma unroll
    for (uint32_t i = 0; i < 2; i++) {
        const uint32_t r = blockIdx.y * BLOCK_ROWS + warp / 2 * 32 + 16 * i + lane / 4 * 2;
#pragma unroll
        for (uint32_t j = 0; j < 4; j++) {
            const uint32_t t = blockIdx.x * BLOCK_TOKENS + warp % 2 * 32 + 8 * j + lane % 4 * 2;
            if (r < p.n_rows && t < p.n_tokens) store(t, r, sums[i][j][0], sums[i][j][2]);
            if (r < p.n_rows && t + 1 < p.n_tokens) store(t + 1, r, sums[i][j][1], sums[i][j][3]);
        }
    }
}

// linear_prefill_qkv_f16: q, and the cache's new keys and values, from the normalised residual and c_attn
//
//   q             [T, C] f32
//   keys, values  this layer's pages, f32
//   x             [2][MAX_PREFILL][padded C] f16
//   packed, bias  c_attn: [3C, C] f16, packed, and [3C] f32; C is even
//   plan          see prefill.cuh
//
// Launch  grid (ceil(T / BLOCK_TOKENS), ceil(rows / BLOCK_ROWS)), block LINEAR_PREFILL_THREADS, shared STAGES * STAGE_BYTES
// Bytes   reads 2*3C*C a BLOCK_TOKENS tokens and 4*C a token a BLOCK_ROWS outputs, mostly from L2; writes 4*3C a token
// Exact   no: the order of sums above (tolerance: tests/cuda/prefill)
extern "C" __global__ void __launch_bounds__(LINEAR_PREFILL_THREADS, 1)
linear_prefill_qkv_f16(float* q, float* keys, float* values, const uint4* x, const uint4* packed, uint32_t n_rows,
                       uint32_t n_tiles, const float* bias, const uint32_t* plan, uint32_t n_tokens, uint32_t n_head,
                       uint32_t head_dim) {
    const uint32_t n_embd = n_head * head_dim;
    const uint32_t padded_dim = (head_dim + OCTET - 1) / OCTET * OCTET;
    linear({packed, x, n_rows, n_tiles, n_tokens}, [&](uint32_t t, uint32_t r, float y0, float y1) {
        y0 += bias[r], y1 += bias[r + 1];
        const uint32_t part = r / n_embd, c = r % n_embd;
        if (part == 0) {
            *reinterpret_cast<float2*>(q + uint64_t(t) * n_embd + c) = make_float2(y0, y1);
            return;
        }
        const uint32_t slot = plan[PLAN_SLOTS + t];
        float* to = part == 1 ? keys : values;
        // Two neighbours may be of different heads.
        to[cache_row(slot / PAGE_LEN, c / head_dim, n_head, slot % PAGE_LEN) * padded_dim + c % head_dim] = y0;
        to[cache_row(slot / PAGE_LEN, (c + 1) / head_dim, n_head, slot % PAGE_LEN) * padded_dim + (c + 1) % head_dim] = y1;
    });
}

// linear_prefill_fc_f16: y = activation(c_fc(x))
//
//   y             [2][MAX_PREFILL][padded F] f16
//   x             [2][MAX_PREFILL][padded C] f16
//   packed, bias  c_fc: [F, C] f16, packed, and [F] f32
//   padded        columns of a row of y
//
// Launch  as linear_prefill_qkv_f16
// Bytes   reads 2*F*C a BLOCK_TOKENS tokens and 4*C a token a BLOCK_ROWS outputs, mostly from L2; writes 4*F a token
// Exact   no
extern "C" __global__ void __launch_bounds__(LINEAR_PREFILL_THREADS, 1)
linear_prefill_fc_f16(uint32_t* y, const uint4* x, const uint4* packed, uint32_t n_rows, uint32_t n_tiles, const float* bias,
                      uint32_t n_tokens, uint32_t padded, uint32_t activation) {
    linear({packed, x, n_rows, n_tiles, n_tokens}, [&](uint32_t t, uint32_t r, float y0, float y1) {
        y0 = activate(y0 + bias[r], activation);
        // Where F is odd, the last pair's second is padding.
        y1 = r + 1 < n_rows ? activate(y1 + bias[r + 1], activation) : 0.0f;
        const uint64_t at = (uint64_t(t) * padded + r) / 2;
        split(y[at], y[at + low_plane(padded) / 2], y0, y1);
    });
}

// linear_prefill_add_f16: residual += c_proj(x), attention's or the MLP's
//
//   residual      [T, C] f32
//   x             [2][MAX_PREFILL][padded K] f16
//   packed, bias  c_proj: [C, K] f16, packed, and [C] f32; C is even
//
// Launch  as linear_prefill_qkv_f16
// Bytes   reads 2*C*K a BLOCK_TOKENS tokens and 4*K a token a BLOCK_ROWS outputs, mostly from L2; reads and writes 4*C a token
// Exact   no
extern "C" __global__ void __launch_bounds__(LINEAR_PREFILL_THREADS, 1)
linear_prefill_add_f16(float* residual, const uint4* x, const uint4* packed, uint32_t n_rows, uint32_t n_tiles,
                       const float* bias, uint32_t n_tokens) {
    linear({packed, x, n_rows, n_tiles, n_tokens}, [&](uint32_t t, uint32_t r, float y0, float y1) {
        float2* at = reinterpret_cast<float2*>(residual + uint64_t(t) * n_rows + r);
        const float2 old = *at;
        *at = make_float2(old.x + (y0 + bias[r]), old.y + (y1 + bias[r + 1]));
    });
}
