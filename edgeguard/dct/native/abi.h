// The C ABI of the library. What calls it in C++ includes this, so that another signature does not compile.
#pragma once

#include "kernel.h"

#define EG_EXPORT __attribute__((visibility("default")))

extern "C" {
// dispatch.cpp
EG_EXPORT int eg_abi(void);
EG_EXPORT int eg_usable(int set);
EG_EXPORT int eg_sanitize(const uint8_t* source, ptrdiff_t source_stride, int width, int height, int color,
                          const uint8_t* tables, const Options* options, uint8_t* target, ptrdiff_t target_stride,
                          int set);
EG_EXPORT int eg_tensor(const uint8_t* source, ptrdiff_t source_stride, int width, int height, int color,
                        const uint8_t* tables, const Options* options, int left, int top, int crop_width,
                        int crop_height, uint8_t* target, ptrdiff_t target_stride, int out_width, int out_height,
                        int flip, int set);
// libjpeg_api.cpp
EG_EXPORT int eg_jpeg_open(const char* path);
// jpeg_abi.cpp
EG_EXPORT int eg_jpeg_frame(const uint8_t* data, size_t size, const uint8_t* tables, int scale, int width, int height,
                            uint8_t* target, ptrdiff_t target_stride, int set, char* message);
EG_EXPORT int eg_jpeg_tensor(const uint8_t* data, size_t size, const uint8_t* tables, int scale, int width, int height,
                             int left, int top, int crop_width, int crop_height, uint8_t* target,
                             ptrdiff_t target_stride, int out_width, int out_height, int flip, int set, char* message);
EG_EXPORT int eg_jpeg_indices(const uint8_t* data, size_t size, const uint8_t* tables, int width, int height,
                              int components, const int* grid, int16_t* const* targets, int set, char* message);
EG_EXPORT ptrdiff_t eg_jpeg_file(const uint8_t* data, size_t size, const uint8_t* tables, int width, int height,
                                 uint8_t* target, size_t capacity, int set, char* message);
}
