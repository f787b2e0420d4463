// sort: pairs of a value and an index by falling value, with a bitonic network in shared memory

#include <cstdint>

constexpr uint32_t SORT_MAX = 1024;
constexpr uint32_t SORT_THREADS = 256;

struct Pair {
    float value;
    uint32_t index;
};

// Whether a comes before b: the greater value first, of equals the lesser index.
__device__ __forceinline__ bool before(Pair a, Pair b) {
    return a.value > b.value || (a.value == b.value && a.index < b.index);
}

// bitonic_sort_f32: sorts in place
//
//   values, indices  [n] f32, u32; 1 <= n <= SORT_MAX; no NaN
//
// Work    the pairs are padded with -inf to a power of two; each step compares pairs whose distance is a power of two
// Launch  grid 1, block SORT_THREADS, no dynamic shared memory
// Bytes   reads 8*n, writes 8*n
// Exact   yes
extern "C" __global__ void __launch_bounds__(SORT_THREADS)
bitonic_sort_f32(float* values, uint32_t* indices, uint32_t n) {
    __shared__ Pair pairs[SORT_MAX];
    uint32_t padded = 1;
    while (padded < n) padded *= 2;
    for (uint32_t i = threadIdx.x; i < padded; i += SORT_THREADS) {
        pairs[i] = i < n ? Pair{values[i], indices[i]} : Pair{__int_as_float(0xff800000), 0xffffffffu};
    }
    __syncthreads();  // all pairs are there
    for (uint32_t size = 2; size <= padded; size *= 2) {
        for (uint32_t distance = size / 2; distance > 0; distance /= 2) {
            for (uint32_t i = threadIdx.x; i < padded / 2; i += SORT_THREADS) {
                const uint32_t low = i / distance * distance * 2 + i % distance, high = low + distance;
                const bool falling = (low & size) == 0;
                const Pair a = pairs[low], b = pairs[high];
                if (before(b, a) == falling) {
                    pairs[low] = b;
                    pairs[high] = a;
                }
            }
            __syncthreads();  // a step is over before the next pairs meet
        }
    }
    for (uint32_t i = threadIdx.x; i < n; i += SORT_THREADS) {
        values[i] = pairs[i].value;
        indices[i] = pairs[i].index;
    }
}

// warp_sort_u32: sorts every 32 numbers upwards with shuffles alone
//
//   numbers  [n] u32, n a multiple of 32
//
// Launch  grid ceil(n / block), block any multiple of 32, no shared memory
// Bytes   reads 4*n, writes 4*n
// Exact   yes
extern "C" __global__ void warp_sort_u32(uint32_t* numbers, uint32_t n) {
    const uint32_t i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;  // a whole warp leaves at once
    uint32_t mine = numbers[i];
    const uint32_t lane = threadIdx.x % 32;
    for (uint32_t size = 2; size <= 32; size *= 2) {
        for (uint32_t distance = size / 2; distance > 0; distance /= 2) {
            const uint32_t other = __shfl_xor_sync(0xffffffffu, mine, distance);
            const bool keep_less = ((lane & size) == 0) == ((lane & distance) == 0);
            mine = keep_less ? min(mine, other) : max(mine, other);
        }
    }
    numbers[i] = mine;
}
