// Whole parameters on one rank, from the ranks that own their parts.
#pragma once

#include <functional>
#include <vector>

#include "model/parameters.h"

namespace weft {

// Every run of a parameter on world rank 0: piece(first global element, values, count), whose
// values die when it returns. `of` picks the tensor: weight, grad, … (fp32). Collective over the
// first data-parallel replica; other ranks return at once, and none but rank 0 is told of a piece.
using TakeRun = std::function<void(std::int64_t begin, const float* values, std::int64_t n)>;
void gather_runs(const Parameter& parameter, const Parameters& parameters,
                 const ModelConfig& config, const Grid& grid, View LocalParameter::*of,
                 Stream& stream, const TakeRun& piece);

// The whole of it on world rank 0, as the registry lays it out; empty elsewhere. Collective
// likewise.
std::vector<float> gather_parameter(const Parameter& parameter, const Parameters& parameters,
                                    const ModelConfig& config, const Grid& grid,
                                    View LocalParameter::*of, Stream& stream);

// The weights of a training layout in one of inference, both fp32: tensor by tensor, whole on every
// rank of the first replica for that long (largest_tensor_bytes). Collective over that replica;
// other ranks return at once.
void copy_weights(Parameters& to, const Parameters& from, const Grid& grid, Stream& stream);
std::size_t largest_tensor_bytes(const ModelConfig& config);

}  // namespace weft
