// zoo_copy: asynchronous copies of every size, with the three ways to wait for them, and hints to the caches

#include "common.cuh"

constexpr uint32_t COPY_THREADS = 64;

// copy_sizes: copies of 4, 8 and 16 bytes, whole and in part
//
//   y  [6, COPY_THREADS] uint4: 4, 8, 16 bytes; then the first i % 5 of 4, i % 9 of 8, i % 17 of 16 bytes and zeros,
//      where i is the thread; the rest of each 16 bytes stays 0
//   x  [COPY_THREADS] uint4
//
// Launch  grid 1, block COPY_THREADS; no dynamic shared memory
// Exact   yes
extern "C" __global__ void __launch_bounds__(COPY_THREADS) copy_sizes(uint4* y, const uint4* x) {
    __shared__ uint4 slots[6][COPY_THREADS];
    const uint32_t i = threadIdx.x;
    for (uint32_t s = 0; s < 6; s++) slots[s][i] = make_uint4(0, 0, 0, 0);
    uint32_t at[6];
    for (uint32_t s = 0; s < 6; s++) at[s] = shared_address(&slots[s][i]);
    asm volatile("cp.async.ca.shared.global [%0], [%1], 4;" ::"r"(at[0]), "l"(x + i) : "memory");
    asm volatile("cp.async.ca.shared.global [%0], [%1], 8;" ::"r"(at[1]), "l"(x + i) : "memory");
    asm volatile("cp.async.commit_group;" ::: "memory");
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(at[2]), "l"(x + i) : "memory");
    asm volatile("cp.async.commit_group;" ::: "memory");
    asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(at[3]), "l"(x + i), "r"(i % 5) : "memory");
    asm volatile("cp.async.ca.shared.global [%0], [%1], 8, %2;" ::"r"(at[4]), "l"(x + i), "r"(i % 9) : "memory");
    asm volatile("cp.async.ca.shared.global.L2::64B [%0], [%1], 16, %2;" ::"r"(at[5]), "l"(x + i), "r"(i % 17) : "memory");
    asm volatile("cp.async.wait_group 1;" ::: "memory");
    // The thread reads what it copied itself: no barrier.
    y[i] = slots[0][i];
    y[COPY_THREADS + i] = slots[1][i];
    asm volatile("cp.async.wait_all;" ::: "memory");
    for (uint32_t s = 2; s < 6; s++) y[s * COPY_THREADS + i] = slots[s][i];
}

// copy_with_barrier: copies that arrive at a barrier in shared memory when they are there
//
//   y, x  [n] uint4, n a multiple of COPY_THREADS: y[i] = x[i reversed within its COPY_THREADS]
//
// Launch  grid 1, block COPY_THREADS; no dynamic shared memory
// Exact   yes
extern "C" __global__ void __launch_bounds__(COPY_THREADS) copy_with_barrier(uint4* y, const uint4* x, uint32_t n) {
    __shared__ uint4 slots[COPY_THREADS];
    __shared__ uint64_t barrier;
    const uint32_t i = threadIdx.x, at = shared_address(&barrier);
    if (i == 0) asm volatile("mbarrier.init.shared.b64 [%0], %1;" ::"r"(at), "r"(COPY_THREADS) : "memory");
    __syncthreads();  // the barrier exists
    for (uint32_t first = 0, phase = 0; first < n; first += COPY_THREADS, phase ^= 1) {
        asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(shared_address(&slots[i])), "l"(x + first + i)
                     : "memory");
        asm volatile("cp.async.mbarrier.arrive.noinc.shared.b64 [%0];" ::"r"(at) : "memory");
        uint32_t done;
        do {
            asm volatile(
                "{ .reg .pred over; mbarrier.test_wait.parity.shared.b64 over, [%1], %2; selp.u32 %0, 1, 0, over; }"
                : "=r"(done)
                : "r"(at), "r"(phase)
                : "memory");
        } while (!done);
        y[first + i] = slots[COPY_THREADS - 1 - i];
        __syncthreads();  // all slots are read before the next copies replace them
    }
}

// cache_policies: prefetches, and loads and stores with a policy for L2; all of them copy
//
//   y, x  [2, n] f32
//
// Launch  grid ceil(n / block), any block; no shared memory
// Exact   yes
extern "C" __global__ void cache_policies(float* y, const float* x, uint32_t n) {
    const uint32_t i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    asm volatile("prefetch.global.L1 [%0];" ::"l"(x + i));
    asm volatile("prefetch.global.L2 [%0];" ::"l"(x + n + i));
    uint64_t policy;
    asm("createpolicy.fractional.L2::evict_first.b64 %0, 1.0;" : "=l"(policy));
    float a, b;
    asm volatile("ld.global.L2::cache_hint.f32 %0, [%1], %2;" : "=f"(a) : "l"(x + i), "l"(policy));
    asm volatile("ld.global.L1::evict_last.L2::64B.f32 %0, [%1];" : "=f"(b) : "l"(x + n + i));
    asm volatile("st.global.L2::cache_hint.f32 [%0], %1, %2;" ::"l"(y + i), "f"(a), "l"(policy) : "memory");
    asm volatile("st.global.L1::no_allocate.f32 [%0], %1;" ::"l"(y + n + i), "f"(b) : "memory");
}
