// Finding libjpeg-turbo at run time, and its error handler.

#include "libjpeg_api.h"

#include <dlfcn.h>
#include <string.h>

namespace {

LibjpegApi api;
bool found = false;

template <class Function> bool resolve(void* library, const char* name, Function& function) {
    function = reinterpret_cast<Function>(dlsym(library, name));
    return function != nullptr;
}

[[noreturn]] void jump_back(j_common_ptr info) {
    ErrorTrap* trap = reinterpret_cast<ErrorTrap*>(info->err);
    (*info->err->format_message)(info, trap->message);
    longjmp(trap->back, 1);
}

// Warnings that mean that image data are lost; the others (bytes between markers, an unknown JFIF version) are harmless.
void on_message(j_common_ptr info, int level) {
    if (level >= 0) return;
    switch (info->err->msg_code) {
        case JWRN_HIT_MARKER:
        case JWRN_HUFF_BAD_CODE:
        case JWRN_JPEG_EOF:
        case JWRN_MUST_RESYNC:
        case JWRN_BOGUS_PROGRESSION: jump_back(info);
        default: ++info->err->num_warnings;
    }
}

void say_nothing(j_common_ptr) {}

}  // namespace

const LibjpegApi* libjpeg() { return found ? &api : nullptr; }

void set_trap(ErrorTrap& trap, char* message) {
    api.std_error(&trap.manager);
    trap.manager.error_exit = jump_back;
    trap.manager.emit_message = on_message;
    trap.manager.output_message = say_nothing;
    trap.message = message;
    message[0] = 0;
}

void refuse(jpeg_error_mgr* manager, const char* why) {
    ErrorTrap* trap = reinterpret_cast<ErrorTrap*>(manager);
    strncpy(trap->message, why, JMSG_LENGTH_MAX - 1);
    trap->message[JMSG_LENGTH_MAX - 1] = 0;
    longjmp(trap->back, 1);
}

// Load libjpeg-turbo (ABI 62) from a file or by its soname. Returns 1 when every function is there.
extern "C" __attribute__((visibility("default"))) int eg_jpeg_open(const char* path) {
    if (found) return 1;
    void* library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (library == nullptr) return 0;
    found = resolve(library, "jpeg_std_error", api.std_error) &&
            resolve(library, "jpeg_CreateDecompress", api.create_decompress) &&
            resolve(library, "jpeg_destroy_decompress", api.destroy_decompress) &&
            resolve(library, "jpeg_mem_src", api.mem_src) && resolve(library, "jpeg_read_header", api.read_header) &&
            resolve(library, "jpeg_start_decompress", api.start_decompress) &&
            resolve(library, "jpeg_consume_input", api.consume_input) &&
            resolve(library, "jpeg_read_coefficients", api.read_coefficients) &&
            resolve(library, "jpeg_start_output", api.start_output) &&
            resolve(library, "jpeg_read_scanlines", api.read_scanlines) &&
            resolve(library, "jpeg_save_markers", api.save_markers) &&
            resolve(library, "jpeg_CreateCompress", api.create_compress) &&
            resolve(library, "jpeg_destroy_compress", api.destroy_compress) &&
            resolve(library, "jpeg_copy_critical_parameters", api.copy_critical_parameters) &&
            resolve(library, "jpeg_write_coefficients", api.write_coefficients) &&
            resolve(library, "jpeg_write_marker", api.write_marker) &&
            resolve(library, "jpeg_finish_compress", api.finish_compress);
    if (!found) dlclose(library);
    return found;
}
