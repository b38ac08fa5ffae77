// One vocabulary of 16-bit lanes over SSE4.1, AVX2, AVX-512 and NEON: a vector holds one row of `Lanes / 8` neighbouring
// blocks, and all shuffles stay inside 8 lanes, so that blocks never mix.
//
// Each instruction set compiles this into its own namespace (EG_NS). No std:: inlines: a weak symbol built for AVX2
// could otherwise end up in baseline code.
#pragma once

#include <stddef.h>
#include <stdint.h>

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__ARM_NEON)
#include <arm_neon.h>
#endif

namespace EG_NS {
namespace {

#if defined(__x86_64__)
// The smallest of eight lanes.
inline int least_of(__m128i a) {
    const __m128i flip = _mm_set1_epi16(-32768);
    return static_cast<int16_t>(_mm_cvtsi128_si32(_mm_minpos_epu16(_mm_xor_si128(a, flip))) ^ 0x8000);
}
#endif

#if defined(__AVX512BW__)

constexpr int Lanes = 32;
using V = __m512i;
inline V splat(int v) { return _mm512_set1_epi16(static_cast<short>(v)); }
inline V load(const void* p) { return _mm512_loadu_si512(p); }
inline void store(void* p, V v) { _mm512_storeu_si512(p, v); }
inline V widen(const uint8_t* p) { return _mm512_cvtepu8_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))); }
inline V pair_sums(const uint8_t* p) { return _mm512_maddubs_epi16(load(p), _mm512_set1_epi8(1)); }
inline void narrow(uint8_t* p, uint8_t* q, V v, V w) {
    const V order = _mm512_set_epi64(7, 5, 3, 1, 6, 4, 2, 0);
    V packed = _mm512_permutexvar_epi64(order, _mm512_packus_epi16(v, w));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_castsi512_si256(packed));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(q), _mm512_extracti64x4_epi64(packed, 1));
}
inline bool any(V a) { return _mm512_test_epi64_mask(a, a) != 0; }
inline V magnitude(V a) { return _mm512_abs_epi16(a); }
inline V with_sign(V a, V sign) { return _mm512_mask_sub_epi16(a, _mm512_movepi16_mask(sign), _mm512_setzero_si512(), a); }
inline V or_(V a, V b) { return _mm512_or_si512(a, b); }
inline V and_(V a, V b) { return _mm512_and_si512(a, b); }
inline V xor_(V a, V b) { return _mm512_xor_si512(a, b); }
inline V add(V a, V b) { return _mm512_add_epi16(a, b); }
inline V sub(V a, V b) { return _mm512_sub_epi16(a, b); }
inline V add_saturated(V a, V b) { return _mm512_adds_epi16(a, b); }
inline V sub_saturated(V a, V b) { return _mm512_subs_epi16(a, b); }
inline V andnot(V mask, V a) { return _mm512_andnot_si512(mask, a); }
inline V mul(V a, V c) { return _mm512_mulhrs_epi16(a, c); }
inline V mean_up(V a, V b) { return _mm512_avg_epu16(a, b); }
inline V smaller(V a, V b) { return _mm512_min_epi16(a, b); }
// 2 * Lanes levels, clamped: one from `even`, one from `odd`, and so on.
inline void narrow_woven(uint8_t* p, V even, V odd) {
    const __m128i weave = _mm_setr_epi8(0, 8, 1, 9, 2, 10, 3, 11, 4, 12, 5, 13, 6, 14, 7, 15);
    store(p, _mm512_shuffle_epi8(_mm512_packus_epi16(even, odd), _mm512_broadcast_i32x4(weave)));
}
inline V mulhi_unsigned(V a, V b) { return _mm512_mulhi_epu16(a, b); }
inline V mullo(V a, V b) { return _mm512_mullo_epi16(a, b); }
template <int N> inline V shift_left(V a) { return _mm512_slli_epi16(a, N); }
template <int N> inline V shift_right(V a) { return _mm512_srai_epi16(a, N); }
template <int N> inline V shift_right_logical(V a) { return _mm512_srli_epi16(a, N); }
inline V low16(V a, V b) { return _mm512_unpacklo_epi16(a, b); }
inline V high16(V a, V b) { return _mm512_unpackhi_epi16(a, b); }
inline V low32(V a, V b) { return _mm512_unpacklo_epi32(a, b); }
inline V high32(V a, V b) { return _mm512_unpackhi_epi32(a, b); }
inline V low64(V a, V b) { return _mm512_unpacklo_epi64(a, b); }
inline V high64(V a, V b) { return _mm512_unpackhi_epi64(a, b); }
// Sums of neighbouring products, 32 bits; and back to 16 with the order that low16 and high16 left.
inline V splat_pair8(int a, int b) { return _mm512_set1_epi16(static_cast<short>(b * 256 + (a & 255))); }
inline V low8(V a, V b) { return _mm512_unpacklo_epi8(a, b); }
inline V high8(V a, V b) { return _mm512_unpackhi_epi8(a, b); }
inline V pack8(V low, V high) { return _mm512_packus_epi16(low, high); }
inline V add8(V a, V b) { return _mm512_add_epi8(a, b); }
inline V madd8(V levels, V weights) { return _mm512_maddubs_epi16(levels, weights); }
inline V madd(V a, V b) { return _mm512_madd_epi16(a, b); }
inline V add32(V a, V b) { return _mm512_add_epi32(a, b); }
inline V splat32(int v) { return _mm512_set1_epi32(v); }
template <int N> inline V shift_right32(V a) { return _mm512_srai_epi32(a, N); }
inline V pack32(V low, V high) { return _mm512_packs_epi32(low, high); }
// The top bit of each lane, the first one lowest.
inline uint32_t top_bits(V a) { return _mm512_movepi16_mask(a); }
// The smallest lane.
inline int least_of(V a) {
    const __m256i half = _mm256_min_epi16(_mm512_castsi512_si256(a), _mm512_extracti64x4_epi64(a, 1));
    return least_of(_mm_min_epi16(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1)));
}
// The smallest of each block's eight lanes, none of them negative.
inline void store_minima(uint16_t* p, V a) {
    p[0] = static_cast<uint16_t>(_mm_cvtsi128_si32(_mm_minpos_epu16(_mm512_extracti32x4_epi32(a, 0))));
    p[1] = static_cast<uint16_t>(_mm_cvtsi128_si32(_mm_minpos_epu16(_mm512_extracti32x4_epi32(a, 1))));
    p[2] = static_cast<uint16_t>(_mm_cvtsi128_si32(_mm_minpos_epu16(_mm512_extracti32x4_epi32(a, 2))));
    p[3] = static_cast<uint16_t>(_mm_cvtsi128_si32(_mm_minpos_epu16(_mm512_extracti32x4_epi32(a, 3))));
}

#elif defined(__AVX2__)

constexpr int Lanes = 16;
using V = __m256i;
inline V splat(int v) { return _mm256_set1_epi16(static_cast<short>(v)); }
inline V load(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }
inline void store(void* p, V v) { _mm256_storeu_si256(static_cast<__m256i*>(p), v); }
inline V widen(const uint8_t* p) { return _mm256_cvtepu8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))); }
inline void narrow(uint8_t* p, uint8_t* q, V v, V w) {
    V packed = _mm256_permute4x64_epi64(_mm256_packus_epi16(v, w), 0xD8);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm256_castsi256_si128(packed));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(q), _mm256_extracti128_si256(packed, 1));
}
inline V pair_sums(const uint8_t* p) { return _mm256_maddubs_epi16(load(p), _mm256_set1_epi8(1)); }
inline bool any(V a) { return !_mm256_testz_si256(a, a); }
inline V magnitude(V a) { return _mm256_abs_epi16(a); }
inline V with_sign(V a, V sign) { return _mm256_sign_epi16(a, sign); }
inline V or_(V a, V b) { return _mm256_or_si256(a, b); }
inline V add(V a, V b) { return _mm256_add_epi16(a, b); }
inline V sub(V a, V b) { return _mm256_sub_epi16(a, b); }
inline V add_saturated(V a, V b) { return _mm256_adds_epi16(a, b); }
inline V sub_saturated(V a, V b) { return _mm256_subs_epi16(a, b); }
inline V andnot(V mask, V a) { return _mm256_andnot_si256(mask, a); }
inline V mul(V a, V c) { return _mm256_mulhrs_epi16(a, c); }
inline V mean_up(V a, V b) { return _mm256_avg_epu16(a, b); }
inline V smaller(V a, V b) { return _mm256_min_epi16(a, b); }
// 2 * Lanes levels, clamped: one from `even`, one from `odd`, and so on.
inline void narrow_woven(uint8_t* p, V even, V odd) {
    const __m128i weave = _mm_setr_epi8(0, 8, 1, 9, 2, 10, 3, 11, 4, 12, 5, 13, 6, 14, 7, 15);
    store(p, _mm256_shuffle_epi8(_mm256_packus_epi16(even, odd), _mm256_broadcastsi128_si256(weave)));
}
inline V mulhi_unsigned(V a, V b) { return _mm256_mulhi_epu16(a, b); }
inline V mullo(V a, V b) { return _mm256_mullo_epi16(a, b); }
inline V and_(V a, V b) { return _mm256_and_si256(a, b); }
inline V xor_(V a, V b) { return _mm256_xor_si256(a, b); }
template <int N> inline V shift_left(V a) { return _mm256_slli_epi16(a, N); }
template <int N> inline V shift_right(V a) { return _mm256_srai_epi16(a, N); }
template <int N> inline V shift_right_logical(V a) { return _mm256_srli_epi16(a, N); }
inline V low16(V a, V b) { return _mm256_unpacklo_epi16(a, b); }
inline V high16(V a, V b) { return _mm256_unpackhi_epi16(a, b); }
inline V low32(V a, V b) { return _mm256_unpacklo_epi32(a, b); }
inline V high32(V a, V b) { return _mm256_unpackhi_epi32(a, b); }
inline V low64(V a, V b) { return _mm256_unpacklo_epi64(a, b); }
inline V high64(V a, V b) { return _mm256_unpackhi_epi64(a, b); }
inline V splat_pair8(int a, int b) { return _mm256_set1_epi16(static_cast<short>(b * 256 + (a & 255))); }
inline V low8(V a, V b) { return _mm256_unpacklo_epi8(a, b); }
inline V high8(V a, V b) { return _mm256_unpackhi_epi8(a, b); }
inline V pack8(V low, V high) { return _mm256_packus_epi16(low, high); }
inline V add8(V a, V b) { return _mm256_add_epi8(a, b); }
inline V madd8(V levels, V weights) { return _mm256_maddubs_epi16(levels, weights); }
inline V madd(V a, V b) { return _mm256_madd_epi16(a, b); }
inline V add32(V a, V b) { return _mm256_add_epi32(a, b); }
inline V splat32(int v) { return _mm256_set1_epi32(v); }
template <int N> inline V shift_right32(V a) { return _mm256_srai_epi32(a, N); }
inline V pack32(V low, V high) { return _mm256_packs_epi32(low, high); }
inline uint32_t top_bits(V a) {
    const uint32_t found = _mm256_movemask_epi8(_mm256_packs_epi16(a, _mm256_setzero_si256()));
    return (found & 0xFF) | (found >> 8 & 0xFF00);
}
inline int least_of(V a) {
    return least_of(_mm_min_epi16(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1)));
}
inline void store_minima(uint16_t* p, V a) {
    p[0] = static_cast<uint16_t>(_mm_cvtsi128_si32(_mm_minpos_epu16(_mm256_castsi256_si128(a))));
    p[1] = static_cast<uint16_t>(_mm_cvtsi128_si32(_mm_minpos_epu16(_mm256_extracti128_si256(a, 1))));
}

#elif defined(__SSE4_1__)

constexpr int Lanes = 8;
using V = __m128i;
inline V splat(int v) { return _mm_set1_epi16(static_cast<short>(v)); }
inline V load(const void* p) { return _mm_loadu_si128(static_cast<const __m128i*>(p)); }
inline void store(void* p, V v) { _mm_storeu_si128(static_cast<__m128i*>(p), v); }
inline V widen(const uint8_t* p) { return _mm_cvtepu8_epi16(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))); }
inline void narrow(uint8_t* p, uint8_t* q, V v, V w) {
    V packed = _mm_packus_epi16(v, w);
    _mm_storel_epi64(reinterpret_cast<__m128i*>(p), packed);
    _mm_storeh_pd(reinterpret_cast<double*>(q), _mm_castsi128_pd(packed));
}
inline V pair_sums(const uint8_t* p) { return _mm_maddubs_epi16(load(p), _mm_set1_epi8(1)); }
inline bool any(V a) { return !_mm_testz_si128(a, a); }
inline V magnitude(V a) { return _mm_abs_epi16(a); }
inline V with_sign(V a, V sign) { return _mm_sign_epi16(a, sign); }
inline V or_(V a, V b) { return _mm_or_si128(a, b); }
inline V add(V a, V b) { return _mm_add_epi16(a, b); }
inline V sub(V a, V b) { return _mm_sub_epi16(a, b); }
inline V add_saturated(V a, V b) { return _mm_adds_epi16(a, b); }
inline V sub_saturated(V a, V b) { return _mm_subs_epi16(a, b); }
inline V andnot(V mask, V a) { return _mm_andnot_si128(mask, a); }
inline V mul(V a, V c) { return _mm_mulhrs_epi16(a, c); }
inline V mean_up(V a, V b) { return _mm_avg_epu16(a, b); }
inline V smaller(V a, V b) { return _mm_min_epi16(a, b); }
// 2 * Lanes levels, clamped: one from `even`, one from `odd`, and so on.
inline void narrow_woven(uint8_t* p, V even, V odd) {
    const __m128i weave = _mm_setr_epi8(0, 8, 1, 9, 2, 10, 3, 11, 4, 12, 5, 13, 6, 14, 7, 15);
    store(p, _mm_shuffle_epi8(_mm_packus_epi16(even, odd), weave));
}
inline V mulhi_unsigned(V a, V b) { return _mm_mulhi_epu16(a, b); }
inline V mullo(V a, V b) { return _mm_mullo_epi16(a, b); }
inline V and_(V a, V b) { return _mm_and_si128(a, b); }
inline V xor_(V a, V b) { return _mm_xor_si128(a, b); }
template <int N> inline V shift_left(V a) { return _mm_slli_epi16(a, N); }
template <int N> inline V shift_right(V a) { return _mm_srai_epi16(a, N); }
template <int N> inline V shift_right_logical(V a) { return _mm_srli_epi16(a, N); }
inline V low16(V a, V b) { return _mm_unpacklo_epi16(a, b); }
inline V high16(V a, V b) { return _mm_unpackhi_epi16(a, b); }
inline V low32(V a, V b) { return _mm_unpacklo_epi32(a, b); }
inline V high32(V a, V b) { return _mm_unpackhi_epi32(a, b); }
inline V low64(V a, V b) { return _mm_unpacklo_epi64(a, b); }
inline V high64(V a, V b) { return _mm_unpackhi_epi64(a, b); }
inline V splat_pair8(int a, int b) { return _mm_set1_epi16(static_cast<short>(b * 256 + (a & 255))); }
inline V low8(V a, V b) { return _mm_unpacklo_epi8(a, b); }
inline V high8(V a, V b) { return _mm_unpackhi_epi8(a, b); }
inline V pack8(V low, V high) { return _mm_packus_epi16(low, high); }
inline V add8(V a, V b) { return _mm_add_epi8(a, b); }
inline V madd8(V levels, V weights) { return _mm_maddubs_epi16(levels, weights); }
inline V madd(V a, V b) { return _mm_madd_epi16(a, b); }
inline V add32(V a, V b) { return _mm_add_epi32(a, b); }
inline V splat32(int v) { return _mm_set1_epi32(v); }
template <int N> inline V shift_right32(V a) { return _mm_srai_epi32(a, N); }
inline V pack32(V low, V high) { return _mm_packs_epi32(low, high); }
inline uint32_t top_bits(V a) { return _mm_movemask_epi8(_mm_packs_epi16(a, _mm_setzero_si128())) & 0xFF; }
inline void store_minima(uint16_t* p, V a) { p[0] = static_cast<uint16_t>(_mm_cvtsi128_si32(_mm_minpos_epu16(a))); }

#elif defined(__ARM_NEON)

constexpr int Lanes = 8;
using V = int16x8_t;
inline V from32(int32x4_t a) { return vreinterpretq_s16_s32(a); }
inline V from64(int64x2_t a) { return vreinterpretq_s16_s64(a); }
inline int32x4_t as32(V a) { return vreinterpretq_s32_s16(a); }
inline int64x2_t as64(V a) { return vreinterpretq_s64_s16(a); }
inline uint16x8_t as_unsigned(V a) { return vreinterpretq_u16_s16(a); }
inline V from_unsigned(uint16x8_t a) { return vreinterpretq_s16_u16(a); }
inline V splat(int v) { return vdupq_n_s16(static_cast<int16_t>(v)); }
inline V load(const void* p) { return vld1q_s16(static_cast<const int16_t*>(p)); }
inline void store(void* p, V v) { vst1q_s16(static_cast<int16_t*>(p), v); }
inline V widen(const uint8_t* p) { return from_unsigned(vmovl_u8(vld1_u8(p))); }
inline void narrow(uint8_t* p, uint8_t* q, V v, V w) { vst1_u8(p, vqmovun_s16(v)), vst1_u8(q, vqmovun_s16(w)); }
inline V pair_sums(const uint8_t* p) { return from_unsigned(vpaddlq_u8(vld1q_u8(p))); }
inline bool any(V a) { return vmaxvq_u32(vreinterpretq_u32_s16(a)) != 0; }
inline V magnitude(V a) { return vabsq_s16(a); }
inline V with_sign(V a, V sign) {
    V negative = vshrq_n_s16(sign, 15);
    return vsubq_s16(veorq_s16(a, negative), negative);
}
inline V or_(V a, V b) { return vorrq_s16(a, b); }
inline V add(V a, V b) { return vaddq_s16(a, b); }
inline V sub(V a, V b) { return vsubq_s16(a, b); }
inline V add_saturated(V a, V b) { return vqaddq_s16(a, b); }
inline V sub_saturated(V a, V b) { return vqsubq_s16(a, b); }
inline V andnot(V mask, V a) { return vbicq_s16(a, mask); }
inline V mul(V a, V c) { return vqrdmulhq_s16(a, c); }
inline V mean_up(V a, V b) { return from_unsigned(vrhaddq_u16(as_unsigned(a), as_unsigned(b))); }
inline V smaller(V a, V b) { return vminq_s16(a, b); }
inline void narrow_woven(uint8_t* p, V even, V odd) {
    const uint8x8x2_t pair = {{vqmovun_s16(even), vqmovun_s16(odd)}};
    vst2_u8(p, pair);
}
inline V mulhi_unsigned(V a, V b) {
    uint32x4_t low = vmull_u16(vget_low_u16(as_unsigned(a)), vget_low_u16(as_unsigned(b)));
    uint32x4_t high = vmull_high_u16(as_unsigned(a), as_unsigned(b));
    return from_unsigned(vuzp2q_u16(vreinterpretq_u16_u32(low), vreinterpretq_u16_u32(high)));
}
inline V mullo(V a, V b) { return vmulq_s16(a, b); }
inline V and_(V a, V b) { return vandq_s16(a, b); }
inline V xor_(V a, V b) { return veorq_s16(a, b); }
template <int N> inline V shift_left(V a) { return vshlq_n_s16(a, N); }
template <int N> inline V shift_right(V a) { return vshrq_n_s16(a, N); }
template <int N> inline V shift_right_logical(V a) { return from_unsigned(vshrq_n_u16(as_unsigned(a), N)); }
inline V low16(V a, V b) { return vzip1q_s16(a, b); }
inline V high16(V a, V b) { return vzip2q_s16(a, b); }
inline V low32(V a, V b) { return from32(vzip1q_s32(as32(a), as32(b))); }
inline V high32(V a, V b) { return from32(vzip2q_s32(as32(a), as32(b))); }
inline V low64(V a, V b) { return from64(vzip1q_s64(as64(a), as64(b))); }
inline V high64(V a, V b) { return from64(vzip2q_s64(as64(a), as64(b))); }
inline V madd(V a, V b) {
    return from32(vpaddq_s32(vmull_s16(vget_low_s16(a), vget_low_s16(b)), vmull_high_s16(a, b)));
}
inline V add32(V a, V b) { return from32(vaddq_s32(as32(a), as32(b))); }
inline V splat32(int v) { return from32(vdupq_n_s32(v)); }
template <int N> inline V shift_right32(V a) { return from32(vshrq_n_s32(as32(a), N)); }
inline V pack32(V low, V high) { return vcombine_s16(vqmovn_s32(as32(low)), vqmovn_s32(as32(high))); }
inline uint32_t top_bits(V a) {
    const uint16x8_t each = {1, 2, 4, 8, 16, 32, 64, 128};
    return vaddvq_u16(vandq_u16(as_unsigned(vshrq_n_s16(a, 15)), each));
}
inline int least_of(V a) { return vminvq_s16(a); }
inline void store_minima(uint16_t* p, V a) { p[0] = vminvq_u16(as_unsigned(a)); }

#else
#error "no instruction set for this file"
#endif

// Sums of eight products, four at a time.
#if defined(__ARM_NEON)
using Products = int32x4_t;
inline Products products(const int16_t* a, const int16_t* b) {
    const int16x8_t x = vld1q_s16(a), y = vld1q_s16(b);
    return vmlal_high_s16(vmull_s16(vget_low_s16(x), vget_low_s16(y)), x, y);
}
inline Products plus(Products a, Products b) { return vaddq_s32(a, b); }
inline void store_sums(int32_t* p, const Products (&a)[4]) {
    vst1q_s32(p, vpaddq_s32(vpaddq_s32(a[0], a[1]), vpaddq_s32(a[2], a[3])));
}
#else
using Products = __m128i;
inline Products products(const int16_t* a, const int16_t* b) {
    return _mm_madd_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(a)),
                          _mm_loadu_si128(reinterpret_cast<const __m128i*>(b)));
}
inline Products plus(Products a, Products b) { return _mm_add_epi32(a, b); }
inline void store_sums(int32_t* p, const Products (&a)[4]) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p),
                     _mm_hadd_epi32(_mm_hadd_epi32(a[0], a[1]), _mm_hadd_epi32(a[2], a[3])));
}
#endif

}  // namespace
}  // namespace EG_NS
