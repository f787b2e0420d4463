// zoo_math: one of each of the arithmetic that compiled kernels contain, one operation a row of the result

#include "common.cuh"

// math_f32: functions of one number
//
//   y  [17, n] f32: in the order below
//   x  [n] f32
//
// Launch  grid ceil(n / block), any block; no shared memory
// Exact   the rows of roundings and square roots are; the others within the errors that the CUDA C++ Programming Guide gives
extern "C" __global__ void math_f32(float* __restrict__ y, const float* __restrict__ x, uint32_t n) {
    const uint32_t i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    const float v = x[i], positive = fabsf(v) + 0.0625f;
    const float results[17] = {
        sinf(v),           cosf(v),           expf(v),          logf(positive),    tanhf(v),         erff(v),
        powf(positive, v), __sinf(v),         __cosf(v),        __expf(v),         __logf(positive), floorf(v),
        ceilf(v),          rintf(v),          truncf(v),        __fsqrt_rn(positive), cbrtf(v),
    };
#pragma unroll
    for (uint32_t r = 0; r < 17; r++) y[uint64_t(r) * n + i] = results[r];
}

// rounded_f32: the four roundings of sums, products, quotients, roots and fused products
//
//   y     [18, n] f32: a + b and a * b to nearest even, to zero, up, down; a / b to nearest, to zero; sqrt |a| up, down;
//         a * b + a to nearest, zero, up, down; 1 / b to nearest, down
//   a, b  [n] f32, b not 0
//
// Launch  grid ceil(n / block), any block; no shared memory
// Exact   yes
extern "C" __global__ void rounded_f32(float* __restrict__ y, const float* __restrict__ a, const float* __restrict__ b,
                                       uint32_t n) {
    const uint32_t i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    const float u = a[i], v = b[i];
    const float results[18] = {
        __fadd_rn(u, v),    __fadd_rz(u, v),    __fadd_ru(u, v),          __fadd_rd(u, v),
        __fmul_rn(u, v),    __fmul_rz(u, v),    __fmul_ru(u, v),          __fmul_rd(u, v),
        __fdiv_rn(u, v),    __fdiv_rz(u, v),    __fsqrt_ru(fabsf(u)),     __fsqrt_rd(fabsf(u)),
        __fmaf_rn(u, v, u), __fmaf_rz(u, v, u), __fmaf_ru(u, v, u),       __fmaf_rd(u, v, u),
        __frcp_rn(v),       __frcp_rd(v),
    };
#pragma unroll
    for (uint32_t r = 0; r < 18; r++) y[uint64_t(r) * n + i] = results[r];
}

// math_f64: double precision
//
//   y     [8, n] f64: a + b, a * b, a / b, sqrt |a|, a * b + a in one rounding, min, max, exp(-|a|)
//   a, b  [n] f64, b not 0
//
// Launch  grid ceil(n / block), any block; no shared memory
// Exact   yes, but for exp: within 1 unit in the last place
extern "C" __global__ void math_f64(double* __restrict__ y, const double* __restrict__ a, const double* __restrict__ b,
                                    uint32_t n) {
    const uint32_t i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    const double u = a[i], v = b[i];
    const double results[8] = {u + v, u * v, u / v, sqrt(fabs(u)), fma(u, v, u), fmin(u, v), fmax(u, v), exp(-fabs(u))};
#pragma unroll
    for (uint32_t r = 0; r < 8; r++) y[uint64_t(r) * n + i] = results[r];
}

// The middle `length` bits of x from `start`, and a with those bits put in.
__device__ __forceinline__ uint32_t bits_of(uint32_t x, uint32_t start, uint32_t length) {
    uint32_t r;
    asm("bfe.u32 %0, %1, %2, %3;" : "=r"(r) : "r"(x), "r"(start), "r"(length));
    return r;
}
__device__ __forceinline__ int signed_bits_of(int x, uint32_t start, uint32_t length) {
    int r;
    asm("bfe.s32 %0, %1, %2, %3;" : "=r"(r) : "r"(x), "r"(start), "r"(length));
    return r;
}
__device__ __forceinline__ uint32_t with_bits(uint32_t a, uint32_t bits, uint32_t start, uint32_t length) {
    uint32_t r;
    asm("bfi.b32 %0, %1, %2, %3, %4;" : "=r"(r) : "r"(bits), "r"(a), "r"(start), "r"(length));
    return r;
}

// integers_32: bit and byte operations of 32-bit numbers
//
//   y     [26, n] u32: in the order below, where s = b mod 64
//   a, b  [n] u32
//
// Launch  grid ceil(n / block), any block; no shared memory
// Exact   yes
extern "C" __global__ void integers_32(uint32_t* __restrict__ y, const uint32_t* __restrict__ a,
                                       const uint32_t* __restrict__ b, uint32_t n) {
    const uint32_t i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    const uint32_t u = a[i], v = b[i], s = v % 64;
    const int su = static_cast<int>(u), sv = static_cast<int>(v);
    const uint32_t results[26] = {
        uint32_t(__clz(su)),     uint32_t(__ffs(su)),       uint32_t(__popc(u)),       __brev(u),
        __byte_perm(u, v, 0x3175), __byte_perm(u, v, v),    __umulhi(u, v),            uint32_t(__mulhi(su, sv)),
        __umul24(u, v),          uint32_t(__mul24(su, sv)), __usad(u, v, 7),           uint32_t(__sad(su, sv, 7)),
        __funnelshift_l(u, v, s), __funnelshift_r(u, v, s), __funnelshift_lc(u, v, s), __funnelshift_rc(u, v, s),
        bits_of(u, s, v >> 26),  uint32_t(signed_bits_of(su, s, v >> 26)),             with_bits(u, v, s, v >> 26),
        __vabsdiffu4(u, v),      uint32_t(__dp2a_lo(su, sv, 3)),                       __uhadd(u, v),
        uint32_t(su % (sv | 1)), u / (v | 1),               uint32_t(min(su, sv)),     uint32_t(abs(su)),
    };
#pragma unroll
    for (uint32_t r = 0; r < 26; r++) y[uint64_t(r) * n + i] = results[r];
}

// integers_64: 64-bit numbers, which the hardware has in halves
//
//   y     [13, n] u64: in the order below, where s = b mod 64
//   a, b  [n] u64, b not 0
//
// Launch  grid ceil(n / block), any block; no shared memory
// Exact   yes
extern "C" __global__ void integers_64(uint64_t* __restrict__ y, const uint64_t* __restrict__ a,
                                       const uint64_t* __restrict__ b, uint32_t n) {
    const uint32_t i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    const uint64_t u = a[i], v = b[i], s = v % 64;
    const int64_t su = static_cast<int64_t>(u), sv = static_cast<int64_t>(v);
    uint64_t sum_high;  // the carry of a + b, through the carry flag
    asm("{ .reg .u32 l0, h0, l1, h1, c; mov.b64 {l0, h0}, %1; mov.b64 {l1, h1}, %2; add.cc.u32 l0, l0, l1;"
        " addc.cc.u32 h0, h0, h1; addc.u32 c, 0, 0; cvt.u64.u32 %0, c; }"
        : "=l"(sum_high)
        : "l"(u), "l"(v));
    const uint64_t results[13] = {
        u * v,       __umul64hi(u, v), uint64_t(__mul64hi(su, sv)), u / v, u % v, uint64_t(su / (sv | 1)), u << s, u >> s,
        uint64_t(su >> s), uint64_t(__clzll(su)), uint64_t(__popcll(u)), __brevll(u), sum_high,
    };
#pragma unroll
    for (uint32_t r = 0; r < 13; r++) y[uint64_t(r) * n + i] = results[r];
}

// conversions: between floats and integers, each way that C++ and the intrinsics have
//
//   y  [14, n] u64: in the order below, floats as their bits
//   x  [n] f32, NaN and infinities too
//
// Launch  grid ceil(n / block), any block; no shared memory
// Exact   yes
extern "C" __global__ void conversions(uint64_t* __restrict__ y, const float* __restrict__ x, uint32_t n) {
    const uint32_t i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    const float v = x[i];
    const int bits = __float_as_int(v);
    const uint64_t results[14] = {
        uint32_t(__float2int_rn(v)),   uint32_t(__float2int_rz(v)),  uint32_t(__float2int_ru(v)),
        uint32_t(__float2int_rd(v)),   __float2uint_rz(v),           uint64_t(__float2ll_rz(v)),
        __float2ull_rn(v),             __float_as_uint(__int2float_rn(bits)), __float_as_uint(__int2float_rd(bits)),
        __float_as_uint(__uint2float_rz(uint32_t(bits))),            __float_as_uint(__saturatef(v)),
        __half_as_ushort(__float2half_rn(v)), __half_as_ushort(__float2half_rz(v)),
        uint64_t(__double_as_longlong(double(v))),
    };
#pragma unroll
    for (uint32_t r = 0; r < 14; r++) y[uint64_t(r) * n + i] = results[r];
}
