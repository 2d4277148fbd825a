// The weights of a Hugging Face directory or a GGUF file. A rank reads only its slices of the
// mapped files.
#pragma once

#include <filesystem>
#include <memory>

#include "formats/hf_tensors.h"
#include "formats/weight_source.h"

namespace weft {

// Opens what the path holds; UserErrors as open_tensors.
std::unique_ptr<WeightSource> open_hf_weights(const std::filesystem::path& path);

// WeightSource::load by this rank alone: nothing is agreed upon.
std::vector<KeptTensor> load_hf_weights(Parameters& parameters, const ModelConfig& config,
                                        const std::filesystem::path& path, Stream& stream,
                                        const LoadOptions& options = {});

}  // namespace weft
