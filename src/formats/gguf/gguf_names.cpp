#include "formats/gguf/gguf_names.h"

#include <algorithm>

#include "core/check.h"

namespace weft {
namespace {

// A registry parameter in llama.cpp's words: its parts where the family stores several, else one.
struct Spelling {
  const char* ours;
  std::vector<std::string> whole, parts;
};
const std::vector<Spelling>& spellings(NormPlace place) {
  static const std::vector<Spelling> usual = {
      {"embed.tokens", {"token_embd"}, {}},
      {"embed.positions", {"position_embd"}, {}},
      {"embed.types", {"token_types"}, {}},
      {"layers.{}.attn_norm", {"blk.{}.attn_norm"}, {}},
      {"layers.{}.attn.qkv",
       {"blk.{}.attn_qkv"},
       {"blk.{}.attn_q", "blk.{}.attn_k", "blk.{}.attn_v"}},
      {"layers.{}.attn.q_norm", {"blk.{}.attn_q_norm"}, {}},
      {"layers.{}.attn.k_norm", {"blk.{}.attn_k_norm"}, {}},
      {"layers.{}.attn.out", {"blk.{}.attn_output"}, {}},
      {"layers.{}.attn_post_norm", {"blk.{}.post_attention_norm"}, {}},
      {"layers.{}.mlp_norm", {"blk.{}.ffn_norm"}, {}},
      {"layers.{}.mlp.up", {"blk.{}.ffn_up"}, {"blk.{}.ffn_gate", "blk.{}.ffn_up"}},
      {"layers.{}.mlp.down", {"blk.{}.ffn_down"}, {}},
      {"layers.{}.mlp_post_norm", {"blk.{}.post_ffw_norm"}, {}},
      {"final_norm", {"output_norm"}, {}},
      {"head", {"output"}, {}}};
  // A norm that ends a block is ours to begin the next one.
  static const std::vector<Spelling> post = [] {
    std::vector<Spelling> list = {{"layers.0.attn_norm", {"token_embd_norm"}, {}},
                                  {"layers.{}.attn_norm", {"blk.{}.layer_output_norm"}, {}},
                                  {"layers.{}.mlp_norm", {"blk.{}.attn_output_norm"}, {}},
                                  {"final_norm", {"blk.{}.layer_output_norm"}, {}}};
    list.insert(list.end(), usual.begin(), usual.end());
    return list;
  }();
  return place == NormPlace::post ? post : usual;
}

std::string without_ending(const std::string& name) {
  for (const std::string ending : {".weight", ".bias"})
    if (name.ends_with(ending)) return name.substr(0, name.size() - ending.size());
  return name;
}

GgufChange change_of(const Family& row, const TensorName& tensor, std::size_t part) {
  if (tensor.layout == Layout::transposed) return GgufChange::turned;
  if (tensor.layout == Layout::by_head) return GgufChange::qkv;
  if (tensor.ours.find("norm") != std::string::npos && row.defaults.norm_offset == 1)
    return GgufChange::plus_one;
  if (row.gguf.rotated_pairs && tensor.ours.find(".qkv.") != std::string::npos && part < 2)
    return part == 0 ? GgufChange::queries : GgufChange::keys;
  return GgufChange::none;
}

std::vector<GgufName> names_of(const Family& row) {
  std::vector<GgufName> names;
  const auto add = [&](std::string hf, const std::string& gguf, GgufChange change) {
    hf = without_ending(hf);
    for (const std::string hole : {"{prev}", "{last}"})
      if (const std::size_t at = hf.find(hole); at != std::string::npos)
        hf.replace(at, hole.size(), "{}");
    const bool there = std::any_of(names.begin(), names.end(),
                                   [&](const GgufName& name) { return name.hf == hf; });
    if (!there) names.push_back({hf, gguf, change});
  };
  const std::vector<Spelling>& words = spellings(row.defaults.norm_place);
  for (const TensorName& tensor : row.tensors) {
    const std::string ours = without_ending(tensor.ours);
    const auto word = std::find_if(words.begin(), words.end(),
                                   [&](const Spelling& spelling) { return spelling.ours == ours; });
    if (word == words.end()) continue;
    const std::vector<std::string>& gguf = tensor.hf.size() == 1 ? word->whole : word->parts;
    CHECK(gguf.size() == tensor.hf.size(), "family {}: {} has {} parts", row.name, tensor.ours,
          tensor.hf.size());
    for (std::size_t part = 0; part < gguf.size(); ++part) {
      const GgufChange change = change_of(row, tensor, part);
      // What transformers writes today comes first, so that a tensor is listed by that name.
      for (const auto& [old_name, name] : row.aliases)
        if (old_name == tensor.hf[part]) add(name, gguf[part], change);
      add((tensor.bare || row.gguf.base_model ? "" : row.prefix) + tensor.hf[part], gguf[part],
          change);
    }
  }
  return names;
}

const std::vector<GgufArchitecture>& table() {
  static const std::vector<Family> others = gguf_families();
  static const std::vector<GgufArchitecture> rows = [] {
    std::vector<GgufArchitecture> list;
    for (const std::span<const Family> some : {families(), std::span<const Family>(others)})
      for (const Family& row : some)
        if (!row.gguf.architecture.empty()) list.push_back({&row, names_of(row)});
    return list;
  }();
  return rows;
}

// "blk.3.attn_q.weight" as pattern "blk.{}.attn_q", layer "3", suffix ".weight"; an empty pattern
// for other endings.
struct Parsed {
  std::string pattern, layer, suffix;
};
Parsed parse(const std::string& name) {
  Parsed parsed;
  for (const char* suffix : {".weight", ".bias"})
    if (name.ends_with(suffix)) parsed.suffix = suffix;
  if (parsed.suffix.empty()) return parsed;
  const std::string stem = name.substr(0, name.size() - parsed.suffix.size());
  for (std::size_t at = 0; at < stem.size();) {
    const std::size_t dot = std::min(stem.find('.', at), stem.size());
    const std::string part = stem.substr(at, dot - at);
    const bool is_layer = parsed.layer.empty() && !part.empty() &&
                          part.find_first_not_of("0123456789") == std::string::npos;
    if (is_layer) parsed.layer = part;
    parsed.pattern += (at > 0 ? "." : "") + (is_layer ? "{}" : part);
    at = dot + 1;
  }
  return parsed;
}

std::string fill(const std::string& pattern, const std::string& layer) {
  const std::size_t hole = pattern.find("{}");
  return hole == std::string::npos ? pattern
                                   : pattern.substr(0, hole) + layer + pattern.substr(hole + 2);
}

}  // namespace

const GgufArchitecture& gguf_architecture(const GgufReader& file) {
  const JsonReader json(file.metadata(), file.file());
  const std::string name = json.string("general.architecture", "");
  const GgufArchitecture* found = nullptr;
  std::string known;
  for (const GgufArchitecture& row : table()) {
    const GgufRow& gguf = row.family->gguf;
    if (gguf.architecture == name) {
      const bool narrower = !gguf.only_with.empty();
      if (narrower ? json.has(name + "." + gguf.only_with) : !found) found = &row;
    }
    if (gguf.only_with.empty()) known += (known.empty() ? "" : ", ") + gguf.architecture;
  }
  CHECK_USER(found, "{}: general.architecture is '{}'; allowed: {}", file.file(), name, known);
  return *found;
}

GgufMatch match_hf_name(const GgufArchitecture& architecture, const std::string& hf_name) {
  const Family& family = *architecture.family;
  // Before a base model's names the prefix may stand or not.
  const bool prefixed = family.gguf.base_model && hf_name.starts_with(family.prefix);
  const Parsed parsed = parse(prefixed ? hf_name.substr(family.prefix.size()) : hf_name);
  for (const GgufName& row : architecture.tensors)
    if (row.hf == parsed.pattern)
      return {&row, fill(row.gguf, parsed.layer) + parsed.suffix, parsed.suffix == ".bias"};
  return {};
}

std::string hf_name_of(const GgufArchitecture& architecture, const std::string& gguf_name) {
  const Parsed parsed = parse(gguf_name);
  for (const GgufName& row : architecture.tensors)
    if (row.gguf == parsed.pattern) return fill(row.hf, parsed.layer) + parsed.suffix;
  return "";
}

}  // namespace weft
