// A tree of modules in PyTorch's words: what print(model) shows.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "io/json.h"

namespace weft::torch {

struct Part;
struct Module {
  std::string type;            // its class
  std::vector<Part> parts;     // what it holds, in the order the class made them
  std::string arguments = {};  // extra_repr, of a module without parts
};
struct Part {
  std::string name;
  Module module;
};

// As torch.nn.Module.__repr__: no newline at the end; in a ModuleList a run of equal modules stands
// once.
std::string printed(const Module& module);

// A number as Python prints it: 1e-05, 0.0 for a float, 0 for an integer.
std::string python_number(const Json& number);

Module linear(std::int64_t in, std::int64_t out, bool bias);
Module conv1d(std::int64_t in, std::int64_t out);  // transformers', its weight (in, out)
Module embedding(std::int64_t rows, std::int64_t width);
Module layer_norm(std::int64_t width, const std::string& eps);
Module dropout(const std::string& p);
// By its name in config.json; UserError where none of transformers' classes has the name.
Module activation(const std::string& name);

}  // namespace weft::torch
