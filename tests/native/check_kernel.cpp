// Thousands of random sizes, strides, crops, tables and options through every entry point of the kernel, in buffers of exactly
// the size that the interface asks for, built with AddressSanitizer and UndefinedBehaviorSanitizer. Every instruction
// set must give the same bytes. Run by `make test-native`.

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <memory>
#include <random>
#include <vector>

#include "abi.h"

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

// What a level more in a pixel does to each coefficient, 1/1024: by coefficient, then by pixel.
void fill_effects(int16_t* effects) {
    const double pi = acos(-1.0);
    auto basis = [pi](int u, int i) { return (u == 0 ? sqrt(0.125) : 0.5) * cos((2 * i + 1) * u * pi / 16); };
    for (int k = 0; k < 64; ++k) {
        for (int p = 0; p < 64; ++p) {
            const double effect = basis(k / 8, p / 8) * basis(k % 8, p % 8);
            effects[64 * k + p] = effects[4096 + 64 * p + k] = static_cast<int16_t>(lrint(1024 * effect));
        }
    }
}

// Random options of one of the kinds that a pass may have. The numbers for margins have the symmetry that the kernel
// relies on.
struct Choice {
    bool any, marked;
    Options options;
    int16_t effects[2 * 64 * 64], limits[3 * 64], loss[64], gain[64];
    Choice() { fill_effects(effects); }
    void choose(int color) {
        memset(&options, 0, sizeof options);
        const bool decoded = color == static_cast<int>(Color::Rgb) || color == static_cast<int>(Color::Gray);
        any = decoded && between(0, 3) != 0, marked = false;
        if (!any) return;
        const int kind = between(0, 3), room = between(0, 1) * between(1, MaxRoom);
        if (kind != 2) options.room_before = room;
        if (kind != 1) options.room_after = room;
        if (kind == 1) {
            const int most = between(0, 1) ? 64 : 4000;
            for (int16_t& limit : limits) limit = static_cast<int16_t>(between(-64, most));
            options.limits = limits, options.effects = effects;
        }
        if (kind == 2) {
            int16_t three[2][3];
            for (int16_t& number : three[0]) number = static_cast<int16_t>(between(0, 128));
            for (int16_t& number : three[1]) number = static_cast<int16_t>(between(8000, 32000));
            for (int k = 0; k < 64; ++k) {
                const int v = k % 8, same = v % 2 ? 1 : v % 4 ? 2 : 0;
                loss[k] = three[0][same], gain[k] = three[1][same];
            }
            options.loss = loss, options.gain = gain, marked = true;
        }
    }
};

// The margins of the blocks of so many pixels: rows have room for a multiple of four.
struct Margins {
    int columns, rows;
    size_t stride;
    std::unique_ptr<uint16_t[]> values;
    Margins(bool gray, int width, int height)
        : columns((width + 7) / 8), rows((gray ? 1 : 3) * ((height + 7) / 8)), stride((width + 31) / 32 * 4),
          values(new uint16_t[stride * rows]) {}
    bool operator==(const Margins& other) const {
        for (int y = 0; y < rows; ++y) {
            if (memcmp(values.get() + y * stride, other.values.get() + y * stride, 2 * columns) != 0) return false;
        }
        return true;
    }
};

// How many columns or rows the blocks under a crop have.
int under_crop(int start, int size, int limit) {
    const int end = round_up(start + size, 8);
    return (end < limit ? end : limit) - start / 8 * 8;
}

// The options with margins of their own, where they are marked.
const Options* with(Options& options, const Choice& choice, const Margins& margins) {
    options = choice.options;
    if (choice.marked) options.margins = margins.values.get();
    return choice.any ? &options : nullptr;
}

[[noreturn]] void fail(const char* what, int width, int height, int color, int set) {
    fprintf(stderr, "%s: %dx%d, color %d, set %d\n", what, width, height, color, set);
    exit(1);
}

}  // namespace

int main(int argc, char** argv) {
    static Choice choice;
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
        const bool gray = color == static_cast<int>(Color::Gray);
        const int part_width = under_crop(left, crop_width, width), part_height = under_crop(top, crop_height, height);
        choice.choose(color);
        std::unique_ptr<Image> whole, part;
        std::unique_ptr<Margins> of_whole, of_part;
        for (int set = 0; set < 3; ++set) {
            if (!eg_usable(set)) continue;
            std::unique_ptr<Image> out(new Image(width, height, gap)), small(new Image(out_width, out_height, gap));
            std::unique_ptr<Margins> margins(new Margins(gray, width, height));
            std::unique_ptr<Margins> few(new Margins(gray, part_width, part_height));
            Options options;
            if (eg_sanitize(source.bytes.get(), source.stride, width, height, color, tables,
                            with(options, choice, *margins), out->bytes.get(), out->stride, set) != 0) {
                fail("eg_sanitize failed", width, height, color, set);
            }
            if (eg_tensor(source.bytes.get(), source.stride, width, height, color, tables,
                          with(options, choice, *few), left, top, crop_width, crop_height, small->bytes.get(),
                          small->stride, out_width, out_height, flip, set) != 0) {
                fail("eg_tensor failed", width, height, color, set);
            }
            if (whole && !(*whole == *out)) fail("the instruction sets differ", width, height, color, set);
            if (part && !(*part == *small)) fail("the instruction sets differ in a crop", width, height, color, set);
            if (choice.marked && ((of_whole && !(*of_whole == *margins)) || (of_part && !(*of_part == *few)))) {
                fail("the instruction sets differ in the margins", width, height, color, set);
            }
            whole = std::move(out), part = std::move(small), of_whole = std::move(margins), of_part = std::move(few);
        }
    }
    printf("%d random frames, no error\n", rounds);
    return 0;
}
