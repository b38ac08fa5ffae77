// The C ABI of the compressed domain: JPEG bytes to a requantised frame, tensor or file.

#include <string.h>

#include "abi.h"
#include "area_plan.h"
#include "dispatch.h"
#include "jpeg_domain.h"

namespace {

constexpr int RowsAtOnce = 16;

// Errors inside libjpeg come back to the trap's setjmp with the message filled in.
struct Decoder {
    turbo::Reader info;
    ErrorTrap trap;
};

// Rows `first`..`first + count` of the frame are in `rows`.
using TakeRows = void (*)(void* taker, const uint8_t* rows, int first, int count);

void read_rows(Decoder& decoder, const JpegJob& job, uint8_t* rows, int end, TakeRows take, void* taker) {
    const turbo::Calls& api = *libjpeg();
    turbo::Reader& info = decoder.info;
    const ptrdiff_t stride = 3 * static_cast<ptrdiff_t>(job.width);
    api.start_output(&info, info.scan);
    for (int first = 0; first < end; first += RowsAtOnce) {
        const int count = job.height - first < RowsAtOnce ? job.height - first : RowsAtOnce;
        for (int done = 0; done < count;) {
            uint8_t* pointers[RowsAtOnce];
            for (int i = done; i < count; ++i) pointers[i - done] = rows + i * stride;
            done += static_cast<int>(api.read_scanlines(&info, pointers, static_cast<uint32_t>(count - done)));
        }
        take(taker, rows, first, count);
    }
}

// Decode up to row `end`. Nothing here has a destructor: libjpeg's errors jump out of the middle.
int decode(const JpegJob& job, uint8_t* rows, int end, TakeRows take, void* taker, char* message) {
    const turbo::Calls& api = *libjpeg();
    Decoder decoder;
    memset(&decoder, 0, sizeof decoder);
    set_trap(decoder.trap, message);
    decoder.info.object.errors = &decoder.trap.errors;
    if (setjmp(decoder.trap.back) != 0) {
        if (decoder.info.object.storage != nullptr) api.destroy_decompress(&decoder.info);
        return BrokenJpeg;
    }
    api.create_decompress(&decoder.info, turbo::Abi, sizeof decoder.info);
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
        const Frame frame = {rows, 3 * static_cast<ptrdiff_t>(to.width), to.width, count, Color::None, nullptr, first,
                             nullptr};
        run_area(frame, to.area, to.scratch, to.set);
    }
};

struct Cut {
    const Window& window;
    uint8_t* scratch;
    int width, set;
    static void take(void* self, const uint8_t* rows, int first, int count) {
        const Cut& to = *static_cast<Cut*>(self);
        const Frame frame = {rows, 3 * static_cast<ptrdiff_t>(to.width), to.width, count, Color::None, nullptr, first,
                             nullptr};
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
    turbo::Sink sink;
    uint8_t* buffer;
    size_t capacity;
};
void start_buffer(turbo::Writer* info) {
    Destination* to = reinterpret_cast<Destination*>(info->sink);
    to->sink.next = to->buffer, to->sink.room = to->capacity;
}
int buffer_full(turbo::Writer* info) {
    refuse(info->object.errors, "the room is too small");
    return false;
}
void end_buffer(turbo::Writer*) {}

struct Transcoder {
    Decoder decoder;
    turbo::Writer out;
    Destination destination;
};

void write_file(Transcoder& t, turbo::BlockStore** coefficients) {
    const turbo::Calls& api = *libjpeg();
    turbo::Reader& in = t.decoder.info;
    // copy_critical_parameters takes the tables from the slots, and every component gets a slot of its own.
    for (int c = 0; c < in.component_count; ++c) {
        in.components[c].table_slot = c;
        in.table_slots[c] = in.components[c].table;
    }
    api.create_compress(&t.out, turbo::Abi, sizeof t.out);
    t.out.sink = &t.destination.sink;
    api.copy_critical_parameters(&in, &t.out);
    t.out.optimize = false;
    api.write_coefficients(&t.out, coefficients);
    for (const turbo::Segment* m = in.segments; m != nullptr; m = m->next) {
        const bool adobe = m->marker == turbo::App + 14 && t.out.writes_adobe;
        if (!adobe) api.write_marker(&t.out, m->marker, m->data, m->length);
    }
    api.finish_compress(&t.out);
}

void copy_indices(turbo::Reader& info, turbo::BlockStore** coefficients, int components, const int* grid,
                  int16_t* const* targets) {
    if (info.component_count != components) {
        refuse(info.object.errors, "it has another number of components than its header says");
    }
    for (int c = 0; c < components; ++c) {
        const turbo::Component& component = info.components[c];
        const uint32_t rows = static_cast<uint32_t>(grid[2 * c]), columns = static_cast<uint32_t>(grid[2 * c + 1]);
        if (rows > component.rows || columns > component.columns) {
            refuse(info.object.errors, "its sampling is not the one in its header");
        }
        for (uint32_t row = 0; row < rows; ++row) {
            turbo::Block** blocks = info.object.storage->blocks(&info.object, coefficients[c], row, 1, false);
            int16_t* const target = targets[c] + static_cast<size_t>(row) * columns * turbo::BlockSize;
            memcpy(target, blocks[0][0], columns * sizeof(turbo::Block));
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
    const turbo::Calls& api = *libjpeg();
    Decoder decoder;
    memset(&decoder, 0, sizeof decoder);
    set_trap(decoder.trap, message);
    decoder.info.object.errors = &decoder.trap.errors;
    int status = BrokenJpeg;
    if (setjmp(decoder.trap.back) == 0) {
        api.create_decompress(&decoder.info, turbo::Abi, sizeof decoder.info);
        copy_indices(decoder.info, requantise(decoder.info, job, false), components, grid, targets);
        status = Done;
    }
    if (decoder.info.object.storage != nullptr) api.destroy_decompress(&decoder.info);
    return status;
}

// Requantise and write a JPEG again, segments kept. Returns its length, or a negative status.
EG_EXPORT ptrdiff_t eg_jpeg_file(const uint8_t* data, size_t size, const uint8_t* tables, int width, int height,
                                 uint8_t* target, size_t capacity, int set, char* message) {
    const JpegJob job = {data, size, tables, 1, set, width, height};
    if (!valid(job)) return BadArguments;
    const turbo::Calls& api = *libjpeg();
    Transcoder t;
    memset(&t, 0, sizeof t);
    set_trap(t.decoder.trap, message);
    t.decoder.info.object.errors = t.out.object.errors = &t.decoder.trap.errors;
    t.destination.sink.begin = start_buffer;
    t.destination.sink.full = buffer_full;
    t.destination.sink.end = end_buffer;
    t.destination.buffer = target, t.destination.capacity = capacity;
    ptrdiff_t length = BrokenJpeg;
    if (setjmp(t.decoder.trap.back) == 0) {
        api.create_decompress(&t.decoder.info, turbo::Abi, sizeof t.decoder.info);
        turbo::BlockStore** coefficients = requantise(t.decoder.info, job, true);
        write_file(t, coefficients);
        length = static_cast<ptrdiff_t>(capacity - t.destination.sink.room);
    }
    if (t.out.object.storage != nullptr) api.destroy_compress(&t.out);
    if (t.decoder.info.object.storage != nullptr) api.destroy_decompress(&t.decoder.info);
    return length;
}
}
