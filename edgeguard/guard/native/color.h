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

// (a x + b y) and (c z) of 16-bit lanes, 32 bits: the chroma away from its colour, times 2**16.
struct Wide {
    V low, high;
};
inline Wide weigh(V x, V y, int a, int b, V z) {
    const V pair = low16(splat(a), splat(b)), single = low16(splat(-32768), splat(0)), none = splat(0);
    return {add32(madd(low16(x, y), pair), madd(low16(z, none), single)),
            add32(madd(high16(x, y), pair), madd(high16(z, none), single))};
}

// Chroma of the sums over 1, 2 or 4 pixels, exactly: color.py's `rgb_to_chroma`. Shift is 16, 17 or 18.
template <int Shift> inline V chroma(V x, V y, int a, int b, V z) {
    const V bias = splat32((128 << Shift) + (1 << (Shift - 1)) - 1);
    const Wide sum = weigh(x, y, a, b, z);
    return pack32(shift_right32<Shift>(sub32(bias, sum.low)), shift_right32<Shift>(sub32(bias, sum.high)));
}

// Sums over 1x1, 2x1 or 2x2 pixels. `next` is the row below.
struct Sum444 {
    static constexpr int Step = 1, Shift = 16;
    static V of(const uint8_t* row, const uint8_t*) { return widen(row); }
};
struct Sum422 {
    static constexpr int Step = 2, Shift = 17;
    static V of(const uint8_t* row, const uint8_t*) { return pair_sums(row); }
};
struct Sum420 {
    static constexpr int Step = 2, Shift = 18;
    static V of(const uint8_t* row, const uint8_t* next) { return add(pair_sums(row), pair_sums(next)); }
};

// `rows` holds the planes R, G, B of the upper row, then of the lower one, `stride` bytes apart.
template <class Sum>
inline void chroma_row(const uint8_t* rows, int stride, uint8_t* cb, uint8_t* cr, int columns) {
    for (int x = 0; x < columns; x += 2 * Lanes) {
        V blue[2], red[2];
        for (int half = 0; half < 2; ++half) {
            const uint8_t* p = rows + (x + half * Lanes) * Sum::Step;
            const V r = Sum::of(p, p + 3 * stride), g = Sum::of(p + stride, p + 4 * stride),
                    b = Sum::of(p + 2 * stride, p + 5 * stride);
            blue[half] = chroma<Sum::Shift>(r, g, 11059, 21709, b);
            red[half] = chroma<Sum::Shift>(g, b, 27439, 5329, r);
        }
        narrow(cb + x, cb + x + Lanes, blue[0], blue[1]);
        narrow(cr + x, cr + x + Lanes, red[0], red[1]);
    }
}

// JFIF's conversion of one vector, chroma around 0: color.py's `ycbcr_to_rgb`.
struct Rgb {
    V r, g, b;
};
inline Rgb to_rgb(V y, V u, V v) {
    V mixed = add(mul(shift_left<7>(u), splat(11277)), mul(shift_left<7>(v), splat(23401)));
    return {add(y, add(v, mul(v, splat(13173)))), add(y, shift_right<7>(sub(splat(64), mixed))),
            add(y, add(u, mul(u, splat(25297))))};
}

// 4:4:4: y may be r, cb may be g, cr may be b.
inline void rgb_row(const uint8_t* y, const uint8_t* cb, const uint8_t* cr, uint8_t* r, uint8_t* g, uint8_t* b,
                    int columns) {
    const V centre = splat(128);
    for (int x = 0; x < columns; x += 2 * Lanes) {
        const int next = x + Lanes;
        Rgb p = to_rgb(widen(y + x), sub(widen(cb + x), centre), sub(widen(cr + x), centre));
        Rgb q = to_rgb(widen(y + next), sub(widen(cb + next), centre), sub(widen(cr + next), centre));
        narrow(r + x, r + next, p.r, q.r);
        narrow(g + x, g + next, p.g, q.g);
        narrow(b + x, b + next, p.b, q.b);
    }
}

// Sums over the rows of chroma that the triangle filter needs: the row itself for 4:2:2, three parts of the nearer row
// and one of the farther for 4:2:0; with one more sum at both ends.
inline void chroma_sums(const uint8_t* near, const uint8_t* far, int16_t* sums, int columns) {
    for (int x = 0; x < columns; x += Lanes) {
        V here = widen(near + x);
        store(sums + x, far == nullptr ? here : add(add(here, add(here, here)), widen(far + x)));
    }
    sums[-1] = sums[0];
    sums[columns] = sums[columns - 1];
}

// libjpeg's triangle filter over the columns ("fancy upsampling"), chroma around 0, for even and odd pixels.
template <int Shift> struct Woven {
    V even, odd;
    explicit Woven(const int16_t* sums) {
        constexpr int Centre = 128 << Shift, Even = Shift == 4 ? 8 : 1, Odd = Shift == 4 ? 7 : 2;
        V here = load(sums), three = add(here, add(here, here));
        even = shift_right<Shift>(add(add(three, load(sums - 1)), splat(Even - Centre)));
        odd = shift_right<Shift>(add(add(three, load(sums + 1)), splat(Odd - Centre)));
    }
};

// 4:2:2 (Shift 2) and 4:2:0 (Shift 4): `columns` chroma samples, twice as many pixels.
template <int Shift>
inline void rgb_row_wide(const uint8_t* y, const int16_t* u_sums, const int16_t* v_sums, uint8_t* r, uint8_t* g,
                         uint8_t* b, int columns) {
    for (int x = 0; x < columns; x += Lanes) {
        const Woven<Shift> u(u_sums + x), v(v_sums + x);
        const V light = load(y + 2 * x);
        const Rgb p = to_rgb(and_(light, splat(255)), u.even, v.even);
        const Rgb q = to_rgb(shift_right_logical<8>(light), u.odd, v.odd);
        narrow_woven(r + 2 * x, p.r, q.r);
        narrow_woven(g + 2 * x, p.g, q.g);
        narrow_woven(b + 2 * x, p.b, q.b);
    }
}

}  // namespace
}  // namespace EG_NS
