// embed_decode_f16: x[t, :] = wte[token[t], :] + wpe[position[t], :]
//
//   x     [MAX_COLUMNS, C] f32; a column that the step does not have is left alone
//   wte   [V, C] f16, packed
//   wpe   [N, C] f16, row-major; C is a multiple of 8
//   step  see common.cuh
//
// Work    a block takes one column, a thread an octet of it
// Launch  grid columns, block EMBED_THREADS, no shared memory, after the step before has ended: it waits for nothing itself
// Bytes   a column: reads 4*C, writes 4*C
// Exact   yes
#include "common.cuh"

constexpr uint32_t EMBED_THREADS = 128;

extern "C" __global__ void __launch_bounds__(EMBED_THREADS)
embed_decode_f16(float* x, const uint4* wte, const uint4* wpe, const uint32_t* step, uint32_t n_embd) {
    let_next_start();
    const uint32_t column = blockIdx.x;
    const uint32_t position = step_position(step, column);
    if (position == NO_COLUMN) return;
    const uint32_t token = step[STEP_TOKENS + column];
    const uint32_t n_octets = n_embd / OCTET;
    const uint32_t n_tiles = (n_embd + TILE_K - 1) / TILE_K;
    float4* out = reinterpret_cast<float4*>(x + uint64_t(column) * n_embd);
    for (uint32_t octet = threadIdx.x; octet < n_octets; octet += EMBED_THREADS) {
        float a[8], b[8];
        unpack8(a, wte[packed_index(token, octet, n_tiles)]);
        unpack8(b, wpe[uint64_t(position) * n_octets + octet]);
        out[2 * octet] = make_float4(a[0] + b[0], a[1] + b[1], a[2] + b[2], a[3] + b[3]);
        out[2 * octet + 1] = make_float4(a[4] + b[4], a[5] + b[5], a[6] + b[6], a[7] + b[7]);
    }
}
