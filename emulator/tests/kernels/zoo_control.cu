// zoo_control: calls, recursion, function pointers, switches, local arrays, printf, assert, trap

#include <cassert>
#include <cstdint>
#include <cstdio>

__device__ __noinline__ uint32_t fibonacci(uint32_t n) { return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2); }

struct Affine {
    float scale, shift;
    uint32_t times;
};

__device__ __noinline__ float apply(Affine f, float x) {
    for (uint32_t i = 0; i < f.times; i++) x = fmaf(f.scale, x, f.shift);
    return x;
}

__device__ __noinline__ Affine compose(Affine f, Affine g) {
    return {f.scale * g.scale, f.scale * g.shift + f.shift, 1};
}

__device__ __noinline__ float square(float x) { return x * x; }
__device__ __noinline__ float negate(float x) { return -x; }
__device__ __noinline__ float halve(float x) { return 0.5f * x; }
__device__ float (*const FUNCTIONS[3])(float) = {square, negate, halve};

// calls: y[i] = what four kinds of call make of x[i]
//
//   y  [4, n] f32: fibonacci(i % 12); f(x), a struct by value; (f o g)(x), a struct returned; a function from a table
//   x  [n] f32
//
// Launch  grid ceil(n / block), any block; no shared memory
// Exact   yes
extern "C" __global__ void calls(float* y, const float* x, uint32_t n, Affine f, Affine g) {
    const uint32_t i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    y[i] = float(fibonacci(i % 12));
    y[n + i] = apply(f, x[i]);
    y[2 * n + i] = apply(compose(f, g), x[i]);
    y[3 * n + i] = FUNCTIONS[i % 3](x[i]);
}

// branches: what loops, a switch and early exits make of i
//
//   y  [3, n] u32: a switch over codes[i] % 9; the steps of the Collatz sequence from i + 1 to 1; the least divisor of i + 2
//   codes  [n] u32
//
// Launch  grid ceil(n / block), any block; no shared memory
// Exact   yes
extern "C" __global__ void branches(uint32_t* y, const uint32_t* codes, uint32_t n) {
    const uint32_t i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    uint32_t r = 1000;
    switch (codes[i] % 9) {
        case 0: r = i + 1; break;
        case 1: r = i * 3; break;
        case 2: r = i ^ 0x55; [[fallthrough]];
        case 3: r += 7; break;
        case 4: r = i << 3; break;
        case 5: r = ~i; break;
        case 6: r = i * i; break;
        case 7: r = i / 5; break;
    }
    y[i] = r;

    uint32_t steps = 0;
    for (uint32_t v = i + 1; v != 1; steps++) v = v % 2 == 0 ? v / 2 : 3 * v + 1;
    y[n + i] = steps;

    uint32_t divisor = 2;
    while (true) {
        if (divisor * divisor > i + 2) {
            divisor = i + 2;
            break;
        }
        if ((i + 2) % divisor == 0) break;
        divisor++;
    }
    y[2 * n + i] = divisor;
}

// sort_locally: each thread sorts its 16 numbers in a local array that it indexes with data
//
//   y, x  [16, n] u32
//
// Launch  grid ceil(n / block), any block; no shared memory
// Exact   yes
extern "C" __global__ void sort_locally(uint32_t* y, const uint32_t* x, uint32_t n) {
    const uint32_t i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    uint32_t numbers[16];
#pragma unroll 1
    for (uint32_t j = 0; j < 16; j++) {
        const uint32_t v = x[uint64_t(j) * n + i];
        uint32_t at = j;
        while (at > 0 && numbers[at - 1] > v) {
            numbers[at] = numbers[at - 1];
            at--;
        }
        numbers[at] = v;
    }
    for (uint32_t j = 0; j < 16; j++) y[uint64_t(j) * n + i] = numbers[j];
}

// say: every thread prints a line of each kind of argument
//
// Launch  any
extern "C" __global__ void say(int base, double real) {
    printf("thread %d of block %u: %5.2f %s %c %lld %%\n", base + int(threadIdx.x), blockIdx.x, real * threadIdx.x, "text",
           'z', -5000000000ll - threadIdx.x);
}

// check_below: asserts that x[i] < limit
//
//   x  [n] u32
//
// Launch  grid ceil(n / block), any block
extern "C" __global__ void check_below(const uint32_t* x, uint32_t n, uint32_t limit) {
    const uint32_t i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) assert(x[i] < limit);
}

// trap_at: stops with a trap where x[i] == value
//
//   x  [n] u32
//
// Launch  grid ceil(n / block), any block
extern "C" __global__ void trap_at(const uint32_t* x, uint32_t n, uint32_t value) {
    const uint32_t i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n && x[i] == value) __trap();
}
