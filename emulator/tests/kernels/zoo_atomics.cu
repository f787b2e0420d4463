// zoo_atomics: every atomic operation, in global and in shared memory

#include <cuda_bf16.h>

#include "common.cuh"

// atomics_32: all threads on the same numbers
//
//   y  [12] u32: plus x, minus x, signed least, signed greatest, unsigned least, unsigned greatest, and, or, xor,
//      increments modulo 1000, decrements modulo 1000, plus x within the block alone (grid 1) and then from anywhere
//   x  [n] u32
//
// Launch  grid ceil(n / block), any block; no shared memory
// Exact   yes: all of them commute
extern "C" __global__ void atomics_32(uint32_t* y, const uint32_t* x, uint32_t n) {
    const uint32_t i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    const uint32_t v = x[i];
    atomicAdd(&y[0], v);
    atomicSub(&y[1], v);
    atomicMin(reinterpret_cast<int*>(&y[2]), static_cast<int>(v));
    atomicMax(reinterpret_cast<int*>(&y[3]), static_cast<int>(v));
    atomicMin(&y[4], v);
    atomicMax(&y[5], v);
    atomicAnd(&y[6], v);
    atomicOr(&y[7], v);
    atomicXor(&y[8], v);
    atomicInc(&y[9], 999);
    atomicDec(&y[10], 999);
    atomicAdd_system(&y[11], v);
}

// atomics_64: the same of 64 bits
//
//   y  [8] u64: plus, signed least, signed greatest, unsigned least, unsigned greatest, and, or, xor
//   x  [n] u64
//
// Launch  grid ceil(n / block), any block; no shared memory
// Exact   yes
extern "C" __global__ void atomics_64(unsigned long long* y, const unsigned long long* x, uint32_t n) {
    const uint32_t i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    const unsigned long long v = x[i];
    atomicAdd(&y[0], v);
    atomicMin(reinterpret_cast<long long*>(&y[1]), static_cast<long long>(v));
    atomicMax(reinterpret_cast<long long*>(&y[2]), static_cast<long long>(v));
    atomicMin(&y[3], v);
    atomicMax(&y[4], v);
    atomicAnd(&y[5], v);
    atomicOr(&y[6], v);
    atomicXor(&y[7], v);
}

// atomics_float: sums of small whole numbers, which are exact in every order
//
//   f32  [1] f32, f64 [1] f64, f16 [1] f16x2, bf16 [1] bf16x2: plus x[i] (in the pairs to the first, and 1 to the second)
//   x    [n] f32, whole numbers of which all partial sums are exact in bf16
//
// Launch  grid ceil(n / block), any block; no shared memory
// Exact   yes
extern "C" __global__ void atomics_float(float* f32, double* f64, __half2* f16, __nv_bfloat162* bf16, const float* x,
                                         uint32_t n) {
    const uint32_t i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    atomicAdd(f32, x[i]);
    atomicAdd(f64, double(x[i]));
    atomicAdd(f16, __floats2half2_rn(x[i], 1.0f));
#if __CUDA_ARCH__ >= 900
    atomicAdd(bf16, __floats2bfloat162_rn(x[i], 1.0f));
#else
    // The toolkit's own loop begins with a plain load, which races with the other threads' exchanges.
    uint32_t* word = reinterpret_cast<uint32_t*>(bf16);
    uint32_t seen = atomicAdd(word, 0), assumed;
    do {
        assumed = seen;
        const float2 sum = __bfloat1622float2(*reinterpret_cast<const __nv_bfloat162*>(&assumed));
        const __nv_bfloat162 next = __floats2bfloat162_rn(sum.x + x[i], sum.y + 1.0f);
        seen = atomicCAS(word, assumed, *reinterpret_cast<const uint32_t*>(&next));
    } while (seen != assumed);
#endif
}

// atomics_returned: what atomics give back: tickets
//
//   tickets  [3, n] u32: of an addition, of an exchange of i + 1 and of a compare-and-swap loop that adds 2
//   counters [3] u32, 0 before the launch
//
// Launch  grid ceil(n / block), any block; no shared memory
// Exact   which ticket is not determined; that each is given once is
extern "C" __global__ void atomics_returned(uint32_t* tickets, uint32_t* counters, uint32_t n) {
    const uint32_t i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    tickets[i] = atomicAdd(&counters[0], 1);
    tickets[n + i] = atomicExch(&counters[1], i + 1);
    uint32_t seen = atomicAdd(&counters[2], 0), assumed;
    do {
        assumed = seen;
        seen = atomicCAS(&counters[2], assumed, assumed + 2);
    } while (seen != assumed);
    tickets[2 * n + i] = seen;
}

// atomics_wide: exchanges and compare-and-swaps of 64 and of 16 bits
//
//   pairs   [1] u64: both halves count up by compare-and-swap
//   last    [1] u64: one of the values (i << 32) | i
//   shorts  [2] u16, 4-byte aligned: the second counts up by compare-and-swap
//
// Launch  grid ceil(n / block), any block; no shared memory
// Exact   all but which value is last
extern "C" __global__ void atomics_wide(unsigned long long* pairs, unsigned long long* last, unsigned short* shorts,
                                        uint32_t n) {
    const uint32_t i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    unsigned long long seen = atomicAdd(pairs, 0), assumed;
    do {
        assumed = seen;
        seen = atomicCAS(pairs, assumed, assumed + 0x0000000100000001ull);
    } while (seen != assumed);
    atomicExch(last, static_cast<unsigned long long>(i) << 32 | i);
    unsigned short seen16 = 0, assumed16;
    do {
        assumed16 = seen16;
        seen16 = atomicCAS(&shorts[1], assumed16, static_cast<unsigned short>(assumed16 + 1));
    } while (seen16 != assumed16);
}

// histogram_u8: counts bytes in shared memory, then adds the counts up
//
//   counts  [256] u32, 0 before the launch
//   x       [n] u8
//
// Launch  any grid, any block; no dynamic shared memory
// Bytes   reads n; 256 atomics a block
// Exact   yes
extern "C" __global__ void histogram_u8(uint32_t* counts, const uint8_t* x, uint32_t n) {
    __shared__ uint32_t mine[256];
    for (uint32_t c = threadIdx.x; c < 256; c += blockDim.x) mine[c] = 0;
    __syncthreads();  // empty before anyone counts
    for (uint64_t i = uint64_t(blockIdx.x) * blockDim.x + threadIdx.x; i < n; i += uint64_t(gridDim.x) * blockDim.x) {
        atomicAdd_block(&mine[x[i]], 1);
    }
    __syncthreads();  // all counts are in
    for (uint32_t c = threadIdx.x; c < 256; c += blockDim.x) {
        if (mine[c] != 0) atomicAdd(&counts[c], mine[c]);
    }
}

// atomics_shared: every kind in shared memory, by one block
//
//   y  [8] u32: plus, signed least, unsigned greatest, and, or, xor, the f32 sum (bits), a compare-and-swap count
//   x  [n] u32 below 1000
//
// Launch  grid 1, any block; no dynamic shared memory
// Exact   yes, while the sum is below 2^24
extern "C" __global__ void atomics_shared(uint32_t* y, const uint32_t* x, uint32_t n) {
    __shared__ uint32_t s[8];
    __shared__ float sum;
    __shared__ unsigned long long wide;
    if (threadIdx.x < 8) s[threadIdx.x] = threadIdx.x == 3 ? 0xffffffffu : 0;
    if (threadIdx.x == 0) {
        sum = 0.0f;
        wide = 0;
    }
    __syncthreads();  // the start values are there
    for (uint32_t i = threadIdx.x; i < n; i += blockDim.x) {
        const uint32_t v = x[i];
        atomicAdd(&s[0], v);
        atomicMin(reinterpret_cast<int*>(&s[1]), -static_cast<int>(v));
        atomicMax(&s[2], v);
        atomicAnd(&s[3], v | 0xfffff000u);
        atomicOr(&s[4], v);
        atomicXor(&s[5], v);
        atomicAdd(&sum, float(v));
        uint32_t seen = 0, assumed;
        do {
            assumed = seen;
            seen = atomicCAS(&s[7], assumed, assumed + 1);
        } while (seen != assumed);
        atomicAdd(&wide, 1);
    }
    __syncthreads();  // everyone is done
    if (threadIdx.x == 0) s[6] = __float_as_uint(sum);
    if (threadIdx.x == 7 % blockDim.x) s[7] += static_cast<uint32_t>(wide);
    __syncthreads();  // the last two as well
    for (uint32_t r = threadIdx.x; r < 8; r += blockDim.x) y[r] = s[r];
}
