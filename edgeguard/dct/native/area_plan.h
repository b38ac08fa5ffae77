// The weights and buffers of an area resize (area.h), made once for a frame.
#pragma once

#include <string.h>

#include "kernel.h"
#include "memory.h"

class AreaPlan {
  public:
    Area area;

    // `window` says which part of the frame becomes which pixels of the target; its own size is the part's, all of it in
    // units of which a pixel of the frame has `scale`.
    AreaPlan(const Window& window, int scale, int out_width, int out_height)
        : area(), start_(window.left), length_(window.width), left_(window.left / scale),
          width_((window.left + window.width + scale - 1) / scale - left_),
          taps_(round_up(window.width / (scale * out_width) + 2, 8)), line_(round_up(width_ + taps_, 64) + 64),
          columns_(round_up(out_width, 64)), memory_(bytes()) {
        if (memory_.address == nullptr) return;
        memset(memory_.address, 0, bytes());
        uint8_t* next = memory_.bytes();
        area.left = left_, area.width = width_, area.top = window.top, area.height = window.height, area.scale = scale;
        area.out_width = out_width, area.out_height = out_height;
        area.target = window.target, area.target_stride = window.target_stride, area.flip = window.flip;
        area.taps = taps_, area.line = line_, area.fresh = true;
        area.starts = reinterpret_cast<int32_t*>(next), next += sizeof(int32_t) * columns_;
        area.weights = reinterpret_cast<int16_t*>(next), next += sizeof(int16_t) * columns_ * taps_;
        area.sums = reinterpret_cast<int16_t*>(next), next += sizeof(int16_t) * 3 * line_;
        area.finished = next;
        for (int x = 0; x < out_width; ++x) fill_weights(x);
    }

    bool ready() const { return memory_.address != nullptr; }

  private:
    int start_, length_, left_, width_, taps_, line_, columns_;
    Memory memory_;

    size_t bytes() const {
        const size_t columns = static_cast<size_t>(columns_), line = static_cast<size_t>(line_);
        return columns * (sizeof(int32_t) + sizeof(int16_t) * static_cast<size_t>(taps_)) + 3 * sizeof(int16_t) * line +
               3 * columns;
    }

    // Shares of the source columns in output column x: differences of rounded cumulative shares.
    void fill_weights(int x) {
        const int64_t size = length_, pixel = static_cast<int64_t>(area.scale) * area.out_width;
        const int64_t start = static_cast<int64_t>(start_) * area.out_width + x * size, end = start + size;
        const int64_t first = start / pixel;
        area.starts[x] = static_cast<int32_t>(first - left_);
        int64_t before = 0;
        for (int64_t p = first, i = 0; p * pixel < end; ++p, ++i) {
            const int64_t edge = (p + 1) * pixel, covered = (edge < end ? edge : end) - start;
            const int64_t cumulative = (16384 * covered + size / 2) / size;
            area.weights[x * taps_ + i] = static_cast<int16_t>(cumulative - before);
            before = cumulative;
        }
    }
};
