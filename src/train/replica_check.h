// Whether data-parallel replicas, which do the same arithmetic, still hold the same numbers.
#pragma once

#include <initializer_list>

#include "model/context.h"
#include "model/parameters.h"

namespace weft {

// Of the tensors that this rank holds of each parameter: weight, m or v.
std::uint64_t local_checksum(const Context& ctx, const Parameters& parameters,
                             std::initializer_list<View LocalParameter::*> of);

// Collective over the grid's world. Error, on every rank, with host and rank where a replica's
// weights or moments are not replica 0's.
void check_replicas(const Context& ctx, const Parameters& parameters);

}  // namespace weft
