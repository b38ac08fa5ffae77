// Rounding of pass 1 that helps the proof: the rule of edgeguard/dct/provable_rounding.py, on the blocks of a strip.
#pragma once

#include <string.h>

#include "dct.h"
#include "kernel.h"
#include "lanes.h"

namespace EG_NS {
namespace {

constexpr int MaxChanges = 16, Hopeless = 896, LargestExcess = 181, LargestCost = 32767, ExcessBits = 4;
constexpr int Parts = 64 / Lanes;

// Bits of coefficients, natural order: those that cost something after some change of one pixel. What they cost now, and
// the one that is farthest beyond its aim.
struct Excess {
    uint64_t near;
    int cost, worst;
};

inline int lowest(uint64_t bits) { return __builtin_ctzll(bits); }

// The cost of residuals of so much beyond their aims.
inline V squares(V beyond) {
    const V part = smaller(shift_right<ExcessBits>(beyond), splat(LargestExcess));
    return mullo(part, part);
}

inline Excess excess_of(const int16_t* residuals, const Table& table) {
    Excess e = {0, 0, 0};
    V lacking[Parts];  // up to the aim; negative beyond it
    for (int i = 0; i < Parts; ++i) {
        lacking[i] = sub(load(table.aim + i * Lanes), magnitude(load(residuals + i * Lanes)));
    }
    V fewest = lacking[0];
    for (int i = 1; i < Parts; ++i) fewest = smaller(fewest, lacking[i]);
    const int least = least_of(fewest);
    if (least > -(1 << ExcessBits)) return e;
    V sums = splat(0);
    uint64_t others = 0;  // not the worst
    for (int i = 0; i < Parts; ++i) {
        const V room = sub_saturated(lacking[i], sub(load(table.reach + i * Lanes), splat((1 << ExcessBits) - 1)));
        e.near |= static_cast<uint64_t>(top_bits(room)) << (i * Lanes);
        others |= static_cast<uint64_t>(top_bits(sub_saturated(splat(least), lacking[i]))) << (i * Lanes);
        sums = add_saturated(sums, squares(sub(splat(0), smaller(lacking[i], splat(0)))));
    }
    e.worst = lowest(~others);
    alignas(64) int32_t pairs[Lanes / 2];
    store(pairs, madd(sums, splat(1)));
    for (int i = 0; i < Lanes / 2; ++i) e.cost += pairs[i];
    if (e.cost > LargestCost) e.cost = LargestCost;
    return e;
}

// The pixel whose change costs least, the first of them, or -1: of those whose cost is below `limit` and that stay within
// 0..255. `signs` are the directions of the changes.
inline int cheapest(V (&costs)[Parts], int limit, const int16_t* signs, const uint8_t* pixels, int stride) {
    for (;;) {
        V fewest = costs[0];
        for (int i = 1; i < Parts; ++i) fewest = smaller(fewest, costs[i]);
        const int least = least_of(fewest);
        if (least >= limit) return -1;
        uint64_t others = 0;
        for (int i = 0; i < Parts; ++i) {
            others |= static_cast<uint64_t>(top_bits(sub(splat(least), costs[i]))) << (i * Lanes);
        }
        for (uint64_t found = ~others; found != 0; found &= found - 1) {
            const int p = lowest(found), moved = pixels[(p >> 3) * stride + (p & 7)] + signs[p];
            if (moved >= 0 && moved <= 255) return p;
        }
        const V none = splat(LargestCost);  // none of those can move
        for (int i = 0; i < Parts; ++i) {
            const V is_more = shift_right<15>(sub(splat(least), costs[i]));
            costs[i] = or_(and_(costs[i], is_more), andnot(is_more, none));
        }
    }
}

// Natural order; residuals in 1/1024 coefficient.
inline void mend_block(uint8_t* pixels, int stride, int16_t* residuals, const Table& table, const int16_t* effects) {
    const int16_t* by_pixel = effects + 64 * 64;
    for (int change = 0; change < MaxChanges; ++change) {
        const Excess e = excess_of(residuals, table);
        if (e.cost == 0) return;
        V signs[Parts], sums[Parts];
        for (int i = 0; i < Parts; ++i) {
            signs[i] = with_sign(splat(residuals[e.worst] > 0 ? -1 : 1), load(effects + 64 * e.worst + i * Lanes));
            sums[i] = splat(0);
        }
        for (uint64_t left = e.near; left != 0; left &= left - 1) {
            const int k = lowest(left);
            const V now = splat(residuals[k]), free = splat(table.aim[k]);
            for (int i = 0; i < Parts; ++i) {
                const V size = magnitude(add(now, with_sign(load(effects + 64 * k + i * Lanes), signs[i])));
                sums[i] = add_saturated(sums[i], squares(sub(size, smaller(size, free))));
            }
        }
        alignas(64) int16_t directions[64];
        for (int i = 0; i < Parts; ++i) store(directions + i * Lanes, signs[i]);
        const int best = cheapest(sums, e.cost, directions, pixels, stride);
        if (best < 0) return;
        uint8_t& pixel = pixels[(best >> 3) * stride + (best & 7)];
        pixel = static_cast<uint8_t>(pixel + directions[best]);
        const V direction = splat(directions[best]);
        for (int k = 0; k < 64; k += Lanes) {
            store(residuals + k, add(load(residuals + k), with_sign(load(by_pixel + 64 * best + k), direction)));
        }
    }
}

// A block within a strip, and its place among the patterns where it varies in one direction only.
struct Place {
    uint8_t* pixels;
    int stride;
    Pattern* pattern;
    uint64_t key[2];
    int dc;  // level
};

// Pixels this far from 0 and 255 are neither clamped nor kept from a change.
constexpr int Far = MaxChanges;

inline Place place_of(uint8_t* pixels, int stride, const int16_t (*lines)[Lanes], int left, bool is_down, const Table& table) {
    Place p = {pixels, stride, nullptr, {0, 0}, lines[0][left] / 128 + 128};
    int16_t values[8];
    for (int k = 0; k < 8; ++k) values[k] = is_down ? lines[0][left + k] : lines[k][left];
    values[0] = static_cast<int16_t>(1 + 2 * table.number + is_down);
    memcpy(p.key, values, 16);
    const uint64_t mixed = (p.key[0] ^ p.key[1] * 0x9E3779B97F4A7C15u) * 0xD1B54A32D192ED03u;
    p.pattern = table.patterns + (mixed >> (64 - PatternBits));
    return p;
}

// Does what was done to such a block before; false where none was met.
inline bool repeated(const Place& p) {
    const Pattern& known = *p.pattern;
    if (known.key[0] != p.key[0] || known.key[1] != p.key[1]) return false;
    if (p.dc + known.least < Far || p.dc + known.most > 255 - Far) return false;
    for (int i = 0; known.changed && i < 8; ++i) {
        uint8_t* row = p.pixels + i * p.stride;
        for (int j = 0; j < 8; ++j) row[j] = static_cast<uint8_t>(row[j] + known.change[8 * i + j]);
    }
    return true;
}

inline void learn(const Place& p, const uint8_t (&before)[64]) {
    int least = 255, most = 0;
    Pattern& known = *p.pattern;
    known.changed = false;  // some cannot be mended
    for (int i = 0; i < 64; ++i) {
        const int was = before[i], change = p.pixels[(i >> 3) * p.stride + (i & 7)] - was;
        least = was < least ? was : least, most = was > most ? was : most;
        known.changed |= change != 0;
        known.change[i] = static_cast<int8_t>(change);
    }
    const bool is_far = least >= Far && most <= 255 - Far;
    known.key[0] = is_far ? p.key[0] : 0, known.key[1] = is_far ? p.key[1] : 0;
    known.least = static_cast<int16_t>(least - p.dc), known.most = static_cast<int16_t>(most - p.dc);
}

// Bits of lanes that are not zero.
inline uint32_t set_bits(V a) { return top_bits(or_(a, sub(splat(0), a))); }

// Whether any of block b's eight bits is set.
inline bool has(uint32_t bits, int b) { return (bits >> 8 * b & 0xFF) != 0; }

// Of the pixels in a strip: residuals, 1/32 coefficient, [v], lanes u. Bits of the lanes where one is beyond its limit.
inline uint32_t residuals_of(const uint8_t* strip, int stride, int column, const Table& table, const V (&kept)[8],
                             V (&x)[8]) {
    for (int i = 0; i < 8; ++i) x[i] = widen(strip + i * stride + column);
    forward_pixels(x);
    transpose(x);
    forward_1d(x);
    V beyond = splat(0);
    for (int v = 0; v < 8; ++v) {
        x[v] = sub(x[v], shift_left<1>(kept[v]));
        beyond = or_(beyond, sub_saturated(load(table.limit[v]), magnitude(x[v])));
    }
    return top_bits(beyond);
}

// Mends the wanted blocks of a vector that are beyond their limit (`x` and `beyond` as `residuals_of` gives them); those
// that still are stay wanted.
inline void mend_wanted(uint8_t* strip, int stride, int column, const Table& table, const Options& options,
                        const V (&kept)[8], V (&x)[8], uint32_t beyond, bool (&wanted)[Lanes / 8]) {
    bool any_wanted = false;
    for (int b = 0; b < Lanes / 8; ++b) {
        wanted[b] = wanted[b] && has(beyond, b);
        any_wanted |= wanted[b];
    }
    if (!any_wanted) return;
    alignas(64) int16_t rows[8][Lanes], residuals[64];
    V hopeful = splat(-1);
    transpose(x);
    for (int u = 0; u < 8; ++u) {
        hopeful = and_(hopeful, and_(sub_saturated(x[u], splat(Hopeless)), sub_saturated(splat(-Hopeless), x[u])));
        store(rows[u], shift_left<5>(x[u]));
    }
    const uint32_t hopeless = ~top_bits(hopeful);
    bool any_mended = false;
    for (int b = 0; b < Lanes / 8; ++b) {
        if (!wanted[b] || has(hopeless, b)) continue;
        for (int u = 0; u < 8; ++u) memcpy(residuals + 8 * u, rows[u] + 8 * b, 16);
        mend_block(strip + column + 8 * b, stride, residuals, table, options.effects);
        any_mended = true;
    }
    if (!any_mended) return;
    beyond = residuals_of(strip, stride, column, table, kept, x);
    for (int b = 0; b < Lanes / 8; ++b) wanted[b] = wanted[b] && has(beyond, b);
}

// Lowers the contrast of the wanted blocks, down to their mean, until they can be proven.
inline void lower_contrast(uint8_t* strip, int stride, int column, const Table& table, const Options& options,
                           const V (&coefficients)[8], bool (&wanted)[Lanes / 8]) {
    alignas(64) uint8_t tried[8 * Lanes];
    const V others = load(table.not_dc_only);
    for (int eighths = 7; eighths >= 0; --eighths) {
        V x[8], kept[8], unused[3] = {splat(0), splat(0), splat(0)};
        for (int v = 0; v < 8; ++v) x[v] = mul(coefficients[v], splat(4096 * eighths));
        x[0] = or_(and_(x[0], others), andnot(others, coefficients[0]));
        quantise<false>(x, table, unused);
        for (int v = 0; v < 8; ++v) kept[v] = x[v];
        const V bias = splat(128 * 32 + 16);
        inverse_1d<Plain>(x, bias);
        transpose(x);
        inverse_1d<Pixels>(x, bias);
        for (int i = 0; i < 8; i += 2) {
            narrow(tried + i * Lanes, tried + (i + 1) * Lanes, shift_right<5>(x[i]), shift_right<5>(x[i + 1]));
        }
        bool still[Lanes / 8];
        memcpy(still, wanted, sizeof still);
        const uint32_t beyond = residuals_of(tried, Lanes, 0, table, kept, x);
        mend_wanted(tried, Lanes, 0, table, options, kept, x, beyond, still);
        bool any_wanted = false;
        for (int b = 0; b < Lanes / 8; ++b) {
            for (int i = 0; wanted[b] && !still[b] && i < 8; ++i) {
                memcpy(strip + i * stride + column + 8 * b, tried + i * Lanes + 8 * b, 8);
            }
            wanted[b] = still[b];
            any_wanted |= still[b];
        }
        if (!any_wanted) return;
    }
}

// `coefficients` and `kept` as `sanitize_blocks` gives them. The strip holds pass 1's pixels. Few vectors come beyond the
// second transform, so that blocks that vary in one direction only are told apart behind it.
inline void mend_blocks(uint8_t* strip, int stride, int column, int columns, const Table& table, const Options& options,
                        const V (&coefficients)[8], const V (&kept)[8]) {
    V across = or_(kept[1], kept[2]);
    for (int v = 3; v < 8; ++v) across = or_(across, kept[v]);
    const V down = and_(or_(kept[0], across), load(table.not_dc_only));
    if (table.flats_are_exact && !any(or_(across, down))) return;
    V x[8];
    const uint32_t beyond = residuals_of(strip, stride, column, table, kept, x);
    if (beyond == 0) return;
    const uint32_t across_bits = set_bits(across), down_bits = set_bits(down);
    alignas(64) int16_t lines[8][Lanes];
    for (int v = 0; v < 8; ++v) store(lines[v], kept[v]);
    bool wanted[Lanes / 8], is_new[Lanes / 8], any_wanted = false;
    Place places[Lanes / 8];
    uint8_t before[Lanes / 8][64];
    for (int b = 0; b < Lanes / 8; ++b) {
        const int left = 8 * b;
        uint8_t* pixels = strip + column + left;
        wanted[b] = column + left < columns && has(beyond, b);
        const bool is_across = has(across_bits, b), is_down = has(down_bits, b);
        is_new[b] = wanted[b] && table.flats_are_exact && is_across != is_down;
        if (!is_new[b]) continue;
        places[b] = place_of(pixels, stride, lines, left, is_down, table);
        is_new[b] = wanted[b] = !repeated(places[b]);
        for (int i = 0; is_new[b] && i < 8; ++i) memcpy(before[b] + 8 * i, pixels + i * stride, 8);
    }
    mend_wanted(strip, stride, column, table, options, kept, x, beyond, wanted);
    for (int b = 0; b < Lanes / 8; ++b) {
        any_wanted |= wanted[b];
        if (is_new[b] && !wanted[b]) learn(places[b], before[b]);
    }
    if (!any_wanted) return;
    lower_contrast(strip, stride, column, table, options, coefficients, wanted);
}

template <class M> inline void strip_of(uint8_t* strip, int stride, int columns, const Table& table,
                                        const Options* options, uint16_t* margins) {
    for (int x = 0; x < columns; x += Lanes) {
        V coefficients[8], kept[8];
        sanitize_blocks<M>(strip, stride, x, table, options, M::marked ? margins + x / 8 : nullptr, coefficients, kept);
        if (M::helped) mend_blocks(strip, stride, x, columns, table, *options, coefficients, kept);
    }
}

inline void sanitize_strip(uint8_t* strip, int stride, int columns, const Table& table) {
    strip_of<Nothing>(strip, stride, columns, table, nullptr, nullptr);
}

// A strip with what the options say; `margins` is its row of blocks.
inline void sanitize_strip(uint8_t* strip, int stride, int columns, const Table& table, const Options* options,
                           uint16_t* margins) {
    if (options == nullptr) return strip_of<Nothing>(strip, stride, columns, table, nullptr, nullptr);
    const bool before = options->room_before != 0, after = options->room_after != 0;
    if (options->limits != nullptr) {
        if (before) return strip_of<Mode<true, false, false, true>>(strip, stride, columns, table, options, margins);
        return strip_of<Mode<false, false, false, true>>(strip, stride, columns, table, options, margins);
    }
    if (margins != nullptr) {
        if (after) return strip_of<Mode<false, true, true, false>>(strip, stride, columns, table, options, margins);
        return strip_of<Mode<false, false, true, false>>(strip, stride, columns, table, options, margins);
    }
    if (before && after) return strip_of<Mode<true, true, false, false>>(strip, stride, columns, table, options, margins);
    if (before) return strip_of<Mode<true, false, false, false>>(strip, stride, columns, table, options, margins);
    if (after) return strip_of<Mode<false, true, false, false>>(strip, stride, columns, table, options, margins);
    strip_of<Nothing>(strip, stride, columns, table, nullptr, nullptr);
}

}  // namespace
}  // namespace EG_NS
