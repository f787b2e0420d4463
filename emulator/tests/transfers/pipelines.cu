// Pipelines of several stages through shared memory. Compiled to pipelines.sm_80.ptx and pipelines.sm_90.ptx by
//
//   nvcc -ptx -arch=compute_80 -lineinfo pipelines.cu -o pipelines.sm_80.ptx    (and 90), with the folder's path cut from `.file`

#include <cstdint>
#include <cuda_pipeline.h>

constexpr uint32_t THREADS = 128;
constexpr uint32_t STAGES = 4;

// column_sums_f32: y[c] = sum over t of x[t, c], added in order of t
//
//   y  [C] f32
//   x  [T, C] f32, C a multiple of 4 and at most 4 * THREADS, 16-byte aligned
//
// Work    a thread brings four columns of a row, STAGES - 1 rows ahead; it adds up the four columns that its left neighbour brought
// Launch  one block of THREADS, no dynamic shared memory (8 KiB static)
extern "C" __global__ void __launch_bounds__(THREADS)
column_sums_f32(float* __restrict__ y, const float* __restrict__ x, uint32_t n_rows, uint32_t n_cols) {
    __shared__ float4 ring[STAGES][THREADS];
    const uint32_t mine = threadIdx.x, theirs = (threadIdx.x + THREADS - 1) % THREADS;
    auto bring = [&](uint32_t row) {
        // Beyond the array zeros come, and nothing is read.
        const bool inside = row < n_rows && 4 * mine < n_cols;
        const float* from = inside ? x + uint64_t(row) * n_cols + 4 * mine : x;
        __pipeline_memcpy_async(&ring[row % STAGES][mine], from, 16, inside ? 0 : 16);
        __pipeline_commit();
    };
    for (uint32_t row = 0; row < STAGES - 1; row++) bring(row);
    float4 sum = make_float4(0, 0, 0, 0);
    for (uint32_t row = 0; row < n_rows; row++) {
        __pipeline_wait_prior(STAGES - 2);
        __syncthreads();  // the row is whole, and everybody is done with the row before it
        bring(row + STAGES - 1);
        const float4 v = ring[row % STAGES][theirs];
        sum.x += v.x, sum.y += v.y, sum.z += v.z, sum.w += v.w;
    }
    __pipeline_wait_prior(0);
    if (4 * theirs < n_cols) *reinterpret_cast<float4*>(y + 4 * theirs) = sum;
}

#if __CUDA_ARCH__ >= 900

constexpr uint32_t TILE = 256;
constexpr uint32_t CONSUMERS = 96;

__device__ uint32_t shared_address(const void* p) {
    return uint32_t(__cvta_generic_to_shared(p));
}

__device__ void wait_for(uint64_t* barrier, uint32_t parity) {
    uint32_t over = 0;
    while (!over) {
        asm volatile("{.reg .pred p; mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2; selp.u32 %0, 1, 0, p;}"
                     : "=r"(over)
                     : "r"(shared_address(barrier)), "r"(parity)
                     : "memory");
    }
}

__device__ void arrive(uint64_t* barrier) {
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(barrier)) : "memory");
}

// tile_sums_u32: out[i] += sum of tile i of x, for every tile
//
//   out  [n_tiles] u32
//   x    [n_tiles * TILE] u32, 16-byte aligned
//
// Work    warp 0 brings tiles with bulk copies, as long as one of two stages is empty; three warps add them up
// Launch  any grid, block 32 + CONSUMERS, no dynamic shared memory
extern "C" __global__ void __launch_bounds__(32 + CONSUMERS)
tile_sums_u32(uint32_t* __restrict__ out, const uint32_t* __restrict__ x, uint32_t n_tiles) {
    __shared__ alignas(128) uint32_t ring[2][TILE];
    __shared__ uint64_t full[2], empty[2];
    if (threadIdx.x == 0) {
        for (uint32_t s = 0; s < 2; s++) {
            asm volatile("mbarrier.init.shared::cta.b64 [%0], 1;" ::"r"(shared_address(&full[s])) : "memory");
            asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(&empty[s])), "r"(CONSUMERS)
                         : "memory");
        }
        asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
    }
    __syncthreads();  // the barriers exist
    if (threadIdx.x < 32) {
        if (threadIdx.x > 0) return;
        for (uint32_t tile = blockIdx.x, k = 0; tile < n_tiles; tile += gridDim.x, k++) {
            const uint32_t s = k % 2;
            wait_for(&empty[s], (k / 2 + 1) % 2);
            asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(&full[s])),
                         "r"(4 * TILE)
                         : "memory");
            asm volatile(
                "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(
                    shared_address(ring[s])),
                "l"(x + uint64_t(tile) * TILE), "r"(4 * TILE), "r"(shared_address(&full[s]))
                : "memory");
        }
        return;
    }
    for (uint32_t tile = blockIdx.x, k = 0; tile < n_tiles; tile += gridDim.x, k++) {
        const uint32_t s = k % 2;
        wait_for(&full[s], k / 2 % 2);
        uint32_t sum = 0;
        for (uint32_t i = threadIdx.x - 32; i < TILE; i += CONSUMERS) sum += ring[s][i];
        arrive(&empty[s]);
        atomicAdd(out + tile, sum);
    }
}

#endif
