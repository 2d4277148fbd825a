// Weights from and to Hugging Face directories. A rank reads only its slices of the mapped files.
#pragma once

#include <filesystem>

#include "comm/grid.h"
#include "model/parameters.h"

namespace weft {

// Fills parameters.weight (and the bf16 copies). UserErrors: a missing tensor (with the nearest name there), a wrong shape, a NaN.
void load_hf_weights(Parameters& parameters, const ModelConfig& config, const std::filesystem::path& dir, Stream& stream);

// config.json and model.safetensors (sharded above max_shard_bytes), written by rank 0 with the slices gathered tensor by
// tensor. Collective. dtype: f32, bf16 or f16.
void save_hf_weights(const Parameters& parameters, const ModelConfig& config, const Grid& grid, const std::filesystem::path& dir,
                     DType dtype, std::int64_t max_shard_bytes, Stream& stream);

// The whole tensor on world rank 0 (empty elsewhere), gathered from the ranks that own its parts. Collective.
std::vector<float> gather_parameter(const Parameter& parameter, const Parameters& parameters, const ModelConfig& config,
                                    const Grid& grid, Stream& stream);

}  // namespace weft
