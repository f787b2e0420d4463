// attention_decode: attention of one new token over the cache, split over chunks of keys
//
//   out[h, :] = sum_t softmax_t(scale * <q[h, :], k[t, h, :]>) v[t, h, :]
//
// Each block takes one head and one chunk of DECODE_CHUNK keys and leaves a partial softmax: its maximum, its sum and its
// unnormalised output. The chunk's size is fixed, so that the result does not depend on the grid. The partials of a head
// are combined by a second kernel, or by the block of that head that finishes last.

#include "common.cuh"

constexpr uint32_t HEAD_DIM = 64;
constexpr uint32_t DECODE_WARPS = 4;
constexpr uint32_t DECODE_CHUNK = 64;
constexpr uint32_t LANES_PER_KEY = HEAD_DIM / 8;  // 16 bytes a lane
constexpr uint32_t KEYS_PER_STEP = DECODE_WARPS * WARP / LANES_PER_KEY;

// A softmax that has seen some of its keys: 8 columns of the output.
struct Partial {
    float max, sum, out[8];
};

// Takes in another partial softmax of the same columns. A side that saw no key has max -inf and weighs nothing.
__device__ __forceinline__ void merge(Partial& a, const Partial& b) {
    const float max = fmaxf(a.max, b.max);
    const float wa = a.max == -INFINITY ? 0.0f : __expf(a.max - max);
    const float wb = b.max == -INFINITY ? 0.0f : __expf(b.max - max);
    a.max = max;
    a.sum = wa * a.sum + wb * b.sum;
#pragma unroll
    for (uint32_t i = 0; i < 8; i++) a.out[i] = wa * a.out[i] + wb * b.out[i];
}

__device__ __forceinline__ void unpack8(float (&f)[8], uint4 v) {
    const uint32_t words[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
    for (uint32_t i = 0; i < 4; i++) {
        const float2 pair = __half22float2(*reinterpret_cast<const __half2*>(&words[i]));
        f[2 * i] = pair.x;
        f[2 * i + 1] = pair.y;
    }
}

// This thread's partial softmax over the keys first .. last, stepping by all groups of LANES_PER_KEY lanes of the block.
__device__ __forceinline__ Partial scan_keys(const __half* q, const __half* k, const __half* v, uint32_t head,
                                             uint32_t n_heads, uint32_t first, uint32_t last, float scale) {
    const uint32_t part = threadIdx.x % LANES_PER_KEY;
    float qs[8], ks[8], vs[8];
    unpack8(qs, *reinterpret_cast<const uint4*>(q + head * HEAD_DIM + 8 * part));
    Partial p = {-INFINITY, 0.0f, {0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f}};
    // The bound is the same for all lanes, since all of them take part in the shuffles.
    for (uint32_t step = first; step < last; step += KEYS_PER_STEP) {
        const uint32_t t = step + threadIdx.x / LANES_PER_KEY;
        const uint64_t at = (uint64_t(min(t, last - 1)) * n_heads + head) * HEAD_DIM + 8 * part;
        unpack8(ks, *reinterpret_cast<const uint4*>(k + at));
        float score = 0.0f;
#pragma unroll
        for (uint32_t i = 0; i < 8; i++) score = fmaf(qs[i], ks[i], score);
#pragma unroll
        for (uint32_t offset = LANES_PER_KEY / 2; offset > 0; offset /= 2) {
            score += __shfl_xor_sync(ALL_LANES, score, offset);
        }
        if (t < last) {
            unpack8(vs, *reinterpret_cast<const uint4*>(v + at));
            Partial key = {scale * score, 1.0f, {}};
#pragma unroll
            for (uint32_t i = 0; i < 8; i++) key.out[i] = vs[i];
            merge(p, key);
        }
    }
    return p;
}

// Merges the partials of the block's threads that hold the same columns; the first LANES_PER_KEY threads get the result.
__device__ __forceinline__ void merge_block(Partial& p) {
    __shared__ Partial warps[DECODE_WARPS][LANES_PER_KEY];
#pragma unroll
    for (uint32_t offset = LANES_PER_KEY; offset < WARP; offset *= 2) {
        Partial other;
        other.max = __shfl_xor_sync(ALL_LANES, p.max, offset);
        other.sum = __shfl_xor_sync(ALL_LANES, p.sum, offset);
#pragma unroll
        for (uint32_t i = 0; i < 8; i++) other.out[i] = __shfl_xor_sync(ALL_LANES, p.out[i], offset);
        merge(p, other);
    }
    if (threadIdx.x % WARP < LANES_PER_KEY) warps[threadIdx.x / WARP][threadIdx.x % WARP] = p;
    __syncthreads();  // every warp's partial is there before the first warp reads them
    if (threadIdx.x < LANES_PER_KEY) {
        for (uint32_t w = 1; w < DECODE_WARPS; w++) merge(p, warps[w][threadIdx.x]);
    }
}

// Writes the block's partial: its columns, then the maximum and the sum.
__device__ __forceinline__ void write_partial(float* partial_out, float2* partial_stats, uint32_t slot,
                                              const Partial& p) {
    if (threadIdx.x >= LANES_PER_KEY) return;
    float4* out = reinterpret_cast<float4*>(partial_out + uint64_t(slot) * HEAD_DIM + 8 * threadIdx.x);
    out[0] = make_float4(p.out[0], p.out[1], p.out[2], p.out[3]);
    out[1] = make_float4(p.out[4], p.out[5], p.out[6], p.out[7]);
    if (threadIdx.x == 0) partial_stats[slot] = make_float2(p.max, p.sum);
}

// Column `column` of head `head` from its chunks' partials, which other blocks may have written: hence past L1.
__device__ __forceinline__ void combine(__half* out, const float* partial_out, const float2* partial_stats,
                                        uint32_t head, uint32_t n_chunks, uint32_t column) {
    float max = -INFINITY, sum = 0.0f, acc = 0.0f;
    for (uint32_t c = 0; c < n_chunks; c++) max = fmaxf(max, __ldcg(&partial_stats[head * n_chunks + c]).x);
    for (uint32_t c = 0; c < n_chunks; c++) {
        const float2 stats = __ldcg(&partial_stats[head * n_chunks + c]);
        const float weight = __expf(stats.x - max);
        sum = fmaf(weight, stats.y, sum);
        acc = fmaf(weight, __ldcg(&partial_out[uint64_t(head * n_chunks + c) * HEAD_DIM + column]), acc);
    }
    out[head * HEAD_DIM + column] = __float2half_rn(acc / sum);
}

// attention_decode_split_f16: the partial softmaxes
//
//   q              [H, HEAD_DIM] f16, 16-byte aligned
//   k, v           [T, H, HEAD_DIM] f16, 16-byte aligned, T >= 1
//   partial_out    [H, ceil(T / DECODE_CHUNK), HEAD_DIM] f32
//   partial_stats  [H, ceil(T / DECODE_CHUNK)] of (maximum, sum) f32
//
// Launch  grid (ceil(T / DECODE_CHUNK), H), block 32 * DECODE_WARPS, no dynamic shared memory
// Bytes   reads 4*T*H*HEAD_DIM, writes 4*(HEAD_DIM + 2) a block
// Exact   no: __expf, partial sums (the same for every grid)
extern "C" __global__ void __launch_bounds__(WARP * DECODE_WARPS)
attention_decode_split_f16(float* partial_out, float2* partial_stats, const __half* q, const __half* k, const __half* v,
                           uint32_t n_tokens, float scale) {
    const uint32_t first = blockIdx.x * DECODE_CHUNK;
    Partial p = scan_keys(q, k, v, blockIdx.y, gridDim.y, first, min(first + DECODE_CHUNK, n_tokens), scale);
    merge_block(p);
    write_partial(partial_out, partial_stats, blockIdx.y * gridDim.x + blockIdx.x, p);
}

// attention_decode_combine_f16: the heads' outputs from the partials
//
//   out  [H, HEAD_DIM] f16
//
// Launch  grid H, block HEAD_DIM, after attention_decode_split_f16
extern "C" __global__ void __launch_bounds__(HEAD_DIM)
attention_decode_combine_f16(__half* out, const float* partial_out, const float2* partial_stats, uint32_t n_chunks) {
    combine(out, partial_out, partial_stats, blockIdx.x, n_chunks, threadIdx.x);
}

// attention_decode_fused_f16: both in one launch; the last block of a head to finish combines
//
//   finished  [H] u32, zero before the first launch; zero again after each
//
// Launch  as attention_decode_split_f16
extern "C" __global__ void __launch_bounds__(WARP * DECODE_WARPS)
attention_decode_fused_f16(__half* out, float* partial_out, float2* partial_stats, uint32_t* finished, const __half* q,
                           const __half* k, const __half* v, uint32_t n_tokens, float scale) {
    __shared__ bool is_last;
    const uint32_t head = blockIdx.y;
    const uint32_t first = blockIdx.x * DECODE_CHUNK;
    Partial p = scan_keys(q, k, v, head, gridDim.y, first, min(first + DECODE_CHUNK, n_tokens), scale);
    merge_block(p);
    write_partial(partial_out, partial_stats, head * gridDim.x + blockIdx.x, p);
    __syncthreads();  // the whole partial is written before thread 0 publishes it
    if (threadIdx.x == 0) {
        __threadfence();  // releases the block's partial together with the ticket
        is_last = atomicInc(&finished[head], gridDim.x - 1) == gridDim.x - 1;  // the last one's ticket wraps to 0
        __threadfence();  // acquires the partials of the blocks that drew before
    }
    __syncthreads();  // the verdict, and with it what thread 0 acquired
    if (is_last && threadIdx.x < HEAD_DIM) combine(out, partial_out, partial_stats, head, gridDim.x, threadIdx.x);
}
