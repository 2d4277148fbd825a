// What a family's tensors do not tell of its transformers classes: how their modules are called,
// and the modules without parameters. inspect/module_tree makes the printed tree of both.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "model/config.h"

namespace weft {

struct ModuleRow {
  enum Kind : std::uint8_t {
    container,        // the class of a module that the tensors' names make
    plain,            // a module of its own
    activation,       // by config.json's word for the family's activation
    dropout,          // of a probability
    padded,           // an embedding that keeps the row of the pad token, if there is one, at zero
    padded_if_named,  // the same, where config.json names the token
  };
  // "layers.{}.mlp", "{}" for each layer; behind the prefix. Left out where it has no parent.
  std::string path;
  Kind kind = container;
  std::string type = {};  // its class; "*" stands for the family's class_name
  // plain: as printed; {maps} is the number of attention maps, L·H.
  std::string arguments = {};
  // dropout: config.json's keys, the first that there is, else the config's field, else 0.1.
  std::vector<std::string> keys = {};
  float ModelConfig::*otherwise = nullptr;
  std::string before = {};  // the module beside it that it stands before; empty: last
  bool bare = false;        // stands outside the base model: the prefix is not for it
  bool (*when)(const ModelConfig&) = nullptr;  // null: always
};

}  // namespace weft
