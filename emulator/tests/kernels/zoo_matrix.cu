// zoo_matrix: every form of the instructions that move 8x8 matrices of 16-bit elements

#include "common.cuh"

// load_matrices: ldmatrix of one, two and four matrices, straight and transposed
//
//   y  [14, 32] u32: a row a register, a column a lane: x1, x2 (2), x4 (4), x1.trans, x2.trans (2), x4.trans (4)
//   x  [32, 8] f16: matrix m is its rows 8 m .. 8 m + 8
//
// Launch  grid 1, block 32; no dynamic shared memory
// Exact   yes
extern "C" __global__ void __launch_bounds__(WARP) load_matrices(uint32_t* y, const uint4* x) {
    __shared__ uint4 rows[32];
    const uint32_t lane = threadIdx.x;
    rows[lane] = x[lane];
    __syncwarp();  // all rows are there
    const uint32_t row = shared_address(&rows[lane]);
    uint32_t r[14];
    asm volatile("ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%0}, [%1];" : "=r"(r[0]) : "r"(row) : "memory");
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0, %1}, [%2];" : "=r"(r[1]), "=r"(r[2]) : "r"(row) : "memory");
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[3]), "=r"(r[4]), "=r"(r[5]), "=r"(r[6])
                 : "r"(row)
                 : "memory");
    asm volatile("ldmatrix.sync.aligned.m8n8.x1.trans.shared.b16 {%0}, [%1];" : "=r"(r[7]) : "r"(row) : "memory");
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0, %1}, [%2];"
                 : "=r"(r[8]), "=r"(r[9])
                 : "r"(row)
                 : "memory");
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[10]), "=r"(r[11]), "=r"(r[12]), "=r"(r[13])
                 : "r"(row)
                 : "memory");
    for (uint32_t i = 0; i < 14; i++) y[WARP * i + lane] = r[i];
}

// transpose_matrix: a matrix in registers, transposed
//
//   y, x  [8, 8] f16 as [32] u32: lane l holds elements 2 (l % 4) and the next of row l / 4
//
// Launch  grid 1, block 32; no shared memory
// Exact   yes
extern "C" __global__ void __launch_bounds__(WARP) transpose_matrix(uint32_t* y, const uint32_t* x) {
    uint32_t r;
    asm volatile("movmatrix.sync.aligned.m8n8.trans.b16 %0, %1;" : "=r"(r) : "r"(x[threadIdx.x]));
    y[threadIdx.x] = r;
}
