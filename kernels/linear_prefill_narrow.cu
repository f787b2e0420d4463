// linear_prefill_{qkv,up,add}_f16_{8,16,32}: products for few tokens; linear_prefill.cuh says of what, in which order
//
// As in decode, what counts is how soon all weights are on their way: a warp has those of a whole slice in its registers, and asks
// for its first slice's before it waits for its input.
//
// Work    a block takes NARROW_ROWS outputs of as many tokens as the name says; a warp a slice of K, or some, whose sums meet in
//         shared memory and add up in order. Weights go through 2 KiB of it into the shape that the instructions take; tokens
//         are read as that needs them, 4 bytes a lane, from L2 or L1.
// Launch  grid (ceil(T / tokens), ceil(rows / NARROW_ROWS)), block 32 * warps, of which at most NARROW_WARPS;
//         shared: NARROW_TILE_BYTES a warp, then 4 * NARROW_ROWS * (tokens + 2) a slice
#include "linear_prefill.cuh"

constexpr uint32_t NARROW_GROUPS = NARROW_ROWS / TILE_ROWS;

// NARROW_ROWS rows of one tile; the same piece of eight neighbouring rows, which ldmatrix reads together, lies in different banks.
struct Tile {
    uint4 data[NARROW_ROWS * TILE_OCTETS];

    __device__ __forceinline__ uint4* piece(uint32_t row, uint32_t octet) {
        return data + row * TILE_OCTETS + (octet ^ row % TILE_OCTETS);
    }
};
static_assert(sizeof(Tile) == NARROW_TILE_BYTES, "what Rust allocates");

// The weights of a slice, as they are packed.
struct Slice {
    uint4 piece[SUM_TILES][NARROW_GROUPS];

    __device__ __forceinline__ void load(const Product& p, uint32_t slice) {
        const uint32_t lane = threadIdx.x % WARP;
#pragma unroll
        for (uint32_t i = 0; i < SUM_TILES; i++) {
#pragma unroll
            for (uint32_t g = 0; g < NARROW_GROUPS; g++) {
                const uint32_t group = blockIdx.y * NARROW_GROUPS + g, tile = slice * SUM_TILES + i;
                const bool exists = group < p.n_groups() && tile < p.n_tiles;
                const uint4* from = p.packed + (uint64_t(group) * p.n_tiles + tile) * WARP + lane;
                piece[i][g] = exists ? load_weights(from) : make_uint4(0, 0, 0, 0);
            }
        }
    }
};

// Where this lane reads token t's high halves, two columns at a time. For a token that does not exist it is the last one, whose
// results are not stored twice.
__device__ __forceinline__ const uint32_t* token_words(const Product& p, uint32_t t) {
    const uint32_t* x = reinterpret_cast<const uint32_t*>(p.x);
    return x + uint64_t(min(t, p.n_tokens - 1)) * p.n_octets() * 4 + threadIdx.x % 4;
}

// sums[j] = the slice's 16 outputs of tokens 8 * j .. + 8.
template <uint32_t PARTS>
__device__ __forceinline__ void multiply(float (&sums)[PARTS][4], const Product& p, Tile& tile, const Slice& w,
                                         uint32_t slice) {
    const uint32_t lane = threadIdx.x % WARP;
    const uint64_t low_at = low_plane(p.n_octets() * 4);
    const uint32_t* words[PARTS];
#pragma unroll
    for (uint32_t j = 0; j < PARTS; j++) words[j] = token_words(p, blockIdx.x * 8 * PARTS + 8 * j + lane / 4);
#pragma unroll
    for (uint32_t i = 0; i < SUM_TILES; i++) {
        const uint32_t step = slice * SUM_TILES + i;
        if (step >= p.n_tiles) break;  // the whole warp
        __syncwarp();  // all lanes have read the last step's weights
#pragma unroll
        for (uint32_t g = 0; g < NARROW_GROUPS; g++) {
            *tile.piece(g * TILE_ROWS + lane / TILE_OCTETS, lane % TILE_OCTETS) = w.piece[i][g];
        }
        __syncwarp();  // all lanes' parts of this step's are there
#pragma unroll(PARTS == 4 ? 2 : 4)  // where registers are short, fewer loads at a time
        for (uint32_t k = 0; k < TILE_OCTETS; k += 2) {
            uint32_t a[4];
            ldmatrix_x4(a, tile.piece(lane % 16, k + lane / 16));
#pragma unroll
            for (uint32_t j = 0; j < PARTS; j++) {
                // Two columns of a token's first octet, and two of its second.
                const uint32_t* high = words[j] + (step * TILE_OCTETS + k) * 4;
                const uint32_t* low = high + low_at;
                mma_f16(sums[j], a, low[0], low[4]);
                mma_f16(sums[j], a, high[0], high[4]);
            }
        }
    }
}

extern __shared__ Tile tiles[];

template <uint32_t PARTS, typename Store>
__device__ __forceinline__ void linear(const Product& p, const Store& store) {
    constexpr uint32_t TOKENS = 8 * PARTS;
    constexpr uint32_t PITCH = TOKENS + 2;  // reading pairs of rows below then meets no bank twice
    const uint32_t lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, n_warps = blockDim.x / WARP;
    const uint32_t n_slices = (p.n_tiles + SUM_TILES - 1) / SUM_TILES;
    float* parts = reinterpret_cast<float*>(tiles + n_warps);  // [n_slices][NARROW_ROWS][PITCH]
    let_next_start();
    Slice w;
    w.load(p, warp);
    wait_for_previous();
    for (uint32_t slice = warp; slice < n_slices; slice += n_warps) {
        if (slice != warp) w.load(p, slice);
        float sums[PARTS][4] = {};
        multiply(sums, p, tiles[warp], w, slice);
#pragma unroll
        for (uint32_t j = 0; j < PARTS; j++) {
            float* at = parts + (slice * NARROW_ROWS + lane / 4) * PITCH + 8 * j + lane % 4 * 2;
            *reinterpret_cast<float2*>(at) = make_float2(sums[j][0], sums[j][1]);
            *reinterpret_cast<float2*>(at + 8 * PITCH) = make_float2(sums[j][2], sums[j][3]);
        }
    }
    __syncthreads();  // all slices' sums are there
    for (uint32_t i = threadIdx.x; i < NARROW_ROWS / 2 * TOKENS; i += blockDim.x) {
        const uint32_t row = i % (NARROW_ROWS / 2) * 2, in_block = i / (NARROW_ROWS / 2);
        float y0 = 0.0f, y1 = 0.0f;
        for (uint32_t slice = 0; slice < n_slices; slice++) {
            const float* from = parts + (slice * NARROW_ROWS + row) * PITCH + in_block;
            y0 += from[0], y1 += from[PITCH];
        }
        const uint32_t r = blockIdx.y * NARROW_ROWS + row, t = blockIdx.x * TOKENS + in_block;
        if (r < p.n_rows && t < p.n_tokens) store(t, r, y0, y1);
    }
}

#define NARROW_BOUNDS __launch_bounds__(WARP * NARROW_WARPS, 1)
LINEAR_PREFILL_KERNELS(_8, NARROW_BOUNDS, linear<1>)
LINEAR_PREFILL_KERNELS(_16, NARROW_BOUNDS, linear<2>)
LINEAR_PREFILL_KERNELS(_32, NARROW_BOUNDS, linear<4>)
