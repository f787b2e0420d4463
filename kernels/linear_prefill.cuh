// linear_prefill: y[t, r] = sum_k W[r, k] x[t, k] for all tokens t of a prompt, on tensor cores
//
// W is what decode reads, packed. x comes in two halves (mma.cuh), so that fp32 activations lose nothing that shows: W * low and
// W * high are two products into the same sums. Two kernels compute the same bits: linear_prefill.cu in blocks for many tokens,
// linear_prefill_narrow.cu for few.
//
// Order   K is cut into slices of SUM_TILES tiles of packed weights. A slice is summed by instructions, from zero: 16 columns each
//         (8 before sm_80), low before high. Slices add up in order, by plain additions, because tensor cores truncate sums. It
//         depends on K alone: neither on T nor on a token's place.
//
// This file says what goes in and where results go.
#pragma once

#include "mma.cuh"

struct Product {
    const uint4* packed;  // W [n_rows, K]
    const uint4* x;       // [2][MAX_PREFILL][padded K]
    uint32_t n_rows, n_tiles, n_tokens;

    __device__ uint32_t n_groups() const { return (n_rows + TILE_ROWS - 1) / TILE_ROWS; }
    __device__ uint32_t n_octets() const { return n_tiles * TILE_OCTETS; }
};

// ---- Where results go: each takes outputs r and r + 1 of token t, where r is even and exists -------------------------

// linear_prefill_qkv_f16: q, and the cache's new keys and values, from qkv(x), where x is attn_norm(residual)
//
//   q             [T, C] f32
//   keys, values  this layer's pages, f32
//   x             [2][MAX_PREFILL][padded C] f16
//   packed, bias  qkv: [3C, C] f16, packed, and [3C] f32; C is even
//   plan          see layout.h
//
// Bytes   reads 2*3C*C a block's tokens and 4*C a token a block's outputs, mostly from L2; writes 4*3C a token
// Exact   no: the order of sums above (tolerance: tests/cuda/prefill)
struct ToCache {
    float *q, *keys, *values;
    const float* bias;
    const uint32_t* plan;
    uint32_t n_head, head_dim;

    __device__ __forceinline__ void operator()(uint32_t t, uint32_t r, float y0, float y1) const {
        const uint32_t n_embd = n_head * head_dim, padded_dim = (head_dim + OCTET - 1) / OCTET * OCTET;
        y0 += bias[r], y1 += bias[r + 1];
        const uint32_t part = r / n_embd, c = r % n_embd;
        if (part == 0) {
            *reinterpret_cast<float2*>(q + uint64_t(t) * n_embd + c) = make_float2(y0, y1);
            return;
        }
        const uint32_t slot = plan[PLAN_SLOTS + t];
        float* to = part == 1 ? keys : values;
        const auto at = [&](uint32_t c) {
            const uint64_t row = cache_row(slot / PAGE_LEN, c / head_dim, n_head, slot % PAGE_LEN);
            return to + row * padded_dim + c % head_dim;
        };
        if (head_dim % 2 == 0) {
            *reinterpret_cast<float2*>(at(c)) = make_float2(y0, y1);
        } else {  // two neighbours may be of different heads
            *at(c) = y0;
            *at(c + 1) = y1;
        }
    }
};

// linear_prefill_up_f16: y = activation(up(x))
//
//   y             [2][MAX_PREFILL][padded F] f16
//   x             [2][MAX_PREFILL][padded C] f16
//   packed, bias  up: [F, C] f16, packed, and [F] f32
//   padded        columns of a row of y
//
// Bytes   reads 2*F*C a block's tokens and 4*C a token a block's outputs, mostly from L2; writes 4*F a token
// Exact   no
struct ToInner {
    uint32_t* y;
    const float* bias;
    uint32_t n_rows, padded, activation;

    __device__ __forceinline__ void operator()(uint32_t t, uint32_t r, float y0, float y1) const {
        y0 = activate(y0 + bias[r], activation);
        // Where F is odd, the last pair's second is padding.
        y1 = r + 1 < n_rows ? activate(y1 + bias[r + 1], activation) : 0.0f;
        const uint64_t at = (uint64_t(t) * padded + r) / 2;
        split(y[at], y[at + low_plane(padded) / 2], y0, y1);
    }
};

// linear_prefill_add_f16: residual += attn_out(x) or down(x)
//
//   residual      [T, C] f32
//   x             [2][MAX_PREFILL][padded K] f16
//   packed, bias  attn_out or down: [C, K] f16, packed, and [C] f32; C is even
//
// Bytes   reads 2*C*K a block's tokens and 4*K a token a block's outputs, mostly from L2; reads and writes 4*C a token
// Exact   no
struct ToResidual {
    float* residual;
    const float* bias;
    uint32_t n_rows;

    __device__ __forceinline__ void operator()(uint32_t t, uint32_t r, float y0, float y1) const {
        float2* at = reinterpret_cast<float2*>(residual + uint64_t(t) * n_rows + r);
        const float2 old = *at;
        *at = make_float2(old.x + (y0 + bias[r]), old.y + (y1 + bias[r + 1]));
    }
};

// The three kernels, where LINEAR(product, to) computes.
#define LINEAR_PREFILL_KERNELS(SUFFIX, BOUNDS, LINEAR)                                                                      \
    extern "C" __global__ void BOUNDS linear_prefill_qkv_f16##SUFFIX(                                                       \
        float* q, float* keys, float* values, const uint4* x, const uint4* packed, uint32_t n_rows, uint32_t n_tiles,       \
        const float* bias, const uint32_t* plan, uint32_t n_tokens, uint32_t n_head, uint32_t head_dim) {                   \
        LINEAR(Product{packed, x, n_rows, n_tiles, n_tokens}, ToCache{q, keys, values, bias, plan, n_head, head_dim});      \
    }                                                                                                                       \
    extern "C" __global__ void BOUNDS linear_prefill_up_f16##SUFFIX(                                                        \
        uint32_t* y, const uint4* x, const uint4* packed, uint32_t n_rows, uint32_t n_tiles, const float* bias,             \
        uint32_t n_tokens, uint32_t padded, uint32_t activation) {                                                          \
        LINEAR(Product{packed, x, n_rows, n_tiles, n_tokens}, ToInner{y, bias, n_rows, padded, activation});                \
    }                                                                                                                       \
    extern "C" __global__ void BOUNDS linear_prefill_add_f16##SUFFIX(                                                       \
        float* residual, const uint4* x, const uint4* packed, uint32_t n_rows, uint32_t n_tiles, const float* bias,         \
        uint32_t n_tokens) {                                                                                                \
        LINEAR(Product{packed, x, n_rows, n_tiles, n_tokens}, ToResidual{residual, bias, n_rows});                          \
    }
