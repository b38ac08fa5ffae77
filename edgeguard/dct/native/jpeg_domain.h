// Requantising inside libjpeg-turbo's decoder. All of this runs between a setjmp and libjpeg's longjmp: no object with a
// destructor may live here.
#pragma once

#include "libjpeg_api.h"

// What a caller wants of a JPEG.
struct JpegJob {
    const uint8_t* data;
    size_t size;
    const uint8_t* tables;  // three of 64 steps, natural order
    int scale;              // 1, 2 or 4: the size is divided by it, rounded up
    int set;                // instruction set
    int width, height;      // as the header says, after scaling: the caller has made room for that
};

// Read the whole file and put its coefficients on the grid of the tables: index c under step s becomes the nearest
// index under step t, half away from zero, within +-1023. In buffered-image mode; output may begin afterwards.
// `keep_markers`: keep APPn and COM segments for a writer.
turbo::BlockStore** requantise(turbo::Reader& info, const JpegJob& job, bool keep_markers);
