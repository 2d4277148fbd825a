// Where a model comes from: its config and its weights, under Hugging Face's names.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "io/stored_tensor.h"
#include "model/config.h"

namespace weft {

class WeightSource {
 public:
  virtual ~WeightSource() = default;
  virtual std::optional<StoredTensor> find(const std::string& name) const = 0;
  virtual std::size_t n_tensors() const = 0;
};

// A Hugging Face directory with safetensors, or a GGUF file. UserErrors name what is missing or
// wrong.
ModelConfig read_model_config(const std::filesystem::path& path);
std::unique_ptr<WeightSource> open_weights(const std::filesystem::path& path);

// How most of the weights are stored: "fp32", "bf16", "q4_1".
std::string stored_format(const std::filesystem::path& path);
std::int64_t stored_bytes(const std::filesystem::path& path);  // of all its tensors

}  // namespace weft
