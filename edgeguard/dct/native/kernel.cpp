// Sanitising a frame strip by strip: gather eight or sixteen rows as planes, sanitise them in the cache, hand finished
// rows to a sink. This file is compiled once for each instruction set, each time into its own namespace (EG_NS).

#include "area.h"
#include "color.h"
#include "dct.h"
#include "kernel.h"
#include "pixels.h"
#include "provable.h"
#include "requantize.h"

namespace EG_NS {
namespace {

// Where finished rows go, as planes that hold the columns from `left` on. Tile: how many columns may come at once.
struct ToWindow {
    static constexpr int Tile = 960;  // 24 rows of them stay in the first-level cache
    const Window& window;
    void operator()(int row, int left, int columns, const uint8_t* r, const uint8_t* g, const uint8_t* b) const {
        const int line = row - window.top, right = window.left + window.width;
        const int from = left > window.left ? left : window.left, to = left + columns < right ? left + columns : right;
        if (line < 0 || line >= window.height || from >= to) return;
        uint8_t* target = window.target + line * window.target_stride + 3 * static_cast<ptrdiff_t>(from - window.left);
        r += from - left, g += from - left, b += from - left;
        merge_row(target, r, g, b, to - from, window.flip, 8 * window.target_stride);
    }
};
struct ToArea {
    static constexpr int Tile = 1 << 30;  // it wants whole rows, in order
    Area& area;
    void operator()(int row, int, int, const uint8_t* r, const uint8_t* g, const uint8_t* b) const {
        area_row(area, row, r, g, b);
    }
};

// Planes of a strip, carved from the scratch memory; every row starts on a multiple of 64 bytes.
struct Scratch {
    uint8_t* next;
    uint8_t* rows(int count, int stride) {
        uint8_t* taken = next;
        next += static_cast<ptrdiff_t>(count) * stride;
        return taken;
    }
};

// Two rows of 16-bit sums with room for a neighbour at both ends.
struct Sums {
    int16_t *u, *v;
    Sums(Scratch& scratch, int columns) {
        u = reinterpret_cast<int16_t*>(scratch.rows(2, columns + 128)) + 64;
        v = reinterpret_cast<int16_t*>(scratch.rows(2, columns + 128)) + 64;
    }
};

// The row of margins of the blocks from row `top` and column `left` on, or null.
inline uint16_t* margins_at(const Frame& f, int channel, int top, int left) {
    if (f.options == nullptr || f.options->margins == nullptr) return nullptr;
    const ptrdiff_t columns = round_up((f.width + 7) / 8, 4), rows = (f.height + 7) / 8;
    return f.options->margins + (channel * rows + top / 8) * columns + left / 8;
}

inline const uint8_t* row_of(const Frame& f, int row) {
    return f.source + (row < f.height ? row : f.height - 1) * f.source_stride;
}

template <class Sink> void pass_rows(const Frame& f, Scratch scratch, Sink sink) {
    const int stride = round_up(f.width, 64);
    uint8_t* planes = scratch.rows(3, stride);
    for (int row = 0; row < f.height; ++row) {
        split_row(row_of(f, row), f.width, stride, planes, planes + stride, planes + 2 * stride, f.source_stride);
        sink(f.first_row + row, 0, f.width, planes, planes + stride, planes + 2 * stride);
    }
}

template <class Sink> void rgb_strips(const Frame& f, Scratch scratch, Sink sink) {
    const int tile = f.width < Sink::Tile ? f.width : Sink::Tile, stride = round_up(tile, 64), plane = 8 * stride;
    uint8_t* strips = scratch.rows(24, stride);
    for (int top = 0; top < f.height; top += 8) {
        for (int left = 0; left < f.width; left += tile) {
            const int columns = f.width - left < tile ? f.width - left : tile;
            for (int i = 0; i < 8; ++i) {
                uint8_t* line = strips + i * stride;
                const uint8_t* source = row_of(f, top + i) + 3 * static_cast<ptrdiff_t>(left);
                split_row(source, columns, stride, line, line + plane, line + 2 * plane, 8 * f.source_stride);
            }
            for (int c = 0; c < 3; ++c) {
                sanitize_strip(strips + c * plane, stride, columns, f.tables[c], f.options, margins_at(f, c, top, left));
            }
            for (int i = 0; i < 8 && top + i < f.height; ++i) {
                const uint8_t* line = strips + i * stride;
                sink(top + i, left, columns, line, line + plane, line + 2 * plane);
            }
        }
    }
}

template <class Sink> void gray_strips(const Frame& f, Scratch scratch, Sink sink) {
    const int stride = round_up(f.width, 64);
    uint8_t *rgb = scratch.rows(3, stride), *strip = scratch.rows(8, stride);
    for (int top = 0; top < f.height; top += 8) {
        for (int i = 0; i < 8; ++i) {
            split_row(row_of(f, top + i), f.width, stride, rgb, rgb + stride, rgb + 2 * stride, 8 * f.source_stride);
            luma_row(rgb, rgb + stride, rgb + 2 * stride, strip + i * stride, f.width);
        }
        sanitize_strip(strip, stride, f.width, f.tables[0], f.options, margins_at(f, 0, top, 0));
        for (int i = 0; i < 8 && top + i < f.height; ++i) {
            const uint8_t* line = strip + i * stride;
            sink(top + i, 0, f.width, line, line, line);
        }
    }
}

// 4:4:4 and 4:2:2: a strip of eight rows has everything that its pixels need.
template <class Sum, class Sink> void ycbcr_strips(const Frame& f, Scratch scratch, Sink sink) {
    const int stride = round_up(f.width, 128), columns = stride / Sum::Step, plane = 8 * columns;
    uint8_t *rgb = scratch.rows(6, stride), *y = scratch.rows(8, stride), *chroma = scratch.rows(16, columns);
    const Sums sums(scratch, columns);
    const int real = (f.width + Sum::Step - 1) / Sum::Step;
    for (int top = 0; top < f.height; top += 8) {
        for (int i = 0; i < 8; ++i) {
            split_row(row_of(f, top + i), f.width, stride, rgb, rgb + stride, rgb + 2 * stride, 8 * f.source_stride);
            luma_row(rgb, rgb + stride, rgb + 2 * stride, y + i * stride, f.width);
            chroma_row<Sum>(rgb, stride, chroma + i * columns, chroma + plane + i * columns, real);
        }
        sanitize_strip(y, stride, f.width, f.tables[0]);
        sanitize_strip(chroma, columns, real, f.tables[1]);
        sanitize_strip(chroma + plane, columns, real, f.tables[2]);
        for (int i = 0; i < 8 && top + i < f.height; ++i) {
            const uint8_t *light = y + i * stride, *cb = chroma + i * columns, *cr = cb + plane;
            if (Sum::Step == 1) {
                rgb_row(light, cb, cr, rgb, rgb + stride, rgb + 2 * stride, f.width);
            } else {
                chroma_sums(cb, nullptr, sums.u, real);
                chroma_sums(cr, nullptr, sums.v, real);
                rgb_row_wide<2>(light, sums.u, sums.v, rgb, rgb + stride, rgb + 2 * stride, real);
            }
            sink(top + i, 0, f.width, rgb, rgb + stride, rgb + 2 * stride);
        }
    }
}

// 4:2:0 works on sixteen rows. The upsampling of a strip's last row needs the next strip, so each strip begins with
// the last row of the one above: row 0 of y and of the chroma planes is that row.
template <class Sink> void ycbcr420_strips(const Frame& f, Scratch scratch, Sink sink) {
    const int stride = round_up(f.width, 128), columns = stride / 2, plane = 10 * columns;
    uint8_t *rgb = scratch.rows(6, stride), *y = scratch.rows(17, stride), *chroma = scratch.rows(20, columns);
    const Sums sums(scratch, columns);
    const int real_columns = (f.width + 1) / 2, real_rows = (f.height + 1) / 2;
    for (int top = 0; top < f.height; top += 16) {
        for (int i = 0; i < 16; i += 2) {
            for (int k = 0; k < 2; ++k) {
                uint8_t* planes = rgb + 3 * k * stride;
                split_row(row_of(f, top + i + k), f.width, stride, planes, planes + stride, planes + 2 * stride,
                          16 * f.source_stride);
                luma_row(planes, planes + stride, planes + 2 * stride, y + (1 + i + k) * stride, f.width);
            }
            uint8_t* cb = chroma + (1 + i / 2) * columns;
            chroma_row<Sum420>(rgb, stride, cb, cb + plane, real_columns);
        }
        sanitize_strip(y + stride, stride, f.width, f.tables[0]);
        sanitize_strip(y + 9 * stride, stride, f.width, f.tables[0]);
        sanitize_strip(chroma + columns, columns, real_columns, f.tables[1]);
        sanitize_strip(chroma + plane + columns, columns, real_columns, f.tables[2]);
        const bool last = top + 16 >= f.height;
        const int rows = last ? real_rows - top / 2 : 8;
        for (int c = 0; c < 2; ++c) {  // above the first row and below the last one: the same row again
            uint8_t* first = chroma + c * plane + columns;
            if (top == 0) memcpy(first - columns, first, columns);
            if (last) memcpy(first + rows * columns, first + (rows - 1) * columns, columns);
        }
        const int end = last ? f.height - top : 15;
        for (int row = top == 0 ? 0 : -1; row < end; ++row) {
            const int near = (row + 2) / 2, far = row % 2 == 0 ? near - 1 : near + 1;
            chroma_sums(chroma + near * columns, chroma + far * columns, sums.u, real_columns);
            chroma_sums(chroma + plane + near * columns, chroma + plane + far * columns, sums.v, real_columns);
            const uint8_t* light = y + (1 + row) * stride;
            rgb_row_wide<4>(light, sums.u, sums.v, rgb, rgb + stride, rgb + 2 * stride, real_columns);
            sink(top + row, 0, f.width, rgb, rgb + stride, rgb + 2 * stride);
        }
        memcpy(y, y + 16 * stride, stride);
        for (int c = 0; c < 2; ++c) memcpy(chroma + c * plane, chroma + c * plane + 8 * columns, columns);
    }
}

template <class Sink> void sanitize(const Frame& f, uint8_t* memory, Sink sink) {
    const Scratch scratch = {memory};
    switch (f.color) {
        case Color::None: return pass_rows(f, scratch, sink);
        case Color::Rgb: return rgb_strips(f, scratch, sink);
        case Color::Gray: return gray_strips(f, scratch, sink);
        case Color::Ycbcr444: return ycbcr_strips<Sum444>(f, scratch, sink);
        case Color::Ycbcr422: return ycbcr_strips<Sum422>(f, scratch, sink);
        case Color::Ycbcr420: return ycbcr420_strips(f, scratch, sink);
    }
}

}  // namespace

void requantise_blocks(int16_t* blocks, int count, const Requantiser& r) {
    for (int i = 0; i < count; ++i) {
        int16_t* block = blocks + 64 * static_cast<ptrdiff_t>(i);
        if (requantise_small(block, r)) continue;
        for (int k = 0; k < 64; ++k) {
            const int size = block[k] < 0 ? -block[k] : block[k], twice = r.twice_target[k];
            const int index = (4 * size * r.source[k] + twice) / (2 * twice);
            const int kept = index < MaxIndex ? index : MaxIndex;
            block[k] = static_cast<int16_t>(block[k] < 0 ? -kept : kept);
        }
    }
}

void sanitize_window(const Frame& f, const Window& window, uint8_t* scratch) { sanitize(f, scratch, ToWindow{window}); }
void sanitize_area(const Frame& f, Area& area, uint8_t* scratch) { sanitize(f, scratch, ToArea{area}); }

}  // namespace EG_NS
