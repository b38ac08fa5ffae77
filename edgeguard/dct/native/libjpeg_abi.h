// What this library knows of libjpeg-turbo's binary interface (ABI 62 on 64-bit Linux): the members that it reads or
// sets, each at its place, and gaps where it does not look. Building needs no header of libjpeg.
//
// Two checks stand behind it. libjpeg's constructors take the number of the ABI and the size of the object, and refuse
// any but their own; eg_jpeg_open tries them. And tests/native/check_libjpeg_abi.cpp compares every place, size, call
// and number below with libjpeg's headers.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace turbo {

static_assert(sizeof(void*) == 8 && sizeof(long) == 8, "the places below are those of 64-bit Linux");

// Bytes `From` to `To` of an object belong to libjpeg. The numbers count from the object's start, so that its last gap
// ends at its size.
template <size_t From, size_t To> struct Gap {
    unsigned char bytes[To - From];
};

constexpr int Abi = 62;
constexpr int LineLength = 200;  // room for a described error
constexpr int BlockSize = 64;    // coefficients
using Block = int16_t[BlockSize];

// Codes of errors and warnings.
constexpr int NoStepTable = 52, BadProgression = 115, EarlyMarker = 117, BadCode = 118;
constexpr int EndOfFile = 120, LostRestart = 121;
// What consume_input returns after the last scan.
constexpr int FileEnd = 2;
// Markers of segments: App + n is APPn.
constexpr int App = 0xE0, Comment = 0xFE;

enum class ColorSpace : unsigned { Gray = 1, Rgb = 2, YCbCr = 3 };

struct Errors;
struct Storage;
struct BlockStore;  // one component's coefficients; only libjpeg looks inside

// How a reader and a writer begin: callbacks that serve both are given this part.
struct Object {
    Errors* errors;
    Storage* storage;  // null before construction
};

struct Errors {
    void (*leave)(Object*);               // must not return
    void (*report)(Object*, int level);   // a level below zero is a warning
    void (*print)(Object*);               // to stderr, unless replaced
    void (*describe)(Object*, char* line);
    Gap<32, 40> gap1;
    int code;
    int details[8];  // numbers for the code's line of text
    Gap<76, 128> gap2;
    long warnings;
    Gap<136, 168> gap3;
};

// The object's memory; of its methods we need the one that hands out rows of blocks.
struct Storage {
    Gap<0, 64> gap1;
    Block** (*blocks)(Object*, BlockStore*, uint32_t first_row, uint32_t rows, int writable);
    Gap<72, 104> gap2;
};

struct StepTable {
    uint16_t steps[BlockSize];  // natural order
    Gap<128, 132> gap1;
};

struct Component {
    Gap<0, 16> gap1;
    int table_slot;
    Gap<20, 28> gap2;
    uint32_t columns, rows;  // of blocks, padding to whole MCUs left out
    Gap<36, 80> gap3;
    StepTable* table;  // the component's own copy, from its first scan on
    Gap<88, 96> gap4;
};

// A segment that the reader was told to keep.
struct Segment {
    Segment* next;
    uint8_t marker;
    Gap<9, 16> gap1;
    unsigned length;
    Gap<20, 24> gap2;
    uint8_t* data;
};

struct Reader {
    Object object;
    Gap<16, 48> gap1;
    uint32_t width, height;
    int component_count;
    ColorSpace file_color, frame_color;
    unsigned scale_up, scale_down;  // frames come out at up/down of the size
    Gap<76, 88> gap2;
    int buffered;  // the whole file is read before the first row comes out
    Gap<92, 104> gap3;
    int smooth_blocks;
    Gap<108, 172> gap4;
    int scan;  // the one that is being read, from 1
    Gap<176, 200> gap5;
    StepTable* table_slots[4];
    Gap<232, 296> gap6;
    int bits;  // of a sample
    Gap<300, 304> gap7;
    Component* components;
    Gap<312, 316> gap8;
    int arithmetic;  // not Huffman coding
    Gap<320, 400> gap9;
    Segment* segments;
    Gap<408, 632> gap10;
};

struct Writer;

// Where a writer's bytes go.
struct Sink {
    uint8_t* next;
    size_t room;
    void (*begin)(Writer*);
    int (*full)(Writer*);
    void (*end)(Writer*);
};

struct Writer {
    Object object;
    Gap<16, 40> gap1;
    Sink* sink;
    Gap<48, 264> gap2;
    int optimize;  // Huffman tables of its own for the file
    Gap<268, 300> gap3;
    int writes_adobe;  // libjpeg writes that segment itself
    Gap<304, 520> gap4;
};

// A gap that begins elsewhere than it says moves the end.
static_assert(sizeof(Errors) == 168 && sizeof(Storage) == 104 && sizeof(StepTable) == 132 && sizeof(Component) == 96 &&
              sizeof(Segment) == 32 && sizeof(Reader) == 632 && sizeof(Sink) == 40 && sizeof(Writer) == 520);

// The functions that we call, by their names in libjpeg without `jpeg_`. Switches are int: 0 or 1.
struct Calls {
    Errors* (*std_error)(Errors*);
    void (*create_decompress)(Reader*, int abi, size_t size);
    void (*destroy_decompress)(Reader*);
    void (*mem_src)(Reader*, const uint8_t* data, unsigned long size);
    int (*read_header)(Reader*, int must_hold_a_frame);
    int (*start_decompress)(Reader*);
    int (*consume_input)(Reader*);
    BlockStore** (*read_coefficients)(Reader*);
    int (*start_output)(Reader*, int scan);
    uint32_t (*read_scanlines)(Reader*, uint8_t** rows, uint32_t count);
    void (*save_markers)(Reader*, int marker, unsigned longest);
    void (*create_compress)(Writer*, int abi, size_t size);
    void (*destroy_compress)(Writer*);
    void (*copy_critical_parameters)(Reader*, Writer*);
    void (*write_coefficients)(Writer*, BlockStore**);
    void (*write_marker)(Writer*, int marker, const uint8_t* data, unsigned length);
    void (*finish_compress)(Writer*);
};

}  // namespace turbo
