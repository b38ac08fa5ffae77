// Colour and chroma sampling in 16-bit lanes: the rules of edgeguard/dct/color.py, on rows of planes.
//
// Rows may be read and written up to a multiple of 64 columns.
#pragma once

#include "lanes.h"

namespace EG_NS {
namespace {

// Luma exactly as libjpeg, (19595 R + 38470 G + 7471 B + 32768) >> 16, of 2 * Lanes pixels. The weights are split into
// bytes, so that 16 bits suffice: floor((256 high + low + 32768) / 65536) is (high + 128 + (low >> 8)) >> 8.
#if defined(__ARM_NEON)

inline void luma_levels(const uint8_t* r, const uint8_t* g, const uint8_t* b, uint8_t* y) {
    for (int x = 0; x < 2 * Lanes; x += 8) {
        const uint8x8_t red = vld1_u8(r + x), green = vld1_u8(g + x), blue = vld1_u8(b + x);
        const uint16x8_t high = vmlal_u8(vmlal_u8(vmull_u8(red, vdup_n_u8(76)), green, vdup_n_u8(150)), blue, vdup_n_u8(29));
        const uint16x8_t low = vmlal_u8(vmlal_u8(vmull_u8(red, vdup_n_u8(139)), green, vdup_n_u8(70)), blue, vdup_n_u8(47));
        vst1_u8(y + x, vrshrn_n_u16(vsraq_n_u16(high, low, 8), 8));
    }
}

#else

// maddubs takes signed weights: 38470 G is 65536 G, added as a byte at the end, less 27066 G; 19595 is 77 * 256 - 117.
// The second lane of `b` is 2, times 64 the half of `high`.
inline V luma_part(V rg, V b) {
    const V high = add(madd8(rg, splat_pair8(77, -106)), madd8(b, splat_pair8(29, 64)));
    const V low = add(madd8(rg, splat_pair8(-117, 70)), madd8(b, splat_pair8(47, 0)));
    return shift_right_logical<8>(add(high, shift_right<8>(low)));
}
inline void luma_levels(const uint8_t* r, const uint8_t* g, const uint8_t* b, uint8_t* y) {
    const V red = load(r), green = load(g), blue = load(b), two = splat_pair8(2, 2);
    const V low = luma_part(low8(red, green), low8(blue, two)), high = luma_part(high8(red, green), high8(blue, two));
    store(y, add8(pack8(low, high), green));
}

#endif

inline void luma_row(const uint8_t* r, const uint8_t* g, const uint8_t* b, uint8_t* y, int columns) {
    for (int x = 0; x < columns; x += 2 * Lanes) luma_levels(r + x, g + x, b + x, y + x);
}

// Chroma of the sums over 1, 2 or 4 pixels, exactly: color.py's `rgb_to_chroma`. Shift is 16, 17 or 18. As the weights
// of each chroma sum to 0, two differences hold everything: `gr` and `gb` are green less red and less blue.
template <int Shift> inline V chroma(V gr_gb_low, V gr_gb_high, int gr_weight, int gb_weight) {
    const V bias = splat32((128 << Shift) + (1 << (Shift - 1)) - 1), weights = low16(splat(gr_weight), splat(gb_weight));
    return pack32(shift_right32<Shift>(add32(bias, madd(gr_gb_low, weights))),
                  shift_right32<Shift>(add32(bias, madd(gr_gb_high, weights))));
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
            const V gr = sub(g, r), gb = sub(g, b), low = low16(gr, gb), high = high16(gr, gb);
            blue[half] = chroma<Sum::Shift>(low, high, 11059, -32768);
            red[half] = chroma<Sum::Shift>(low, high, -32768, 5329);
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

// Sums over the rows of chroma that the triangle filter needs, around 0: the row itself for 4:2:2, three parts of the
// nearer row and one of the farther for 4:2:0; with one more sum at both ends.
inline void chroma_sums(const uint8_t* near, const uint8_t* far, int16_t* sums, int columns) {
    const V centre = splat(far == nullptr ? 128 : 512);
    for (int x = 0; x < columns; x += Lanes) {
        V here = widen(near + x), sum = far == nullptr ? here : add(add(here, add(here, here)), widen(far + x));
        store(sums + x, sub(sum, centre));
    }
    sums[-1] = sums[0];
    sums[columns] = sums[columns - 1];
}

// libjpeg's triangle filter over the columns ("fancy upsampling"), for even and odd pixels: (even + 8) >> 4 and
// (odd + 7) >> 4 for 4:2:0, (even + 1) >> 2 and (odd + 2) >> 2 for 4:2:2. mul(a, 2**(15 - n)) is (a + 2**(n - 1)) >> n.
template <int Shift> struct Woven {
    V even, odd;
    explicit Woven(const int16_t* sums) {
        const V here = load(sums), three = add(here, add(here, here)), less = sub(three, splat(1));
        const V scale = splat(1 << (15 - Shift));
        even = mul(add(Shift == 4 ? three : less, load(sums - 1)), scale);
        odd = mul(add(Shift == 4 ? less : three, load(sums + 1)), scale);
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
