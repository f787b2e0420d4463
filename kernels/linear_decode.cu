// The products of a decode step (linear_decode.cuh), fused with what makes their input and takes their output: LayerNorm, the
// merging of attention's chunks, bias, GELU, the residual and the KV cache.
#include "linear_decode.cuh"

extern __shared__ float4 shared_planes[];

// The sums of slices, behind the planes; before there are any, the columns' norms.
__device__ __forceinline__ float* parts_after(uint32_t n_columns, uint32_t n_octets) {
    return reinterpret_cast<float*>(shared_planes) + (n_columns == 0 ? 0 : n_columns * planes_len(n_octets));
}

// Brings a LayerNorm's parameters, which depend on nothing, into L2 before the kernel waits: since the last step the weights
// have driven them out of it.
__device__ __forceinline__ void prefetch_norm(const float* gain, const float* bias, uint32_t n_embd) {
    constexpr uint32_t LINE = 128 / sizeof(float);
    for (uint32_t c = LINE * threadIdx.x; c < n_embd; c += LINE * blockDim.x) {
        asm volatile("prefetch.global.L2 [%0];" : : "l"(gain + c));
        asm volatile("prefetch.global.L2 [%0];" : : "l"(bias + c));
    }
}

// Mean and 1 / deviation of a column in planes, by one warp, in two passes, since E[x^2] - mean^2 would cancel where the mean is
// large. Lane i sums columns 4 * i, 4 * (i + 32), ... and each one's three neighbours apart.
__device__ __forceinline__ float2 norm_of(const float* planes, uint32_t n_embd, uint32_t n_octets, float eps) {
    const uint32_t first = 4 * (threadIdx.x % WARP);
    float4 sums = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
    for (uint32_t c = first; c < n_embd; c += 4 * WARP) {
        const float4 x = *reinterpret_cast<const float4*>(planes + plane_index(c, n_octets));
        sums = make_float4(sums.x + x.x, sums.y + x.y, sums.z + x.z, sums.w + x.w);
    }
    const float mean = warp_sum((sums.x + sums.y) + (sums.z + sums.w)) / float(n_embd);
    float4 squares = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
    for (uint32_t c = first; c < n_embd; c += 4 * WARP) {
        const float4 x = *reinterpret_cast<const float4*>(planes + plane_index(c, n_octets));
        const float4 d = make_float4(x.x - mean, x.y - mean, x.z - mean, x.w - mean);
        squares = make_float4(fmaf(d.x, d.x, squares.x), fmaf(d.y, d.y, squares.y), fmaf(d.z, d.z, squares.z),
                              fmaf(d.w, d.w, squares.w));
    }
    const float variance = warp_sum((squares.x + squares.y) + (squares.z + squares.w)) / float(n_embd);
    return make_float2(mean, 1.0f / sqrtf(variance + eps));
}

// x = layernorm(residual[t]) * gain + bias: all threads bring the columns, 16 bytes each, so that all loads are under way at
// once; a warp takes a column's sums; all threads make it normal.
template <uint32_t COLUMNS>
__device__ __forceinline__ const float* fill_normed(const float* residual, const float* gain, const float* bias, float eps,
                                                    const uint32_t* step, uint32_t n_embd, uint32_t n_octets) {
    float* planes = reinterpret_cast<float*>(shared_planes);
    float2* norms = reinterpret_cast<float2*>(parts_after(COLUMNS, n_octets));
    const float4 zeros = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
    for (uint32_t t = 0; t < COLUMNS; t++) {
        const uint32_t n_cols = step_position(step, t) == NO_COLUMN ? 0 : n_embd;
        float* y = planes + t * planes_len(n_octets);
        for (uint32_t c = 4 * threadIdx.x; c < n_octets * OCTET; c += 4 * blockDim.x) {
            const float4 x = c < n_cols ? *reinterpret_cast<const float4*>(residual + uint64_t(t) * n_embd + c) : zeros;
            *reinterpret_cast<float4*>(y + plane_index(c, n_octets)) = x;
        }
    }
    __syncthreads();  // all of a column is there before a warp sums it
    for (uint32_t t = threadIdx.x / WARP; t < COLUMNS; t += blockDim.x / WARP) {
        const float2 norm = norm_of(planes + t * planes_len(n_octets), n_embd, n_octets, eps);
        if (threadIdx.x % WARP == 0) norms[t] = norm;
    }
    __syncthreads();  // the columns are read before they change, and their norms are there
    for (uint32_t t = 0; t < COLUMNS; t++) {
        if (step_position(step, t) == NO_COLUMN) continue;
        const float2 norm = norms[t];
        for (uint32_t c = 4 * threadIdx.x; c < n_embd; c += 4 * blockDim.x) {
            float4* y = reinterpret_cast<float4*>(planes + t * planes_len(n_octets) + plane_index(c, n_octets));
            const float4 x = *y;
            const float4 g = *reinterpret_cast<const float4*>(gain + c);
            const float4 b = *reinterpret_cast<const float4*>(bias + c);
            *y = make_float4(fmaf((x.x - norm.x) * norm.y, g.x, b.x), fmaf((x.y - norm.x) * norm.y, g.y, b.y),
                             fmaf((x.z - norm.x) * norm.y, g.z, b.z), fmaf((x.w - norm.x) * norm.y, g.w, b.w));
        }
    }
    __syncthreads();  // all columns are there before any warp multiplies
    return planes;
}

// x = the heads' outputs, merged from the chunks that linear_decode's predecessor left: see attention_decode.cu.
template <uint32_t COLUMNS>
__device__ __forceinline__ const float* fill_merged(const float* chunk_out, const float2* chunk_stats, const uint32_t* step,
                                                    uint32_t n_head, uint32_t head_dim, uint32_t max_chunks,
                                                    uint32_t n_octets) {
    float* planes = reinterpret_cast<float*>(shared_planes);
    const uint32_t n_embd = n_head * head_dim;
    for (uint32_t i = threadIdx.x; i < COLUMNS * n_octets * OCTET; i += blockDim.x) {
        const uint32_t t = i / (n_octets * OCTET), c = i % (n_octets * OCTET);
        const uint32_t position = step_position(step, t);
        float y = 0.0f;
        if (c < n_embd && position != NO_COLUMN) {
            const uint32_t n_chunks = position / CHUNK_LEN + 1;
            const uint64_t first = (uint64_t(t) * n_head + c / head_dim) * max_chunks;
            float max = chunk_stats[first].x;
            for (uint32_t j = 1; j < n_chunks; j++) max = fmaxf(max, chunk_stats[first + j].x);
            float sum = 0.0f;
            for (uint32_t j = 0; j < n_chunks; j++) {
                const float2 stats = chunk_stats[first + j];
                const float weight = exp2f(stats.x - max);
                sum = fmaf(weight, stats.y, sum);
                y = fmaf(weight, chunk_out[(first + j) * head_dim + c % head_dim], y);
            }
            y /= sum;
        }
        planes[t * planes_len(n_octets) + plane_index(c, n_octets)] = y;
    }
    __syncthreads();  // all columns are there before any warp multiplies
    return planes;
}

// linear_decode_qkv_f16: q, and the cache's new keys and values, from qkv(attn_norm(residual))
//
//   q             [MAX_COLUMNS, C] f32
//   keys, values  this layer's pages, f32
//   residual      [MAX_COLUMNS, C] f32
//   gain, shift   attn_norm, [C] f32; eps from config.json
//   packed, bias  qkv: [3C, C] f16, packed, and [3C] f32
//
// Launch  block 32 * n_slices * groups; shared: COLUMNS * planes_len floats, plus 4 * 4 * COLUMNS * n_slices * groups
// Bytes   reads 2*3C*C and 4*C a column a block, writes 4*3C a column
// Exact   no: the order of sums of linear_decode.cuh (tolerance: tests/cuda/twins.rs)
template <uint32_t COLUMNS>
__device__ __forceinline__ void qkv(float* q, float* keys, float* values, const float* residual, const float* gain,
                                    const float* shift, float eps, Matrix w, const float* bias, const uint32_t* step,
                                    uint32_t n_pages, uint32_t n_head, uint32_t head_dim) {
    const uint32_t n_embd = n_head * head_dim;
    const uint32_t padded_dim = (head_dim + OCTET - 1) / OCTET * OCTET;
    prefetch_norm(gain, shift, n_embd);
    const auto fill = [&] {
        return fill_normed<COLUMNS>(residual, gain, shift, eps, step, n_embd, w.n_octets());
    };
    const auto where = [&](uint32_t t, uint32_t r) -> float* {
        const uint32_t position = step_position(step, t);
        if (position == NO_COLUMN) return nullptr;
        const uint32_t part = r / n_embd, c = r % n_embd;
        if (part == 0) return q + uint64_t(t) * n_embd + c;
        const uint32_t page = step[STEP_PAGES + t * n_pages + position / PAGE_LEN];
        const uint64_t row = cache_row(page, c / head_dim, n_head, position % PAGE_LEN);
        return (part == 1 ? keys : values) + row * padded_dim + c % head_dim;
    };
    linear<COLUMNS, Then::STORE>(w, bias, 0, parts_after(COLUMNS, w.n_octets()), fill, where);
}

// linear_decode_attn_out_f16: residual += attn_out(heads), from the chunks of attention
//
//   residual      [MAX_COLUMNS, C] f32
//   chunk_out     [MAX_COLUMNS, H, max_chunks, D] f32
//   chunk_stats   [MAX_COLUMNS, H, max_chunks] (maximum, sum) f32
//   packed, bias  attn_out: [C, C] f16, packed, and [C] f32
//
// Launch  as linear_decode_qkv_f16
// Bytes   reads 2*C*C and 4*(D + 2)*H*chunks a column a block; reads and writes 4*C a column
// Exact   no
template <uint32_t COLUMNS>
__device__ __forceinline__ void attn_out(float* residual, const float* chunk_out, const float2* chunk_stats, Matrix w,
                                         const float* bias, const uint32_t* step, uint32_t n_head, uint32_t head_dim,
                                         uint32_t max_chunks) {
    const uint32_t n_embd = n_head * head_dim;
    const auto fill = [&] {
        return fill_merged<COLUMNS>(chunk_out, chunk_stats, step, n_head, head_dim, max_chunks, w.n_octets());
    };
    const auto where = [&](uint32_t t, uint32_t r) {
        return step_position(step, t) == NO_COLUMN ? nullptr : residual + uint64_t(t) * n_embd + r;
    };
    linear<COLUMNS, Then::ADD>(w, bias, 0, parts_after(COLUMNS, w.n_octets()), fill, where);
}

// linear_decode_up_f16: inner = activation(up(mlp_norm(residual)))
//
//   inner         [MAX_COLUMNS] planes of F floats, padded to whole tiles; the padding stays zero
//   residual      [MAX_COLUMNS, C] f32
//   gain, shift   mlp_norm, [C] f32
//   packed, bias  up: [F, C] f16, packed, and [F] f32
//   inner_octets  octets of a column of inner
//
// Launch  as linear_decode_qkv_f16
// Bytes   reads 2*F*C and 4*C a column a block, writes 4*F a column
// Exact   no
template <uint32_t COLUMNS>
__device__ __forceinline__ void up(float* inner, const float* residual, const float* gain, const float* shift, float eps,
                                   Matrix w, const float* bias, const uint32_t* step, uint32_t n_embd,
                                   uint32_t inner_octets, uint32_t activation) {
    prefetch_norm(gain, shift, n_embd);
    const auto fill = [&] {
        return fill_normed<COLUMNS>(residual, gain, shift, eps, step, n_embd, w.n_octets());
    };
    const auto where = [&](uint32_t t, uint32_t r) {
        float* planes = inner + uint64_t(t) * planes_len(inner_octets);
        return step_position(step, t) == NO_COLUMN ? nullptr : planes + plane_index(r, inner_octets);
    };
    linear<COLUMNS, Then::ACTIVATE>(w, bias, activation, parts_after(COLUMNS, w.n_octets()), fill, where);
}

// linear_decode_down_f16: residual += down(inner), which is read where it stands
//
//   residual      [MAX_COLUMNS, C] f32
//   inner         as linear_decode_up_f16 leaves it
//   packed, bias  down: [C, F] f16, packed, and [C] f32
//
// Launch  block 32 * n_slices * groups; shared: 4 * 4 * COLUMNS * n_slices * groups bytes
// Bytes   reads 2*C*F and 4*F a column a block; reads and writes 4*C a column
// Exact   no
template <uint32_t COLUMNS>
__device__ __forceinline__ void down(float* residual, const float* inner, Matrix w, const float* bias, const uint32_t* step,
                                     uint32_t n_embd) {
    const auto fill = [&] { return inner; };
    const auto where = [&](uint32_t t, uint32_t r) {
        return step_position(step, t) == NO_COLUMN ? nullptr : residual + uint64_t(t) * n_embd + r;
    };
    linear<COLUMNS, Then::ADD>(w, bias, 0, parts_after(0, 0), fill, where);
}

// linear_decode_logits_f16: logits[row[t]] = head(out_norm(residual[t]))
//
//   logits       [rows, V] f32
//   residual     [MAX_COLUMNS, C] f32
//   gain, shift  out_norm, [C] f32
//   packed       head, or the token embeddings: [V, C] f16, packed
//
// Launch  as linear_decode_qkv_f16
// Bytes   reads 2*V*C and 4*C a column a block, writes 4*V a column
// Exact   no
template <uint32_t COLUMNS>
__device__ __forceinline__ void logits(float* y, const float* residual, const float* gain, const float* shift, float eps,
                                       Matrix w, const uint32_t* step, uint32_t n_embd) {
    prefetch_norm(gain, shift, n_embd);
    const auto fill = [&] {
        return fill_normed<COLUMNS>(residual, gain, shift, eps, step, n_embd, w.n_octets());
    };
    const auto where = [&](uint32_t t, uint32_t r) {
        const uint32_t row = step[STEP_ROWS + t];
        return row == NO_COLUMN ? nullptr : y + uint64_t(row) * w.n_rows + r;
    };
    linear<COLUMNS, Then::LOGITS>(w, nullptr, 0, parts_after(COLUMNS, w.n_octets()), fill, where);
}

#define KERNELS_FOR(COLUMNS)                                                                                                \
    extern "C" __global__ void __launch_bounds__(WARP * LINEAR_MAX_WARPS, 1)                                                \
    linear_decode_qkv_f16_##COLUMNS(float* q, float* keys, float* values, const float* residual, const float* gain,         \
                                    const float* shift, float eps, const uint4* packed, uint32_t n_rows, uint32_t n_tiles,  \
                                    uint32_t n_slices, const float* bias, const uint32_t* step, uint32_t n_pages,           \
                                    uint32_t n_head, uint32_t head_dim) {                                                   \
        qkv<COLUMNS>(q, keys, values, residual, gain, shift, eps, {packed, n_rows, n_tiles, n_slices}, bias, step, n_pages, \
                     n_head, head_dim);                                                                                     \
    }                                                                                                                       \
    extern "C" __global__ void __launch_bounds__(WARP * LINEAR_MAX_WARPS, 1)                                                \
    linear_decode_attn_out_f16_##COLUMNS(float* residual, const float* chunk_out, const float2* chunk_stats,                \
                                         const uint4* packed, uint32_t n_rows, uint32_t n_tiles, uint32_t n_slices,         \
                                         const float* bias, const uint32_t* step, uint32_t n_head, uint32_t head_dim,       \
                                         uint32_t max_chunks) {                                                             \
        attn_out<COLUMNS>(residual, chunk_out, chunk_stats, {packed, n_rows, n_tiles, n_slices}, bias, step, n_head,        \
                          head_dim, max_chunks);                                                                            \
    }                                                                                                                       \
    extern "C" __global__ void __launch_bounds__(WARP * LINEAR_MAX_WARPS, 1)                                                \
    linear_decode_up_f16_##COLUMNS(float* inner, const float* residual, const float* gain, const float* shift, float eps,   \
                                   const uint4* packed, uint32_t n_rows, uint32_t n_tiles, uint32_t n_slices,               \
                                   const float* bias, const uint32_t* step, uint32_t n_embd, uint32_t inner_octets,         \
                                   uint32_t activation) {                                                                   \
        up<COLUMNS>(inner, residual, gain, shift, eps, {packed, n_rows, n_tiles, n_slices}, bias, step, n_embd,             \
                    inner_octets, activation);                                                                              \
    }                                                                                                                       \
    extern "C" __global__ void __launch_bounds__(WARP * LINEAR_MAX_WARPS, 1)                                                \
    linear_decode_down_f16_##COLUMNS(float* residual, const float* inner, const uint4* packed, uint32_t n_rows,             \
                                     uint32_t n_tiles, uint32_t n_slices, const float* bias, const uint32_t* step,          \
                                     uint32_t n_embd) {                                                                     \
        down<COLUMNS>(residual, inner, {packed, n_rows, n_tiles, n_slices}, bias, step, n_embd);                            \
    }                                                                                                                       \
    extern "C" __global__ void __launch_bounds__(WARP * LINEAR_MAX_WARPS, 1)                                                \
    linear_decode_logits_f16_##COLUMNS(float* y, const float* residual, const float* gain, const float* shift, float eps,   \
                                       const uint4* packed, uint32_t n_rows, uint32_t n_tiles, uint32_t n_slices,           \
                                       const uint32_t* step, uint32_t n_embd) {                                             \
        logits<COLUMNS>(y, residual, gain, shift, eps, {packed, n_rows, n_tiles, n_slices}, step, n_embd);                  \
    }

KERNELS_FOR(1)
KERNELS_FOR(4)
KERNELS_FOR(8)
