// The C ABI: tables, scratch memory, and the choice of the instruction set. Everything with the prefix eg_ is exported.

#include <stdlib.h>
#include <string.h>

#include "kernel.h"

namespace {

enum { BaseSet = 0, Avx2Set = 1, Avx512Set = 2 };  // BaseSet is SSE4.1 on x86-64 and NEON on aarch64

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

Table prepare(const uint8_t* natural) {
    Table t;
    memset(&t, 0, sizeof t);
    for (int u = 0; u < 8; ++u) {
        for (int v = 0; v < 8; ++v) {
            const uint32_t step = natural[8 * u + v], scaled = 16 * step;
            int k = 31 - __builtin_clz(scaled);
            if ((scaled & (scaled - 1)) == 0) --k;
            t.step[v][u] = static_cast<int16_t>(step);
            t.step8[v][u] = static_cast<int16_t>(8 * step);
            t.reciprocal[v][u] = static_cast<int16_t>(((1u << (16 + k)) + scaled - 1) / scaled);
            t.shift[v][u] = static_cast<int16_t>(1u << (16 - k));
        }
        t.not_dc_lane[u] = u == 0 ? 0 : -1;
    }
    t.dc_lane[0] = static_cast<int16_t>(0x8000);
    t.dc_sign[0] = 1;
    t.dc_offset[0] = 1024;
    return t;
}

}  // namespace

extern "C" {

// The version of this ABI.
__attribute__((visibility("default"))) int eg_abi(void) { return 2; }

// 1 when the instruction set can run here. Sets: 0 SSE4.1 or NEON, 1 AVX2, 2 AVX-512 (F, BW, VL, DQ).
__attribute__((visibility("default"))) int eg_usable(int set) { return usable(set); }

// Sanitise a frame. `tables`: 64 steps (natural order, 1..255) for each channel. `set` as in eg_usable.
// Returns 0, or -1 for bad arguments, -2 when there is no memory for three strips.
__attribute__((visibility("default"))) int eg_sanitize(
    const uint8_t* source, ptrdiff_t source_stride, uint8_t* target, ptrdiff_t target_stride, int width, int height,
    int channels, const uint8_t* tables, int set) {
    if (width < 1 || height < 1 || width > (1 << 24) || (channels != 1 && channels != 3) || !usable(set)) return -1;
    for (int i = 0; i < 64 * channels; ++i) {
        if (tables[i] == 0) return -1;
    }
    Table prepared[3];
    for (int c = 0; c < channels; ++c) prepared[c] = prepare(tables + 64 * c);
    Frame frame = {source, target, source_stride, target_stride, width, height, channels, (width + 15) / 16 * 16};
    uint8_t* strips = static_cast<uint8_t*>(malloc(static_cast<size_t>(frame.padded) * 8 * channels));
    if (strips == nullptr) return -2;
#if defined(__x86_64__)
    if (set == Avx512Set) {
        eg_avx512::sanitize_frame(frame, prepared, strips);
    } else if (set == Avx2Set) {
        eg_avx2::sanitize_frame(frame, prepared, strips);
    } else {
        eg_base::sanitize_frame(frame, prepared, strips);
    }
#else
    eg_base::sanitize_frame(frame, prepared, strips);
#endif
    free(strips);
    return 0;
}
}
