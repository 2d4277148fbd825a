// The scale of q·k.
#pragma once

#include <cmath>

namespace weft {

// For keys of n dims: 1/√n in double, rounded once, as transformers computes it. Every config gets
// it from here: computed in fp32 it differs in its last bit for some n (24).
inline float attention_scale_of(double n) { return static_cast<float>(1.0 / std::sqrt(n)); }

}  // namespace weft
