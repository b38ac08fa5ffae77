// Rounding of pass 1 that helps the proof: the rule of edgeguard/dct/provable_rounding.py, on the blocks of a strip.
#pragma once

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
    for (int k = 0; k < 64; ++k) {
        const int over = (residuals[k] < 0 ? -residuals[k] : residuals[k]) - aim[k];
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

// `kept`: what was dequantised, times 16. The strip holds pass 1's pixels.
inline void mend_blocks(uint8_t* strip, int stride, int column, int columns, const Table& table, const Options& options,
                        const V (&kept)[8]) {
    if (table.flats_are_exact) {
        V others = and_(kept[0], load(table.not_dc_only));
        for (int v = 1; v < 8; ++v) others = or_(others, kept[v]);
        if (!any(others)) return;
    }
    V x[8];
    for (int i = 0; i < 8; ++i) x[i] = widen(strip + i * stride + column);
    forward_pixels(x);
    transpose(x);
    forward_1d(x);
    V beyond = splat(0);
    for (int v = 0; v < 8; ++v) {
        x[v] = sub(x[v], shift_left<1>(kept[v]));
        beyond = or_(beyond, sub_saturated(load(table.limit[v]), magnitude(x[v])));
    }
    if (!any(and_(beyond, splat(0x8000)))) return;
    alignas(64) int16_t flags[Lanes], rows[8][Lanes], residuals[64];
    store(flags, beyond);
    transpose(x);
    for (int u = 0; u < 8; ++u) store(rows[u], x[u]);
    for (int left = 0; left < Lanes && column + left < columns; left += 8) {
        bool is_short = false, is_hopeless = false;
        for (int u = 0; u < 8; ++u) {
            is_short |= flags[left + u] < 0;
            for (int v = 0; v < 8; ++v) {
                const int16_t r = rows[u][left + v];
                is_hopeless |= r >= Hopeless || r <= -Hopeless;
                residuals[8 * u + v] = static_cast<int16_t>(r * 32);
            }
        }
        if (!is_short || is_hopeless) continue;
        mend_block(strip + column + left, stride, residuals, table.aim, options.effects);
    }
}

template <class M> inline void strip_of(uint8_t* strip, int stride, int columns, const Table& table,
                                        const Options* options, uint16_t* margins) {
    for (int x = 0; x < columns; x += Lanes) {
        V kept[8];
        sanitize_blocks<M>(strip, stride, x, table, options, M::marked ? margins + x / 8 : nullptr, kept);
        if (M::helped) mend_blocks(strip, stride, x, columns, table, *options, kept);
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
