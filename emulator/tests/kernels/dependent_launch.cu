// dependent_launch: two kernels of which the second starts while the first still runs

#include "common.cuh"

constexpr uint32_t CHAIN_THREADS = 128;

// rms_norm_then_launch_f32: y[t, :] = x[t, :] / sqrt(mean(x[t, :]^2) + eps)
//
//   y, x  [T, C] f32, not overlapping
//
// Launch  grid T, block CHAIN_THREADS, no dynamic shared memory
// Bytes   reads 4*T*C, writes 4*T*C
// Exact   no: tree sums
extern "C" __global__ void __launch_bounds__(CHAIN_THREADS)
rms_norm_then_launch_f32(float* __restrict__ y, const float* __restrict__ x, uint32_t n_cols, float eps) {
    __shared__ float partial[CHAIN_THREADS / WARP];
#if __CUDA_ARCH__ >= 900
    // The next kernel may take the free multiprocessors; it waits for our results on its own.
    asm volatile("griddepcontrol.launch_dependents;");
#endif
    const float* row = x + uint64_t(blockIdx.x) * n_cols;
    float squares = 0.0f;
    for (uint32_t c = threadIdx.x; c < n_cols; c += CHAIN_THREADS) squares = fmaf(row[c], row[c], squares);
    squares = warp_sum(squares);
    if (threadIdx.x % WARP == 0) partial[threadIdx.x / WARP] = squares;
    __syncthreads();  // every warp's sum is there
    squares = 0.0f;
    for (uint32_t w = 0; w < CHAIN_THREADS / WARP; w++) squares += partial[w];
    const float scale = rsqrtf(squares / float(n_cols) + eps);
    for (uint32_t c = threadIdx.x; c < n_cols; c += CHAIN_THREADS) y[uint64_t(blockIdx.x) * n_cols + c] = row[c] * scale;
}

// scale_after_wait_f32: z[t, c] = y[t, c] * w[c], where y comes from the kernel before
//
//   z, y  [T, C] f32
//   w     [C] f32, not written by the kernel before: read ahead of the wait
//
// Launch  grid T, block CHAIN_THREADS, 4*C bytes of shared memory; from sm_90 on with programmatic stream serialization
// Bytes   reads 4*(T*C + C), writes 4*T*C
// Exact   yes
extern "C" __global__ void __launch_bounds__(CHAIN_THREADS)
scale_after_wait_f32(float* z, const float* y, const float* __restrict__ w, uint32_t n_cols) {
    extern __shared__ float weights[];  // [C]
    for (uint32_t c = threadIdx.x; c < n_cols; c += CHAIN_THREADS) weights[c] = w[c];
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.wait;" ::: "memory");  // all of y is written and visible
#endif
    // A thread reads the weights that it wrote itself: no barrier.
    for (uint32_t c = threadIdx.x; c < n_cols; c += CHAIN_THREADS) {
        const uint64_t i = uint64_t(blockIdx.x) * n_cols + c;
        z[i] = y[i] * weights[c];
    }
}
