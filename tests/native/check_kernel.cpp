// Thousands of random sizes, strides, crops and tables through every entry point of the kernel, in buffers of exactly
// the size that the interface asks for, built with AddressSanitizer and UndefinedBehaviorSanitizer. Every instruction
// set must give the same bytes. Run by `make test-native`.

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <memory>
#include <random>
#include <vector>

extern "C" {
int eg_usable(int set);
int eg_sanitize(const uint8_t*, ptrdiff_t, int, int, int, const uint8_t*, uint8_t*, ptrdiff_t, int);
int eg_tensor(const uint8_t*, ptrdiff_t, int, int, int, const uint8_t*, int, int, int, int, uint8_t*, ptrdiff_t, int, int,
              int, int);
}

namespace {

std::mt19937 generator(1);
int between(int low, int high) { return std::uniform_int_distribution<int>(low, high)(generator); }

// Exactly the bytes of rows of `width` pixels, `stride` bytes apart: the last row ends with its last pixel.
struct Image {
    int width, height;
    ptrdiff_t stride;
    size_t size;
    std::unique_ptr<uint8_t[]> bytes;
    Image(int w, int h, int gap)
        : width(w), height(h), stride(3 * static_cast<ptrdiff_t>(w) + gap),
          size(static_cast<size_t>(stride) * (h - 1) + 3 * static_cast<size_t>(w)), bytes(new uint8_t[size]) {
        memset(bytes.get(), 0xA5, size);
    }
    bool operator==(const Image& other) const {
        for (int y = 0; y < height; ++y) {
            if (memcmp(bytes.get() + y * stride, other.bytes.get() + y * other.stride, 3 * width) != 0) return false;
        }
        return true;
    }
};

void fill(Image& image) {
    const int kind = between(0, 2);
    for (size_t i = 0; i < image.size; ++i) {
        image.bytes[i] = static_cast<uint8_t>(kind == 0 ? between(0, 255) : kind == 1 ? 255 * between(0, 1) : i / 7);
    }
}

[[noreturn]] void fail(const char* what, int width, int height, int color, int set) {
    fprintf(stderr, "%s: %dx%d, colour %d, set %d\n", what, width, height, color, set);
    exit(1);
}

}  // namespace

int main(int argc, char** argv) {
    const int rounds = argc > 1 ? atoi(argv[1]) : 3000;
    for (int round = 0; round < rounds; ++round) {
        const int limit = round % 50 == 0 ? 700 : 80, width = between(1, limit), height = between(1, limit);
        Image source(width, height, between(0, 5));
        fill(source);
        uint8_t tables[192];
        const int coarse = between(0, 2);
        for (uint8_t& step : tables) step = static_cast<uint8_t>(coarse == 0 ? between(1, 255) : between(1, 40));
        const int color = between(0, 5), crop_width = between(1, width), crop_height = between(1, height);
        const int left = between(0, width - crop_width), top = between(0, height - crop_height);
        const int out_width = between(0, 3) ? between(1, crop_width) : crop_width;
        const int out_height = between(0, 3) ? between(1, crop_height) : crop_height;
        const int flip = between(0, 1) * 0x80, gap = between(0, 5);
        std::unique_ptr<Image> whole, part;
        for (int set = 0; set < 3; ++set) {
            if (!eg_usable(set)) continue;
            std::unique_ptr<Image> out(new Image(width, height, gap)), small(new Image(out_width, out_height, gap));
            if (eg_sanitize(source.bytes.get(), source.stride, width, height, color, tables, out->bytes.get(),
                            out->stride, set) != 0) {
                fail("eg_sanitize failed", width, height, color, set);
            }
            if (eg_tensor(source.bytes.get(), source.stride, width, height, color, tables, left, top, crop_width,
                          crop_height, small->bytes.get(), small->stride, out_width, out_height, flip, set) != 0) {
                fail("eg_tensor failed", width, height, color, set);
            }
            if (whole && !(*whole == *out)) fail("the instruction sets differ", width, height, color, set);
            if (part && !(*part == *small)) fail("the instruction sets differ in a crop", width, height, color, set);
            whole = std::move(out), part = std::move(small);
        }
    }
    printf("%d random frames, no error\n", rounds);
    return 0;
}
