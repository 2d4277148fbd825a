#include "formats/gguf/gguf_config.h"

#include "core/check.h"
#include "formats/gguf/gguf_rope.h"

namespace weft {
namespace {

constexpr std::int64_t kMany = 1 << 26;

// A count that some models give for each layer; then all must be equal.
std::int64_t per_layer(const GgufKeys& from, const std::string& name, std::int64_t most) {
  const std::string key = from.key(name);
  const Json value = from.json.json().value(key, Json());
  if (!value.is_array()) return from.integer(name, most);
  CHECK_USER(!value.empty(), "{}: {} is an empty list", from.json.origin(), key);
  for (const Json& one : value)
    CHECK_USER(one == value[0],
               "{}: {} differs between layers ({} and {}); allowed: the same in all",
               from.json.origin(), key, brief(value[0]), brief(one));
  return JsonReader(Json{{key, value[0]}}, from.json.origin()).integer(key, 1, most);
}

std::int64_t vocab_size(const GgufKeys& from) {
  const StoredTensor* embedding = from.file.find("token_embd.weight");
  CHECK_USER(embedding && embedding->shape.rank() == 2,
             "{}: tensor token_embd.weight is missing or no matrix", from.json.origin());
  return embedding->shape[0];  // the list of tokens may be shorter than the padded matrix
}

void put_token_ids(const GgufKeys& from, Json& config) {
  constexpr std::pair<const char*, const char*> kIds[] = {
      {"bos", "bos"}, {"eos", "eos"}, {"pad", "padding"}};
  for (const auto& [hf, gguf] : kIds) {
    const std::string key = fmt::format("tokenizer.ggml.{}_token_id", gguf);
    if (from.json.has(key))
      config[fmt::format("{}_token_id", hf)] = from.json.integer(key, 0, kMany);
  }
}

struct Heads {
  std::int64_t all, kv, dim;
};
Heads heads_of(const GgufKeys& from) {
  Heads h{per_layer(from, "attention.head_count", 1 << 14), 0, 0};
  h.kv = from.has("attention.head_count_kv") ? per_layer(from, "attention.head_count_kv", 1 << 14)
                                             : h.all;
  CHECK_USER(h.all % h.kv == 0,
             "{}: {} is {} and {} is {}; the first must be a multiple of the second",
             from.json.origin(), from.key("attention.head_count"), h.all,
             from.key("attention.head_count_kv"), h.kv);
  const std::int64_t width = from.integer("embedding_length");
  if (from.has("attention.key_length")) {
    h.dim = from.integer("attention.key_length");
    CHECK_USER(
        !from.has("attention.value_length") || from.integer("attention.value_length") == h.dim,
        "{}: {} is not {}; they must be equal", from.json.origin(),
        from.key("attention.value_length"), from.key("attention.key_length"));
  } else {
    CHECK_USER(width % h.all == 0,
               "{}: {} is {} and {} is {}; the first must be a multiple of the second",
               from.json.origin(), from.key("embedding_length"), width,
               from.key("attention.head_count"), h.all);
    h.dim = width / h.all;
  }
  return h;
}

void put_rope(const GgufKeys& from, const Family& row, const Heads& h, Json& config) {
  config[row.rope.theta] = from.number("rope.freq_base", row.defaults.rope.theta);
  const std::int64_t rotated =
      from.has("rope.dimension_count") ? from.integer("rope.dimension_count") : h.dim;
  CHECK_USER(rotated <= h.dim && rotated % 2 == 0,
             "{}: {} is {}; allowed: even numbers up to the head's {}", from.json.origin(),
             from.key("rope.dimension_count"), rotated, h.dim);
  if (rotated != h.dim || row.rope.usual_share != 1)
    config[row.rope.share] = static_cast<double>(rotated) / static_cast<double>(h.dim);
  const RopeSource rope = {from.file, from.architecture, h.dim,
                           config[row.rope.theta].get<double>()};
  if (Json scaling = rope_scaling_of_gguf(rope); !scaling.is_null())
    config["rope_scaling"] = std::move(scaling);
  else if (Json factors = rope_factors_of_gguf(rope); !factors.is_null())
    config["rope_factors"] = std::move(factors);
}

}  // namespace

Json hf_config_of_gguf(const GgufReader& file, const Family& row) {
  const GgufKeys from{file, row.gguf.architecture};
  CHECK_USER(
      !from.has("expert_count") || from.json.integer(from.key("expert_count"), 0, kMany) == 0,
      "{}: {} is {}; mixtures of experts are not supported", from.json.origin(),
      from.key("expert_count"), from.json.integer(from.key("expert_count"), 0, kMany));
  const Heads h = heads_of(from);
  const ConfigKeys& keys = row.keys;
  Json config = {
      {"model_type", row.name},
      {"architectures", {row.class_name + (row.gguf.base_model ? "Model" : row.causal_lm)}},
      {"vocab_size", vocab_size(from)},
      {keys.width, from.integer("embedding_length")},
      {keys.ffn, per_layer(from, "feed_forward_length", kMany)},
      {keys.layers, from.integer("block_count", 10'000)},
      {keys.heads, h.all},
      {keys.context, from.integer("context_length")}};
  if (!keys.kv_heads.empty()) config[keys.kv_heads] = h.kv;
  if (!keys.head_dim.empty()) config[keys.head_dim] = h.dim;
  if (!row.gguf.base_model) config["tie_word_embeddings"] = file.find("output.weight") == nullptr;
  const std::string eps = row.defaults.norm == NormKind::rms ? "attention.layer_norm_rms_epsilon"
                                                             : "attention.layer_norm_epsilon";
  if (from.has(eps)) config[keys.eps] = from.number(eps, 0);
  put_token_ids(from, config);
  if (row.defaults.positions == Positions::rope) put_rope(from, row, h, config);
  for (const GgufSetting& set : row.gguf.settings) set(from, config);
  return config;
}

}  // namespace weft
