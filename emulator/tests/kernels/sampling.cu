// sampling: from logits to a token: argmax, the k largest, the nucleus, and a draw with Philox numbers

#include "common.cuh"

constexpr uint32_t SAMPLE_THREADS = 256;
constexpr uint32_t SAMPLE_WARPS = SAMPLE_THREADS / WARP;
constexpr uint32_t MAX_TOP_K = 1024;

// Bits that compare as unsigned integers the way the floats compare; NaN is below everything.
__device__ __forceinline__ uint32_t ordered(float f) {
    const uint32_t bits = __float_as_uint(f);
    if (f != f) return 0;
    return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

// argmax_f32: the index of the largest logit, the least index of equals
//
//   logits  [V] f32
//   best    [1] u64, 0 before the launch; after it (ordered bits << 32) | (0xffffffff - index)
//
// Launch  any grid, block SAMPLE_THREADS, no dynamic shared memory
// Bytes   reads 4*V; one atomic a block
// Exact   yes
extern "C" __global__ void __launch_bounds__(SAMPLE_THREADS)
argmax_f32(unsigned long long* best, const float* __restrict__ logits, uint32_t n_vocab) {
    __shared__ unsigned long long warps[SAMPLE_WARPS];
    unsigned long long mine = 0;
    for (uint32_t i = blockIdx.x * blockDim.x + threadIdx.x; i < n_vocab; i += gridDim.x * blockDim.x) {
        mine = max(mine, static_cast<unsigned long long>(ordered(logits[i])) << 32 | (0xffffffffu - i));
    }
    for (uint32_t offset = WARP / 2; offset > 0; offset /= 2) mine = max(mine, __shfl_down_sync(ALL_LANES, mine, offset));
    if (threadIdx.x % WARP == 0) warps[threadIdx.x / WARP] = mine;
    __syncthreads();  // every warp's best is there
    if (threadIdx.x == 0) {
        for (uint32_t w = 1; w < SAMPLE_WARPS; w++) mine = max(mine, warps[w]);
        atomicMax(best, mine);
    }
}

// The key of rank k (from 1) from above, found digit by digit: a histogram of the keys that share the digits found so far,
// then the digit in which the rank falls. On return rank is how many of the keys equal to the result belong to the top.
__device__ __forceinline__ uint32_t radix_select(const float* logits, uint32_t n, uint32_t& rank, uint32_t* histogram,
                                                 uint32_t* found) {
    uint32_t prefix = 0;
    for (int shift = 24; shift >= 0; shift -= 8) {
        histogram[threadIdx.x] = 0;
        __syncthreads();  // the histogram is empty before anyone counts
        for (uint32_t i = threadIdx.x; i < n; i += SAMPLE_THREADS) {
            const uint32_t key = ordered(logits[i]);
            if (shift == 24 || key >> (shift + 8) == prefix) atomicAdd(&histogram[key >> shift & 255], 1);
        }
        __syncthreads();  // all counts are in
        if (threadIdx.x == 0) {
            uint32_t digit = 255, above = 0;
            while (above + histogram[digit] < rank) above += histogram[digit--];
            found[0] = digit;
            found[1] = rank - above;
        }
        __syncthreads();  // the digit is known to all, and the histogram read
        prefix = prefix << 8 | found[0];
        rank = found[1];
    }
    return prefix;
}

// topk_f32: the k largest logits in the order of their indices; of equals at the threshold, those with the least indices
//
//   values, indices  [k] f32, u32
//   logits           [V] f32; 1 <= k <= V
//
// Launch  grid 1, block SAMPLE_THREADS, no dynamic shared memory
// Bytes   reads 5 * 4*V, four times from L2; writes 8*k
// Exact   yes
extern "C" __global__ void __launch_bounds__(SAMPLE_THREADS)
topk_f32(float* values, uint32_t* indices, const float* __restrict__ logits, uint32_t n_vocab, uint32_t k) {
    __shared__ uint32_t histogram[256], found[2], counts[SAMPLE_WARPS][2];
    const uint32_t lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    uint32_t ties_wanted = k;
    const uint32_t threshold = radix_select(logits, n_vocab, ties_wanted, histogram, found);

    uint32_t written = 0, ties = 0;  // in earlier rounds, the same for all threads
    for (uint32_t first = 0; first < n_vocab; first += SAMPLE_THREADS) {
        const uint32_t i = first + threadIdx.x;
        const uint32_t key = i < n_vocab ? ordered(logits[i]) : 0;
        const bool above = i < n_vocab && key > threshold, tie = i < n_vocab && key == threshold;
        const uint32_t below_me = (1u << lane) - 1;
        const uint32_t all_above = __ballot_sync(ALL_LANES, above), all_ties = __ballot_sync(ALL_LANES, tie);
        if (lane == 0) {
            counts[warp][0] = __popc(all_above);
            counts[warp][1] = __popc(all_ties);
        }
        __syncthreads();  // the counts of all warps are there
        uint32_t before = written + __popc(all_above & below_me), ties_before = ties + __popc(all_ties & below_me);
        for (uint32_t w = 0; w < SAMPLE_WARPS; w++) {
            if (w < warp) {
                before += counts[w][0];
                ties_before += counts[w][1];
            }
            written += counts[w][0];
            ties += counts[w][1];
        }
        if (above || (tie && ties_before < ties_wanted)) {
            const uint32_t slot = before + min(ties_before, ties_wanted);
            values[slot] = logits[i];
            indices[slot] = i;
        }
        __syncthreads();  // the counts are read before the next round replaces them
    }
}

// Philox-4x32-10 of Salmon et al., "Parallel random numbers: as easy as 1, 2, 3" (2011).
__device__ __forceinline__ uint4 philox(uint4 counter, uint2 key) {
    for (uint32_t round = 0; round < 10; round++) {
        const uint32_t high0 = __umulhi(0xD2511F53u, counter.x), low0 = 0xD2511F53u * counter.x;
        const uint32_t high1 = __umulhi(0xCD9E8D57u, counter.z), low1 = 0xCD9E8D57u * counter.z;
        counter = make_uint4(high1 ^ counter.y ^ key.x, low1, high0 ^ counter.w ^ key.y, low0);
        key.x += 0x9E3779B9u;
        key.y += 0xBB67AE85u;
    }
    return counter;
}

// philox_u32: out[4 i .. 4 i + 4] = philox(counter (i, 0, 0, 0), key seed)
//
//   out  [n] u32
//
// Launch  grid ceil(n / 4 / block), any block; no shared memory
// Exact   yes
extern "C" __global__ void philox_u32(uint32_t* out, uint64_t seed, uint32_t n) {
    const uint32_t i = blockIdx.x * blockDim.x + threadIdx.x;
    const uint4 r = philox(make_uint4(i, 0, 0, 0), make_uint2(uint32_t(seed), uint32_t(seed >> 32)));
    const uint32_t words[4] = {r.x, r.y, r.z, r.w};
    for (uint32_t j = 0; j < 4; j++) {
        if (4 * uint64_t(i) + j < n) out[4 * uint64_t(i) + j] = words[j];
    }
}

// The sum of v over this lane and those before it.
__device__ __forceinline__ float warp_inclusive_sum(float v) {
    for (uint32_t offset = 1; offset < WARP; offset *= 2) {
        const float before = __shfl_up_sync(ALL_LANES, v, offset);
        if (threadIdx.x % WARP >= offset) v += before;
    }
    return v;
}

// topp_sample_f32: draws from the least set of most likely tokens that together have a probability of at least p
//
//   token    [1] u32, uniform [1] f32: the number in [0, 1) that was drawn
//   values   [k] f32, in descending order
//   indices  [k] u32
//   1 <= k <= MAX_TOP_K, 0 < p <= 1, temperature > 0
//
// Launch  grid 1, block 32, no dynamic shared memory
// Bytes   reads 8*k, writes 8
// Exact   no: the cumulative sums are of fp32
extern "C" __global__ void __launch_bounds__(WARP)
topp_sample_f32(uint32_t* token, float* uniform, const float* __restrict__ values, const uint32_t* __restrict__ indices,
                uint32_t k, float p, float temperature, uint64_t seed, uint32_t position) {
    __shared__ float cumulative[MAX_TOP_K];
    const uint32_t lane = threadIdx.x;
    float total = 0.0f;
    for (uint32_t first = 0; first < k; first += WARP) {
        const uint32_t i = first + lane;
        const float weight = i < k ? __expf((values[i] - values[0]) / temperature) : 0.0f;
        const float sum = total + warp_inclusive_sum(weight);
        if (i < k) cumulative[i] = sum;
        total = __shfl_sync(ALL_LANES, sum, WARP - 1);
    }
    __syncwarp();  // cumulative is whole before other lanes read it

    const uint4 random = philox(make_uint4(position, 0, 0, 0), make_uint2(uint32_t(seed), uint32_t(seed >> 32)));
    const float u = float(random.x >> 8) * 0x1p-24f;
    // Twice the first index whose cumulative sum reaches a goal: the end of the nucleus, then the draw within it.
    float goal = p * total;
    uint32_t chosen = k - 1;
    for (uint32_t search = 0; search < 2; search++) {
        for (uint32_t first = 0; first < k; first += WARP) {
            const uint32_t i = first + lane;
            const bool reached = i < k && (search == 0 ? cumulative[i] >= goal : cumulative[i] > goal);
            const uint32_t lanes = __ballot_sync(ALL_LANES, reached);
            if (lanes != 0) {
                chosen = first + __ffs(lanes) - 1;
                break;
            }
        }
        if (search == 0) {
            goal = u * cumulative[chosen];
            chosen = k - 1;
        }
    }
    if (lane == 0) {
        *token = indices[chosen];
        *uniform = u;
    }
}
