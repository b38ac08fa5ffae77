// Our picture of libjpeg's binary interface against libjpeg's own headers (to compile) and a real library (to run):
//
//     check_libjpeg_abi LIBRARY
//
// Compiling compares the place, size and kind of every member of edgeguard/dct/native/libjpeg_abi.h, the calls and the
// numbers. Running shows that the library's constructors take our sizes and refuse all others.

#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <jpeglib.h>

#include <jerror.h>

#include <type_traits>

#include "abi.h"
#include "libjpeg_api.h"

namespace {

// The same to a caller: integers of one size and signedness (an enumeration counts as its integer), any two pointers to
// data, arrays of the same length, functions with alike arguments and results.
template <class A, class B> constexpr bool alike();

template <class A, class B> struct AlikeCalls : std::false_type {};
template <class R, class... A, class S, class... B> struct AlikeCalls<R (*)(A...), S (*)(B...)> {
    static constexpr bool same() {
        if constexpr (sizeof...(A) == sizeof...(B)) return alike<R, S>() && (alike<A, B>() && ...);
        return false;
    }
    static constexpr bool value = same();
};

template <class A, class B> constexpr bool alike() {
    if constexpr (std::is_void_v<A> || std::is_void_v<B>) {
        return std::is_void_v<A> && std::is_void_v<B>;
    } else if constexpr (std::is_array_v<A> && std::is_array_v<B>) {
        return std::extent_v<A> == std::extent_v<B> && alike<std::remove_extent_t<A>, std::remove_extent_t<B>>();
    } else if constexpr (std::is_pointer_v<A> && std::is_pointer_v<B>) {
        constexpr bool calls = std::is_function_v<std::remove_pointer_t<A>>;
        if constexpr (calls) return AlikeCalls<A, B>::value;
        return calls == std::is_function_v<std::remove_pointer_t<B>>;
    } else if constexpr (std::is_enum_v<A>) {
        return alike<std::underlying_type_t<A>, B>();
    } else if constexpr (std::is_enum_v<B>) {
        return alike<A, std::underlying_type_t<B>>();
    } else if constexpr (std::is_integral_v<A> && std::is_integral_v<B>) {
        return sizeof(A) == sizeof(B) && std::is_signed_v<A> == std::is_signed_v<B>;
    }
    return false;
}

#define TYPE_OF(object, member) decltype(static_cast<object*>(nullptr)->member)
#define SAME_SIZE(ours, theirs) static_assert(sizeof(turbo::ours) == sizeof(theirs), "the size of " #ours)
#define SAME(ours, member, theirs, their_member)                                                              \
    static_assert(offsetof(turbo::ours, member) == offsetof(theirs, their_member), "the place of " #member);    \
    static_assert(alike<TYPE_OF(turbo::ours, member), TYPE_OF(theirs, their_member)>(), "the kind of " #member)
#define SAME_CALL(member, function) \
    static_assert(alike<decltype(turbo::Calls::member), decltype(&function)>(), "the call of " #function)
#define SAME_NUMBER(ours, theirs) static_assert(static_cast<int>(turbo::ours) == static_cast<int>(theirs), #theirs)

SAME(Object, errors, jpeg_common_struct, err);
SAME(Object, storage, jpeg_common_struct, mem);

SAME_SIZE(Errors, jpeg_error_mgr);
SAME(Errors, leave, jpeg_error_mgr, error_exit);
SAME(Errors, report, jpeg_error_mgr, emit_message);
SAME(Errors, print, jpeg_error_mgr, output_message);
SAME(Errors, describe, jpeg_error_mgr, format_message);
SAME(Errors, code, jpeg_error_mgr, msg_code);
SAME(Errors, details, jpeg_error_mgr, msg_parm.i);
SAME(Errors, warnings, jpeg_error_mgr, num_warnings);

SAME_SIZE(Storage, jpeg_memory_mgr);
SAME(Storage, blocks, jpeg_memory_mgr, access_virt_barray);
SAME_SIZE(Block, JBLOCK);
static_assert(alike<turbo::Block, JBLOCK>(), "the kind of a coefficient");

SAME_SIZE(StepTable, JQUANT_TBL);
SAME(StepTable, steps, JQUANT_TBL, quantval);

SAME_SIZE(Component, jpeg_component_info);
SAME(Component, table_slot, jpeg_component_info, quant_tbl_no);
SAME(Component, columns, jpeg_component_info, width_in_blocks);
SAME(Component, rows, jpeg_component_info, height_in_blocks);
SAME(Component, table, jpeg_component_info, quant_table);

SAME_SIZE(Segment, jpeg_marker_struct);
SAME(Segment, next, jpeg_marker_struct, next);
SAME(Segment, marker, jpeg_marker_struct, marker);
SAME(Segment, length, jpeg_marker_struct, data_length);
SAME(Segment, data, jpeg_marker_struct, data);

SAME_SIZE(Reader, jpeg_decompress_struct);
SAME(Reader, object.errors, jpeg_decompress_struct, err);
SAME(Reader, object.storage, jpeg_decompress_struct, mem);
SAME(Reader, width, jpeg_decompress_struct, image_width);
SAME(Reader, height, jpeg_decompress_struct, image_height);
SAME(Reader, component_count, jpeg_decompress_struct, num_components);
SAME(Reader, file_color, jpeg_decompress_struct, jpeg_color_space);
SAME(Reader, frame_color, jpeg_decompress_struct, out_color_space);
SAME(Reader, scale_up, jpeg_decompress_struct, scale_num);
SAME(Reader, scale_down, jpeg_decompress_struct, scale_denom);
SAME(Reader, buffered, jpeg_decompress_struct, buffered_image);
SAME(Reader, smooth_blocks, jpeg_decompress_struct, do_block_smoothing);
SAME(Reader, scan, jpeg_decompress_struct, input_scan_number);
SAME(Reader, table_slots, jpeg_decompress_struct, quant_tbl_ptrs);
SAME(Reader, bits, jpeg_decompress_struct, data_precision);
SAME(Reader, components, jpeg_decompress_struct, comp_info);
SAME(Reader, arithmetic, jpeg_decompress_struct, arith_code);
SAME(Reader, segments, jpeg_decompress_struct, marker_list);

SAME_SIZE(Sink, jpeg_destination_mgr);
SAME(Sink, next, jpeg_destination_mgr, next_output_byte);
SAME(Sink, room, jpeg_destination_mgr, free_in_buffer);
SAME(Sink, begin, jpeg_destination_mgr, init_destination);
SAME(Sink, full, jpeg_destination_mgr, empty_output_buffer);
SAME(Sink, end, jpeg_destination_mgr, term_destination);

SAME_SIZE(Writer, jpeg_compress_struct);
SAME(Writer, object.errors, jpeg_compress_struct, err);
SAME(Writer, object.storage, jpeg_compress_struct, mem);
SAME(Writer, sink, jpeg_compress_struct, dest);
SAME(Writer, optimize, jpeg_compress_struct, optimize_coding);
SAME(Writer, writes_adobe, jpeg_compress_struct, write_Adobe_marker);

SAME_CALL(std_error, jpeg_std_error);
SAME_CALL(create_decompress, jpeg_CreateDecompress);
SAME_CALL(destroy_decompress, jpeg_destroy_decompress);
SAME_CALL(mem_src, jpeg_mem_src);
SAME_CALL(read_header, jpeg_read_header);
SAME_CALL(start_decompress, jpeg_start_decompress);
SAME_CALL(consume_input, jpeg_consume_input);
SAME_CALL(read_coefficients, jpeg_read_coefficients);
SAME_CALL(start_output, jpeg_start_output);
SAME_CALL(read_scanlines, jpeg_read_scanlines);
SAME_CALL(save_markers, jpeg_save_markers);
SAME_CALL(create_compress, jpeg_CreateCompress);
SAME_CALL(destroy_compress, jpeg_destroy_compress);
SAME_CALL(copy_critical_parameters, jpeg_copy_critical_parameters);
SAME_CALL(write_coefficients, jpeg_write_coefficients);
SAME_CALL(write_marker, jpeg_write_marker);
SAME_CALL(finish_compress, jpeg_finish_compress);

SAME_NUMBER(Abi, JPEG_LIB_VERSION);
SAME_NUMBER(LineLength, JMSG_LENGTH_MAX);
SAME_NUMBER(BlockSize, DCTSIZE2);
SAME_NUMBER(NoStepTable, JERR_NO_QUANT_TABLE);
SAME_NUMBER(BadProgression, JWRN_BOGUS_PROGRESSION);
SAME_NUMBER(EarlyMarker, JWRN_HIT_MARKER);
SAME_NUMBER(BadCode, JWRN_HUFF_BAD_CODE);
SAME_NUMBER(EndOfFile, JWRN_JPEG_EOF);
SAME_NUMBER(LostRestart, JWRN_MUST_RESYNC);
SAME_NUMBER(FileEnd, JPEG_REACHED_EOI);
SAME_NUMBER(App, JPEG_APP0);
SAME_NUMBER(Comment, JPEG_COM);
SAME_NUMBER(ColorSpace::Gray, JCS_GRAYSCALE);
SAME_NUMBER(ColorSpace::Rgb, JCS_RGB);
SAME_NUMBER(ColorSpace::YCbCr, JCS_YCbCr);

// Whether the constructor takes an object of this size.
template <class Object>
bool taken(void (*create)(Object*, int, size_t), void (*destroy)(Object*), int abi, ptrdiff_t difference) {
    struct {
        Object object;
        ErrorTrap trap;
    } trial;
    char message[turbo::LineLength];
    memset(&trial, 0, sizeof trial);
    set_trap(trial.trap, message);
    trial.object.object.errors = &trial.trap.errors;
    if (setjmp(trial.trap.back) != 0) {
        printf("  refused: %s\n", message);
        return false;
    }
    create(&trial.object, abi, sizeof trial.object + difference);
    destroy(&trial.object);
    return true;
}

template <class Object>
bool takes_only_ours(const char* what, void (*create)(Object*, int, size_t), void (*destroy)(Object*)) {
    printf("%s of %zu bytes\n", what, sizeof(Object));
    return taken(create, destroy, turbo::Abi, 0) && !taken(create, destroy, turbo::Abi, 8) &&
           !taken(create, destroy, turbo::Abi, -8) && !taken(create, destroy, turbo::Abi + 18, 0);
}

}  // namespace

int main(int count, char** arguments) {
    if (count != 2 || eg_jpeg_open(arguments[1]) != 1) {
        fprintf(stderr, "no libjpeg of ABI %d: %s\n", turbo::Abi, count == 2 ? arguments[1] : "name its file");
        return 1;
    }
    const turbo::Calls& api = *libjpeg();
    const bool same = takes_only_ours("a reader", api.create_decompress, api.destroy_decompress) &&
                      takes_only_ours("a writer", api.create_compress, api.destroy_compress);
    printf("%s: %s\n", arguments[1], same ? "laid out as we know it" : "laid out in another way");
    return same ? 0 : 1;
}
