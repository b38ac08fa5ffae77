// What the instruction-set variants of the kernel share with the dispatcher.
#pragma once

#include <stddef.h>
#include <stdint.h>

// A quantisation table made ready for the kernel: [v][u], because the quantiser sees transposed blocks.
//
// Division by 16 QS, QS = 1..255, of 0 <= n <= 32640 + 8 QS (the DC of a white block, halved, plus half a step). With
// 2**k the largest power of two not above 16 QS (half of it where 16 QS is a power of two) and
// m = ceil(2**(16 + k) / (16 QS)) < 2**16,
//     floor(n / (16 QS)) = floor(floor(n m / 2**16) / 2**k).
// Checked for every n and every QS by tests/guard/test_kernel.py (the first n that fails, 34543 for QS = 127, lies
// beyond what can occur).
struct Table {
    int16_t step[8][8];
    int16_t step8[8][8];  // 8 QS
    int16_t reciprocal[8][8];
    int16_t shift[8][8];  // 2**(16 - k)
    int16_t dc_lane[8];   // the top bit in lane 0
    int16_t not_dc_lane[8];
    int16_t dc_sign[8];      // 1 in lane 0
    int16_t dc_offset[8];  // 128 * 8 in lane 0
};

struct Frame {
    const uint8_t* source;
    uint8_t* target;
    ptrdiff_t source_stride, target_stride;  // bytes from one row to the next
    int width, height, channels;             // channels: 1, or 3 interleaved
    int padded;                              // width rounded up to a multiple of 16
};

#define EG_DECLARE(NS) \
    namespace NS { void sanitize_frame(const Frame&, const Table*, uint8_t* strips); }
EG_DECLARE(eg_base)
EG_DECLARE(eg_avx2)
EG_DECLARE(eg_avx512)
#undef EG_DECLARE
