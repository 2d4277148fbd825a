// What the tensor-parallel ranks of a replica exchange inside a layer.
#pragma once

#include <span>

#include "model/context.h"

namespace weft {

// Sum over the tensor-parallel ranks, booked as communication.
void all_reduce_tp(const Context& ctx, View x);

// Every rank's columns side by side, in rank order: exact, unlike a sum, so inference on a grid has
// one rank's bits.
void gather_columns_tp(const Context& ctx, View whole,  // (N, W)
                       View packed,  // (N · Σ held) scratch; may be empty when N is 1 and held is
                       ConstView part,                          // (N, held[rank])
                       std::span<const std::int64_t> widths,    // of each rank; they sum to W
                       std::span<const std::int64_t> held = {}  // columns in memory, of which the
                                                                // first count; empty: widths
);

}  // namespace weft
