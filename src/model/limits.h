// What validate() lets through of a model's sizes, and so what the options of a fresh one may be.
#pragma once

#include <cstdint>

namespace weft {

constexpr std::int64_t kMaxLayers = 10'000, kMaxWidth = 1 << 20, kMaxHeads = 1 << 14,
                       kMaxHeadDim = 1 << 12, kMaxFfn = 1 << 24, kMaxVocab = 1 << 26,
                       kMaxContext = 1 << 26, kMaxTokenTypes = 1 << 20, kMaxLabels = 1 << 20;

}  // namespace weft
