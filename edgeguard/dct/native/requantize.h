// Coefficient indices from one table to another, half away from zero, exactly.
#pragma once

#include "kernel.h"
#include "lanes.h"

namespace EG_NS {
namespace {

// Most blocks: levels |c| s of at most SmallLevel. Returns false, with nothing changed, where one is larger.
inline bool requantise_small(int16_t* block, const Requantiser& r) {
    V size[64 / Lanes], beyond = splat(0);
    for (int i = 0; i < 64 / Lanes; ++i) {
        const V c = magnitude(load(block + i * Lanes)), s = load(r.source + i * Lanes);
        size[i] = mullo(c, s);
        beyond = or_(beyond, or_(mulhi_unsigned(c, s), shift_right_logical<SmallLevelBits>(size[i])));
    }
    if (any(beyond)) return false;
    for (int i = 0; i < 64 / Lanes; ++i) {
        int16_t* at = block + i * Lanes;
        V n = add(shift_left<2>(size[i]), load(r.twice_target + i * Lanes));
        V index = mulhi_unsigned(mulhi_unsigned(n, load(r.reciprocal + i * Lanes)), load(r.shift + i * Lanes));
        store(at, with_sign(smaller(index, splat(MaxIndex)), load(at)));
    }
    return true;
}

}  // namespace
}  // namespace EG_NS
