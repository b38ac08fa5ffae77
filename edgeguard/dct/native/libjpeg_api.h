// libjpeg-turbo, found at run time (nothing is linked), and an error handler that comes back.
#pragma once

#include <setjmp.h>

#include "libjpeg_abi.h"

// The functions once eg_jpeg_open has found them, or null.
const turbo::Calls* libjpeg();

// libjpeg's error handler with a way out that is not exit(): errors, and warnings that mean lost data, jump back.
struct ErrorTrap {
    turbo::Errors errors;  // first, so that libjpeg's pointer to it is one to this
    jmp_buf back;
    char* message;  // turbo::LineLength characters
};
void set_trap(ErrorTrap& trap, char* message);
// Jump back with a line of our own.
[[noreturn]] void refuse(turbo::Errors* errors, const char* why);
// Jump back with libjpeg's line for a code and its first number.
[[noreturn]] void refuse(turbo::Object& object, int code, int detail);
