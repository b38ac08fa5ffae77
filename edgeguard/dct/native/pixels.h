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

// Bytes of three 16-byte pieces of 16 interleaved pixels against three planes. As 16 is 1 modulo 3, byte i of a piece
// belongs to another channel in each piece; so one choice among three vectors by i modulo 3 and one shuffle do.
struct Shuffles {
    uint8_t third[3][16];  // all ones where i modulo 3 is the index
    uint8_t split[3][16];  // [channel]
    uint8_t merge[3][16];  // [channel]
};
constexpr Shuffles make_shuffles() {
    Shuffles s{};
    for (int c = 0; c < 3; ++c) {
        for (int i = 0; i < 16; ++i) {
            s.third[c][i] = i % 3 == c ? 0xFF : 0;
            s.split[c][i] = static_cast<uint8_t>((3 * i + c) % 16);
            s.merge[c][i] = static_cast<uint8_t>((16 * ((c + 15 - i) % 3) + i) / 3);
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
using Bytes = __m256i;
inline Bytes both_halves(const uint8_t* p) { return _mm256_broadcastsi128_si256(load16(p)); }
inline Bytes load_bytes(const uint8_t* p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)); }
inline void store_bytes(uint8_t* p, Bytes v) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), v); }
inline Bytes load_piece(const uint8_t* p) {
    return _mm256_inserti128_si256(_mm256_castsi128_si256(load16(p)), load16(p + 48), 1);
}
inline void store_piece(uint8_t* p, Bytes v) {
    store16(p, _mm256_castsi256_si128(v)), store16(p + 48, _mm256_extracti128_si256(v, 1));
}
inline Bytes shuffled(Bytes v, const uint8_t* order) { return _mm256_shuffle_epi8(v, both_halves(order)); }
inline Bytes chosen(Bytes v, Bytes w, const uint8_t* w_where) { return _mm256_blendv_epi8(v, w, both_halves(w_where)); }
inline Bytes flipped(Bytes v, uint8_t flip) { return _mm256_xor_si256(v, _mm256_set1_epi8(static_cast<char>(flip))); }

#else

constexpr int PixelGroup = 16;
using Bytes = __m128i;
inline Bytes load_bytes(const uint8_t* p) { return load16(p); }
inline void store_bytes(uint8_t* p, Bytes v) { store16(p, v); }
inline Bytes load_piece(const uint8_t* p) { return load16(p); }
inline void store_piece(uint8_t* p, Bytes v) { store16(p, v); }
inline Bytes shuffled(Bytes v, const uint8_t* order) { return _mm_shuffle_epi8(v, load16(order)); }
inline Bytes chosen(Bytes v, Bytes w, const uint8_t* w_where) { return _mm_blendv_epi8(v, w, load16(w_where)); }
inline Bytes flipped(Bytes v, uint8_t flip) { return _mm_xor_si128(v, _mm_set1_epi8(static_cast<char>(flip))); }

#endif

// Byte i from the vector i modulo 3.
inline Bytes thirds(Bytes v0, Bytes v1, Bytes v2) {
    return chosen(chosen(v0, v1, kShuffles.third[1]), v2, kShuffles.third[2]);
}
inline void split_rgb(const uint8_t* rgb, uint8_t* r, uint8_t* g, uint8_t* b) {
    const Bytes x = load_piece(rgb), y = load_piece(rgb + 16), z = load_piece(rgb + 32);
    store_bytes(r, shuffled(thirds(x, z, y), kShuffles.split[0]));
    store_bytes(g, shuffled(thirds(y, x, z), kShuffles.split[1]));
    store_bytes(b, shuffled(thirds(z, y, x), kShuffles.split[2]));
}
inline void merge_rgb(uint8_t* rgb, const uint8_t* r, const uint8_t* g, const uint8_t* b, uint8_t flip) {
    const Bytes x = flipped(shuffled(load_bytes(r), kShuffles.merge[0]), flip);
    const Bytes y = flipped(shuffled(load_bytes(g), kShuffles.merge[1]), flip);
    const Bytes z = flipped(shuffled(load_bytes(b), kShuffles.merge[2]), flip);
    store_piece(rgb, thirds(x, y, z));
    store_piece(rgb + 16, thirds(y, z, x));
    store_piece(rgb + 32, thirds(z, x, y));
}

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
