// Finding libjpeg-turbo at run time, and its error handler.

#include "libjpeg_api.h"

#include <dlfcn.h>
#include <string.h>

#include "abi.h"

namespace {

turbo::Calls api;
bool found = false;

template <class Function> bool resolve(void* library, const char* name, Function& function) {
    function = reinterpret_cast<Function>(dlsym(library, name));
    return function != nullptr;
}

[[noreturn]] void jump_back(turbo::Object* object) {
    ErrorTrap* trap = reinterpret_cast<ErrorTrap*>(object->errors);
    object->errors->describe(object, trap->message);
    longjmp(trap->back, 1);
}

// Warnings that mean that image data are lost; the others (bytes between markers, an unknown JFIF version) are harmless.
void on_message(turbo::Object* object, int level) {
    if (level >= 0) return;
    switch (object->errors->code) {
        case turbo::EarlyMarker:
        case turbo::BadCode:
        case turbo::EndOfFile:
        case turbo::LostRestart:
        case turbo::BadProgression: jump_back(object);
        default: ++object->errors->warnings;
    }
}

void say_nothing(turbo::Object*) {}

bool resolve_all(void* library) {
    return resolve(library, "jpeg_std_error", api.std_error) &&
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
}

// Whether the constructors take objects of our sizes: a library with other ones is refused here, not at the first frame.
bool constructs() {
    struct {
        turbo::Reader reader;
        turbo::Writer writer;
        ErrorTrap trap;
    } trial;
    char message[turbo::LineLength];
    memset(&trial, 0, sizeof trial);
    set_trap(trial.trap, message);
    trial.reader.object.errors = trial.writer.object.errors = &trial.trap.errors;
    bool taken = false;
    if (setjmp(trial.trap.back) == 0) {
        api.create_decompress(&trial.reader, turbo::Abi, sizeof trial.reader);
        api.create_compress(&trial.writer, turbo::Abi, sizeof trial.writer);
        taken = true;
    }
    if (trial.writer.object.storage != nullptr) api.destroy_compress(&trial.writer);
    if (trial.reader.object.storage != nullptr) api.destroy_decompress(&trial.reader);
    return taken;
}

}  // namespace

const turbo::Calls* libjpeg() { return found ? &api : nullptr; }

void set_trap(ErrorTrap& trap, char* message) {
    api.std_error(&trap.errors);
    trap.errors.leave = jump_back;
    trap.errors.report = on_message;
    trap.errors.print = say_nothing;
    trap.message = message;
    message[0] = 0;
}

void refuse(turbo::Errors* errors, const char* why) {
    ErrorTrap* trap = reinterpret_cast<ErrorTrap*>(errors);
    strncpy(trap->message, why, turbo::LineLength - 1);
    trap->message[turbo::LineLength - 1] = 0;
    longjmp(trap->back, 1);
}

void refuse(turbo::Object& object, int code, int detail) {
    object.errors->code = code;
    object.errors->details[0] = detail;
    jump_back(&object);
}

// Load libjpeg-turbo (ABI 62) from a file or by its soname. Returns 1 when every function is there and the objects are
// laid out as we know them.
EG_EXPORT int eg_jpeg_open(const char* path) {
    if (found) return 1;
    void* library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (library == nullptr) return 0;
    found = resolve_all(library) && constructs();
    if (!found) dlclose(library);
    return found;
}
