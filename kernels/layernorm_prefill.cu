// layernorm_prefill_f32: y[t, :] = (x[t, :] - mean) * rstd * gain + shift, in two halves, independently for every row t
//
//   y            [2][MAX_PREFILL][padded C] f16
//   x            [T, C] f32; C is a multiple of 8
//   gain, shift  [C] f32; eps from config.json
//
// Work    a warp takes a row; lane i takes four columns from 4 * i on, from 4 * (i + 32) on, ...
// Launch  grid ceil(T / LAYERNORM_ROWS), block 32 * LAYERNORM_ROWS, no shared memory
// Bytes   a token: reads 4*C, writes 4*C; the later walks over a row hit L1
// Exact   no: tree sum, and y to 22 bits (tolerance: tests/cuda/prefill)
#include "mma.cuh"

extern "C" __global__ void __launch_bounds__(WARP * LAYERNORM_ROWS)
layernorm_prefill_f32(uint2* y, const float4* x, const float4* gain, const float4* shift, uint32_t n_tokens, uint32_t n_embd,
                      uint32_t padded, float eps) {
    let_next_start();
    wait_for_previous();
    const uint32_t lane = threadIdx.x % WARP;
    const uint32_t t = blockIdx.x * LAYERNORM_ROWS + threadIdx.x / WARP;
    if (t >= n_tokens) return;  // a whole warp, and no block barrier follows
    const uint32_t n = n_embd / 4;
    const float4* row = x + uint64_t(t) * n;
    float sum = 0.0f;
    for (uint32_t i = lane; i < n; i += WARP) sum += (row[i].x + row[i].y) + (row[i].z + row[i].w);
    const float mean = warp_sum(sum) / float(n_embd);
    // A second pass on purpose: E[x^2] - mean^2 cancels where the mean is large.
    float squares = 0.0f;
    for (uint32_t i = lane; i < n; i += WARP) {
        const float4 v = row[i];
        squares = fmaf(v.x - mean, v.x - mean, squares);
        squares = fmaf(v.y - mean, v.y - mean, squares);
        squares = fmaf(v.z - mean, v.z - mean, squares);
        squares = fmaf(v.w - mean, v.w - mean, squares);
    }
    const float scale = 1.0f / sqrtf(warp_sum(squares) / float(n_embd) + eps);
    uint2* high = y + uint64_t(t) * padded / 4;
    uint2* low = high + low_plane(padded) / 4;
    for (uint32_t i = lane; i < n; i += WARP) {
        const float4 v = row[i], g = gain[i], s = shift[i];
        uint2 h, l;
        split(h.x, l.x, fmaf((v.x - mean) * scale, g.x, s.x), fmaf((v.y - mean) * scale, g.y, s.y));
        split(h.y, l.y, fmaf((v.z - mean) * scale, g.z, s.z), fmaf((v.w - mean) * scale, g.w, s.w));
        high[i] = h;
        low[i] = l;
    }
}
