// How a token's score and weight come about: the same bits as src/sampler/ on the host. Nothing fuses, and nothing depends on
// the order in which threads work.
#pragma once

#include "common.cuh"

// ---- Numbers: src/sampler/numbers.rs --------------------------------------------------------------------------------

__device__ __forceinline__ uint64_t bits_of(double x) { return uint64_t(__double_as_longlong(x)); }
__device__ __forceinline__ double from_bits(uint64_t bits) { return __longlong_as_double(int64_t(bits)); }
__device__ __forceinline__ double times_plus(double a, double b, double c) { return __dadd_rn(__dmul_rn(a, b), c); }

// e^x for x <= 0.
__device__ __forceinline__ double exp_f64(double x) {
    const bool is_zero = x <= -700.0;
    if (is_zero) x = -700.0;
    const double round = 6755399441055744.0;
    const double shifted = times_plus(x, 1.4426950408889634074, round);
    const double k = __dsub_rn(shifted, round);
    const double high = __dsub_rn(x, __dmul_rn(k, from_bits(0x3fe62e42fee00000)));
    const double r = __dsub_rn(high, __dmul_rn(k, from_bits(0x3dea39ef35793c76)));
    double sum = 1.0 / 6227020800.0;
    sum = times_plus(sum, r, 1.0 / 479001600.0);
    sum = times_plus(sum, r, 1.0 / 39916800.0);
    sum = times_plus(sum, r, 1.0 / 3628800.0);
    sum = times_plus(sum, r, 1.0 / 362880.0);
    sum = times_plus(sum, r, 1.0 / 40320.0);
    sum = times_plus(sum, r, 1.0 / 5040.0);
    sum = times_plus(sum, r, 1.0 / 720.0);
    sum = times_plus(sum, r, 1.0 / 120.0);
    sum = times_plus(sum, r, 1.0 / 24.0);
    sum = times_plus(sum, r, 1.0 / 6.0);
    sum = times_plus(sum, r, 0.5);
    sum = times_plus(sum, r, 1.0);
    sum = times_plus(sum, r, 1.0);
    return is_zero ? 0.0 : from_bits(bits_of(sum) + (bits_of(shifted) << 52));
}

__device__ __forceinline__ uint64_t mass_of(double weight) { return bits_of(__dadd_rn(weight, 256.0)) - bits_of(256.0); }

// Scores as integers: the larger the score, the less the rank. -0 does not occur.
__device__ __forceinline__ uint64_t rank_of(double score) {
    const uint64_t bits = bits_of(score);
    return bits >> 63 ? bits : ~bits & 0x7fffffffffffffff;
}

__device__ __forceinline__ double score_of(uint64_t rank) {
    return from_bits(rank >> 63 ? rank : ~rank & 0x7fffffffffffffff);
}

constexpr uint64_t RANK_BANNED = 0xfff0000000000000;  // of minus infinity

// Philox4x32-10, and of its result the first two words: src/sampler/philox.rs.
__device__ __forceinline__ uint64_t token_bits(uint64_t seed, uint32_t choice, uint32_t position) {
    uint32_t c[4] = {position, 0, choice, 0};
    uint32_t k0 = uint32_t(seed), k1 = uint32_t(seed >> 32);
#pragma unroll
    for (uint32_t i = 0; i < 10; i++) {
        const uint64_t a = uint64_t(c[0]) * 0xd2511f53u, b = uint64_t(c[2]) * 0xcd9e8d57u;
        const uint32_t c1 = c[1], c3 = c[3];
        c[0] = uint32_t(b >> 32) ^ c1 ^ k0;
        c[1] = uint32_t(b);
        c[2] = uint32_t(a >> 32) ^ c3 ^ k1;
        c[3] = uint32_t(a);
        k0 += 0x9e3779b9u;
        k1 += 0xbb67ae85u;
    }
    return uint64_t(c[1]) << 32 | c[0];
}

// ---- A column's scores: src/sampler/penalties.rs --------------------------------------------------------------------

struct Scores {
    const float* logits;  // [V]
    const uint2* table;   // [V], or null
    double repetition, presence, frequency;
    bool suppresses;

    __device__ __forceinline__ double operator()(uint32_t id, bool& is_bad) const {
        const float logit = logits[id];
        is_bad |= !(logit < __int_as_float(0x7f800000));
        double score = __dadd_rn(double(logit), 0.0);
        if (table == nullptr) return score;
        const uint2 entry = table[id];
        score = __dadd_rn(score, double(__uint_as_float(entry.x)));
        if (entry.y & MARK_SEEN) {
            score = score < 0.0 ? __dmul_rn(score, repetition) : __ddiv_rn(score, repetition);
        }
        const uint32_t n = entry.y & (MARK_SUPPRESSED - 1);
        if (n > 0) score = __dsub_rn(score, __dadd_rn(presence, __dmul_rn(frequency, double(n))));
        return suppresses && (entry.y & MARK_SUPPRESSED) ? from_bits(0xfff0000000000000) : score;
    }
};
