// Requantising the coefficients of a JPEG through libjpeg's public interface: buffered-image mode reads the whole file
// into coefficient arrays, which jpeg_read_coefficients then hands out and the output passes use.

#include "jpeg_domain.h"

#include "dispatch.h"

namespace {

constexpr int MaxScans = 64;  // real progressive files have about ten; each scan costs a pass over the frame
// The component's own copy of its table becomes the target; returns true when the coefficients have to change.
bool replace_table(turbo::StepTable& table, const uint8_t* target, Requantiser& r) {
    bool differs = false;
    for (int i = 0; i < 64; ++i) {
        const uint32_t divisor = 4u * target[i];
        int k = 31 - __builtin_clz(divisor);
        if ((divisor & (divisor - 1)) == 0) --k;
        r.source[i] = static_cast<int16_t>(table.steps[i]);
        r.twice_target[i] = static_cast<int16_t>(2 * target[i]);
        r.reciprocal[i] = static_cast<int16_t>(((1u << (16 + k)) + divisor - 1) / divisor);
        r.shift[i] = static_cast<int16_t>(1u << (16 - k));
        differs |= table.steps[i] != target[i];
        table.steps[i] = target[i];
    }
    return differs;
}

}  // namespace

turbo::BlockStore** requantise(turbo::Reader& info, const JpegJob& job, bool keep_markers) {
    const turbo::Calls& api = *libjpeg();
    api.mem_src(&info, job.data, static_cast<unsigned long>(job.size));
    if (keep_markers) {
        api.save_markers(&info, turbo::Comment, 0xFFFF);
        for (int n = 1; n < 16; ++n) api.save_markers(&info, turbo::App + n, 0xFFFF);
    }
    api.read_header(&info, true);
    if (info.file_color != turbo::ColorSpace::YCbCr && info.file_color != turbo::ColorSpace::Gray) {
        refuse(info.object.errors, "its colors are not YCbCr or gray");
    }
    if (info.bits != 8 || info.arithmetic) refuse(info.object.errors, "only 8-bit Huffman-coded files are read");
    info.frame_color = turbo::ColorSpace::Rgb;
    info.scale_up = 1, info.scale_down = static_cast<unsigned>(job.scale);
    info.smooth_blocks = false;
    info.buffered = true;
    // Before start_decompress, which makes room for all coefficients of whatever size the file claims.
    const int scale = job.scale, width = static_cast<int>(info.width), height = static_cast<int>(info.height);
    if ((width + scale - 1) / scale != job.width || (height + scale - 1) / scale != job.height) {
        refuse(info.object.errors, "its size is not the one in its header");
    }
    api.start_decompress(&info);
    while (api.consume_input(&info) != turbo::FileEnd) {
        if (info.scan > MaxScans) refuse(info.object.errors, "it has more than 64 scans");
    }
    turbo::BlockStore** coefficients = api.read_coefficients(&info);
    for (int c = 0; c < info.component_count; ++c) {
        turbo::Component& component = info.components[c];
        if (component.table == nullptr) refuse(info.object, turbo::NoStepTable, component.table_slot);
        for (int i = 0; i < 64; ++i) {
            if (component.table->steps[i] > 255) refuse(info.object.errors, "its quantization steps exceed 255");
        }
        Requantiser requantiser;
        if (!replace_table(*component.table, job.tables + 64 * c, requantiser)) continue;
        for (uint32_t row = 0; row < component.rows; ++row) {
            turbo::Block** blocks = info.object.storage->blocks(&info.object, coefficients[c], row, 1, true);
            run_requantise(blocks[0][0], static_cast<int>(component.columns), requantiser, job.set);
        }
    }
    return coefficients;
}
