#include "inspect/module_tree.h"

#include <algorithm>
#include <iterator>

#include "core/check.h"
#include "core/short_decimal.h"
#include "formats/families/families.h"
#include "inspect/torch_module.h"
#include "model/parameters.h"

namespace weft {
namespace {

using torch::Module;
using torch::Part;

// The model's config as its tree shows it: what ModelConfig reads into another form is taken from
// config.json as it stands there.
struct Shown {
  const ModelConfig& c;
  const Family& row;
  Json json;

  explicit Shown(const ModelConfig& config)
      : c(config),
        row(family(config.family)),
        json(config.source.is_object() ? config.source : write_hf_config(config)) {}

  // The first of the keys that holds a number; else `otherwise`.
  std::string number(const std::vector<std::string>& keys, float otherwise) const {
    for (const std::string& key : keys)
      if (const auto at = json.find(key); at != json.end() && at->is_number())
        return torch::python_number(*at);
    return torch::python_number(short_decimal(otherwise));
  }

  // Where the family computes with another kind than the file's word (Gemma's "gelu"), its own.
  std::string activation() const {
    const auto at = json.find(row.keys.activation);
    if (at == json.end() || !at->is_string()) return usual_activation(row);
    const auto word = at->get<std::string>();
    for (const ActivationName& a : activation_names())
      if (word == a.name && a.kind != c.activation) return usual_activation(row);
    return word;
  }

  // "*" in a row's types is the family's class.
  std::string type(const std::string& pattern) const {
    return pattern.starts_with("*") ? row.class_name + pattern.substr(1) : pattern;
  }

  std::string padding(ModuleRow::Kind kind) const {
    const auto at = json.find("pad_token_id");
    std::int64_t id = kind == ModuleRow::padded && at == json.end() ? c.pad_id : -1;
    const bool named = at != json.end() && at->is_number_integer();
    if (named) id = at->get<std::int64_t>();
    if (!named && id < 0) return "";
    return fmt::format(", padding_idx={}",  // PyTorch counts a negative one from the end
                       id < 0 ? c.vocab + id : id);
  }
};

// A module by its name in `parts`; null where there is none. Those of a list stand at their number.
Module* part_of(Module& module, const std::string& name) {
  std::vector<Part>& parts = module.parts;
  const bool is_number = name.find_first_not_of("0123456789") == std::string::npos;
  if (is_number && name.size() < 9)
    if (const std::size_t i = std::stoul(name); i < parts.size() && parts[i].name == name)
      return &parts[i].module;
  const auto at =
      std::find_if(parts.begin(), parts.end(), [&](const Part& part) { return part.name == name; });
  return at == parts.end() ? nullptr : &at->module;
}

// The tree's module at the path "model.layers.0.mlp"; null where there is none.
Module* find(Module& tree, const std::string& path) {
  Module* module = &tree;
  for (std::size_t at = 0; module && at < path.size();) {
    const std::size_t dot = std::min(path.find('.', at), path.size());
    module = part_of(*module, path.substr(at, dot - at));
    at = dot + 1;
  }
  return module;
}

// The same, made with its parents where it is not there. A parent of "0", "1", … is a list.
Module& found_or_made(Module& tree, const std::string& path) {
  Module* module = &tree;
  for (std::size_t at = 0; at < path.size();) {
    const std::size_t dot = std::min(path.find('.', at), path.size());
    const std::string name = path.substr(at, dot - at);
    Module* part = part_of(*module, name);
    if (!part) {
      if (name == "0") module->type = "ModuleList";
      module->parts.push_back({name, {}});
      part = &module->parts.back().module;
    }
    module = part;
    at = dot + 1;
  }
  return *module;
}

// What a tensor "….weight" of rank 1 or 2 makes of its module, (rows) or (rows, columns) of ours.
Module module_of(const Shown& shown, const Parameter& p, Layout layout, std::int64_t rows,
                 bool has_bias) {
  const ModelConfig& c = shown.c;
  if (p.shape.rank() == 1) {
    const std::vector<std::string> key = {shown.row.keys.eps};
    const std::string eps = shown.number(key, c.norm_eps);
    if (c.norm == NormKind::layer) return torch::layer_norm(rows, eps);
    return {shown.type("*RMSNorm"), {}, fmt::format("({},), eps={}", rows, eps)};
  }
  if (p.name.starts_with("embed.")) return torch::embedding(rows, p.shape[1]);
  if (layout == Layout::transposed) return torch::conv1d(p.shape[1], rows);
  return torch::linear(p.shape[1], rows, has_bias);
}

// The modules that hold the registry's parameters, in the order of the row's tensors.
Module tree_of_parameters(const Shown& shown) {
  struct Stored {
    Parameter parameter;
    StoredParameter where;
  };
  std::vector<Stored> all;
  std::vector<std::string> biases;
  for (const Parameter& p : parameters_of(shown.c))
    all.push_back({p, stored_parameter(shown.row, shown.c, p)});
  std::stable_sort(all.begin(), all.end(),
                   [](const Stored& a, const Stored& b) { return a.where.place < b.where.place; });
  // As transformers names it today.
  const auto current = [&](std::string name) {
    for (const auto& [old_end, end] : shown.row.aliases)
      if (name.ends_with(old_end)) return name.substr(0, name.size() - old_end.size()) + end;
    return name;
  };
  for (const Stored& stored : all)
    for (const StoredParameter::Part& part : stored.where.parts)
      if (part.name.ends_with(".bias")) biases.push_back(current(part.name));
  std::sort(biases.begin(), biases.end());
  Module tree;
  for (const Stored& stored : all)
    for (const StoredParameter::Part& part : stored.where.parts) {
      std::string name = current(part.name);
      if (!name.ends_with(".weight")) continue;
      name.resize(name.size() - std::string(".weight").size());
      const bool has_bias = std::binary_search(biases.begin(), biases.end(), name + ".bias");
      found_or_made(tree, name) =
          module_of(shown, stored.parameter, stored.where.layout, part.rows, has_bias);
    }
  return tree;
}

Module made(const Shown& shown, const ModuleRow& row) {
  if (row.kind == ModuleRow::activation) return torch::activation(shown.activation());
  if (row.kind == ModuleRow::dropout)
    return torch::dropout(shown.number(row.keys, row.otherwise ? shown.c.*row.otherwise : 0.1f));
  std::string arguments = row.arguments;
  if (const std::size_t at = arguments.find("{maps}"); at != std::string::npos)
    arguments.replace(at, 6, std::to_string(shown.c.layers * shown.c.heads));
  return {shown.type(row.type), {}, arguments};
}

// One row at one path.
void put(const Shown& shown, const ModuleRow& row, const std::string& path, Module& tree) {
  if (Module* there = find(tree, path); row.kind == ModuleRow::container) {
    if (there) there->type = shown.type(row.type);
    return;
  } else if (row.kind == ModuleRow::padded || row.kind == ModuleRow::padded_if_named) {
    if (there) there->arguments += shown.padding(row.kind);
    return;
  }
  const std::size_t dot = path.rfind('.');
  Module* parent = dot == std::string::npos ? &tree : find(tree, path.substr(0, dot));
  if (!parent) return;
  std::vector<Part>& parts = parent->parts;
  const auto before = std::find_if(parts.begin(), parts.end(),
                                   [&](const Part& part) { return part.name == row.before; });
  parts.insert(before, {path.substr(dot == std::string::npos ? 0 : dot + 1), made(shown, row)});
}

}  // namespace

std::string module_tree(const ModelConfig& config) {
  const Shown shown(config);
  const Family& row = shown.row;
  const std::string base = row.prefix.substr(0, row.prefix.size() - 1);  // without its dot
  Module tree = tree_of_parameters(shown);
  find(tree, base)->type = shown.type("*Model");
  for (const ModuleRow& module : row.modules) {
    if (module.when && !module.when(config)) continue;
    const std::string path = (module.bare ? "" : row.prefix) + module.path;
    const std::size_t hole = path.find("{}");
    if (hole == std::string::npos) put(shown, module, path, tree);
    for (std::int64_t l = 0; hole != std::string::npos && l < config.layers; ++l)
      put(shown, module, std::string(path).replace(hole, 2, std::to_string(l)), tree);
  }
  if (config.head == HeadKind::base) return torch::printed(*find(tree, base));
  if (row.head_first)
    std::stable_partition(tree.parts.begin(), tree.parts.end(),
                          [&](const Part& part) { return part.name != base; });
  tree.type = architecture(config);
  return torch::printed(tree);
}

std::vector<std::pair<std::string, std::int64_t>> parameters_by_part(const ModelConfig& config) {
  // The first row whose word is in a parameter's name counts it.
  constexpr std::pair<const char*, const char*> kParts[] = {
      {"embed.tokens", "token embedding"},
      {"embed.positions", "position embedding"},
      {"embed.types", "token type embedding"},
      {".attn.", "attention"},
      {".mlp.", "MLP"},
      {"head.", "head"},
      {"norm", "norms"},
      {"pool", "pooler"},
      {"labels.", "labels"}};
  constexpr std::size_t kShown[] = {0, 1, 2, 3, 4, 6, 7, 8, 5};  // as a text meets them
  std::int64_t elems[std::size(kParts)] = {};
  for (const Parameter& p : parameters_of(config)) {
    const auto* part = std::find_if(std::begin(kParts), std::end(kParts), [&](const auto& row) {
      return p.name.find(row.first) != std::string::npos;
    });
    CHECK(part != std::end(kParts), "{} is of no part", p.name);
    if (p.tied_to.empty()) elems[part - std::begin(kParts)] += p.shape.elems();
  }
  std::vector<std::pair<std::string, std::int64_t>> parts;
  for (std::size_t i : kShown)
    if (elems[i] > 0) parts.emplace_back(kParts[i].second, elems[i]);
  return parts;
}

}  // namespace weft
