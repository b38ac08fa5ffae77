// One turn of each inner loop of the kernel, between marks that llvm-mca reads, and the same loops to be timed.
//
// A static prediction cannot follow a branch, so the one that asks whether a block keeps anything outside its corner is
// decided by OUTSIDE: 1 for the whole inverse transform, 0 for its corner.
#define EG_NS eg_block
#include "../../edgeguard/dct/native/lanes.h"

#ifdef __aarch64__
#define COMMENT "//"
#else
#define COMMENT "#"
#endif
#ifdef MARKED
#define BEGIN(name) asm volatile(COMMENT " LLVM-MCA-BEGIN " name ::: "memory")
#define END(name) asm volatile(COMMENT " LLVM-MCA-END " name ::: "memory")
#else
#define BEGIN(name) asm volatile("" ::: "memory")
#define END(name) asm volatile("" ::: "memory")
#endif

#define any(lanes) (any(lanes), OUTSIDE)
#include "../../edgeguard/dct/native/dct.h"
#undef any
#include "../../edgeguard/dct/native/pixels.h"

using namespace EG_NS;

extern "C" int lanes() { return Lanes; }
extern "C" int pixel_group() { return PixelGroup; }

extern "C" void blocks(uint8_t* strip, int stride, int columns, const Table& table) {
    V coefficients[8], kept[8];
    for (int column = 0; column < columns; column += Lanes) {
        BEGIN("blocks");
        sanitize_blocks<Nothing>(strip, stride, column, table, nullptr, nullptr, coefficients, kept);
        END("blocks");
    }
}

extern "C" void split(const uint8_t* rgb, uint8_t* r, uint8_t* g, uint8_t* b, int columns) {
    for (int x = 0; x < columns; x += PixelGroup) {
        BEGIN("split");
        prefetch_group<0>(rgb + 3 * x, 0);
        split_rgb(rgb + 3 * x, r + x, g + x, b + x);
        END("split");
    }
}

extern "C" void merge(uint8_t* rgb, const uint8_t* r, const uint8_t* g, const uint8_t* b, int columns) {
    for (int x = 0; x < columns; x += PixelGroup) {
        BEGIN("merge");
        prefetch_group<1>(rgb + 3 * x, 0);
        merge_rgb(rgb + 3 * x, r + x, g + x, b + x, 0);
        END("merge");
    }
}
