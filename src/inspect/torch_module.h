// A tree of modules in PyTorch's words: what print(model) shows.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "io/json.h"

namespace weft {

struct TorchPart;
struct TorchModule {
  std::string type;              // its class
  std::vector<TorchPart> parts;  // what it holds, in the order the class made them
  std::string arguments = {};    // extra_repr, of a module without parts
};
struct TorchPart {
  std::string name;
  TorchModule module;
};

// As torch.nn.Module.__repr__: no newline at the end; in a ModuleList a run of equal modules stands
// once.
std::string printed(const TorchModule& module);

// A number as Python prints it: 1e-05, 0.0 for a float, 0 for an integer.
std::string python_number(const Json& number);

TorchModule linear(std::int64_t in, std::int64_t out, bool bias);
TorchModule embedding(std::int64_t rows, std::int64_t width);
TorchModule layer_norm(std::int64_t width, const std::string& eps);
TorchModule dropout(const std::string& p);
// By its name in config.json; UserError where none of transformers' classes has the name.
TorchModule activation_module(const std::string& name);
TorchModule module_list(std::int64_t n, const TorchModule& layer);

}  // namespace weft
