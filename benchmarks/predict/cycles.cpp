// Cycles of one turn of each loop of block.cpp on this machine: the fastest of many rounds, in turns with a chain of
// multiplications of known length that tells what a cycle is. Prints `name cycles` lines.
#include <stdio.h>
#include <time.h>

#include "../../edgeguard/dct/native/kernel.h"

extern "C" {
int lanes();
int pixel_group();
void blocks(uint8_t*, int, int, const Table&);
void split(const uint8_t*, uint8_t*, uint8_t*, uint8_t*, int);
void merge(uint8_t*, const uint8_t*, const uint8_t*, const uint8_t*, int);
}

namespace {

constexpr int Columns = 384, Stride = Columns, Rounds = 3000;
alignas(64) uint8_t strip[8 * Stride], rgb[3 * Columns], planes[3 * Columns];
alignas(64) Table table;

double now() {
    timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return 1e9 * t.tv_sec + t.tv_nsec;
}

// A multiplication of 64 bits takes three cycles on every x86-64 core since 2009, and each waits for the one before.
void chain() {
    uint64_t a = 3;
    for (int i = 0; i < 40; ++i) {
        asm volatile(".rept 100\n\timulq %0, %0\n\t.endr" : "+r"(a));
    }
}
constexpr double ChainCycles = 3 * 40 * 100;

template <class Work> void fastest(double& least, Work work) {
    const double start = now();
    work();
    const double took = now() - start;
    if (took < least) least = took;
}

}  // namespace

int main() {
    for (int v = 0; v < 8; ++v) {
        for (int i = 0; i < MaxLanes; ++i) {
            table.round[v][i] = 16 * 24 - 1, table.reciprocal[v][i] = 21846, table.shift[v][i] = 1 << 8;
            table.step16[v][i] = 16 * 24, table.not_dc_lane[i] = -1;
        }
    }
    double times[4] = {1e18, 1e18, 1e18, 1e18};
    constexpr int Repeats = 8;
    for (int round = 0; round < Rounds; ++round) {
        fastest(times[0], chain);
        fastest(times[1], [] { for (int i = 0; i < Repeats; ++i) blocks(strip, Stride, Columns, table); });
        fastest(times[2], [] {
            for (int i = 0; i < 8 * Repeats; ++i) split(rgb, planes, planes + Columns, planes + 2 * Columns, Columns);
        });
        fastest(times[3], [] {
            for (int i = 0; i < 8 * Repeats; ++i) merge(rgb, planes, planes + Columns, planes + 2 * Columns, Columns);
        });
    }
    const double cycle = times[0] / ChainCycles;  // ns
    printf("GHz %.3f\n", 1 / cycle);
    printf("blocks %.3f\n", times[1] / cycle / (Repeats * Columns / lanes()));
    printf("split %.3f\n", times[2] / cycle / (8 * Repeats * Columns / pixel_group()));
    printf("merge %.3f\n", times[3] / cycle / (8 * Repeats * Columns / pixel_group()));
}
