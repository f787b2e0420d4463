// linear_decode: y[t, r] = sum_k W[r, k] x[t, k], for the up to MAX_COLUMNS tokens t of a decode step
//
// A matrix is read once, for all columns, in 16-byte pieces that a warp's lanes take from 512 consecutive bytes. The weights
// of a block's first rows are loaded before the kernel waits for its input: they do not depend on it.
//
// Work    a warp takes TILE_ROWS rows and one slice of at most SLICE_TILES tiles; a block takes all slices of one or more
//         groups of TILE_ROWS rows. The grid covers all rows; that of the logits may be smaller, and its blocks go on.
// Order   eight lanes share a row: each sums its columns, ascending, as one chain of fused multiply-adds; the lanes meet in a
//         butterfly; slices add up in order. It depends on K alone: not on the grid, nor on the number of columns.
//
// This file says how a product is made; linear_decode.cu what x is and where y goes.
#pragma once

#include "common.cuh"

struct Matrix {
    const uint4* packed;
    uint32_t n_rows, n_tiles, n_slices;

    __device__ uint32_t n_octets() const { return n_tiles * TILE_OCTETS; }
};

// Where this warp works.
struct Place {
    uint32_t lane, slice, group, first_tile, n_tiles, groups_per_block;

    __device__ explicit Place(const Matrix& w) {
        const uint32_t warp = threadIdx.x / WARP;
        const uint32_t slice_len = (w.n_tiles + w.n_slices - 1) / w.n_slices;
        lane = threadIdx.x % WARP;
        slice = warp % w.n_slices;
        group = warp / w.n_slices;
        groups_per_block = blockDim.x / WARP / w.n_slices;
        first_tile = slice * slice_len;
        n_tiles = min(slice_len, w.n_tiles - first_tile);
    }
};

// The weights of one group of rows for this warp's slice.
struct Pieces {
    uint4 piece[SLICE_TILES];

    __device__ __forceinline__ void load(const Matrix& w, const Place& at, uint32_t group) {
        const uint4* from = w.packed + (uint64_t(group) * w.n_tiles + at.first_tile) * WARP + at.lane;
#pragma unroll
        for (uint32_t i = 0; i < SLICE_TILES; i++) {
            if (i < at.n_tiles) piece[i] = load_weights(from + i * WARP);
        }
    }
};

// sums[t] += this lane's columns of its row times x[t], whose planes start at x + t * planes_len.
template <uint32_t COLUMNS>
__device__ __forceinline__ void multiply(float (&sums)[COLUMNS], const Pieces& w, const Place& at, const float* x,
                                         uint32_t n_octets) {
#pragma unroll
    for (uint32_t i = 0; i < SLICE_TILES; i++) {
        if (i < at.n_tiles) {
            float f[8];
            unpack8(f, w.piece[i]);
            const uint32_t octet = (at.first_tile + i) * TILE_OCTETS + at.lane % TILE_OCTETS;
#pragma unroll
            for (uint32_t t = 0; t < COLUMNS; t++) {
                const float4* planes = reinterpret_cast<const float4*>(x + t * planes_len(n_octets));
                const float4 a = planes[octet], b = planes[n_octets + PLANE_GAP + octet];
                sums[t] = fmaf(f[0], a.x, sums[t]);
                sums[t] = fmaf(f[1], a.y, sums[t]);
                sums[t] = fmaf(f[2], a.z, sums[t]);
                sums[t] = fmaf(f[3], a.w, sums[t]);
                sums[t] = fmaf(f[4], b.x, sums[t]);
                sums[t] = fmaf(f[5], b.y, sums[t]);
                sums[t] = fmaf(f[6], b.z, sums[t]);
                sums[t] = fmaf(f[7], b.w, sums[t]);
            }
        }
    }
#pragma unroll
    for (uint32_t t = 0; t < COLUMNS; t++) {
#pragma unroll
        for (uint32_t offset = TILE_OCTETS / 2; offset > 0; offset /= 2) {
            sums[t] += __shfl_xor_sync(ALL_LANES, sums[t], offset);
        }
    }
}

// What becomes of a sum y: y, y + bias, activation(y + bias), or what stood there + (y + bias).
enum class Then { LOGITS, STORE, ACTIVATE, ADD };

// The output that is this thread's, of the groups of rows from `first` on. A thread has one at most: a warp has 32 threads for
// TILE_ROWS rows of up to MAX_COLUMNS columns.
struct Output {
    uint32_t column, row;
    bool exists;
};
static_assert(WARP == TILE_ROWS * MAX_COLUMNS && TILE_OCTETS == MAX_COLUMNS, "a thread for each output");

template <uint32_t COLUMNS>
__device__ __forceinline__ Output output(const Matrix& w, const Place& at, uint32_t first) {
    Output out;
    if (w.n_slices == 1) {
        out.column = at.lane % TILE_OCTETS;
        out.row = (first + at.group) * TILE_ROWS + at.lane / TILE_OCTETS;
        out.exists = out.column < COLUMNS && out.row < w.n_rows;
    } else {
        const uint32_t group = threadIdx.x / (COLUMNS * TILE_ROWS);
        out.column = threadIdx.x / TILE_ROWS % COLUMNS;
        out.row = (first + group) * TILE_ROWS + threadIdx.x % TILE_ROWS;
        out.exists = group < at.groups_per_block && out.row < w.n_rows;
    }
    return out;
}

// The sum of output `out`, of the lanes' sums; where there are slices, by way of
// parts [n_slices][groups_per_block][COLUMNS][TILE_ROWS].
template <uint32_t COLUMNS>
__device__ __forceinline__ float collect(const float (&sums)[COLUMNS], const Matrix& w, const Place& at, const Output& out,
                                         float* parts) {
    float y = 0.0f;
    if (w.n_slices == 1) {
#pragma unroll
        for (uint32_t t = 0; t < COLUMNS; t++) {
            if (t == out.column) y = sums[t];
        }
        return y;
    }
    const uint32_t n_items = at.groups_per_block * COLUMNS * TILE_ROWS;
    if (at.lane % TILE_OCTETS == 0) {
#pragma unroll
        for (uint32_t t = 0; t < COLUMNS; t++) {
            const uint32_t item = (at.group * COLUMNS + t) * TILE_ROWS + at.lane / TILE_OCTETS;
            parts[at.slice * n_items + item] = sums[t];
        }
    }
    __syncthreads();  // every slice's sums are there before they are added up
    if (out.exists) {
        y = parts[threadIdx.x];
        for (uint32_t s = 1; s < w.n_slices; s++) y += parts[s * n_items + threadIdx.x];
    }
    return y;
}

// All rows: `fill()` makes the input's planes and returns where they are; `where(t, r)` says where an output goes, or null. What an
// output needs beside its sum is read first, so that nothing is waited for at the end. The grid has blocks for all groups of
// rows; only that of the logits may be smaller.
template <uint32_t COLUMNS, Then THEN, typename Fill, typename Where>
__device__ __forceinline__ void linear(const Matrix& w, const float* bias, uint32_t activation, float* parts, Fill fill,
                                       Where where) {
    const Place at(w);
    const uint32_t n_groups = (w.n_rows + TILE_ROWS - 1) / TILE_ROWS;
    uint32_t first = blockIdx.x * at.groups_per_block;
    let_next_start();
    Pieces pieces;
    if (first + at.group < n_groups) pieces.load(w, at, first + at.group);
    Output out = output<COLUMNS>(w, at, first);
    float* to = nullptr;
    const float add = THEN != Then::LOGITS && out.exists ? bias[out.row] : 0.0f;
    wait_for_previous();
    if (THEN != Then::LOGITS && out.exists) to = where(out.column, out.row);
    const float before = THEN == Then::ADD && to != nullptr ? *to : 0.0f;
    const float* x = fill();

    while (true) {
        float sums[COLUMNS] = {};
        if (first + at.group < n_groups) multiply(sums, pieces, at, x, w.n_octets());
        const float y = collect(sums, w, at, out, parts);
        if (THEN == Then::LOGITS) {
            // Asked for here, since lanes that differ in it would part ways for the rest of the loop.
            if (out.exists) {
                float* logit = where(out.column, out.row);
                if (logit != nullptr) *logit = y;
            }
        } else if (to != nullptr) {
            if (THEN == Then::STORE) *to = y + add;
            if (THEN == Then::ACTIVATE) *to = activate(y + add, activation);
            if (THEN == Then::ADD) *to = before + (y + add);
        }
        if (THEN != Then::LOGITS) return;
        first += gridDim.x * at.groups_per_block;
        if (first >= n_groups) return;
        if (w.n_slices > 1) __syncthreads();  // the sums are read before the next group's take their place
        if (first + at.group < n_groups) pieces.load(w, at, first + at.group);
        out = output<COLUMNS>(w, at, first);
    }
}
