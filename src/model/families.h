// Model families as data: each row maps a Hugging Face config.json and its tensor names to ModelConfig and the registry.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "model/config.h"
#include "model/parameters.h"

namespace weft {

// Where a registry parameter is found in a Hugging Face file. "{}" in the pattern is the layer.
struct TensorName {
  std::string ours;         // "layers.{}.attn.qkv.weight"
  std::string hf;           // "h.{}.attn.c_attn.weight"
  bool transposed = false;  // stored (in, out), as transformers' Conv1D
};

struct Family {
  std::string name;                        // model_type
  std::string architecture;                // of the causal LM, for "architectures"
  std::string prefix;                      // written before every tensor's name; optional when reading
  std::vector<TensorName> tensors;
  std::vector<std::string> ignored;        // suffixes of tensors that carry no weights (attention masks)
  std::string head;                        // name of the head tensor, without prefix
  std::function<ModelConfig(const JsonReader&)> read;
  std::function<void(const ModelConfig&, Json&)> write;  // sets what the config decides
};

std::span<const Family> families();
const Family& family(const std::string& name);  // UserError with the list when unknown

// config.json of a Hugging Face directory. UserErrors name the file and the key.
ModelConfig read_hf_config(const std::filesystem::path& dir);
ModelConfig config_from_json(const Json& json, const std::string& origin);  // the same from an object
Json write_hf_config(const ModelConfig& config);

// The name in the file, without prefix, and whether it is transposed there.
struct StoredName {
  std::string name;
  bool transposed = false;
};
StoredName stored_name(const Family& family, const Parameter& parameter);

}  // namespace weft
