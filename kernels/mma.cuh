// Products on tensor cores: fp16 with fp32 sums, where fp32 factors go in as two halves each.
#pragma once

#include "common.cuh"

__device__ __forceinline__ uint32_t shared_address(const void* p) {
    return static_cast<uint32_t>(__cvta_generic_to_shared(p));
}

// ---- Asynchronous copies (sm_80 on) ---------------------------------------------------------------------------------

#if __CUDA_ARCH__ >= 800
// Copies 16 bytes to shared memory, or zeros where `exists` is false; `src` is not read then. There after cp_async_wait, for
// the thread that asked for it.
__device__ __forceinline__ void cp_async_16(uint4* dst, const uint4* src, bool exists) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;"
                 :
                 : "r"(shared_address(dst)), "l"(src), "r"(exists ? 16 : 0)
                 : "memory");
}

__device__ __forceinline__ void cp_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }

// Waits until at most PENDING of this thread's latest groups are under way.
template <int PENDING>
__device__ __forceinline__ void cp_async_wait() {
    asm volatile("cp.async.wait_group %0;" ::"n"(PENDING) : "memory");
}
#endif

// ---- Matrices -------------------------------------------------------------------------------------------------------

// Four 8x8 matrices of halves: lane i gives the address of row i % 8 of matrix i / 8, and gets columns 2 * (i % 4) .. + 2 of row
// i / 4 of each.
__device__ __forceinline__ void ldmatrix_x4(uint32_t (&r)[4], const uint4* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(shared_address(row))
                 : "memory");
}

// The same, transposed.
__device__ __forceinline__ void ldmatrix_x4_trans(uint32_t (&r)[4], const uint4* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(shared_address(row))
                 : "memory");
}

// c[16, 8] += a[16, 16] b[16, 8] of halves, with fp32 sums: one instruction from sm_80 on, two halves of k before. Lane i has
// c[i / 4, 2 * (i % 4) .. + 2] in c[0], c[1], and eight rows below in c[2], c[3].
__device__ __forceinline__ void mma_f16(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
#if __CUDA_ARCH__ >= 800
    asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
#else
    asm("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5}, {%6}, {%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(b0));
    asm("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5}, {%6}, {%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[2]), "r"(a[3]), "r"(b1));
#endif
}

// ---- Two halves for a float -----------------------------------------------------------------------------------------
//
// x is kept as high = fp16(x) and low = fp16(x - high), whose sum is x to 22 bits, or to 2^-25 where that is more. |x| must be
// below 65520: beyond, the sum is NaN. Activations of prompts that go into products are two planes of such halves, high ones first:
// [2][MAX_PREFILL][K padded to whole TILE_K]. The padding is zero from the start, and no kernel writes it.
__device__ __forceinline__ uint64_t low_plane(uint32_t n_columns) { return uint64_t(MAX_PREFILL) * n_columns; }

// Of two floats, each pair in one register, the first in its lower half.
__device__ __forceinline__ void split(uint32_t& high, uint32_t& low, float a, float b) {
    const __half2 h = __floats2half2_rn(a, b);
    const float2 back = __half22float2(h);
    const __half2 l = __floats2half2_rn(a - back.x, b - back.y);
    high = *reinterpret_cast<const uint32_t*>(&h);
    low = *reinterpret_cast<const uint32_t*>(&l);
}
