// Whether two ranks read the same weights, without reading all of them.
#pragma once

#include <cstdint>

#include "formats/weight_source.h"

namespace weft {

// Of the names, types and shapes of the model's tensors in the source, and of some elements of
// each.
std::uint64_t weights_checksum(const ModelConfig& config, const WeightSource& source);

}  // namespace weft
