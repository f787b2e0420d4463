// What the blocks of one column do together: the best of their tokens, sums of masses, and the search for the entry at which a
// running sum of masses exceeds a target.
#pragma once

#include "common.cuh"

constexpr uint32_t SAMPLE_BIN_BITS = 10;
static_assert(1 << SAMPLE_BIN_BITS == SAMPLE_BINS, "a digit has a bin for each of its values");

// The best token of some: the least rank, then the lowest id.
struct Best {
    uint64_t rank;
    uint32_t id, is_bad;
};

// ---- A block ----------------------------------------------------------------------------------------------------------

constexpr uint32_t SAMPLE_WARPS = SAMPLE_THREADS / WARP;

struct Shared {
    uint64_t bins[SAMPLE_BINS];
    uint64_t warp_sums[SAMPLE_WARPS];
    uint64_t warp_bits[2][SAMPLE_WARPS];
    Best warp_best[SAMPLE_WARPS];
    uint64_t found_before;
    uint32_t found;
    uint32_t is_last;
};

__device__ __forceinline__ Best better(Best a, Best b) {
    Best best = a.rank < b.rank || (a.rank == b.rank && a.id < b.id) ? a : b;
    best.is_bad = a.is_bad | b.is_bad;
    return best;
}

// The best of all threads, for all threads. Between two calls is another barrier.
__device__ __forceinline__ Best block_best(Shared& s, Best mine) {
#pragma unroll
    for (uint32_t offset = WARP / 2; offset > 0; offset /= 2) {
        Best other;
        other.rank = __shfl_xor_sync(ALL_LANES, mine.rank, offset);
        other.id = __shfl_xor_sync(ALL_LANES, mine.id, offset);
        other.is_bad = __shfl_xor_sync(ALL_LANES, mine.is_bad, offset);
        mine = better(mine, other);
    }
    if (threadIdx.x % WARP == 0) s.warp_best[threadIdx.x / WARP] = mine;
    __syncthreads();  // every warp's best is there
    Best best = s.warp_best[0];
    for (uint32_t i = 1; i < SAMPLE_WARPS; i++) best = better(best, s.warp_best[i]);
    return best;
}

// The sum of all threads' values, for all threads; `before` becomes that of the threads before this one.
// Between two calls is another barrier.
__device__ __forceinline__ uint64_t block_sum(Shared& s, uint64_t mine, uint64_t& before) {
    const uint32_t lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    uint64_t sum = mine;
#pragma unroll
    for (uint32_t offset = 1; offset < WARP; offset *= 2) {
        const uint64_t other = __shfl_up_sync(ALL_LANES, sum, offset);
        if (lane >= offset) sum += other;
    }
    if (lane == WARP - 1) s.warp_sums[warp] = sum;
    __syncthreads();  // every warp's sum is there
    uint64_t all = 0;
    before = sum - mine;
    for (uint32_t i = 0; i < SAMPLE_WARPS; i++) {
        if (i == warp) before += all;
        all += s.warp_sums[i];
    }
    return all;
}

__device__ __forceinline__ void add_to_bin(Shared& s, uint32_t bin, uint64_t mass) {
    atomicAdd(reinterpret_cast<unsigned long long*>(&s.bins[bin]), mass);
}

__device__ __forceinline__ void clear_bins(Shared& s) {
    for (uint32_t i = threadIdx.x; i < SAMPLE_BINS; i += SAMPLE_THREADS) s.bins[i] = 0;
    __syncthreads();  // no thread adds to a bin that is not clear
}

// The sum of the block's bins, and this thread's part of it, for `find_bin`.
struct Sum {
    uint64_t all, before, mine;
};

__device__ __forceinline__ Sum sum_bins(Shared& s) {
    Sum sum;
    sum.mine = s.bins[2 * threadIdx.x] + s.bins[2 * threadIdx.x + 1];
    sum.all = block_sum(s, sum.mine, sum.before);
    return sum;
}

// The bin at which the running sum exceeds `target`, which becomes what is left of it in that bin. `sum_bins`, which comes
// before each call, has the barriers that keep two of them apart.
__device__ __forceinline__ uint32_t find_bin(Shared& s, const Sum& sum, uint64_t& target) {
    if (target >= sum.before && target - sum.before < sum.mine) {
        const uint64_t rest = target - sum.before, first = s.bins[2 * threadIdx.x];
        s.found = 2 * threadIdx.x + (rest >= first);
        s.found_before = rest >= first ? sum.before + first : sum.before;
    }
    __syncthreads();  // the one thread that found it has written
    target -= s.found_before;
    return s.found;
}
static_assert(SAMPLE_BINS == 2 * SAMPLE_THREADS, "a thread has two bins");

// The bits in which the keys of `n` entries differ, for all threads. Calls take turns: 0, 1, 0, ...
template <typename Key>
__device__ __forceinline__ uint64_t varying_bits(Shared& s, uint32_t turn, uint32_t n, Key key) {
    uint64_t bits = 0;
    for (uint32_t i = threadIdx.x; i < n; i += SAMPLE_THREADS) bits |= key(i) ^ key(0);
#pragma unroll
    for (uint32_t offset = WARP / 2; offset > 0; offset /= 2) bits |= __shfl_xor_sync(ALL_LANES, bits, offset);
    if (threadIdx.x % WARP == 0) s.warp_bits[turn][threadIdx.x / WARP] = bits;
    __syncthreads();  // every warp's bits are there, and those of the turn before are read
    for (uint32_t i = 0; i < SAMPLE_WARPS; i++) bits |= s.warp_bits[turn][i];
    return bits;
}

// Of `n` entries, the key at which the running sum of masses, by ascending keys of `n_bits`, exceeds `target`, which becomes
// what is left of it among the entries with that key. Calls take turns: 0, 1, 0, ...
template <typename Key, typename Mass>
__device__ __forceinline__ uint64_t select(Shared& s, uint32_t turn, uint32_t n, uint32_t n_bits, uint64_t& target, Key key,
                                           Mass mass) {
    // A digit that all keys share needs no histogram: the first bits of scores, and the last of those that were f32.
    const uint64_t varying = varying_bits(s, turn, n, key);
    uint64_t found = key(0) & ~varying;
    for (int32_t shift = int32_t((n_bits - 1) / SAMPLE_BIN_BITS * SAMPLE_BIN_BITS); shift >= 0; shift -= SAMPLE_BIN_BITS) {
        if ((varying >> shift) % SAMPLE_BINS == 0) continue;
        clear_bins(s);
        for (uint32_t i = threadIdx.x; i < n; i += SAMPLE_THREADS) {
            const uint64_t k = key(i);
            if ((k >> shift >> SAMPLE_BIN_BITS) != (found >> shift >> SAMPLE_BIN_BITS)) continue;
            const uint64_t m = mass(i);
            if (m > 0) add_to_bin(s, uint32_t(k >> shift) % SAMPLE_BINS, m);
        }
        __syncthreads();  // all masses are in their bins
        found &= ~(uint64_t(SAMPLE_BINS - 1) << shift);
        found |= uint64_t(find_bin(s, sum_bins(s), target)) << shift;
    }
    return found;
}

// ---- All blocks of a column -------------------------------------------------------------------------------------------

// Waits until all blocks of the column are here; they run at the same time. What they wrote before can be read then: what their
// first threads wrote and, if a barrier came before, all of them.
__device__ __forceinline__ void meet(uint32_t* arrived) {
    if (threadIdx.x == 0) {
        __threadfence();
        atomicAdd(arrived, 1);
        uint32_t n;
        do {
            asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(n) : "l"(arrived) : "memory");
        } while (n < gridDim.x);
    }
    __syncthreads();  // no thread goes on before the others have come
}

// Whether this block is the last one to come here: what the others wrote before can be read then, as above.
__device__ __forceinline__ bool is_last(Shared& s, uint32_t* done) {
    if (threadIdx.x == 0) {
        __threadfence();
        s.is_last = atomicAdd(done, 1) == gridDim.x - 1;
        __threadfence();
    }
    __syncthreads();  // the answer is there
    return s.is_last;
}
