// The C ABI: tables, scratch memory, and which instruction sets can run here. Everything with the prefix eg_ is exported.

#include <string.h>

#include "abi.h"
#include "area_plan.h"
#include "dispatch.h"
#include "memory.h"

bool usable(int set) {
#if defined(__x86_64__)
    __builtin_cpu_init();
    switch (set) {
        case BaseSet: return __builtin_cpu_supports("sse4.1");
        case Avx2Set: return __builtin_cpu_supports("avx2");
        case Avx512Set:
            return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                   __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
        default: return false;
    }
#else
    return set == BaseSet;
#endif
}

bool valid_crop(int width, int height, int left, int top, int crop_width, int crop_height, int out_width,
                int out_height, int set) {
    return usable(set) && left >= 0 && top >= 0 && out_width >= 1 && out_height >= 1 && crop_width >= out_width &&
           crop_height >= out_height && left <= width - crop_width && top <= height - crop_height;
}

void run_window(const Frame& frame, const Window& window, uint8_t* scratch, int set) {
#if defined(__x86_64__)
    if (set == Avx512Set) return eg_avx512::sanitize_window(frame, window, scratch);
    if (set == Avx2Set) return eg_avx2::sanitize_window(frame, window, scratch);
#endif
    (void)set;
    eg_base::sanitize_window(frame, window, scratch);
}

void run_area(const Frame& frame, Area& area, uint8_t* scratch, int set) {
#if defined(__x86_64__)
    if (set == Avx512Set) return eg_avx512::sanitize_area(frame, area, scratch);
    if (set == Avx2Set) return eg_avx2::sanitize_area(frame, area, scratch);
#endif
    (void)set;
    eg_base::sanitize_area(frame, area, scratch);
}

void run_requantise(int16_t* blocks, int count, const Requantiser& requantiser, int set) {
#if defined(__x86_64__)
    if (set == Avx512Set) return eg_avx512::requantise_blocks(blocks, count, requantiser);
    if (set == Avx2Set) return eg_avx2::requantise_blocks(blocks, count, requantiser);
#endif
    (void)set;
    eg_base::requantise_blocks(blocks, count, requantiser);
}

namespace {

// JPEG's colours quantise levels minus 128, so that the DC is a signed coefficient like the others.
void prepare(const uint8_t* natural, bool level_shifted, Table& t) {
    for (int u = 0; u < 8; ++u) {
        for (int v = 0; v < 8; ++v) {
            const uint32_t step = natural[8 * u + v], scaled = 16 * step;
            int k = 31 - __builtin_clz(scaled);
            if ((scaled & (scaled - 1)) == 0) --k;
            const uint32_t reciprocal = ((1u << (16 + k)) + scaled - 1) / scaled;
            for (int lane = u; lane < MaxLanes; lane += 8) {
                t.round[v][lane] = static_cast<int16_t>(scaled - 1);
                t.reciprocal[v][lane] = static_cast<int16_t>(reciprocal);
                t.shift[v][lane] = static_cast<int16_t>(1u << (16 - k));
                t.step16[v][lane] = static_cast<int16_t>(scaled);
            }
        }
        for (int lane = u; lane < MaxLanes; lane += 8) {
            const bool unsigned_dc = u == 0 && !level_shifted;
            t.dc_lane[lane] = static_cast<int16_t>(unsigned_dc ? 0x8000 : 0);
            t.not_dc_lane[lane] = unsigned_dc ? 0 : -1;
            t.dc_sign[lane] = unsigned_dc;
            t.dc_offset[lane] = unsigned_dc ? 16 * 1024 : 0;
            t.high_lanes[lane] = u < 4 ? 0 : -1;
        }
    }
}

// What the options need, beside the above.
void prepare_options(const uint8_t* natural, const Options& o, const int16_t* limits, Table& t) {
    const int room = o.room_before, undone = 255 - 2 * o.room_after;
    t.room_scale = static_cast<int16_t>(((255 - 2 * room) * 65536 / 255 + 1) / 2);  // rounded
    t.undo_scale = static_cast<int16_t>((2 * 1024 * 255 / undone + 1) / 2);
    t.flats_are_exact = natural[0] % 8 == 0 && 16 * room >= natural[0];
    for (int lane = 0; lane < MaxLanes; ++lane) {
        const int u = lane % 8;
        t.not_dc_only[lane] = u == 0 ? 0 : -1;
        t.dc_room[lane] = static_cast<int16_t>(u == 0 ? -((2 * 256 * room / 255 + 1) / 2) : 0);
        for (int v = 0; v < 8 && limits != nullptr; ++v) t.limit[v][lane] = limits[8 * u + v];
        for (int v = 0; v < 3 && o.margins != nullptr; ++v) {
            t.loss[v][lane] = o.loss[8 * u + v];
            t.gain[v][lane] = o.gain[8 * u + v];
        }
    }
    for (int k = 0; k < 64 && limits != nullptr; ++k) {
        const int aim = 32 * limits[k] - 128;
        t.aim[k] = static_cast<int16_t>(aim < 0 ? 0 : aim > 32767 ? 32767 : aim);
        int16_t reach = 0;
        for (int p = 0; p < 64; ++p) {
            const int16_t effect = o.effects[64 * k + p], size = static_cast<int16_t>(effect < 0 ? -effect : effect);
            reach = size > reach ? size : reach;
        }
        t.reach[k] = reach;
    }
}

bool prepare_all(const uint8_t* tables, Color color, const Options* options, Pattern* patterns, Table (&prepared)[3]) {
    if (color == Color::None) return true;
    for (int i = 0; i < 3 * 64; ++i) {
        if (tables[i] == 0) return false;
    }
    for (int c = 0; c < 3; ++c) {
        int same = c - 1;
        while (same >= 0 && memcmp(tables + 64 * same, tables + 64 * c, 64) != 0) --same;
        if (same >= 0) {
            prepared[c] = prepared[same];
        } else {
            prepared[c].number = c, prepared[c].patterns = patterns;
            prepare(tables + 64 * c, color >= Color::Ycbcr444, prepared[c]);
        }
        if (options != nullptr) {
            const int16_t* limits = options->limits == nullptr ? nullptr : options->limits + 64 * c;
            prepare_options(tables + 64 * c, *options, limits, prepared[c]);
        }
    }
    return true;
}

// Empty patterns, where pass 1 mends blocks.
class Patterns {
  public:
    explicit Patterns(const Options* options)
        : bytes_(options != nullptr && options->limits != nullptr ? sizeof(Pattern) * PatternCount : 0), memory_(bytes_ + 1) {
        if (memory_.address != nullptr) memset(memory_.address, 0, bytes_);
    }
    bool ready() const { return memory_.address != nullptr; }
    Pattern* first() const { return static_cast<Pattern*>(memory_.address); }

  private:
    size_t bytes_;
    Memory memory_;
};

// One pass does one thing: what maps, helps or measures is for decoded colours only.
bool valid_options(const Options* o, int color) {
    if (o == nullptr) return true;
    const bool decoded = color == static_cast<int>(Color::Rgb) || color == static_cast<int>(Color::Gray);
    return decoded && o->room_before >= 0 && o->room_before <= MaxRoom && o->room_after >= 0 && o->room_after <= MaxRoom &&
           (o->limits == nullptr || (o->effects != nullptr && o->room_after == 0 && o->margins == nullptr)) &&
           (o->margins == nullptr || (o->loss != nullptr && o->gain != nullptr && o->room_before == 0));
}

bool valid(int width, int height, int color, int set) {
    return width >= 1 && height >= 1 && width <= (1 << 24) && height <= (1 << 24) && color >= 0 &&
           color <= static_cast<int>(Color::Ycbcr420) && usable(set);
}

// The smallest part of the frame, on the grid of the blocks, that decides the pixels of a crop. Subsampled chroma takes
// its neighbours into account, hence a margin of one more unit.
struct Part {
    int start, end;
};
Part part_of(int start, int size, int limit, int unit, int margin) {
    const int low = start / unit * unit - margin, high = round_up(start + size, unit) + margin;
    return {low < 0 ? 0 : low, high > limit ? limit : high};
}

}  // namespace

size_t scratch_bytes(int width, Color color) {
    const size_t stride = static_cast<size_t>(round_up(width, 128));
    const size_t rows = color == Color::None ? 3 : color == Color::Rgb ? 24 : color == Color::Gray ? 11 : 48;
    return rows * stride + 2048;
}

extern "C" {

// The version of this ABI.
EG_EXPORT int eg_abi(void) { return 7; }

// 1 when the instruction set can run here. Sets: 0 SSE4.1 or NEON, 1 AVX2, 2 AVX-512 (F, BW, VL, DQ).
EG_EXPORT int eg_usable(int set) { return usable(set); }

// Sanitise a frame of interleaved RGB into another. `color`: 0 as it is, 1 rgb, 2 gray, 3 ycbcr444, 4 ycbcr422,
// 5 ycbcr420. `options`: null, or for 1 and 2 what the pass does beside. `tables`: 64 steps (natural order, 1..255) for
// each of three components. `set` as in eg_usable. Returns 0, -1 for bad arguments, -2 when there is no memory for a
// strip.
EG_EXPORT int eg_sanitize(const uint8_t* source, ptrdiff_t source_stride, int width, int height, int color,
                          const uint8_t* tables, const Options* options, uint8_t* target, ptrdiff_t target_stride,
                          int set) {
    if (!valid(width, height, color, set) || !valid_options(options, color)) return BadArguments;
    Table prepared[3];
    const Patterns patterns(options);
    if (!patterns.ready()) return NoMemory;
    const Frame frame = {source, source_stride, width, height, static_cast<Color>(color), prepared, 0,
                         options};
    if (!prepare_all(tables, frame.color, options, patterns.first(), prepared)) return BadArguments;
    const Memory scratch(scratch_bytes(width, frame.color));
    if (scratch.address == nullptr) return NoMemory;
    run_window(frame, {0, 0, width, height, target, target_stride, 0}, scratch.bytes(), set);
    return Done;
}

// Sanitise as above, crop, resize by area to out_width x out_height (neither larger than the crop), and flip the top bit
// with `flip` = 0x80 (int8: level minus 128). Only the blocks under the crop are worked on; margins are theirs.
EG_EXPORT int eg_tensor(const uint8_t* source, ptrdiff_t source_stride, int width, int height, int color,
                        const uint8_t* tables, const Options* options, int left, int top, int crop_width,
                        int crop_height, uint8_t* target, ptrdiff_t target_stride, int out_width, int out_height,
                        int flip, int set) {
    if (!valid(width, height, color, set) || !valid_options(options, color) ||
        !valid_crop(width, height, left, top, crop_width, crop_height, out_width, out_height, set)) {
        return BadArguments;
    }
    Table prepared[3];
    const Color kind = static_cast<Color>(color);
    const Patterns patterns(options);
    if (!patterns.ready()) return NoMemory;
    if (!prepare_all(tables, kind, options, patterns.first(), prepared)) return BadArguments;
    const bool wide = kind == Color::Ycbcr422 || kind == Color::Ycbcr420, tall = kind == Color::Ycbcr420;
    const int unit = kind == Color::None ? 1 : 8;
    const Part columns = part_of(left, crop_width, width, wide ? 16 : unit, wide ? 16 : 0);
    const Part rows = part_of(top, crop_height, height, tall ? 16 : unit, tall ? 16 : 0);
    const Frame frame = {source + rows.start * source_stride + 3 * static_cast<ptrdiff_t>(columns.start), source_stride,
                         columns.end - columns.start, rows.end - rows.start, kind, prepared, 0, options};
    const uint8_t mask = static_cast<uint8_t>(flip);
    left -= columns.start, top -= rows.start;
    const Window window = {left, top, crop_width, crop_height, target, target_stride, mask};
    const Memory scratch(scratch_bytes(frame.width, kind));
    if (scratch.address == nullptr) return NoMemory;
    if (crop_width == out_width && crop_height == out_height) {
        run_window(frame, window, scratch.bytes(), set);
        return Done;
    }
    AreaPlan plan(window, 1, out_width, out_height);
    if (!plan.ready()) return NoMemory;
    run_area(frame, plan.area, scratch.bytes(), set);
    return Done;
}
}
