// A checksum of fp32 elements that depends neither on how they are cut into pieces nor on the order
// of these: Σ mix(global index, bits) modulo 2^64.
#pragma once

#include <cstdint>
#include <vector>

#include "comm/shard.h"

namespace weft {

std::uint64_t elements_checksum(const float* data, const std::vector<Run>& runs, int n_threads);

}  // namespace weft
