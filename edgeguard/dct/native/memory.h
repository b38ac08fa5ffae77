// Memory that frees itself, aligned to cache lines; no exceptions: `address` is null when there is none.
#pragma once

#include <stdint.h>
#include <stdlib.h>

struct Memory {
    void* address;
    explicit Memory(size_t size) : address(nullptr) {
        if (posix_memalign(&address, 64, size) != 0) address = nullptr;
    }
    Memory(const Memory&) = delete;
    Memory& operator=(const Memory&) = delete;
    ~Memory() { free(address); }
    uint8_t* bytes() const { return static_cast<uint8_t*>(address); }
};
