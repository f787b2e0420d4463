// linear_prefill_{qkv,up,add}_f16_{64,128}: products for many tokens; linear_prefill.cuh says of what, in which order
//
// Work    a block takes as many outputs as the name says of BLOCK_TOKENS tokens; each of its warps 32 x 32 of them, two warps side
//         by side. It walks along K in steps of TILE_K, which is one tile of packed weights: a warp copies it with 16 bytes a
//         lane. STAGES steps are in shared memory at a time, from sm_80 on by asynchronous copies; before, the next step waits
//         in registers.
// Launch  grid (ceil(T / BLOCK_TOKENS), ceil(rows / outputs)), block 2 * outputs, shared STAGES * (2 * TILE_K * outputs +
//         STAGE_TOKENS)
#include "linear_prefill.cuh"

static_assert(STAGES_SM80 > STAGES_SM75, "copies that are under way need a stage of their own");

// One step along K. The 16-byte pieces of a row of 128 are permuted, so that the eight that ldmatrix reads together lie in
// different banks: those of every other row of the weights (multiply_step says why), and of neighbouring tokens.
template <uint32_t ROWS>
struct Stage {
    static constexpr uint32_t WARPS = ROWS / 32 * 2;
    static constexpr uint32_t THREADS = WARP * WARPS;
    static constexpr uint32_t WEIGHT_PIECES = ROWS * TILE_OCTETS / THREADS;
    static constexpr uint32_t TOKEN_PIECES = 2 * BLOCK_TOKENS * TILE_OCTETS / THREADS;

    uint4 weights[ROWS * TILE_OCTETS];
    uint4 tokens[2][BLOCK_TOKENS * TILE_OCTETS];  // high, low

    __device__ __forceinline__ uint4* weight(uint32_t row, uint32_t octet) {
        return weights + row * TILE_OCTETS + (octet ^ row / 2 % TILE_OCTETS);
    }
    __device__ __forceinline__ uint4* token(uint32_t half, uint32_t t, uint32_t octet) {
        return tokens[half] + t * TILE_OCTETS + (octet ^ t % TILE_OCTETS);
    }
};
static_assert(sizeof(Stage<64>) == 2 * TILE_K * 64 + STAGE_TOKENS, "what Rust allocates");

// copy(i, to, from, exists) for each of this thread's pieces of the step's weights: a warp takes a tile at a time.
template <uint32_t ROWS, typename Copy>
__device__ __forceinline__ void each_weight(Stage<ROWS>& stage, const Product& p, uint32_t step, Copy copy) {
    const uint32_t lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
#pragma unroll
    for (uint32_t i = 0; i < Stage<ROWS>::WEIGHT_PIECES; i++) {
        const uint32_t in_block = i * Stage<ROWS>::WARPS + warp;
        const uint32_t group = blockIdx.y * (ROWS / TILE_ROWS) + in_block;
        const bool exists = group < p.n_groups();
        const uint4* from = p.packed + (exists ? (uint64_t(group) * p.n_tiles + step) * WARP + lane : 0);
        copy(i, stage.weight(in_block * TILE_ROWS + lane / TILE_OCTETS, lane % TILE_OCTETS), from, exists);
    }
}

// The same for the tokens.
template <uint32_t ROWS, typename Copy>
__device__ __forceinline__ void each_token(Stage<ROWS>& stage, const Product& p, uint32_t step, Copy copy) {
    constexpr uint32_t PIECES = Stage<ROWS>::TOKEN_PIECES;
    const uint32_t n_octets = p.n_octets();
#pragma unroll
    for (uint32_t i = 0; i < PIECES; i++) {
        const uint32_t half = i / (PIECES / 2);
        const uint32_t place = i % (PIECES / 2) * Stage<ROWS>::THREADS + threadIdx.x;
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

// slice += the warp's part of a step's product.
template <uint32_t ROWS>
__device__ __forceinline__ void multiply_step(Sums& slice, Stage<ROWS>& stage) {
    const uint32_t lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    const uint32_t first_row = warp / 2 * 32, first_token = warp % 2 * 32;
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
                for (uint32_t j = 0; j < 4; j++) mma_f16(slice[i][j], a[i], b[j / 2][j % 2 * 2], b[j / 2][j % 2 * 2 + 1]);
            }
        }
    }
}

// Adds a slice that has ended, and begins the next.
__device__ __forceinline__ void end_slice(Sums& sums, Sums& slice) {
#pragma unroll
    for (uint32_t i = 0; i < 2; i++) {
#pragma unroll
        for (uint32_t j = 0; j < 4; j++) {
#pragma unroll
            for (uint32_t c = 0; c < 4; c++) sums[i][j][c] += slice[i][j][c], slice[i][j][c] = 0.0f;
        }
    }
}

extern __shared__ uint4 shared_stages[];

// Walks along K. The weights of the first steps are asked for before the kernel waits for its input.
template <uint32_t ROWS>
__device__ __forceinline__ void multiply(Sums& sums, const Product& p) {
    Stage<ROWS>* stages = reinterpret_cast<Stage<ROWS>*>(shared_stages);
    let_next_start();
    Sums slice = {};
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
        multiply_step(slice, stages[step % STAGES]);
        if (step % SUM_TILES == SUM_TILES - 1) end_slice(sums, slice);
    }
    // The groups that nobody has waited for are empty.
#else
    constexpr uint32_t STAGES = STAGES_SM75;
    uint4 weights[Stage<ROWS>::WEIGHT_PIECES], tokens[Stage<ROWS>::TOKEN_PIECES];
    const auto load = [&](uint32_t step) {
        each_weight(stages[0], p, step, [&](uint32_t i, uint4*, const uint4* from, bool exists) {
            weights[i] = exists ? *from : make_uint4(0, 0, 0, 0);
        });
        each_token(stages[0], p, step, [&](uint32_t i, uint4*, const uint4* from, bool exists) {
            tokens[i] = exists ? *from : make_uint4(0, 0, 0, 0);
        });
    };
    const auto store = [&](Stage<ROWS>& stage) {
        each_weight(stage, p, 0, [&](uint32_t i, uint4* to, const uint4*, bool) { *to = weights[i]; });
        each_token(stage, p, 0, [&](uint32_t i, uint4* to, const uint4*, bool) { *to = tokens[i]; });
    };
    wait_for_previous();
    load(0);
    store(stages[0]);
    for (uint32_t step = 0; step < p.n_tiles; step++) {
        if (step + 1 < p.n_tiles) load(step + 1);
        __syncthreads();  // this step has been written by all, and all are done with the one before, which is written over below
        multiply_step(slice, stages[step % STAGES]);
        if (step % SUM_TILES == SUM_TILES - 1) end_slice(sums, slice);
        if (step + 1 < p.n_tiles) store(stages[(step + 1) % STAGES]);
    }
#endif
    end_slice(sums, slice);  // empty, where the last step ended one
}

template <uint32_t ROWS, typename Store>
__device__ __forceinline__ void linear(const Product& p, const Store& store) {
    Sums sums = {};
    multiply<ROWS>(sums, p);
    const uint32_t lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
#pragma unroll
    for (uint32_t i = 0; i < 2; i++) {
        const uint32_t r = blockIdx.y * ROWS + warp / 2 * 32 + 16 * i + lane / 4 * 2;
#pragma unroll
        for (uint32_t j = 0; j < 4; j++) {
            const uint32_t t = blockIdx.x * BLOCK_TOKENS + warp % 2 * 32 + 8 * j + lane % 4 * 2;
            if (r < p.n_rows && t < p.n_tokens) store(t, r, sums[i][j][0], sums[i][j][2]);
            if (r < p.n_rows && t + 1 < p.n_tokens) store(t + 1, r, sums[i][j][1], sums[i][j][3]);
        }
    }
}

LINEAR_PREFILL_KERNELS(_64, __launch_bounds__(Stage<64>::THREADS, 1), linear<64>)
LINEAR_PREFILL_KERNELS(_128, __launch_bounds__(Stage<128>::THREADS, 1), linear<128>)
