// Hugging Face directories, written from the weights that a grid holds.
#pragma once

#include <filesystem>
#include <vector>

#include "formats/carried_tensors.h"
#include "model/parameters.h"

namespace weft {

// The GPT-2 way to write 5 GB: the largest file of an export, as transformers' default.
constexpr std::int64_t kMaxShardBytes = 5'000'000'000;

// config.json, generation_config.json and model.safetensors (sharded above max_shard_bytes),
// written by rank 0, the slices gathered tensor by tensor. dtype: f32, bf16 or f16. Collective.
void save_hf_weights(const Parameters& parameters, const ModelConfig& config, const Grid& grid,
                     const std::filesystem::path& dir, DType dtype, std::int64_t max_shard_bytes,
                     Stream& stream, const std::vector<CarriedTensor>& carried = {});

// config.json and generation_config.json, by one process alone. dtype: f32, bf16 or f16.
void write_hf_config_files(const ModelConfig& config, const std::filesystem::path& dir,
                           DType dtype);

// One part of a parameter as a Hugging Face file stores it, on world rank 0; empty elsewhere.
// Collective over the first data-parallel replica.
std::vector<float> gather_stored(const Parameter& parameter, std::size_t part,
                                 const Parameters& parameters, const ModelConfig& config,
                                 const Grid& grid, View LocalParameter::*of, Stream& stream);

}  // namespace weft
