// Requantising the coefficients of a JPEG through libjpeg's public interface: buffered-image mode reads the whole file
// into coefficient arrays, which jpeg_read_coefficients then hands out and the output passes use.

#include "jpeg_domain.h"

#include "dispatch.h"

namespace {

constexpr int MaxScans = 64;  // real progressive files have about ten; each scan costs a pass over the frame
// The component's own copy of its table becomes the target; returns true when the coefficients have to change.
bool replace_table(JQUANT_TBL& table, const uint8_t* target, Requantiser& r) {
    bool differs = false;
    for (int i = 0; i < 64; ++i) {
        const uint32_t divisor = 4u * target[i];
        int k = 31 - __builtin_clz(divisor);
        if ((divisor & (divisor - 1)) == 0) --k;
        r.source[i] = static_cast<int16_t>(table.quantval[i]);
        r.twice_target[i] = static_cast<int16_t>(2 * target[i]);
        r.reciprocal[i] = static_cast<int16_t>(((1u << (16 + k)) + divisor - 1) / divisor);
        r.shift[i] = static_cast<int16_t>(1u << (16 - k));
        differs |= table.quantval[i] != target[i];
        table.quantval[i] = target[i];
    }
    return differs;
}

}  // namespace

jvirt_barray_ptr* requantise(jpeg_decompress_struct& info, const JpegJob& job, bool keep_markers) {
    const LibjpegApi& api = *libjpeg();
    const j_common_ptr common = reinterpret_cast<j_common_ptr>(&info);
    api.mem_src(&info, job.data, static_cast<unsigned long>(job.size));
    if (keep_markers) {
        api.save_markers(&info, JPEG_COM, 0xFFFF);
        for (int n = 1; n < 16; ++n) api.save_markers(&info, JPEG_APP0 + n, 0xFFFF);
    }
    api.read_header(&info, TRUE);
    if (info.jpeg_color_space != JCS_YCbCr && info.jpeg_color_space != JCS_GRAYSCALE) {
        refuse(info.err, "its colours are not YCbCr or gray");
    }
    if (info.data_precision != 8 || info.arith_code) refuse(info.err, "only 8-bit Huffman-coded files are read");
    info.out_color_space = JCS_RGB;
    info.scale_num = 1, info.scale_denom = static_cast<unsigned>(job.scale);
    info.do_block_smoothing = FALSE;
    info.buffered_image = TRUE;
    // Before start_decompress, which makes room for all coefficients of whatever size the file claims.
    const int scale = job.scale, width = static_cast<int>(info.image_width), height = static_cast<int>(info.image_height);
    if ((width + scale - 1) / scale != job.width || (height + scale - 1) / scale != job.height) {
        refuse(info.err, "its size is not the one in its header");
    }
    api.start_decompress(&info);
    while (api.consume_input(&info) != JPEG_REACHED_EOI) {
        if (info.input_scan_number > MaxScans) refuse(info.err, "it has more than 64 scans");
    }
    jvirt_barray_ptr* coefficients = api.read_coefficients(&info);
    for (int c = 0; c < info.num_components; ++c) {
        jpeg_component_info& component = info.comp_info[c];
        if (component.quant_table == nullptr) ERREXIT1(&info, JERR_NO_QUANT_TABLE, component.quant_tbl_no);
        for (int i = 0; i < 64; ++i) {
            if (component.quant_table->quantval[i] > 255) refuse(info.err, "its quantisation steps exceed 255");
        }
        Requantiser requantiser;
        if (!replace_table(*component.quant_table, job.tables + 64 * c, requantiser)) continue;
        for (JDIMENSION row = 0; row < component.height_in_blocks; ++row) {
            JBLOCKARRAY blocks = info.mem->access_virt_barray(common, coefficients[c], row, 1, TRUE);
            run_requantise(blocks[0][0], static_cast<int>(component.width_in_blocks), requantiser, job.set);
        }
    }
    return coefficients;
}
