// Where a model comes from: its config and its weights, under Hugging Face's names.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "io/weights/stored_tensor.h"
#include "model/config.h"

namespace weft {

class WeightSource {
 public:
  virtual ~WeightSource() = default;
  virtual std::optional<StoredTensor> find(const std::string& name) const = 0;
  virtual std::vector<std::string> names() const = 0;
  std::size_t n_tensors() const { return names().size(); }
};

// A Hugging Face directory with safetensors or pytorch_model.bin, or a GGUF file. UserErrors name
// what is missing or wrong, and what else the folder is where that can be told: a LoRA adapter,
// weights of another framework. The config is what the files hold: where it ties the head to the
// token table but both are there with different values they are two, as in transformers 5.
ModelConfig read_model_config(const std::filesystem::path& path);
std::unique_ptr<WeightSource> open_weights(const std::filesystem::path& path);
// Whether the weights are a pickle's (pytorch_model.bin), which opens slower than safetensors.
bool is_torch_folder(const std::filesystem::path& path);
// Where tensor `name` is missing: what the names that are there tell, as an addition to a sentence;
// "" where they tell nothing.
std::string hint_of_names(const WeightSource& source, const std::string& name);

// How most of the weights are stored: "fp32", "bf16", "q4_1".
std::string stored_format(const std::filesystem::path& path);
std::int64_t stored_bytes(const std::filesystem::path& path);  // of all its tensors

}  // namespace weft
