// Moving pixels: interleaved RGB to planes and back, `Pixels` at a time. Planes may be read and written up to a multiple
// of 64 columns.
#pragma once

#include <string.h>

#include "kernel.h"
#include "lanes.h"

namespace EG_NS {
namespace {

#if defined(__ARM_NEON)

constexpr int PixelGroup = 16;
inline void split_rgb(const uint8_t* rgb, uint8_t* r, uint8_t* g, uint8_t* b) {
    const uint8x16x3_t v = vld3q_u8(rgb);
    vst1q_u8(r, v.val[0]), vst1q_u8(g, v.val[1]), vst1q_u8(b, v.val[2]);
}
inline void merge_rgb(uint8_t* rgb, const uint8_t* r, const uint8_t* g, const uint8_t* b, uint8_t flip) {
    const uint8x16_t mask = vdupq_n_u8(flip);
    const uint8x16x3_t v = {{veorq_u8(vld1q_u8(r), mask), veorq_u8(vld1q_u8(g), mask), veorq_u8(vld1q_u8(b), mask)}};
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

#if defined(__AVX2__)

// Two groups of 16 pixels, one in each half of the vectors.
constexpr int PixelGroup = 32;
inline __m256i load_halves(const uint8_t* low, const uint8_t* high) {
    return _mm256_inserti128_si256(_mm256_castsi128_si256(load16(low)), load16(high), 1);
}
inline __m256i shuffled(__m256i a, __m256i b, __m256i c, const uint8_t (&masks)[3][16]) {
    const __m256i ma = _mm256_broadcastsi128_si256(load16(masks[0]));
    const __m256i mb = _mm256_broadcastsi128_si256(load16(masks[1]));
    const __m256i mc = _mm256_broadcastsi128_si256(load16(masks[2]));
    return _mm256_or_si256(_mm256_or_si256(_mm256_shuffle_epi8(a, ma), _mm256_shuffle_epi8(b, mb)),
                           _mm256_shuffle_epi8(c, mc));
}
inline __m256i load32(const uint8_t* p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)); }
inline void store32(uint8_t* p, __m256i v) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), v); }
inline void split_rgb(const uint8_t* rgb, uint8_t* r, uint8_t* g, uint8_t* b) {
    const __m256i x = load_halves(rgb, rgb + 48), y = load_halves(rgb + 16, rgb + 64), z = load_halves(rgb + 32, rgb + 80);
    store32(r, shuffled(x, y, z, kShuffles.split[0]));
    store32(g, shuffled(x, y, z, kShuffles.split[1]));
    store32(b, shuffled(x, y, z, kShuffles.split[2]));
}
inline void merge_rgb(uint8_t* rgb, const uint8_t* r, const uint8_t* g, const uint8_t* b, uint8_t flip) {
    const __m256i mask = _mm256_set1_epi8(static_cast<char>(flip));
    const __m256i x = load32(r), y = load32(g), z = load32(b);
    for (int piece = 0; piece < 3; ++piece) {
        const __m256i v = _mm256_xor_si256(shuffled(x, y, z, kShuffles.merge[piece]), mask);
        store16(rgb + 16 * piece, _mm256_castsi256_si128(v));
        store16(rgb + 48 + 16 * piece, _mm256_extracti128_si256(v, 1));
    }
}

#else

constexpr int PixelGroup = 16;
inline __m128i shuffled(__m128i a, __m128i b, __m128i c, const uint8_t (&masks)[3][16]) {
    return _mm_or_si128(
        _mm_or_si128(_mm_shuffle_epi8(a, load16(masks[0])), _mm_shuffle_epi8(b, load16(masks[1]))),
        _mm_shuffle_epi8(c, load16(masks[2])));
}
inline void split_rgb(const uint8_t* rgb, uint8_t* r, uint8_t* g, uint8_t* b) {
    const __m128i x = load16(rgb), y = load16(rgb + 16), z = load16(rgb + 32);
    store16(r, shuffled(x, y, z, kShuffles.split[0]));
    store16(g, shuffled(x, y, z, kShuffles.split[1]));
    store16(b, shuffled(x, y, z, kShuffles.split[2]));
}
inline void merge_rgb(uint8_t* rgb, const uint8_t* r, const uint8_t* g, const uint8_t* b, uint8_t flip) {
    const __m128i mask = _mm_set1_epi8(static_cast<char>(flip));
    const __m128i x = load16(r), y = load16(g), z = load16(b);
    for (int piece = 0; piece < 3; ++piece) {
        store16(rgb + 16 * piece, _mm_xor_si128(shuffled(x, y, z, kShuffles.merge[piece]), mask));
    }
}

#endif
#endif

// Asks for the bytes `ahead` of this group: those of the strip after this one, which then arrive while this one is
// transformed. Worth 10 % at 1280x720 and 25 % at 1920x1080, where frames outgrow the cache.
template <int ForWriting> inline void prefetch_group(const uint8_t* p, ptrdiff_t ahead) {
    for (int byte = 0; byte < 3 * PixelGroup; byte += 64) __builtin_prefetch(p + ahead + byte, ForWriting, 2);
}

// One row of the frame to planes of `padded` columns, the last pixel repeated.
inline void split_row(const uint8_t* rgb, int width, int padded, uint8_t* r, uint8_t* g, uint8_t* b, ptrdiff_t ahead) {
    int x = 0;
    for (; x + PixelGroup <= width; x += PixelGroup) {
        prefetch_group<0>(rgb + 3 * x, ahead);
        split_rgb(rgb + 3 * x, r + x, g + x, b + x);
    }
    for (; x < width; ++x) r[x] = rgb[3 * x], g[x] = rgb[3 * x + 1], b[x] = rgb[3 * x + 2];
    if (width < padded) {
        memset(r + width, r[width - 1], padded - width);
        memset(g + width, g[width - 1], padded - width);
        memset(b + width, b[width - 1], padded - width);
    }
}

// `width` columns of three planes to interleaved pixels.
inline void merge_row(uint8_t* rgb, const uint8_t* r, const uint8_t* g, const uint8_t* b, int width, uint8_t flip,
                      ptrdiff_t ahead) {
    int x = 0;
    for (; x + PixelGroup <= width; x += PixelGroup) {
        prefetch_group<1>(rgb + 3 * x, ahead);
        merge_rgb(rgb + 3 * x, r + x, g + x, b + x, flip);
    }
    for (; x < width; ++x) {
        rgb[3 * x] = r[x] ^ flip, rgb[3 * x + 1] = g[x] ^ flip, rgb[3 * x + 2] = b[x] ^ flip;
    }
}

}  // namespace
}  // namespace EG_NS
