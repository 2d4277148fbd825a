// A model as a tree, and where its parameters are.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "model/config.h"

namespace weft {

// A GPT-2 as PyTorch prints it; of other families the tensors of their Hugging Face files with their shapes, by the modules that hold them, a
// run of equal layers once.
std::string module_tree(const ModelConfig& config);

// Elements of each part, a tied head counted once: embeddings, attention, MLP, norms, head.
std::vector<std::pair<std::string, std::int64_t>> parameters_by_part(const ModelConfig& config);

}  // namespace weft
