// What the instruction-set variants of the kernel share with the dispatcher.
#pragma once

#include <stddef.h>
#include <stdint.h>

constexpr int MaxLanes = 32;  // AVX-512
constexpr int MaxRoom = 64;

// A quantisation table made ready for the kernel: [v][u], because the quantiser sees transposed blocks; the eight lanes
// of a block repeated, so that every vector width loads whole rows.
//
// Division by 16 QS, QS = 1..255, of 0 <= n <= 32640 + 8 QS (the DC of a white block, halved, plus half a step). With
// 2**k the largest power of two not above 16 QS (half of it where 16 QS is a power of two) and
// m = ceil(2**(16 + k) / (16 QS)) < 2**16,
//     floor(n / (16 QS)) = floor(floor(n m / 2**16) / 2**k).
// Checked for every n and every QS by tests/dct/test_kernel.py (the first n that fails, 34543 for QS = 127, lies
// beyond what can occur).
struct Pattern;
struct alignas(64) Table {
    int16_t round[8][MaxLanes];  // 16 QS - 1
    int16_t reciprocal[8][MaxLanes];
    int16_t shift[8][MaxLanes];  // 2**(16 - k)
    int16_t step16[8][MaxLanes];
    // For a DC of unshifted levels; all ones and zeros where the levels are shifted.
    int16_t dc_lane[MaxLanes];  // the top bit in lane 0
    int16_t not_dc_lane[MaxLanes];
    int16_t dc_sign[MaxLanes];     // 1 in lane 0
    int16_t dc_offset[MaxLanes];   // 16 * 128 * 8 in lane 0
    int16_t high_lanes[MaxLanes];  // all ones in lanes 4..7
    int16_t not_dc_only[MaxLanes]; // zero in lane 0
    int16_t dc_room[MaxLanes];     // what the map to room..255 - room adds to the DC, in lane 0
    int16_t limit[8][MaxLanes];    // of the residuals of pass 1, 1/32 coefficient
    int16_t loss[3][MaxLanes];     // for v = 0, 1, 2 (the others are equal to one of them): see Options
    int16_t gain[3][MaxLanes];
    int16_t aim[64];    // natural order: what provable.h aims at, 1/1024 coefficient
    int16_t reach[64];  // the most that a level more in one pixel adds to the coefficient, 1/1024
    int16_t room_scale, undo_scale;  // of the map, times 2**15; of its inverse, times 2**10
    bool flats_are_exact;  // a block of its DC alone has no residual
    int number;            // equal for equal tables
    Pattern* patterns;     // PatternCount of them, or null
};

// What mending (provable.h) made of a block that varies in one direction only, as differences. Of such blocks there are
// few kinds, they are one in six of a photograph's and nine in ten of those that need mending; and where a flat block
// has no residual, what becomes of one does not depend on its DC.
constexpr int PatternBits = 10, PatternCount = 1 << PatternBits;
struct Pattern {
    uint64_t key[2];  // the dequantised coefficients, times 16; for the DC's the table, the direction and 1: 0 is empty
    int16_t least, most;  // of its pixels before, less the DC's level
    bool changed;
    int8_t change[64];
};

// What a pass over a frame of `Rgb` or `Gray` does beside sanitising it; shared with ctypes (native_kernel.py).
struct Options {
    int32_t room_before;  // map levels 0..255 to room..255 - room before the transform
    int32_t room_after;   // and back after it
    // Pass 1: rounding that helps the proof (provable.h), or null. Limits: [3][64], natural order, 1/32 coefficient.
    const int16_t* limits;
    const int16_t* effects;  // of a level more in each pixel on each coefficient, 1/1024: [64][64] by coefficient, by pixel
    // Pass 2: the margin of each block, 1/256 level, [channels][block rows][block columns, rounded up to 4], or null. Of
    // the quantizer's distance d to its nearest boundary (1/16 coefficient) it is (2 d - loss) * 8 * gain / 2**16.
    uint16_t* margins;
    const int16_t* loss;  // [64], natural order; equal for v = 1, 3, 5, 7, for v = 2, 6 and for v = 0, 4
    const int16_t* gain;
};

enum class Color { None, Rgb, Gray, Ycbcr444, Ycbcr422, Ycbcr420 };  // None: pixels pass as they are

// A frame of interleaved RGB and what is to be done to it.
struct Frame {
    const uint8_t* source;
    ptrdiff_t source_stride;  // bytes from one row to the next
    int width, height;
    Color color;
    const Table* tables;  // three
    int first_row;        // what the first row counts as, for Color::None: a frame may come in pieces
    const Options* options;  // or null
};

// Part of the sanitised frame, as it is: the window's left top corner goes to the target's.
struct Window {
    int left, top, width, height;
    uint8_t* target;
    ptrdiff_t target_stride;
    uint8_t flip;  // 0, or 0x80 for int8 (the level minus 128)
};

// Part of the sanitised frame, resized by area; see area.h. `top` and `height` are in units of which a row has `scale`.
struct Area {
    int top, height, scale;
    int left, width;  // the columns of the frame that it touches
    int out_width, out_height;
    uint8_t* target;
    ptrdiff_t target_stride;
    uint8_t flip;
    int taps;           // weights for each output column, a multiple of 8
    int line;           // lanes of one channel in `sums`
    int out_row;        // the output row being summed up
    bool fresh;         // nothing has been added to it yet
    int32_t* starts;    // [out_width, rounded up to 4]: the first column of each output column, from `left`
    int16_t* weights;   // [out_width, rounded up to 4][taps]
    int16_t* sums;      // [3][line]
    uint8_t* finished;  // [3][out_width, rounded up to 64]
};

// From steps `source` to steps `target` (natural order, 64 each): index c becomes the nearest multiple of the target step
// to c source, as an index, half away from zero, within +-MaxIndex: floor(n / (4 t)) with n = 4 |c| s + 2 t. For
// |c| s < 2**SmallLevelBits, n is below 2**15 and the division is two multiplications by a reciprocal, as in Table, of
// 4 t instead of 16 QS (checked for all of them by tests/preprocess/test_requantize.py).
constexpr int MaxIndex = 1023, SmallLevelBits = 12;
struct alignas(64) Requantiser {
    int16_t source[64], twice_target[64], reciprocal[64], shift[64];
};

constexpr int round_up(int value, int multiple) { return (value + multiple - 1) / multiple * multiple; }

// Scratch memory that the calls below need for a frame of this width.
size_t scratch_bytes(int width, Color color);

#define EG_DECLARE(NS)                                                  \
    namespace NS {                                                      \
    void sanitize_window(const Frame&, const Window&, uint8_t* scratch); \
    void sanitize_area(const Frame&, Area&, uint8_t* scratch);           \
    void requantise_blocks(int16_t*, int count, const Requantiser&);     \
    }
EG_DECLARE(eg_base)
EG_DECLARE(eg_avx2)
EG_DECLARE(eg_avx512)
#undef EG_DECLARE
