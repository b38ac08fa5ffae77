// Running the kernel with the chosen instruction set.
#pragma once

#include "kernel.h"

// Instruction sets by number; BaseSet is SSE4.1 on x86-64 and NEON on aarch64.
enum { BaseSet = 0, Avx2Set = 1, Avx512Set = 2 };

// What the functions of the C ABI return.
enum { Done = 0, BadArguments = -1, NoMemory = -2, BrokenJpeg = -3 };

bool usable(int set);
bool valid_crop(int width, int height, int left, int top, int crop_width, int crop_height, int out_width,
                int out_height, int set);
void run_window(const Frame& frame, const Window& window, uint8_t* scratch, int set);
void run_area(const Frame& frame, Area& area, uint8_t* scratch, int set);
void run_requantise(int16_t* blocks, int count, const Requantiser& requantiser, int set);
