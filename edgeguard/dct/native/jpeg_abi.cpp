// The C ABI of the compressed domain: JPEG bytes to a requantised frame, tensor or file.

#include <string.h>

#include "area_plan.h"
#include "dispatch.h"
#include "jpeg_domain.h"

#define EG_EXPORT __attribute__((visibility("default")))

namespace {

constexpr int RowsAtOnce = 16;

// Errors inside libjpeg come back to the trap's setjmp with the message filled in.
struct Decoder {
    jpeg_decompress_struct info;
    ErrorTrap trap;
};

// Rows `first`..`first + count` of the frame are in `rows`.
using TakeRows = void (*)(void* taker, const uint8_t* rows, int first, int count);

void read_rows(Decoder& decoder, const JpegJob& job, uint8_t* rows, int end, TakeRows take, void* taker) {
    const LibjpegApi& api = *libjpeg();
    jpeg_decompress_struct& info = decoder.info;
    const ptrdiff_t stride = 3 * static_cast<ptrdiff_t>(job.width);
    api.start_output(&info, info.input_scan_number);
    for (int first = 0; first < end; first += RowsAtOnce) {
        const int count = job.height - first < RowsAtOnce ? job.height - first : RowsAtOnce;
        for (int done = 0; done < count;) {
            JSAMPROW pointers[RowsAtOnce];
            for (int i = done; i < count; ++i) pointers[i - done] = rows + i * stride;
            done += static_cast<int>(api.read_scanlines(&info, pointers, static_cast<JDIMENSION>(count - done)));
        }
        take(taker, rows, first, count);
    }
}

// Decode up to row `end`. Nothing here has a destructor: libjpeg's errors jump out of the middle.
int decode(const JpegJob& job, uint8_t* rows, int end, TakeRows take, void* taker, char* message) {
    const LibjpegApi& api = *libjpeg();
    Decoder decoder;
    memset(&decoder, 0, sizeof decoder);
    set_trap(decoder.trap, message);
    decoder.info.err = &decoder.trap.manager;
    if (setjmp(decoder.trap.back) != 0) {
        if (decoder.info.mem != nullptr) api.destroy_decompress(&decoder.info);
        return BrokenJpeg;
    }
    api.create_decompress(&decoder.info, JPEG_LIB_VERSION, sizeof decoder.info);
    requantise(decoder.info, job, false);
    read_rows(decoder, job, rows, end, take, taker);
    api.destroy_decompress(&decoder.info);
    return Done;
}

struct Copy {
    uint8_t* target;
    ptrdiff_t target_stride, bytes;
    static void take(void* self, const uint8_t* rows, int first, int count) {
        const Copy& to = *static_cast<Copy*>(self);
        for (int i = 0; i < count; ++i) memcpy(to.target + (first + i) * to.target_stride, rows + i * to.bytes, to.bytes);
    }
};

struct Resize {
    Area& area;
    uint8_t* scratch;
    int width, set;
    static void take(void* self, const uint8_t* rows, int first, int count) {
        const Resize& to = *static_cast<Resize*>(self);
        if ((first + count) * to.area.scale <= to.area.top) return;
        const Frame frame = {rows, 3 * static_cast<ptrdiff_t>(to.width), to.width, count, Color::None, nullptr, first};
        run_area(frame, to.area, to.scratch, to.set);
    }
};

struct Cut {
    const Window& window;
    uint8_t* scratch;
    int width, set;
    static void take(void* self, const uint8_t* rows, int first, int count) {
        const Cut& to = *static_cast<Cut*>(self);
        const Frame frame = {rows, 3 * static_cast<ptrdiff_t>(to.width), to.width, count, Color::None, nullptr, first};
        run_window(frame, to.window, to.scratch, to.set);
    }
};

bool valid(const JpegJob& job) {
    if (libjpeg() == nullptr || !usable(job.set) || job.size == 0 || job.width < 1 || job.height < 1 || job.width > 65535 ||
        job.height > 65535 || (job.scale != 1 && job.scale != 2 && job.scale != 4)) {
        return false;
    }
    for (int i = 0; i < 3 * 64; ++i) {
        if (job.tables[i] == 0) return false;
    }
    return true;
}

// A destination of fixed size; a file that does not fit is an error.
struct Destination {
    jpeg_destination_mgr manager;
    uint8_t* buffer;
    size_t capacity;
};
void start_buffer(j_compress_ptr info) {
    Destination* to = reinterpret_cast<Destination*>(info->dest);
    to->manager.next_output_byte = to->buffer, to->manager.free_in_buffer = to->capacity;
}
boolean buffer_full(j_compress_ptr info) {
    refuse(info->err, "the room is too small");
    return FALSE;
}
void end_buffer(j_compress_ptr) {}

struct Transcoder {
    Decoder decoder;
    jpeg_compress_struct out;
    Destination destination;
};

void write_file(Transcoder& t, jvirt_barray_ptr* coefficients) {
    const LibjpegApi& api = *libjpeg();
    jpeg_decompress_struct& in = t.decoder.info;
    // copy_critical_parameters takes the tables from the slots, and every component gets a slot of its own.
    for (int c = 0; c < in.num_components; ++c) {
        in.comp_info[c].quant_tbl_no = c;
        in.quant_tbl_ptrs[c] = in.comp_info[c].quant_table;
    }
    api.create_compress(&t.out, JPEG_LIB_VERSION, sizeof t.out);
    t.out.dest = &t.destination.manager;
    api.copy_critical_parameters(&in, &t.out);
    t.out.optimize_coding = FALSE;
    api.write_coefficients(&t.out, coefficients);
    for (jpeg_saved_marker_ptr m = in.marker_list; m != nullptr; m = m->next) {
        const bool adobe = m->marker == JPEG_APP0 + 14 && t.out.write_Adobe_marker;
        if (!adobe) api.write_marker(&t.out, m->marker, m->data, m->data_length);
    }
    api.finish_compress(&t.out);
}

void copy_indices(jpeg_decompress_struct& info, jvirt_barray_ptr* coefficients, int components, const int* grid,
                  int16_t* const* targets) {
    if (info.num_components != components) refuse(info.err, "it has another number of components than its header says");
    for (int c = 0; c < components; ++c) {
        const jpeg_component_info& component = info.comp_info[c];
        const JDIMENSION rows = static_cast<JDIMENSION>(grid[2 * c]), columns = static_cast<JDIMENSION>(grid[2 * c + 1]);
        if (rows > component.height_in_blocks || columns > component.width_in_blocks) {
            refuse(info.err, "its sampling is not the one in its header");
        }
        for (JDIMENSION row = 0; row < rows; ++row) {
            JBLOCKARRAY blocks = info.mem->access_virt_barray(reinterpret_cast<j_common_ptr>(&info), coefficients[c], row, 1, FALSE);
            memcpy(targets[c] + static_cast<size_t>(row) * columns * DCTSIZE2, blocks[0][0], columns * sizeof(JBLOCK));
        }
    }
}

}  // namespace

extern "C" {

// Requantise, decode at 1/scale and copy to RGB. width and height: of the scaled frame. `message`: 200 characters.
EG_EXPORT int eg_jpeg_frame(const uint8_t* data, size_t size, const uint8_t* tables, int scale, int width, int height,
                            uint8_t* target, ptrdiff_t target_stride, int set, char* message) {
    const JpegJob job = {data, size, tables, scale, set, width, height};
    if (!valid(job)) return BadArguments;
    const ptrdiff_t bytes = 3 * static_cast<ptrdiff_t>(width);
    const Memory rows(static_cast<size_t>(bytes) * RowsAtOnce);
    if (rows.address == nullptr) return NoMemory;
    Copy copy = {target, target_stride, bytes};
    return decode(job, rows.bytes(), height, Copy::take, &copy, message);
}

// Requantise, decode at 1/scale, crop and resize by area. The crop is in pixels of the whole frame, so that at 1/2 it may
// begin in the middle of a pixel; in pixels of the decoded frame it is at least as large as the output.
EG_EXPORT int eg_jpeg_tensor(const uint8_t* data, size_t size, const uint8_t* tables, int scale, int width, int height,
                             int left, int top, int crop_width, int crop_height, uint8_t* target,
                             ptrdiff_t target_stride, int out_width, int out_height, int flip, int set, char* message) {
    const JpegJob job = {data, size, tables, scale, set, width, height};
    if (!valid(job) || out_width > 65535 || out_height > 65535 ||
        !valid_crop(width * scale, height * scale, left, top, crop_width, crop_height, out_width * scale,
                    out_height * scale, set)) {
        return BadArguments;
    }
    const Window window = {left, top, crop_width, crop_height, target, target_stride, static_cast<uint8_t>(flip)};
    const Memory rows(3 * static_cast<size_t>(width) * RowsAtOnce), scratch(scratch_bytes(width, Color::None));
    AreaPlan plan(window, scale, out_width, out_height);
    if (rows.address == nullptr || scratch.address == nullptr || !plan.ready()) return NoMemory;
    const int end = (top + crop_height + scale - 1) / scale;
    if (scale == 1 && crop_width == out_width && crop_height == out_height) {
        Cut cut = {window, scratch.bytes(), width, set};
        return decode(job, rows.bytes(), end, Cut::take, &cut, message);
    }
    Resize resize = {plan.area, scratch.bytes(), width, set};
    return decode(job, rows.bytes(), end, Resize::take, &resize, message);
}

// Requantise and copy the indices of `components` components, natural order. `grid`: rows and columns of blocks of each;
// `targets`: room for 64 int16 a block.
EG_EXPORT int eg_jpeg_indices(const uint8_t* data, size_t size, const uint8_t* tables, int width, int height,
                              int components, const int* grid, int16_t* const* targets, int set, char* message) {
    const JpegJob job = {data, size, tables, 1, set, width, height};
    if (!valid(job) || components < 1 || components > 3) return BadArguments;
    const LibjpegApi& api = *libjpeg();
    Decoder decoder;
    memset(&decoder, 0, sizeof decoder);
    set_trap(decoder.trap, message);
    decoder.info.err = &decoder.trap.manager;
    int status = BrokenJpeg;
    if (setjmp(decoder.trap.back) == 0) {
        api.create_decompress(&decoder.info, JPEG_LIB_VERSION, sizeof decoder.info);
        copy_indices(decoder.info, requantise(decoder.info, job, false), components, grid, targets);
        status = Done;
    }
    if (decoder.info.mem != nullptr) api.destroy_decompress(&decoder.info);
    return status;
}

// Requantise and write a JPEG again, segments kept. Returns its length, or a negative status.
EG_EXPORT ptrdiff_t eg_jpeg_file(const uint8_t* data, size_t size, const uint8_t* tables, int width, int height,
                                 uint8_t* target, size_t capacity, int set, char* message) {
    const JpegJob job = {data, size, tables, 1, set, width, height};
    if (!valid(job)) return BadArguments;
    const LibjpegApi& api = *libjpeg();
    Transcoder t;
    memset(&t, 0, sizeof t);
    set_trap(t.decoder.trap, message);
    t.decoder.info.err = t.out.err = &t.decoder.trap.manager;
    t.destination.manager.init_destination = start_buffer;
    t.destination.manager.empty_output_buffer = buffer_full;
    t.destination.manager.term_destination = end_buffer;
    t.destination.buffer = target, t.destination.capacity = capacity;
    ptrdiff_t length = BrokenJpeg;
    if (setjmp(t.decoder.trap.back) == 0) {
        api.create_decompress(&t.decoder.info, JPEG_LIB_VERSION, sizeof t.decoder.info);
        jvirt_barray_ptr* coefficients = requantise(t.decoder.info, job, true);
        write_file(t, coefficients);
        length = static_cast<ptrdiff_t>(capacity - t.destination.manager.free_in_buffer);
    }
    if (t.out.mem != nullptr) api.destroy_compress(&t.out);
    if (t.decoder.info.mem != nullptr) api.destroy_decompress(&t.decoder.info);
    return length;
}
}
