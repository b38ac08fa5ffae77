// Rounding of pass 1 that helps the proof: the rule of edgeguard/dct/provable_rounding.py, on the blocks of a strip.
#pragma once

#include <string.h>

#include "dct.h"
#include "kernel.h"
#include "lanes.h"

namespace EG_NS {
namespace {

constexpr int MaxChanges = 16, Hopeless = 896, LargestEffect = 247, LargestExcess = 181, LargestCost = 32767;
constexpr int Parts = 64 / Lanes;

// The coefficients that a change of one pixel may bring beyond their aim, the worst of them, and what they cost now.
struct Excess {
    int count, worst, cost;
    int8_t which[64];
};

inline Excess excess_of(const int16_t* residuals, const int16_t* aim) {
    Excess e;
    e.count = e.worst = e.cost = 0;
    int largest = -32768;
    alignas(64) int16_t beyond[64];
    for (int k = 0; k < 64; k += Lanes) store(beyond + k, sub(magnitude(load(residuals + k)), load(aim + k)));
    for (int k = 0; k < 64; ++k) {
        const int over = beyond[k];
        if (over <= -LargestEffect) continue;
        e.which[e.count++] = static_cast<int8_t>(k);
        if (over > largest) largest = over, e.worst = k;
        if (over <= 0) continue;
        const int part = (over >> 4) < LargestExcess ? over >> 4 : LargestExcess;
        e.cost += part * part;
    }
    if (e.cost > LargestCost) e.cost = LargestCost;
    return e;
}

// Natural order; residuals in 1/1024 coefficient.
inline void mend_block(uint8_t* pixels, int stride, int16_t* residuals, const int16_t* aim, const int16_t* effects) {
    const int16_t* by_pixel = effects + 64 * 64;
    alignas(64) int16_t costs[64];
    for (int change = 0; change < MaxChanges; ++change) {
        const Excess e = excess_of(residuals, aim);
        if (e.cost == 0) return;
        V signs[Parts], sums[Parts];
        for (int i = 0; i < Parts; ++i) {
            signs[i] = with_sign(splat(residuals[e.worst] > 0 ? -1 : 1), load(effects + 64 * e.worst + i * Lanes));
            sums[i] = splat(0);
        }
        for (int n = 0; n < e.count; ++n) {
            const int k = e.which[n];
            const V now = splat(residuals[k]), free = splat(aim[k]), most = splat(LargestExcess);
            for (int i = 0; i < Parts; ++i) {
                const V size = magnitude(add(now, with_sign(load(effects + 64 * k + i * Lanes), signs[i])));
                const V part = smaller(shift_right<4>(sub(size, smaller(size, free))), most);
                sums[i] = add_saturated(sums[i], mullo(part, part));
            }
        }
        for (int i = 0; i < Parts; ++i) store(costs + i * Lanes, sums[i]);
        V fewest = sums[0];
        for (int i = 1; i < Parts; ++i) fewest = smaller(fewest, sums[i]);
        if (!any(and_(sub(fewest, splat(e.cost)), splat(0x8000)))) return;
        int least = e.cost, best = -1, sign = 0;
        for (int p = 0; p < 64; ++p) {
            if (costs[p] >= least) continue;
            const int up = (effects[64 * e.worst + p] > 0) == (residuals[e.worst] > 0) ? -1 : 1;
            const int moved = pixels[(p >> 3) * stride + (p & 7)] + up;
            if (moved < 0 || moved > 255) continue;
            least = costs[p], best = p, sign = up;
        }
        if (best < 0) return;
        uint8_t& pixel = pixels[(best >> 3) * stride + (best & 7)];
        pixel = static_cast<uint8_t>(pixel + sign);
        const V direction = splat(sign);
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

inline bool any_of_eight(const int16_t* values) {
    uint64_t halves[2];
    memcpy(halves, values, 16);
    return (halves[0] | halves[1]) != 0;
}

// What is left to do in a vector of blocks after flat ones and known patterns.
struct Open {
    bool any;
    bool block[Lanes / 8];
    Place place[Lanes / 8];  // pattern is null where the block varies in both directions
};

inline Open open_blocks(uint8_t* strip, int stride, int column, int columns, const Table& table, const V (&kept)[8]) {
    Open open;
    open.any = false;
    alignas(64) int16_t lines[8][Lanes], across[Lanes], down[Lanes];
    V any_across = or_(kept[1], kept[2]);
    for (int v = 3; v < 8; ++v) any_across = or_(any_across, kept[v]);
    store(across, any_across), store(down, and_(or_(kept[0], any_across), load(table.not_dc_only)));
    bool has_lines = false;
    for (int b = 0; b < Lanes / 8; ++b) {
        const int left = 8 * b;
        uint8_t* pixels = strip + column + left;
        open.block[b] = column + left < columns;
        open.place[b] = {pixels, stride, nullptr, {0, 0}, 0};
        if (!open.block[b]) continue;
        if (table.flats_are_exact) {
            const bool is_across = any_of_eight(across + left), is_down = any_of_eight(down + left);
            if (!is_across && !is_down) {
                open.block[b] = false;
            } else if (is_across != is_down) {
                for (int v = 0; v < 8 && !has_lines; ++v) store(lines[v], kept[v]);
                has_lines = true;
                open.place[b] = place_of(pixels, stride, lines, left, is_down, table);
                open.block[b] = !repeated(open.place[b]);
            }
        }
        open.any |= open.block[b];
    }
    return open;
}

// Of the pixels in a strip: residuals, 1/32 coefficient, [v], lanes u; the lanes where they are beyond the limit have the top
// bit of the result.
inline V residuals_of(const uint8_t* strip, int stride, int column, const Table& table, const V (&kept)[8], V (&x)[8]) {
    for (int i = 0; i < 8; ++i) x[i] = widen(strip + i * stride + column);
    forward_pixels(x);
    transpose(x);
    forward_1d(x);
    V beyond = splat(0);
    for (int v = 0; v < 8; ++v) {
        x[v] = sub(x[v], shift_left<1>(kept[v]));
        beyond = or_(beyond, sub_saturated(load(table.limit[v]), magnitude(x[v])));
    }
    return and_(beyond, splat(0x8000));
}

// Mends the wanted blocks of a vector that are beyond their limit; those that still are stay wanted.
inline void mend_wanted(uint8_t* strip, int stride, int column, const Table& table, const Options& options,
                        const V (&kept)[8], bool (&wanted)[Lanes / 8]) {
    V x[8];
    alignas(64) int16_t flags[Lanes], rows[8][Lanes], residuals[64];
    store(flags, residuals_of(strip, stride, column, table, kept, x));
    bool any_mended = false;
    transpose(x);
    for (int u = 0; u < 8; ++u) store(rows[u], x[u]);
    for (int b = 0; b < Lanes / 8; ++b) {
        wanted[b] = wanted[b] && any_of_eight(flags + 8 * b);
        if (!wanted[b]) continue;
        bool is_hopeless = false;
        for (int u = 0; u < 8; ++u) {
            for (int v = 0; v < 8; ++v) {
                const int16_t r = rows[u][8 * b + v];
                is_hopeless |= r >= Hopeless || r <= -Hopeless;
                residuals[8 * u + v] = static_cast<int16_t>(r * 32);
            }
        }
        if (is_hopeless) continue;
        mend_block(strip + column + 8 * b, stride, residuals, table.aim, options.effects);
        any_mended = true;
    }
    if (!any_mended) return;
    store(flags, residuals_of(strip, stride, column, table, kept, x));
    for (int b = 0; b < Lanes / 8; ++b) wanted[b] = wanted[b] && any_of_eight(flags + 8 * b);
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
        mend_wanted(tried, Lanes, 0, table, options, kept, still);
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

// `coefficients` and `kept` as `sanitize_blocks` gives them. The strip holds pass 1's pixels.
inline void mend_blocks(uint8_t* strip, int stride, int column, int columns, const Table& table, const Options& options,
                        const V (&coefficients)[8], const V (&kept)[8]) {
    const Open open = open_blocks(strip, stride, column, columns, table, kept);
    if (!open.any) return;
    V x[8];
    const V beyond = residuals_of(strip, stride, column, table, kept, x);
    if (!any(beyond)) return;
    alignas(64) int16_t flags[Lanes];
    store(flags, beyond);
    bool was_short[Lanes / 8], wanted[Lanes / 8], any_short = false, any_wanted = false;
    uint8_t before[Lanes / 8][64];
    for (int b = 0; b < Lanes / 8; ++b) {
        was_short[b] = wanted[b] = open.block[b] && any_of_eight(flags + 8 * b);
        any_short |= wanted[b];
        for (int i = 0; wanted[b] && i < 8; ++i) memcpy(before[b] + 8 * i, open.place[b].pixels + i * stride, 8);
    }
    if (!any_short) return;
    mend_wanted(strip, stride, column, table, options, kept, wanted);
    for (int b = 0; b < Lanes / 8; ++b) {
        any_wanted |= wanted[b];
        if (was_short[b] && !wanted[b] && open.place[b].pattern != nullptr) learn(open.place[b], before[b]);
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
