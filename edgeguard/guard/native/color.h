// Colour and chroma sampling in 16-bit lanes: the rules of edgeguard/guard/color.py, on rows of planes.
//
// Rows may be read and written up to a multiple of 64 columns.
#pragma once

#include "lanes.h"

namespace EG_NS {
namespace {

// Luma exactly as libjpeg: (19595 R + 38470 G + 7471 B + 32768) >> 16; 38470 is 65536 - 27066.
inline V luma(V r, V g, V b) {
    const V rg = low16(splat(19595), splat(-27066)), bh = low16(splat(7471), splat(16384)), two = splat(2);
    V low = add32(madd(low16(r, g), rg), madd(low16(b, two), bh));
    V high = add32(madd(high16(r, g), rg), madd(high16(b, two), bh));
    return add(pack32(shift_right32<16>(low), shift_right32<16>(high)), g);
}

inline void luma_row(const uint8_t* r, const uint8_t* g, const uint8_t* b, uint8_t* y, int columns) {
    for (int x = 0; x < columns; x += 2 * Lanes) {
        const int next = x + Lanes;
        narrow(y + x, y + next, luma(widen(r + x), widen(g + x), widen(b + x)),
               luma(widen(r + next), widen(g + next), widen(b + next)));
    }
}

// Chroma of colours with seven fractional bits (0..32640): color.py's `chroma`.
struct Chroma {
    V cb, cr;
};
inline Chroma chroma(V r, V g, V b) {
    V y = add(add(mul(r, splat(9798)), mul(g, splat(19235))), mul(b, splat(3735)));
    const V centre = splat(128 * 128 + 64);
    return {shift_right_logical<7>(add(mul(sub(b, y), splat(18492)), centre)),
            shift_right_logical<7>(add(mul(sub(r, y), splat(23372)), centre))};
}

// Means over 1x1, 2x1 or 2x2 pixels with seven fractional bits. `next` is the row below.
struct Mean444 {
    static constexpr int Step = 1;
    static V of(const uint8_t* row, const uint8_t*) { return shift_left<7>(widen(row)); }
};
struct Mean422 {
    static constexpr int Step = 2;
    static V of(const uint8_t* row, const uint8_t*) { return shift_left<6>(pair_sums(row)); }
};
struct Mean420 {
    static constexpr int Step = 2;
    static V of(const uint8_t* row, const uint8_t* next) { return shift_left<5>(add(pair_sums(row), pair_sums(next))); }
};

// `rows` holds the planes R, G, B of the upper row, then of the lower one, `stride` bytes apart.
template <class Mean>
inline void chroma_row(const uint8_t* rows, int stride, uint8_t* cb, uint8_t* cr, int columns) {
    for (int x = 0; x < columns; x += 2 * Lanes) {
        Chroma c[2];
        for (int half = 0; half < 2; ++half) {
            const uint8_t* p = rows + (x + half * Lanes) * Mean::Step;
            c[half] = chroma(Mean::of(p, p + 3 * stride), Mean::of(p + stride, p + 4 * stride),
                             Mean::of(p + 2 * stride, p + 5 * stride));
        }
        narrow(cb + x, cb + x + Lanes, c[0].cb, c[1].cb);
        narrow(cr + x, cr + x + Lanes, c[0].cr, c[1].cr);
    }
}

// libjpeg's triangle filter ("fancy upsampling"): twice the columns, from column sums with a neighbour at both ends.
template <int Shift, int EvenBias, int OddBias>
inline void upsample_columns(const int16_t* sums, uint8_t* out, int columns) {
    for (int x = 0; x < columns; x += Lanes) {
        V here = load(sums + x);
        V three = add(here, add(here, here));
        V even = shift_right<Shift>(add(add(three, load(sums + x - 1)), splat(EvenBias)));
        V odd = shift_right<Shift>(add(add(three, load(sums + x + 1)), splat(OddBias)));
        store(out + 2 * x, or_(even, shift_left<8>(odd)));
    }
}

// The ends of a row of `columns` sums.
inline void repeat_ends(int16_t* sums, int columns) {
    sums[-1] = sums[0];
    sums[columns] = sums[columns - 1];
}

inline void upsample_422(const uint8_t* row, int16_t* sums, uint8_t* out, int columns) {
    for (int x = 0; x < columns; x += Lanes) store(sums + x, widen(row + x));
    repeat_ends(sums, columns);
    upsample_columns<2, 1, 2>(sums, out, columns);
}

inline void upsample_420(const uint8_t* near, const uint8_t* far, int16_t* sums, uint8_t* out, int columns) {
    for (int x = 0; x < columns; x += Lanes) {
        V here = widen(near + x);
        store(sums + x, add(add(here, add(here, here)), widen(far + x)));
    }
    repeat_ends(sums, columns);
    upsample_columns<4, 8, 7>(sums, out, columns);
}

// YCbCr to RGB, color.py's `ycbcr_to_rgb`; y may be r, cb may be g, cr may be b.
inline void rgb_row(const uint8_t* y, const uint8_t* cb, const uint8_t* cr, uint8_t* r, uint8_t* g, uint8_t* b,
                    int columns) {
    const V centre = splat(128);
    for (int x = 0; x < columns; x += 2 * Lanes) {
        V red[2], green[2], blue[2];
        for (int half = 0; half < 2; ++half) {
            const int at = x + half * Lanes;
            V light = widen(y + at), u = sub(widen(cb + at), centre), v = sub(widen(cr + at), centre);
            V mixed = add(mul(shift_left<7>(u), splat(11277)), mul(shift_left<7>(v), splat(23401)));
            red[half] = add(light, add(v, mul(v, splat(13173))));
            green[half] = add(light, shift_right<7>(sub(splat(64), mixed)));
            blue[half] = add(light, add(u, mul(u, splat(25297))));
        }
        narrow(r + x, r + x + Lanes, red[0], red[1]);
        narrow(g + x, g + x + Lanes, green[0], green[1]);
        narrow(b + x, b + x + Lanes, blue[0], blue[1]);
    }
}

}  // namespace
}  // namespace EG_NS
