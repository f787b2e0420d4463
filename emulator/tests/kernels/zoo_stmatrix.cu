// zoo_stmatrix: every form of the instruction that stores 8x8 matrices of 16-bit elements

#include "common.cuh"

// store_matrices: stmatrix of one, two and four matrices, straight and transposed
//
//   y  [6, 32, 8] f16: shared memory after x1, x2, x4, x1.trans, x2.trans, x4.trans; zeros where nothing is stored
//   x  [4, 32] u32: a row a register, a column a lane
//
// Launch  grid 1, block 32; no dynamic shared memory
// Exact   yes
extern "C" __global__ void __launch_bounds__(WARP) store_matrices(uint4* y, const uint32_t* x) {
    __shared__ uint4 rows[6][32];
    const uint32_t lane = threadIdx.x;
    for (uint32_t i = 0; i < 6; i++) rows[i][lane] = make_uint4(0, 0, 0, 0);
    const uint32_t r[4] = {x[lane], x[WARP + lane], x[2 * WARP + lane], x[3 * WARP + lane]};
    uint32_t at[6];
    for (uint32_t i = 0; i < 6; i++) at[i] = shared_address(&rows[i][lane]);
    __syncwarp();  // the zeros are there
    asm volatile("stmatrix.sync.aligned.m8n8.x1.shared.b16 [%0], {%1};" ::"r"(at[0]), "r"(r[0]) : "memory");
    asm volatile("stmatrix.sync.aligned.m8n8.x2.shared.b16 [%0], {%1, %2};" ::"r"(at[1]), "r"(r[0]), "r"(r[1]) : "memory");
    asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(at[2]), "r"(r[0]), "r"(r[1]),
                 "r"(r[2]), "r"(r[3])
                 : "memory");
    asm volatile("stmatrix.sync.aligned.m8n8.x1.trans.shared.b16 [%0], {%1};" ::"r"(at[3]), "r"(r[0]) : "memory");
    asm volatile("stmatrix.sync.aligned.m8n8.x2.trans.shared.b16 [%0], {%1, %2};" ::"r"(at[4]), "r"(r[0]), "r"(r[1])
                 : "memory");
    asm volatile("stmatrix.sync.aligned.m8n8.x4.trans.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(at[5]), "r"(r[0]), "r"(r[1]),
                 "r"(r[2]), "r"(r[3])
                 : "memory");
    __syncwarp();  // the matrices are there
    for (uint32_t i = 0; i < 6; i++) y[WARP * i + lane] = rows[i][lane];
}
