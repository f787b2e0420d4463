// The ends of a token's way through the model: tokens become rows of the residual, in decode and in prompts, and rows of a prompt
// go on to decode's logits.
//
// Launch (all)  grid rows, block EMBED_THREADS, no shared memory, after what is in front of it has ended: it waits for nothing itself
// Bytes  (all)  a row: reads 4*C, writes 4*C
// Exact  (all)  yes
#include "common.cuh"

// to[:] = token_embd[token, :] + position_embd[position, :], by one block, a thread an octet of it
//
//   to             [C] f32
//   token_embd     [V, C] f16, packed
//   position_embd  [N, C] f16, row-major; C is a multiple of 8
__device__ __forceinline__ void embed(float4* to, const uint4* token_embd, const uint4* position_embd, uint32_t token,
                                      uint32_t position, uint32_t n_embd) {
    const uint32_t n_octets = n_embd / OCTET, n_tiles = (n_embd + TILE_K - 1) / TILE_K;
    for (uint32_t octet = threadIdx.x; octet < n_octets; octet += EMBED_THREADS) {
        float a[8], b[8];
        unpack8(a, token_embd[packed_index(token, octet, n_tiles)]);
        unpack8(b, position_embd[uint64_t(position) * n_octets + octet]);
        to[2 * octet] = make_float4(a[0] + b[0], a[1] + b[1], a[2] + b[2], a[3] + b[3]);
        to[2 * octet + 1] = make_float4(a[4] + b[4], a[5] + b[5], a[6] + b[6], a[7] + b[7]);
    }
}

// embed_decode_f16: x[t, :] = token_embd[token[t], :] + position_embd[position[t], :]
//
//   x     [MAX_COLUMNS, C] f32; a column that the step does not have is left alone
//   step  see layout.h
extern "C" __global__ void __launch_bounds__(EMBED_THREADS)
embed_decode_f16(float4* x, const uint4* token_embd, const uint4* position_embd, const uint32_t* step, uint32_t n_embd) {
    let_next_start();
    const uint32_t t = blockIdx.x, position = step_position(step, t);
    if (position == NO_COLUMN) return;  // the whole block
    embed(x + uint64_t(t) * n_embd / 4, token_embd, position_embd, step[STEP_TOKENS + t], position, n_embd);
}

// embed_prefill_f16: x[t, :] = token_embd[token[t], :] + position_embd[position[t], :]
//
//   x     [T, C] f32
//   plan  see layout.h
extern "C" __global__ void __launch_bounds__(EMBED_THREADS)
embed_prefill_f16(float4* x, const uint4* token_embd, const uint4* position_embd, const uint32_t* plan, uint32_t n_embd) {
    let_next_start();
    const uint32_t t = blockIdx.x;
    embed(x + uint64_t(t) * n_embd / 4, token_embd, position_embd, plan[PLAN_TOKENS + t], plan[PLAN_POSITIONS + t], n_embd);
}

// gather_prefill_f32: column[t, :] = x[token[t], :], the rows whose logits decode's kernel makes next
//
//   column  [MAX_COLUMNS, C] f32: decode's residual; C is a multiple of 8
//   x       [T, C] f32
//   step    see layout.h; its tokens are the rows' numbers here
extern "C" __global__ void __launch_bounds__(EMBED_THREADS)
gather_prefill_f32(float4* column, const float4* x, const uint32_t* step, uint32_t n_embd) {
    let_next_start();
    const uint32_t t = blockIdx.x, n = n_embd / 4;
    if (step_position(step, t) == NO_COLUMN) return;  // the whole block
    const uint32_t row = step[STEP_TOKENS + t];
    for (uint32_t i = threadIdx.x; i < n; i += EMBED_THREADS) column[uint64_t(t) * n + i] = x[uint64_t(row) * n + i];
}
