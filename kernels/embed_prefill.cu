// The ends of a prompt's way through the model: tokens become rows of the residual, and rows go on to decode's logits.
#include "prefill.cuh"

constexpr uint32_t EMBED_PREFILL_THREADS = 128;

// embed_prefill_f16: x[t, :] = wte[token[t], :] + wpe[position[t], :]
//
//   x     [T, C] f32
//   wte   [V, C] f16, packed
//   wpe   [N, C] f16, row-major; C is a multiple of 8
//   plan  see prefill.cuh
//
// Work    a block takes one token, a thread an octet of it
// Launch  grid T, block EMBED_PREFILL_THREADS, no shared memory, after what is in front of it has ended
// Bytes   a token: reads 4*C, writes 4*C
// Exact   yes
extern "C" __global__ void __launch_bounds__(EMBED_PREFILL_THREADS)
embed_prefill_f16(float4* x, const uint4* wte, const uint4* wpe, const uint32_t* plan, uint32_t n_embd) {
    let_next_start();
    const uint32_t t = blockIdx.x;
    const uint32_t token = plan[PLAN_TOKENS + t], position = plan[PLAN_POSITIONS + t];
    const uint32_t n_octets = n_embd / OCTET, n_tiles = (n_embd + TILE_K - 1) / TILE_K;
    float4* out = x + uint64_t(t) * n_octets * 2;
    for (uint32_t octet = threadIdx.x; octet < n_octets; octet += EMBED_PREFILL_THREADS) {
        float a[8], b[8];
        unpack8(a, wte[packed_index(token, octet, n_tiles)]);
        unpack8(b, wpe[uint64_t(position) * n_octets + octet]);
        out[2 * octet] = make_float4(a[0] + b[0], a[1] + b[1], a[2] + b[2], a[3] + b[3]);
        out[2 * octet + 1] = make_float4(a[4] + b[4], a[5] + b[5], a[6] + b[6], a[7] + b[7]);
    }
}

// gather_prefill_f32: column[j, :] = x[index[j], :], the rows whose logits decode's kernel makes next
//
//   column  [MAX_COLUMNS, C] f32: decode's residual; C is a multiple of 8
//   x       [T, C] f32
//   step    see common.cuh; its tokens are the rows' numbers here
//
// Launch  grid columns, block EMBED_PREFILL_THREADS, no shared memory, after what is in front of it has ended
// Bytes   a column: reads 4*C, writes 4*C
// Exact   yes
extern "C" __global__ void __launch_bounds__(EMBED_PREFILL_THREADS)
gather_prefill_f32(float4* column, const float4* x, const uint32_t* step, uint32_t n_embd) {
    let_next_start();
    const uint32_t j = blockIdx.x, n = n_embd / 4;
    if (step_position(step, j) == NO_COLUMN) return;  // the whole block
    const uint32_t row = step[STEP_TOKENS + j];
    for (uint32_t i = threadIdx.x; i < n; i += EMBED_PREFILL_THREADS) column[uint64_t(j) * n + i] = x[uint64_t(row) * n + i];
}
