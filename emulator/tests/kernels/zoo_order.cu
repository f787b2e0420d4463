// zoo_order: blocks that pass messages to each other with the C++ memory model

#include <cuda/atomic>

#include "common.cuh"

using Flag = cuda::atomic_ref<uint32_t, cuda::thread_scope_device>;

// pass_on: a message goes round the blocks; each adds its number to all of it
//
//   message  [64] u32: message[i] += sum of (block + i) over the blocks, in their order
//   turn     [1] u32, 0 before the launch: whose turn it is
//
// Work    blocks take turns: block b waits for b, works, and releases b + 1
// Launch  cooperative, any grid that is resident at once, block 64; no dynamic shared memory
// Exact   yes
extern "C" __global__ void __launch_bounds__(64) pass_on(uint32_t* message, uint32_t* turn) {
    if (threadIdx.x == 0) {
        while (Flag(*turn).load(cuda::memory_order_acquire) != blockIdx.x) __nanosleep(20);
    }
    __syncthreads();  // the block goes on with what thread 0 acquired
    message[threadIdx.x] = 3 * message[threadIdx.x] + blockIdx.x + threadIdx.x;
    __syncthreads();  // the whole message is written before thread 0 releases it
    if (threadIdx.x == 0) Flag(*turn).store(blockIdx.x + 1, cuda::memory_order_release);
}

// lock: threads of all blocks take a lock, one warp lane at a time, and count without atomics
//
//   count  [1] u32, 0 before the launch
//   taken  [1] u32, 0 before the launch and after it
//
// Launch  cooperative, any grid that is resident at once, any block; no shared memory
// Exact   yes
extern "C" __global__ void lock(uint32_t* count, uint32_t* taken) {
    for (uint32_t turn = 0; turn < WARP; turn++) {
        if (threadIdx.x % WARP == turn) {
            uint32_t expected = 0;
            while (!Flag(*taken).compare_exchange_weak(expected, 1, cuda::memory_order_acquire,
                                                       cuda::memory_order_relaxed)) {
                expected = 0;
            }
            *count = *count + 1;
            Flag(*taken).store(0, cuda::memory_order_release);
        }
        __syncwarp();  // one lane after the other
    }
}

// orders: each order and scope that atomics and fences can have, on counters
//
//   y  [8] u32, 0 before the launch: y[0 .. 7] the number of threads each, y[7] the bits that they set
//
// Launch  any grid, any block; no shared memory
// Exact   yes
extern "C" __global__ void orders(uint32_t* y) {
    Flag(y[0]).fetch_add(1, cuda::memory_order_relaxed);
    Flag(y[1]).fetch_add(1, cuda::memory_order_acq_rel);
    Flag(y[2]).fetch_add(1, cuda::memory_order_seq_cst);
    cuda::atomic_ref<uint32_t, cuda::thread_scope_system>(y[3]).fetch_add(1, cuda::memory_order_release);
    cuda::atomic_thread_fence(cuda::memory_order_acq_rel, cuda::thread_scope_device);
    cuda::atomic_thread_fence(cuda::memory_order_seq_cst, cuda::thread_scope_system);
    cuda::atomic_ref<uint32_t, cuda::thread_scope_system>(y[4]).fetch_add(1, cuda::memory_order_acquire);
    __threadfence_block();
    __threadfence_system();
    Flag(y[5]).fetch_add(2, cuda::memory_order_relaxed);
    Flag(y[5]).fetch_sub(1, cuda::memory_order_relaxed);
    Flag(y[6]).fetch_max(blockDim.x * gridDim.x, cuda::memory_order_relaxed);
    Flag(y[7]).fetch_or(1u << threadIdx.x % WARP, cuda::memory_order_relaxed);
}
