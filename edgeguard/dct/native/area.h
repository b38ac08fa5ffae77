// Resizing by area, row by row: the rule of edgeguard/preprocess/area_resize.py.
//
// An output pixel is the mean of the source pixels under it. Weights are multiples of 2**-14 that add up to 1. Rows are
// summed first, as 16-bit lanes with seven fractional bits around 128; a finished row is then summed over its columns.
#pragma once

#include <string.h>

#include "kernel.h"
#include "lanes.h"
#include "pixels.h"

namespace EG_NS {
namespace {

// The share of source row `row` in output row `out`, times 2**14: differences of rounded cumulative shares.
inline int row_weight(const Area& a, int row, int out) {
    const int64_t size = a.height, pixel = static_cast<int64_t>(a.scale) * a.out_height;
    const int64_t start = static_cast<int64_t>(a.top) * a.out_height + out * size, end = start + size;
    int64_t from = row * pixel, to = from + pixel;
    from = (from < start ? start : from) - start, to = (to > end ? end : to) - start;
    return to <= from ? 0 : static_cast<int>((16384 * to + size / 2) / size - (16384 * from + size / 2) / size);
}

inline void add_row(const uint8_t* row, int16_t* sums, int columns, int weight, bool fresh) {
    const V w = splat(weight), top = splat(0x8000);
    for (int x = 0; x < columns; x += Lanes) {
        V part = mul(xor_(shift_left<8>(widen(row + x)), top), w);
        store(sums + x, fresh ? part : add(load(sums + x), part));
    }
}

inline void finish_channel(const Area& a, const int16_t* sums, uint8_t* finished) {
    for (int x = 0; x < a.out_width; x += 4) {
        Products totals[4];
        for (int i = 0; i < 4; ++i) {
            const int16_t* from = sums + a.starts[x + i];
            const int16_t* weights = a.weights + static_cast<ptrdiff_t>(x + i) * a.taps;
            totals[i] = products(from, weights);
            for (int t = 8; t < a.taps; t += 8) totals[i] = plus(totals[i], products(from + t, weights + t));
        }
        int32_t values[4];
        store_sums(values, totals);
        for (int i = 0; i < 4; ++i) finished[x + i] = static_cast<uint8_t>((values[i] + (257 << 20)) >> 21);
    }
}

inline void finish_row(Area& a) {
    const int stride = round_up(a.out_width, 64);
    for (int c = 0; c < 3; ++c) finish_channel(a, a.sums + c * a.line, a.finished + c * stride);
    merge_row(a.target + a.out_row * a.target_stride, a.finished, a.finished + stride, a.finished + 2 * stride,
              a.out_width, a.flip, a.target_stride);
    ++a.out_row;
    a.fresh = true;
}

inline void add_rows(Area& a, int weight, const uint8_t* r, const uint8_t* g, const uint8_t* b) {
    if (weight == 0) return;
    add_row(r, a.sums, a.width, weight, a.fresh);
    add_row(g, a.sums + a.line, a.width, weight, a.fresh);
    add_row(b, a.sums + 2 * a.line, a.width, weight, a.fresh);
    a.fresh = false;
}

// The next row of the frame as three planes.
inline void area_row(Area& a, int row, const uint8_t* r, const uint8_t* g, const uint8_t* b) {
    if ((row + 1) * a.scale <= a.top || a.out_row >= a.out_height) return;
    r += a.left, g += a.left, b += a.left;
    add_rows(a, row_weight(a, row, a.out_row), r, g, b);
    // The row that reaches the end of an output row finishes it, and may begin the next one.
    const int64_t end = static_cast<int64_t>(a.top) * a.out_height + static_cast<int64_t>(a.out_row + 1) * a.height;
    if (static_cast<int64_t>(row + 1) * a.scale * a.out_height >= end) {
        finish_row(a);
        if (a.out_row < a.out_height) add_rows(a, row_weight(a, row, a.out_row), r, g, b);
    }
}

}  // namespace
}  // namespace EG_NS
