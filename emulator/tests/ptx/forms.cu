// forms.cu: one small kernel for each form of PTX text that the parser has to know. The .ptx files beside it are made by
//
//   for arch in 75 90 100; do nvcc -ptx -arch=compute_$arch -lineinfo forms.cu -o forms.$arch.ptx; done
//   nvcc -ptx -arch=compute_80 forms.cu -o forms.plain.ptx
//
// with nvcc 13.0.88, and the folders in their .file lines taken off.

#include <cassert>
#include <cstdint>
#include <cstdio>
#include <cuda_fp16.h>
#if __CUDA_ARCH__ >= 900
#include <cooperative_groups.h>
#endif

// Initial values: numbers of each type, addresses of variables, functions and strings, arrays of arrays.
__constant__ float coefficients[4] = {1.5f, -2.0f, 0.25f, 1e-3f};
__device__ int counter = 7;
__device__ double grid[2][3] = {{1.0, 2.0, 3.0}, {-4.0, 5.5, 6.0}};
__device__ short offsets[5] = {-1, 2, -3};
__device__ float* cell;
struct Record { const char* name; int n; int* target; };
__device__ Record record = {"record", 3, &counter + 1};

// An address that is not aligned: nvcc writes it byte by byte.
struct __attribute__((packed)) Packed { char tag; int* target; };
__device__ Packed packed = {1, &counter};

using Function = float (*)(float);
__device__ __noinline__ float twice(float x) { return x * 2.0f; }
__device__ __noinline__ float square(float x) { return x * x; }
__device__ Function table[2] = {twice, square};

// A structure as parameter and returned value, and a local array.
struct Block { float values[5]; int index; };
__device__ __noinline__ Block bump(Block block, int k) {
    block.values[k] += 1.0f;
    block.index = k;
    return block;
}

// Inlined functions, two deep.
__device__ float halve(float x) { return x * 0.5f + 1.0f; }
__device__ float quarter(float x) { return halve(halve(x)); }

extern "C" __global__ void __launch_bounds__(128, 2)
everything(float* __restrict__ y, const __half2* __restrict__ x, Block block, int n) {
    extern __shared__ float dynamic[];
    __shared__ float fixed[64];
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    const float2 pair = __half22float2(x[i]);
    fixed[threadIdx.x & 63] = pair.x;
    dynamic[threadIdx.x] = quarter(pair.y);
    __syncthreads();
    const Block bumped = bump(block, i & 3);
    float sum = fixed[(threadIdx.x ^ 1) & 63] * coefficients[i & 3] + table[i & 1](dynamic[threadIdx.x ^ 1]) + bumped.values[2];
    sum += (float)grid[i & 1][1] + offsets[i % 5];
    if (*record.target == 9) printf("%d %s\n", i, record.name);
    assert(i != 1000);
    for (int step = 16; step > 0; step /= 2) sum += __shfl_xor_sync(~0u, sum, step);
    y[i] = sum;
    if (threadIdx.x == 0) atomicAdd(packed.target, 1);
}

// Blocks of inline assembly with names of their own, twice.
extern "C" __global__ void blocks(int* p, int k) {
    for (int i = 0; i < 2; i++) {
        asm volatile("{\n\t.reg .pred p;\n\t.reg .b32 low;\n\tsetp.ne.u32 p, %0, 3;\n\t@p bra L;\n\tmov.b32 low, 5;\n\t"
                     "st.global.u32 [%1], low;\nL:\n\t}" ::"r"(k + i), "l"(p + i) : "memory");
    }
}

// Recursion, and a tuple of registers in a matrix instruction.
__device__ __noinline__ int fibonacci(int n) { return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2); }

extern "C" __global__ void matrix(float4* d, const uint32_t* a, int n) {
    float4 c = d[threadIdx.x];
    uint32_t a0 = a[threadIdx.x], a1 = a[threadIdx.x + 32], b0 = a[threadIdx.x + 64];
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5}, {%6}, {%0, %1, %2, %3};"
                 : "+f"(c.x), "+f"(c.y), "+f"(c.z), "+f"(c.w) : "r"(a0), "r"(a1), "r"(b0));
    c.x += fibonacci(n);
    d[threadIdx.x] = c;
}

#if __CUDA_ARCH__ >= 900
// Clusters, and names with two colons.
extern "C" __global__ void __cluster_dims__(2, 1, 1) cluster(float* y) {
    __shared__ float value;
    namespace cg = cooperative_groups;
    cg::cluster_group group = cg::this_cluster();
    if (threadIdx.x == 0) value = group.block_rank();
    group.sync();
    y[blockIdx.x] = *group.map_shared_rank(&value, group.block_rank() ^ 1);
    group.sync();
}
#endif
