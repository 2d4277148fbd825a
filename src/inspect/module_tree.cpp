#include "inspect/module_tree.h"

#include <algorithm>
#include <iterator>

#include "core/check.h"
#include "core/short_decimal.h"
#include "formats/families.h"
#include "inspect/module_tree_families.h"
#include "model/parameters.h"

namespace weft {
namespace {

FamilyTree tree_of(const std::string& family) {
  for (const std::vector<FamilyTree>& rows : {decoder_trees(), encoder_trees()})
    for (const FamilyTree& row : rows)
      if (row.family == family) return row;
  CHECK(false, "family {} has no tree", family);
}

}  // namespace

TreeConfig::TreeConfig(const ModelConfig& config)
    : c(config),
      json(config.source.is_object() ? config.source : write_hf_config(config)),
      class_name(family(config.family).class_name) {}

std::string TreeConfig::number(const std::string& key, const std::string& otherwise) const {
  const auto at = json.find(key);
  return at != json.end() && at->is_number() ? python_number(*at) : otherwise;
}

std::string TreeConfig::number(const std::string& key, float otherwise) const {
  return number(key, python_number(short_decimal(otherwise)));
}

TorchModule TreeConfig::activation(const std::string& key, const std::string& otherwise) const {
  const auto at = json.find(key);
  return activation_module(at != json.end() && at->is_string() ? at->get<std::string>()
                                                               : otherwise);
}

TorchModule TreeConfig::padded_embedding(std::int64_t rows, std::int64_t otherwise) const {
  TorchModule module = embedding(rows, c.width);
  const auto at = json.find("pad_token_id");
  const bool named = at != json.end() && at->is_number_integer();
  if (!named && (at != json.end() || otherwise < 0)) return module;
  const std::int64_t row = named ? at->get<std::int64_t>() : otherwise;
  module.arguments +=
      fmt::format(", padding_idx={}",
                  row < 0 ? rows + row : row);  // PyTorch counts a negative one from the end
  return module;
}

std::string module_tree(const ModelConfig& config) {
  const FamilyTree row = tree_of(config.family);
  const TreeConfig m(config);
  const TorchModule base = row.base(m);
  if (config.head == HeadKind::base) return printed(base);
  std::string name = family(config.family).prefix;
  name.pop_back();  // its dot
  return printed({architecture(config), row.with_head(m, {name, base})});
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
