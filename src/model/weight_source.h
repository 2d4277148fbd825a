// Where a model's weights come from, by their Hugging Face names.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "io/safetensors.h"

namespace weft {

class WeightSource {
 public:
  virtual ~WeightSource() = default;
  virtual std::optional<StoredTensor> find(const std::string& name) const = 0;
  virtual std::size_t n_tensors() const = 0;
};

// A Hugging Face directory with safetensors.
std::unique_ptr<WeightSource> open_weights(const std::filesystem::path& path);

}  // namespace weft
