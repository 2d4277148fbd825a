// The classes of transformers 5.24 as trees, for module_tree.cpp. The families:
// module_tree_decoder.cpp, module_tree_encoder.cpp.
#pragma once

#include <string>
#include <vector>

#include "inspect/torch_module.h"
#include "model/config.h"

namespace weft {

// A model's config as its tree shows it: what ModelConfig reads into another form is taken from
// config.json as it stands there.
struct TreeConfig {
  const ModelConfig& c;
  Json json;               // config.json
  std::string class_name;  // "Llama"

  explicit TreeConfig(const ModelConfig& config);
  std::string type(const char* end) const { return class_name + end; }  // "LlamaMLP"
  // The number of a key, or `otherwise` where it is missing or null.
  std::string number(const std::string& key, const std::string& otherwise) const;
  std::string number(const std::string& key, float otherwise) const;
  TorchModule activation(const std::string& key, const std::string& otherwise) const;
  // An embedding that keeps the pad token's row at zero, if there is such a token; `otherwise`
  // where no key names one.
  TorchModule padded_embedding(std::int64_t rows, std::int64_t otherwise) const;
};

struct FamilyTree {
  std::string family;
  TorchModule (*base)(const TreeConfig&);
  // The parts of the class with the config's head, the base model among them; never asked of the
  // base model's own class.
  std::vector<TorchPart> (*with_head)(const TreeConfig&, TorchPart base);
};
std::vector<FamilyTree> decoder_trees();
std::vector<FamilyTree> encoder_trees();

}  // namespace weft
