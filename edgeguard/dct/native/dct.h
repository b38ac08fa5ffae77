// The integer DCT, quantiser and inverse of edgeguard/dct/integer_dct.py in 16-bit lanes, on a strip of eight rows.
#pragma once

#include "kernel.h"
#include "lanes.h"

namespace EG_NS {
namespace {

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

// The first four rows of the transpose.
inline void transpose_low(V (&r)[8]) {
    V a0 = low16(r[0], r[1]), a2 = low16(r[2], r[3]), a4 = low16(r[4], r[5]), a6 = low16(r[6], r[7]);
    V b0 = low32(a0, a2), b1 = high32(a0, a2), b4 = low32(a4, a6), b5 = high32(a4, a6);
    r[0] = low64(b0, b4), r[1] = high64(b0, b4), r[2] = low64(b1, b5), r[3] = high64(b1, b5);
}

// Outputs 1, 2, 3, 5, 6 and 7; outputs 0 and 4 come from the sums s0 + s3 and s1 + s2.
inline void forward_products(V (&x)[8], V u0, V u1, V d0, V d1, V d2, V d3) {
    const V c1 = splat(C1), c2 = splat(C2), c3 = splat(C3), c5 = splat(C5), c6 = splat(C6), c7 = splat(C7);
    x[2] = add(mul(u0, c2), mul(u1, c6));
    x[6] = sub(mul(u0, c6), mul(u1, c2));
    x[1] = add(add(mul(d0, c1), mul(d1, c3)), add(mul(d2, c5), mul(d3, c7)));
    x[3] = sub(sub(mul(d0, c3), mul(d1, c7)), add(mul(d2, c1), mul(d3, c5)));
    x[5] = add(sub(mul(d0, c5), mul(d1, c1)), add(mul(d2, c7), mul(d3, c3)));
    x[7] = add(sub(mul(d0, c7), mul(d1, c5)), sub(mul(d2, c3), mul(d3, c1)));
}

// The first pass, on x instead of 16 (x - 128): only output 0 sees the shift, as 16 * 128 * 8 / 2, and the halvings of
// multiples of 16 are exact.
inline void forward_pixels(V (&x)[8]) {
    V s0 = add(x[0], x[7]), s1 = add(x[1], x[6]), s2 = add(x[2], x[5]), s3 = add(x[3], x[4]);
    V d0 = sub(x[0], x[7]), d1 = sub(x[1], x[6]), d2 = sub(x[2], x[5]), d3 = sub(x[3], x[4]);
    V t0 = add(s0, s3), t1 = add(s1, s2);
    forward_products(x, shift_left<4>(sub(s0, s3)), shift_left<4>(sub(s1, s2)), shift_left<4>(d0), shift_left<4>(d1),
                     shift_left<4>(d2), shift_left<4>(d3));
    x[0] = sub(shift_left<3>(add(t0, t1)), splat(8192));
    x[4] = shift_left<3>(sub(t0, t1));
}

inline void forward_1d(V (&x)[8]) {
    V s0 = add(x[0], x[7]), s1 = add(x[1], x[6]), s2 = add(x[2], x[5]), s3 = add(x[3], x[4]);
    V d0 = sub(x[0], x[7]), d1 = sub(x[1], x[6]), d2 = sub(x[2], x[5]), d3 = sub(x[3], x[4]);
    V t0 = mul(add(s0, s3), splat(Half)), t1 = mul(add(s1, s2), splat(Half));
    forward_products(x, sub(s0, s3), sub(s1, s2), d0, d1, d2, d3);
    x[0] = add(t0, t1);
    x[4] = sub(t0, t1);
}

// How an inverse pass ends: the first one as it is, the second one with 128 levels and half a unit added, saturating
// (where a room is undone, 128 levels less the room).
// The bias could leave int16 only beyond 895 levels; there every later value stays far above 255 levels.
struct Plain {
    static V biased(V a, V) { return a; }
    static V plus(V a, V b) { return add(a, b); }
    static V minus(V a, V b) { return sub(a, b); }
};
struct Pixels {
    static V biased(V a, V bias) { return add_saturated(a, bias); }
    static V plus(V a, V b) { return add_saturated(a, b); }
    static V minus(V a, V b) { return sub_saturated(a, b); }
};

template <class End> inline void inverse_outputs(V (&y)[8], V a0, V a1, V b0, V b1, V o0, V o1, V o2, V o3) {
    V e0 = End::plus(a0, b0), e1 = End::plus(a1, b1), e2 = End::minus(a1, b1), e3 = End::minus(a0, b0);
    y[0] = End::plus(e0, o0), y[1] = End::plus(e1, o1), y[2] = End::plus(e2, o2), y[3] = End::plus(e3, o3);
    y[4] = End::minus(e3, o3), y[5] = End::minus(e2, o2), y[6] = End::minus(e1, o1), y[7] = End::minus(e0, o0);
}

template <class End> inline void inverse_1d(V (&y)[8], V bias) {
    const V c1 = splat(C1), c2 = splat(C2), c3 = splat(C3), c5 = splat(C5), c6 = splat(C6), c7 = splat(C7);
    const V half = splat(Half);
    V a0 = End::biased(mul(add(y[0], y[4]), half), bias), a1 = End::biased(mul(sub(y[0], y[4]), half), bias);
    V b0 = add(mul(y[2], c2), mul(y[6], c6)), b1 = sub(mul(y[2], c6), mul(y[6], c2));
    V o0 = add(add(mul(y[1], c1), mul(y[3], c3)), add(mul(y[5], c5), mul(y[7], c7)));
    V o1 = sub(sub(mul(y[1], c3), mul(y[3], c7)), add(mul(y[5], c1), mul(y[7], c5)));
    V o2 = add(sub(mul(y[1], c5), mul(y[3], c1)), add(mul(y[5], c7), mul(y[7], c3)));
    V o3 = add(sub(mul(y[1], c7), mul(y[3], c5)), sub(mul(y[5], c3), mul(y[7], c1)));
    inverse_outputs<End>(y, a0, a1, b0, b1, o0, o1, o2, o3);
}

// inverse_1d where y[4..7] are zero: the same values, as mul(0, c) is 0.
template <class End> inline void inverse_1d_low(V (&y)[8], V bias) {
    const V c1 = splat(C1), c2 = splat(C2), c3 = splat(C3), c5 = splat(C5), c6 = splat(C6), c7 = splat(C7);
    V a = End::biased(mul(y[0], splat(Half)), bias), b0 = mul(y[2], c2), b1 = mul(y[2], c6);
    V o0 = add(mul(y[1], c1), mul(y[3], c3)), o1 = sub(mul(y[1], c3), mul(y[3], c7));
    V o2 = sub(mul(y[1], c5), mul(y[3], c1)), o3 = sub(mul(y[1], c7), mul(y[3], c5));
    inverse_outputs<End>(y, a, a, b0, b1, o0, o1, o2, o3);
}

// 16 times step times index, the index being |c|/32 divided by QS, half away from zero, exactly:
// floor((|c| + 16 QS) / (32 QS)) is floor(n / (16 QS)) with n = (|c| + 16 QS) >> 1, which rounding the mean of |c| and
// 16 QS - 1 up gives; the division is two multiplications by a reciprocal (kernel.h).
// `nearest` collects the distances to the quantiser's boundaries, in 1/16 coefficient, rounded down: the remainder of
// the division, or what the remainder lacks.
template <bool Marked> inline V levels(V size, const Table& table, int v, V& nearest) {
    V n = mean_up(size, load(table.round[v]));
    V quotient = mulhi_unsigned(mulhi_unsigned(n, load(table.reciprocal[v])), load(table.shift[v]));
    V found = mullo(quotient, load(table.step16[v]));
    if (Marked) {
        const V over = sub(n, found);
        nearest = smaller(nearest, smaller(over, sub(load(table.round[v]), over)));
    }
    return found;
}

// Which of `nearest` a column of coefficients belongs to: A and the roundings are equal within each.
constexpr int Kind[8] = {0, 1, 2, 1, 0, 1, 2, 1};

template <bool Marked> inline void quantise(V (&x)[8], const Table& table, V (&nearest)[3]) {
    // The DC is centred on 128 * 8. With its top bit flipped it is the unshifted value, 0..2**16 - 1: never negative, so
    // its lane keeps the value instead of the magnitude, and a positive sign. JPEG's colours keep it centred (kernel.h).
    const V dc = load(table.dc_lane), others = load(table.not_dc_lane);
    V size = or_(and_(magnitude(x[0]), others), andnot(others, xor_(x[0], dc)));
    V sign = or_(and_(x[0], others), load(table.dc_sign));
    x[0] = sub(with_sign(levels<Marked>(size, table, 0, nearest[0]), sign), load(table.dc_offset));
    for (int v = 1; v < 8; ++v) {
        x[v] = with_sign(levels<Marked>(magnitude(x[v]), table, v, nearest[Kind[v]]), x[v]);
    }
}

// The margins of the blocks, in 1/256 level, rounded down.
inline void store_margins(const V (&nearest)[3], const Table& table, uint16_t* margins) {
    V least = splat(0x7FFF);
    for (int kind = 0; kind < 3; ++kind) {
        const V free = sub(shift_left<1>(nearest[kind]), load(table.loss[kind])), zero = splat(0);
        const V positive = sub(free, smaller(free, zero));
        least = smaller(least, mulhi_unsigned(shift_left<3>(positive), load(table.gain[kind])));
    }
    store_minima(margins, least);
}

// What a pass does beside the transform; see Options.
template <bool Mapped, bool Undone, bool Marked, bool Helped> struct Mode {
    static constexpr bool mapped = Mapped, undone = Undone, marked = Marked, helped = Helped;
};
using Nothing = Mode<false, false, false, false>;

// Writes sanitised pixels over the strip's. Helped: gives the coefficients, and what they were dequantised to, times 16,
// both [v], lanes u.
template <class M> inline void sanitize_blocks(uint8_t* strip, int stride, int column, const Table& table,
                                               const Options* options, uint16_t* margins, V (&coefficients)[8],
                                               V (&kept)[8]) {
    V x[8];
    for (int i = 0; i < 8; ++i) x[i] = widen(strip + i * stride + column);
    forward_pixels(x);
    transpose(x);
    forward_1d(x);  // x[v], lanes u
    if (M::mapped) {
        const V scale = splat(table.room_scale);
        for (int v = 0; v < 8; ++v) x[v] = mul(x[v], scale);
        x[0] = add(x[0], load(table.dc_room));
    }
    if (M::helped) {
        for (int v = 0; v < 8; ++v) coefficients[v] = x[v];
    }
    V nearest[3] = {splat(0x7FFF), splat(0x7FFF), splat(0x7FFF)};
    quantise<M::marked>(x, table, nearest);
    if (M::marked) store_margins(nearest, table, margins);
    if (M::helped) {
        for (int v = 0; v < 8; ++v) kept[v] = x[v];
    }
    const V bias = splat(M::undone ? 32 * (128 - options->room_after) : 128 * 32 + 16);
    // Most blocks keep nothing outside their 4x4 corner.
    const V corner = or_(or_(x[0], x[1]), or_(x[2], x[3]));
    const V outside = or_(or_(or_(x[4], x[5]), or_(x[6], x[7])), and_(corner, load(table.high_lanes)));
    if (any(outside)) {
        inverse_1d<Plain>(x, bias);  // over v: x[column], lanes u
        transpose(x);
        inverse_1d<Pixels>(x, bias);  // over u: x[row], lanes column
    } else {
        inverse_1d_low<Plain>(x, bias);
        transpose_low(x);
        inverse_1d_low<Pixels>(x, bias);
    }
    const V undoing = splat(table.undo_scale);
    for (int i = 0; i < 8; i += 2) {
        uint8_t* row = strip + i * stride + column;
        if (M::undone) {
            narrow(row, row + stride, mul(x[i], undoing), mul(x[i + 1], undoing));
        } else {
            narrow(row, row + stride, shift_right<5>(x[i]), shift_right<5>(x[i + 1]));
        }
    }
}

}  // namespace
}  // namespace EG_NS
