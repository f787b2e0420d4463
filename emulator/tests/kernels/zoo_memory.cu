// zoo_memory: the state spaces, the widths of accesses and the hints that they can carry

#include "common.cuh"

__constant__ float COEFFICIENTS[4] = {1.0f, -0.5f, 0.25f, -0.125f};
__constant__ uint32_t SETTING;
__device__ uint32_t TABLE[8] = {2, 3, 5, 7, 11, 13, 17, 19};
__device__ unsigned long long CALLS;

// constants: constant memory by a fixed and by a changing index, and module variables
//
//   y  [n] f32: the polynomial of COEFFICIENTS at i, plus SETTING, plus TABLE[i % 8]
//   CALLS counts the threads; SETTING is set by the host; TABLE can be
//
// Launch  grid ceil(n / block), any block; no shared memory
// Exact   yes
extern "C" __global__ void constants(float* y, uint32_t n) {
    const uint32_t i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    const float x = float(i % 16);
    float r = COEFFICIENTS[3];
    r = fmaf(r, x, COEFFICIENTS[2]);
    r = fmaf(r, x, COEFFICIENTS[1]);
    r = fmaf(r, x, COEFFICIENTS[i % 4]);
    y[i] = r + float(SETTING) + float(TABLE[i % 8]);
    atomicAdd(&CALLS, 1);
}

// hints: loads and stores with each cache hint, all of which copy
//
//   y, x  [11, n] f32, not overlapping
//
// Launch  grid ceil(n / block), any block; no shared memory
// Exact   yes
extern "C" __global__ void hints(float* y, const float* x, uint32_t n) {
    const uint32_t i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    const uint64_t m = n;
    y[i] = __ldg(&x[i]);
    y[m + i] = __ldca(&x[m + i]);
    y[2 * m + i] = __ldcg(&x[2 * m + i]);
    y[3 * m + i] = __ldcs(&x[3 * m + i]);
    y[4 * m + i] = __ldlu(&x[4 * m + i]);
    y[5 * m + i] = __ldcv(&x[5 * m + i]);
    __stwb(&y[6 * m + i], x[6 * m + i]);
    __stcg(&y[7 * m + i], x[7 * m + i]);
    __stcs(&y[8 * m + i], x[8 * m + i]);
    __stwt(&y[9 * m + i], x[9 * m + i]);
    *const_cast<volatile float*>(&y[10 * m + i]) = *const_cast<const volatile float*>(&x[10 * m + i]);
}

struct Record {
    int8_t a;
    uint8_t b;
    int16_t c;
    uint16_t d;
    bool e;
    int64_t f;
};

// widths: numbers of 8, 16 and 64 bits, signed and not, and vectors of them
//
//   out      [n] Record: each member plus one, e inverted
//   in       [n] Record
//   vectors  [n] longlong2, 16-byte aligned: (f, a + b + c + d)
//   shorts   [n] short4, 8-byte aligned: (a, b, c, d)
//
// Launch  grid ceil(n / block), any block; no shared memory
// Exact   yes
extern "C" __global__ void widths(Record* out, const Record* in, longlong2* vectors, short4* shorts, uint32_t n) {
    const uint32_t i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    const Record r = in[i];
    out[i].a = r.a + 1;
    out[i].b = r.b + 1;
    out[i].c = r.c + 1;
    out[i].d = r.d + 1;
    out[i].e = !r.e;
    out[i].f = r.f + 1;
    vectors[i] = make_longlong2(r.f, r.a + r.b + r.c + r.d);
    shorts[i] = make_short4(r.a, r.b, r.c, static_cast<short>(r.d));
}

// The sum of four numbers wherever they are.
__device__ __noinline__ uint32_t sum4(const uint32_t* p) { return p[0] + p[1] + p[2] + p[3]; }

// generic: one pointer to global, shared or local memory, as the block is told
//
//   y        [n] u32: the sum of four numbers from x[i], from static shared, dynamic shared or local memory, by i % 4
//   x        [n + 3] u32
//   n a multiple of the block
//
// Launch  grid n / block, block any multiple of 4 up to 256, 4 * (block + 3) bytes of shared memory
// Exact   yes
extern "C" __global__ void generic(uint32_t* y, const uint32_t* x, uint32_t n) {
    extern __shared__ uint32_t dynamic[];  // [block + 3]
    __shared__ uint32_t fixed[256 + 3];
    const uint32_t i = blockIdx.x * blockDim.x + threadIdx.x;
    for (uint32_t j = threadIdx.x; j < blockDim.x + 3; j += blockDim.x) {
        fixed[j] = 10 * x[blockIdx.x * blockDim.x + j];
        dynamic[j] = 100 * x[blockIdx.x * blockDim.x + j];
    }
    uint32_t local[4];
    for (uint32_t j = 0; j < 4; j++) local[j] = 1000 * x[i + j];
    __syncthreads();  // both arrays are whole before others read them
    const uint32_t* places[4] = {x + i, fixed + threadIdx.x, dynamic + threadIdx.x, local};
    if (i < n) y[i] = sum4(places[i % 4]) + (__isShared(places[i % 4]) ? 1 : 0) + (__isLocal(places[i % 4]) ? 2 : 0);
}

// registers_special: where and who a thread is
//
//   y  [13, threads of the grid] u32: threadIdx, blockIdx, blockDim, gridDim (x, y, z each), the lane; a row a register,
//      threads in the order of their blocks
//
// Launch  any grid, any block, of 3 dimensions
// Exact   yes
extern "C" __global__ void registers_special(uint32_t* y) {
    uint32_t lane;
    asm("mov.u32 %0, %%laneid;" : "=r"(lane));
    const uint32_t block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
    const uint32_t thread = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
    const uint32_t threads = blockDim.x * blockDim.y * blockDim.z;
    const uint64_t total = uint64_t(threads) * gridDim.x * gridDim.y * gridDim.z, at = uint64_t(block) * threads + thread;
    const uint32_t results[13] = {
        threadIdx.x, threadIdx.y, threadIdx.z, blockIdx.x, blockIdx.y, blockIdx.z, blockDim.x,
        blockDim.y,  blockDim.z,  gridDim.x,   gridDim.y,  gridDim.z,  lane,
    };
#pragma unroll
    for (uint32_t r = 0; r < 13; r++) y[r * total + at] = results[r];
}

// clocks: the clocks go forward, and a nap ends
//
//   y  [block] u32: 1 if the clock and the timer did not go back
//
// Launch  grid 1, any block
extern "C" __global__ void clocks(uint32_t* y) {
    const long long before = clock64();
    unsigned long long start, end;
    asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(start));
    __nanosleep(100);
    asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(end));
    y[threadIdx.x] = clock64() >= before && end >= start;
}
