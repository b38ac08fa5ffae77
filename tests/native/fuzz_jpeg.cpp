// A libFuzzer target for the compressed domain: any bytes through requantising, decoding, resizing and writing.
// Run by `make fuzz`.

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <memory>

#include "abi.h"

namespace {

constexpr int MaxSide = 256;

// The size in the first frame header, as the callers of the library read it before they make room.
bool size_of(const uint8_t* data, size_t size, int& width, int& height) {
    for (size_t i = 0; i + 9 < size; ++i) {
        const uint8_t code = data[i + 1];
        if (data[i] == 0xFF && code >= 0xC0 && code <= 0xC2) {
            height = data[i + 5] << 8 | data[i + 6], width = data[i + 7] << 8 | data[i + 8];
            return width > 0 && height > 0 && width <= MaxSide && height <= MaxSide;
        }
    }
    return false;
}

}  // namespace

extern "C" int LLVMFuzzerInitialize(int*, char***) {
    const char* path = getenv("EDGEGUARD_LIBJPEG");
    if (eg_jpeg_open(path != nullptr ? path : "libjpeg.so.62") != 1) {
        fprintf(stderr, "libjpeg.so.62 is not there\n");
        abort();
    }
    return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    int width = 0, height = 0;
    if (size < 4 || !size_of(data, size, width, height)) return 0;
    // The last bytes choose the tables, the scale and the crop.
    const uint8_t choice = data[size - 1], step = data[size - 2] == 0 ? 1 : data[size - 2];
    uint8_t tables[192];
    for (int i = 0; i < 192; ++i) tables[i] = static_cast<uint8_t>(1 + (step + i * (choice & 3)) % 255);
    const int scale = 1 << (choice >> 2) % 3, w = (width + scale - 1) / scale, h = (height + scale - 1) / scale;
    char message[200];
    std::unique_ptr<uint8_t[]> frame(new uint8_t[3 * static_cast<size_t>(w) * h]);
    eg_jpeg_frame(data, size, tables, scale, w, h, frame.get(), 3 * w, 0, message);
    const int out = choice >> 4, out_width = 1 + out % w, out_height = 1 + out % h;
    if (out_width * scale <= width && out_height * scale <= height) {
        std::unique_ptr<uint8_t[]> tensor(new uint8_t[3 * static_cast<size_t>(out_width) * out_height]);
        const int left = (width - out_width * scale) / 2, top = (height - out_height * scale) / 2;
        eg_jpeg_tensor(data, size, tables, scale, w, h, left, top, width - left, height - top, tensor.get(),
                       3 * out_width, out_width, out_height, 0x80, 0, message);
    }
    // As many blocks as a caller makes room for who takes the header at its word, right or wrong.
    const int components = (choice & 2) ? 3 : 1, rows = (height + 7) / 8, columns = (width + 7) / 8;
    const int share = 1 + (choice >> 2 & 1), grid[6] = {rows, columns, (rows + share - 1) / share, (columns + 1) / 2,
                                                        (rows + share - 1) / share, (columns + 1) / 2};
    std::unique_ptr<int16_t[]> planes[3];
    int16_t* targets[3];
    for (int c = 0; c < 3; ++c) {
        planes[c].reset(new int16_t[64 * static_cast<size_t>(grid[2 * c]) * grid[2 * c + 1]]);
        targets[c] = planes[c].get();
    }
    eg_jpeg_indices(data, size, tables, width, height, components, grid, targets, 0, message);
    const size_t capacity = (choice & 1) ? size + 1024 : 1 << 20;
    std::unique_ptr<uint8_t[]> file(new uint8_t[capacity]);
    eg_jpeg_file(data, size, tables, width, height, file.get(), capacity, 0, message);
    return 0;
}
