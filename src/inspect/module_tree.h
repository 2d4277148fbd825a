// A model as a tree, and where its parameters are.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "model/config.h"

namespace weft {

// As transformers 5.24 prints the model's class, character by character (Python's print(model)); no
// newline at the end.
std::string module_tree(const ModelConfig& config);

// Elements of each part, a tied head counted once: embeddings, attention, MLP, norms, head.
std::vector<std::pair<std::string, std::int64_t>> parameters_by_part(const ModelConfig& config);

}  // namespace weft
