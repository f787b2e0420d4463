// bulk_copy: arrays that the copy engine brings in and takes away in pieces, with barriers that count bytes

#include "common.cuh"

constexpr uint32_t BULK_THREADS = 128;
constexpr uint32_t BULK_TILE = 512;  // floats
constexpr uint32_t BULK_STAGES = 3;

__device__ __forceinline__ void barrier_init(uint64_t* barrier, uint32_t arrivals) {
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(barrier)), "r"(arrivals) : "memory");
}

// Arrives, and adds to what the phase waits for the bytes that copies will bring.
__device__ __forceinline__ void barrier_expect(uint64_t* barrier, uint32_t bytes) {
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(barrier)), "r"(bytes)
                 : "memory");
}

// Waits until the phase of this parity is over.
__device__ __forceinline__ void barrier_wait(uint64_t* barrier, uint32_t parity) {
    uint32_t done;
    do {
        asm volatile(
            "{\n"
            ".reg .pred over;\n"
            "mbarrier.try_wait.parity.shared::cta.b64 over, [%1], %2;\n"
            "selp.u32 %0, 1, 0, over;\n"
            "}"
            : "=r"(done)
            : "r"(shared_address(barrier)), "r"(parity)
            : "memory");
    } while (!done);
}

__device__ __forceinline__ void bulk_load(void* dst, const void* src, uint32_t bytes, uint64_t* barrier) {
    asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(
                     shared_address(dst)),
                 "l"(src), "r"(bytes), "r"(shared_address(barrier))
                 : "memory");
}

__device__ __forceinline__ void bulk_store(void* dst, const void* src, uint32_t bytes) {
    asm volatile("cp.async.bulk.global.shared::cta.bulk_group [%0], [%1], %2;" ::"l"(dst), "r"(shared_address(src)),
                 "r"(bytes)
                 : "memory");
    asm volatile("cp.async.bulk.commit_group;" ::: "memory");
}

struct alignas(128) Ring {
    float in[BULK_STAGES][BULK_TILE];
    float out[BULK_STAGES][BULK_TILE];
    uint64_t full[BULK_STAGES];
};

// Asks for tile `tile` of x into its stage, by one thread.
__device__ __forceinline__ void request(Ring& ring, const float* x, uint64_t tile, uint32_t order, uint64_t n) {
    const uint32_t stage = order % BULK_STAGES;
    const uint32_t bytes = 4 * uint32_t(min(n - tile * BULK_TILE, uint64_t(BULK_TILE)));
    barrier_expect(&ring.full[stage], bytes);
    bulk_load(ring.in[stage], x + tile * BULK_TILE, bytes, &ring.full[stage]);
}

// scale_bulk_f32: y[i] = a * x[i] + b
//
//   y, x  [n] f32, 16-byte aligned, not overlapping; the last n % 4 elements go without the copy engine
//
// Work    a block takes every gridDim.x-th tile of BULK_TILE elements, BULK_STAGES tiles on their way at a time
// Launch  any grid, block BULK_THREADS, no dynamic shared memory (13 KiB static)
// Bytes   reads 4*n, writes 4*n
// Exact   yes: one fma
extern "C" __global__ void __launch_bounds__(BULK_THREADS)
scale_bulk_f32(float* __restrict__ y, const float* __restrict__ x, uint32_t n, float a, float b) {
    __shared__ Ring ring;
    const uint64_t whole = n / 4 * 4;
    const uint32_t n_tiles = uint32_t((whole + BULK_TILE - 1) / BULK_TILE);
    if (threadIdx.x == 0) {
        for (uint32_t s = 0; s < BULK_STAGES; s++) barrier_init(&ring.full[s], 1);
        asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
        for (uint32_t s = 0; s < BULK_STAGES; s++) {
            const uint64_t tile = blockIdx.x + uint64_t(s) * gridDim.x;
            if (tile < n_tiles) request(ring, x, tile, s, whole);
        }
    }
    __syncthreads();  // the barriers exist before anyone waits on them
    uint32_t order = 0;
    for (uint64_t tile = blockIdx.x; tile < n_tiles; tile += gridDim.x, order++) {
        const uint32_t stage = order % BULK_STAGES;
        const uint32_t count = uint32_t(min(whole - tile * BULK_TILE, uint64_t(BULK_TILE)));
        if (threadIdx.x == 0) {
            asm volatile("cp.async.bulk.wait_group.read %0;" ::"n"(BULK_STAGES - 1) : "memory");
        }
        __syncthreads();  // what left from this stage's output has been read
        barrier_wait(&ring.full[stage], order / BULK_STAGES % 2);
        for (uint32_t i = threadIdx.x; i < count; i += BULK_THREADS) {
            ring.out[stage][i] = fmaf(a, ring.in[stage][i], b);
        }
        asm volatile("fence.proxy.async.shared::cta;" ::: "memory");  // our writes and reads before the copy engine's
        __syncthreads();  // the tile is whole, and its input read
        if (threadIdx.x == 0) {
            bulk_store(y + tile * BULK_TILE, ring.out[stage], 4 * count);
            const uint64_t next = tile + uint64_t(BULK_STAGES) * gridDim.x;
            if (next < n_tiles) request(ring, x, next, order + BULK_STAGES, whole);
        }
    }
    if (threadIdx.x == 0) asm volatile("cp.async.bulk.wait_group 0;" ::: "memory");
    if (blockIdx.x == 0 && threadIdx.x < n % 4) y[whole + threadIdx.x] = fmaf(a, x[whole + threadIdx.x], b);
}
