// The functions of libjpeg-turbo that we call, found at run time: nothing is linked, and its headers are the only part
// of it that we carry.
#pragma once

#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "libjpeg/jpeglib.h"

#include "libjpeg/jerror.h"

struct LibjpegApi {
    decltype(&jpeg_std_error) std_error;
    decltype(&jpeg_CreateDecompress) create_decompress;
    decltype(&jpeg_destroy_decompress) destroy_decompress;
    decltype(&jpeg_mem_src) mem_src;
    decltype(&jpeg_read_header) read_header;
    decltype(&jpeg_start_decompress) start_decompress;
    decltype(&jpeg_consume_input) consume_input;
    decltype(&jpeg_read_coefficients) read_coefficients;
    decltype(&jpeg_start_output) start_output;
    decltype(&jpeg_read_scanlines) read_scanlines;
    decltype(&jpeg_save_markers) save_markers;
    decltype(&jpeg_CreateCompress) create_compress;
    decltype(&jpeg_destroy_compress) destroy_compress;
    decltype(&jpeg_copy_critical_parameters) copy_critical_parameters;
    decltype(&jpeg_write_coefficients) write_coefficients;
    decltype(&jpeg_write_marker) write_marker;
    decltype(&jpeg_finish_compress) finish_compress;
};

// The functions once eg_jpeg_open has found them, or null.
const LibjpegApi* libjpeg();

// libjpeg's error handler with a way out that is not exit(): errors, and warnings that mean lost data, jump back.
struct ErrorTrap {
    jpeg_error_mgr manager;  // first, so that libjpeg's pointer to it is one to this
    jmp_buf back;
    char* message;  // JMSG_LENGTH_MAX characters
};
void set_trap(ErrorTrap& trap, char* message);
// Jump back with a line of our own.
[[noreturn]] void refuse(jpeg_error_mgr* manager, const char* why);
