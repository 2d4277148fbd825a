// A model as PyTorch prints it, and where its parameters are.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "model/config.h"

namespace weft {

bool has_module_tree(const ModelConfig& config);  // of GPT-2's language models so far
std::string module_tree(const ModelConfig& config);

// Elements of each part, a tied head counted once: embeddings, attention, MLP, norms, head.
std::vector<std::pair<std::string, std::int64_t>> parameters_by_part(const ModelConfig& config);

}  // namespace weft
