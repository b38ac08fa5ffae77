// The integer sanitiser of edgeguard/guard/integer.py in 16-bit lanes: the same bytes, one strip of blocks at a time.
//
// This file is compiled once for each instruction set, each time into its own namespace (EG_NS). It uses no std::
// inlines: a weak symbol built for AVX2 could otherwise end up in baseline code.
//
// Layout. A strip is eight rows of one channel, uint8, `padded` columns (a multiple of Lanes). A vector holds one row
// of one block (8 lanes) or of two neighbouring ones (16 lanes); all shuffles stay inside 8 lanes, so blocks never mix.

#include "kernel.h"

#if defined(__AVX2__) || defined(__SSE4_1__)
#include <immintrin.h>
#elif defined(__ARM_NEON)
#include <arm_neon.h>
#endif

namespace EG_NS {
namespace {

#if defined(__AVX2__)

constexpr int Lanes = 16;
using V = __m256i;
inline V splat(int v) { return _mm256_set1_epi16(static_cast<short>(v)); }
inline V load(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }
// Both 8-lane halves get the same eight constants.
inline V load_twice(const void* p) { return _mm256_broadcastsi128_si256(_mm_loadu_si128(static_cast<const __m128i*>(p))); }
inline V widen(const uint8_t* p) { return _mm256_cvtepu8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))); }
inline void narrow(uint8_t* p, uint8_t* q, V v, V w) {
    V packed = _mm256_permute4x64_epi64(_mm256_packus_epi16(v, w), 0xD8);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm256_castsi256_si128(packed));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(q), _mm256_extracti128_si256(packed, 1));
}
inline V magnitude(V a) { return _mm256_abs_epi16(a); }
inline V with_sign(V a, V sign) { return _mm256_sign_epi16(a, sign); }
inline V or_(V a, V b) { return _mm256_or_si256(a, b); }
inline V add(V a, V b) { return _mm256_add_epi16(a, b); }
inline V sub(V a, V b) { return _mm256_sub_epi16(a, b); }
inline V mul(V a, V c) { return _mm256_mulhrs_epi16(a, c); }
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

#elif defined(__SSE4_1__)

constexpr int Lanes = 8;
using V = __m128i;
inline V splat(int v) { return _mm_set1_epi16(static_cast<short>(v)); }
inline V load(const void* p) { return _mm_loadu_si128(static_cast<const __m128i*>(p)); }
inline V load_twice(const void* p) { return load(p); }
inline V widen(const uint8_t* p) { return _mm_cvtepu8_epi16(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))); }
inline void narrow(uint8_t* p, uint8_t* q, V v, V w) {
    V packed = _mm_packus_epi16(v, w);
    _mm_storel_epi64(reinterpret_cast<__m128i*>(p), packed);
    _mm_storeh_pd(reinterpret_cast<double*>(q), _mm_castsi128_pd(packed));
}
inline V magnitude(V a) { return _mm_abs_epi16(a); }
inline V with_sign(V a, V sign) { return _mm_sign_epi16(a, sign); }
inline V or_(V a, V b) { return _mm_or_si128(a, b); }
inline V add(V a, V b) { return _mm_add_epi16(a, b); }
inline V sub(V a, V b) { return _mm_sub_epi16(a, b); }
inline V mul(V a, V c) { return _mm_mulhrs_epi16(a, c); }
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
inline V load_twice(const void* p) { return load(p); }
inline V widen(const uint8_t* p) { return from_unsigned(vmovl_u8(vld1_u8(p))); }
inline void narrow(uint8_t* p, uint8_t* q, V v, V w) { vst1_u8(p, vqmovun_s16(v)), vst1_u8(q, vqmovun_s16(w)); }
inline V magnitude(V a) { return vabsq_s16(a); }
inline V with_sign(V a, V sign) {
    V negative = vshrq_n_s16(sign, 15);
    return vsubq_s16(veorq_s16(a, negative), negative);
}
inline V or_(V a, V b) { return vorrq_s16(a, b); }
inline V add(V a, V b) { return vaddq_s16(a, b); }
inline V sub(V a, V b) { return vsubq_s16(a, b); }
inline V mul(V a, V c) { return vqrdmulhq_s16(a, c); }
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

#else
#error "no instruction set for this file"
#endif

// 2**15 sqrt(1/2) cos(k pi / 16): COS of integer.py.
constexpr int C1 = 22725, C2 = 21407, C3 = 19266, C5 = 12873, C6 = 8867, C7 = 4520;
constexpr int Half = 16384;  // mul(a, Half) is (a + 1) >> 1

inline void transpose(V (&r)[8]) {
    V a0 = low16(r[0], r[1]), a1 = high16(r[0], r[1]), a2 = low16(r[2], r[3]), a3 = high16(r[2], r[3]);
    V a4 = low16(r[4], r[5]), a5 = high16(r[4], r[5]), a6 = low16(r[6], r[7]), a7 = high16(r[6], r[7]);
    V b0 = low32(a0, a2), b1 = high32(a0, a2), b2 = low32(a1, a3), b3 = high32(a1, a3);
    V b4 = low32(a4, a6), b5 = high32(a4, a6), b6 = low32(a5, a7), b7 = high32(a5, a7);
    r[0] = low64(b0, b4), r[1] = high64(b0, b4), r[2] = low64(b1, b5), r[3] = high64(b1, b5);
    r[4] = low64(b2, b6), r[5] = high64(b2, b6), r[6] = low64(b3, b7), r[7] = high64(b3, b7);
}

inline void forward_1d(V (&x)[8]) {
    const V c1 = splat(C1), c2 = splat(C2), c3 = splat(C3), c5 = splat(C5), c6 = splat(C6), c7 = splat(C7);
    const V half = splat(Half);
    V s0 = add(x[0], x[7]), s1 = add(x[1], x[6]), s2 = add(x[2], x[5]), s3 = add(x[3], x[4]);
    V d0 = sub(x[0], x[7]), d1 = sub(x[1], x[6]), d2 = sub(x[2], x[5]), d3 = sub(x[3], x[4]);
    V t0 = mul(add(s0, s3), half), t1 = mul(add(s1, s2), half);
    V u0 = sub(s0, s3), u1 = sub(s1, s2);
    x[0] = add(t0, t1);
    x[4] = sub(t0, t1);
    x[2] = add(mul(u0, c2), mul(u1, c6));
    x[6] = sub(mul(u0, c6), mul(u1, c2));
    x[1] = add(add(mul(d0, c1), mul(d1, c3)), add(mul(d2, c5), mul(d3, c7)));
    x[3] = sub(sub(mul(d0, c3), mul(d1, c7)), add(mul(d2, c1), mul(d3, c5)));
    x[5] = add(sub(mul(d0, c5), mul(d1, c1)), add(mul(d2, c7), mul(d3, c3)));
    x[7] = add(sub(mul(d0, c7), mul(d1, c5)), sub(mul(d2, c3), mul(d3, c1)));
}

inline void inverse_1d(V (&y)[8]) {
    const V c1 = splat(C1), c2 = splat(C2), c3 = splat(C3), c5 = splat(C5), c6 = splat(C6), c7 = splat(C7);
    const V half = splat(Half);
    V a0 = mul(add(y[0], y[4]), half), a1 = mul(sub(y[0], y[4]), half);
    V b0 = add(mul(y[2], c2), mul(y[6], c6)), b1 = sub(mul(y[2], c6), mul(y[6], c2));
    V e0 = add(a0, b0), e1 = add(a1, b1), e2 = sub(a1, b1), e3 = sub(a0, b0);
    V o0 = add(add(mul(y[1], c1), mul(y[3], c3)), add(mul(y[5], c5), mul(y[7], c7)));
    V o1 = sub(sub(mul(y[1], c3), mul(y[3], c7)), add(mul(y[5], c1), mul(y[7], c5)));
    V o2 = add(sub(mul(y[1], c5), mul(y[3], c1)), add(mul(y[5], c7), mul(y[7], c3)));
    V o3 = add(sub(mul(y[1], c7), mul(y[3], c5)), sub(mul(y[5], c3), mul(y[7], c1)));
    y[0] = add(e0, o0), y[1] = add(e1, o1), y[2] = add(e2, o2), y[3] = add(e3, o3);
    y[4] = sub(e3, o3), y[5] = sub(e2, o2), y[6] = sub(e1, o1), y[7] = sub(e0, o0);
}

// Index times step of |c|/32 + 1/2, half away from zero, exactly: floor((|c| + 16 QS) / (32 QS)) is
// floor((|c| / 2 + 8 QS) / (16 QS)), and the division is two multiplications by a reciprocal (kernel.h).
inline V levels(V size, const Table& table, int v) {
    V n = add(shift_right_logical<1>(size), load_twice(table.step8[v]));
    V quotient = mulhi_unsigned(mulhi_unsigned(n, load_twice(table.reciprocal[v])), load_twice(table.shift[v]));
    return mullo(quotient, load_twice(table.step[v]));
}

inline void sanitize_block_row(uint8_t* strip, int padded, int column, const Table& table) {
    V x[8];
    for (int i = 0; i < 8; ++i) x[i] = shift_left<4>(sub(widen(strip + i * padded + column), splat(128)));
    forward_1d(x);
    transpose(x);
    forward_1d(x);  // x[v], lanes u
    {
        // The DC is centred on 128 * 8. With its top bit flipped it is the unshifted value, 0..2**16 - 1: never negative,
        // so its lane keeps the value instead of the magnitude, and a positive sign.
        const V dc = load_twice(table.dc_lane), others = load_twice(table.not_dc_lane);
        V size = or_(and_(magnitude(x[0]), others), and_(xor_(x[0], dc), xor_(others, splat(-1))));
        V sign = or_(and_(x[0], others), load_twice(table.dc_sign));
        x[0] = shift_left<4>(sub(with_sign(levels(size, table, 0), sign), load_twice(table.dc_offset)));
    }
    for (int v = 1; v < 8; ++v) x[v] = shift_left<4>(with_sign(levels(magnitude(x[v]), table, v), x[v]));
    inverse_1d(x);  // over v: x[column], lanes u
    transpose(x);
    inverse_1d(x);  // over u: x[row], lanes column
    // mul(a, 1024) is (a + 16) >> 5; narrow() clamps to 0..255
    for (int i = 0; i < 8; ++i) x[i] = add(mul(x[i], splat(1024)), splat(128));
    for (int i = 0; i < 8; i += 2) {
        uint8_t* row = strip + i * padded + column;
        narrow(row, row + padded, x[i], x[i + 1]);
    }
}

// Sixteen interleaved RGB pixels to three planes and back.
#if defined(__ARM_NEON)

inline void split_rgb(const uint8_t* rgb, uint8_t* p0, uint8_t* p1, uint8_t* p2) {
    const uint8x16x3_t v = vld3q_u8(rgb);
    vst1q_u8(p0, v.val[0]), vst1q_u8(p1, v.val[1]), vst1q_u8(p2, v.val[2]);
}
inline void merge_rgb(uint8_t* rgb, const uint8_t* p0, const uint8_t* p1, const uint8_t* p2) {
    const uint8x16x3_t v = {{vld1q_u8(p0), vld1q_u8(p1), vld1q_u8(p2)}};
    vst3q_u8(rgb, v);
}

#else

// Byte shuffles between the three 16-byte pieces of 16 interleaved pixels and three planes; 0x80 gives zero.
struct Shuffles {
    uint8_t split[3][3][16];  // [channel][piece]
    uint8_t merge[3][3][16];  // [piece][channel]
};
constexpr Shuffles make_shuffles() {
    Shuffles s{};
    for (int c = 0; c < 3; ++c) {
        for (int piece = 0; piece < 3; ++piece) {
            for (int i = 0; i < 16; ++i) {
                const int from = 3 * i + c - 16 * piece;
                s.split[c][piece][i] = static_cast<uint8_t>(from >= 0 && from < 16 ? from : 0x80);
                const int place = 16 * piece + i;
                s.merge[piece][c][i] = static_cast<uint8_t>(place % 3 == c ? place / 3 : 0x80);
            }
        }
    }
    return s;
}
constexpr Shuffles kShuffles = make_shuffles();

inline __m128i load16(const uint8_t* p) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p)); }
inline void store16(uint8_t* p, __m128i v) { _mm_storeu_si128(reinterpret_cast<__m128i*>(p), v); }
inline __m128i shuffled(__m128i a, __m128i b, __m128i c, const uint8_t (&masks)[3][16]) {
    return _mm_or_si128(
        _mm_or_si128(_mm_shuffle_epi8(a, load16(masks[0])), _mm_shuffle_epi8(b, load16(masks[1]))),
        _mm_shuffle_epi8(c, load16(masks[2])));
}
inline void split_rgb(const uint8_t* rgb, uint8_t* p0, uint8_t* p1, uint8_t* p2) {
    const __m128i a = load16(rgb), b = load16(rgb + 16), c = load16(rgb + 32);
    store16(p0, shuffled(a, b, c, kShuffles.split[0]));
    store16(p1, shuffled(a, b, c, kShuffles.split[1]));
    store16(p2, shuffled(a, b, c, kShuffles.split[2]));
}
inline void merge_rgb(uint8_t* rgb, const uint8_t* p0, const uint8_t* p1, const uint8_t* p2) {
    const __m128i a = load16(p0), b = load16(p1), c = load16(p2);
    store16(rgb, shuffled(a, b, c, kShuffles.merge[0]));
    store16(rgb + 16, shuffled(a, b, c, kShuffles.merge[1]));
    store16(rgb + 32, shuffled(a, b, c, kShuffles.merge[2]));
}

#endif

// Eight rows of the frame to one planar strip per channel, edges repeated.
inline void gather(const Frame& f, int top, uint8_t* strips) {
    const int plane = 8 * f.padded, whole = f.width / 16 * 16;
    for (int i = 0; i < 8; ++i) {
        const int row = top + i < f.height ? top + i : f.height - 1;
        const uint8_t* source = f.source + row * f.source_stride;
        uint8_t* line = strips + i * f.padded;
        if (f.channels == 3) {
            for (int x = 0; x < whole; x += 16) {
                split_rgb(source + 3 * x, line + x, line + plane + x, line + 2 * plane + x);
            }
            for (int x = whole; x < f.width; ++x) {
                for (int c = 0; c < 3; ++c) line[c * plane + x] = source[3 * x + c];
            }
        } else {
            for (int x = 0; x < f.width; ++x) line[x] = source[x];
        }
        for (int c = 0; c < f.channels; ++c) {
            for (int x = f.width; x < f.padded; ++x) line[c * plane + x] = line[c * plane + f.width - 1];
        }
    }
}

inline void scatter(const Frame& f, int top, const uint8_t* strips) {
    const int rows = f.height - top < 8 ? f.height - top : 8;
    const int plane = 8 * f.padded, whole = f.width / 16 * 16;
    for (int i = 0; i < rows; ++i) {
        uint8_t* target = f.target + (top + i) * f.target_stride;
        const uint8_t* line = strips + i * f.padded;
        if (f.channels == 3) {
            for (int x = 0; x < whole; x += 16) {
                merge_rgb(target + 3 * x, line + x, line + plane + x, line + 2 * plane + x);
            }
            for (int x = whole; x < f.width; ++x) {
                for (int c = 0; c < 3; ++c) target[3 * x + c] = line[c * plane + x];
            }
        } else {
            for (int x = 0; x < f.width; ++x) target[x] = line[x];
        }
    }
}

}  // namespace

void sanitize_frame(const Frame& f, const Table* tables, uint8_t* strips) {
    for (int top = 0; top < f.height; top += 8) {
        gather(f, top, strips);
        for (int c = 0; c < f.channels; ++c) {
            uint8_t* strip = strips + c * 8 * f.padded;
            for (int x = 0; x < f.padded; x += Lanes) sanitize_block_row(strip, f.padded, x, tables[c]);
        }
        scatter(f, top, strips);
    }
}

}  // namespace EG_NS
