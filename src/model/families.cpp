#include "model/families.h"

#include <cmath>

#include "core/check.h"

namespace weft {
namespace {

// GPT-2 and DistilGPT-2 (Radford et al. 2019; transformers models/gpt2): learned positions, pre-norm, biases everywhere.
ModelConfig read_gpt2(const JsonReader& json) {
  ModelConfig c;
  c.family = "gpt2";
  c.layers = json.integer("n_layer", 1, 10'000, 12);
  c.width = json.integer("n_embd", 1, 1 << 20, 768);
  c.heads = json.integer("n_head", 1, 1 << 14, 12);
  CHECK_USER(c.width % c.heads == 0, "{}: n_embd is {} and n_head is {}; n_embd must be a multiple of n_head", json.origin(),
             c.width, c.heads);
  c.kv_heads = c.heads;
  c.head_dim = c.width / c.heads;
  c.ffn = json.integer("n_inner", 1, 1 << 24, 4 * c.width);
  c.vocab = json.integer("vocab_size", 1, 1 << 26, 50257);
  c.context = json.integer("n_positions", 1, 1 << 26, 1024);
  c.norm_eps = static_cast<float>(json.number("layer_norm_epsilon", 1e-12, 0.5, 1e-5));
  const std::string activation = json.string("activation_function", "gelu_new");
  if (activation == "gelu_new" || activation == "gelu_pytorch_tanh") c.activation = Activation::gelu_tanh;
  else if (activation == "gelu") c.activation = Activation::gelu_erf;
  else user_error("{}: activation_function is '{}'; allowed: gelu_new, gelu_pytorch_tanh, gelu", json.origin(), activation);
  c.attention_scale = json.boolean("scale_attn_weights", true) ? static_cast<float>(1.0 / std::sqrt(static_cast<double>(c.head_dim))) : 1.0f;
  c.scale_by_inverse_layer = json.boolean("scale_attn_by_inverse_layer_idx", false);
  CHECK_USER(!json.boolean("add_cross_attention", false), "{}: add_cross_attention is true; allowed: false", json.origin());
  c.tied_head = json.boolean("tie_word_embeddings", true);
  c.dropout_embedding = static_cast<float>(json.number("embd_pdrop", 0, 0.999, 0.1));
  c.dropout_attention = static_cast<float>(json.number("attn_pdrop", 0, 0.999, 0.1));
  c.dropout_residual = static_cast<float>(json.number("resid_pdrop", 0, 0.999, 0.1));
  c.init_std = static_cast<float>(json.number("initializer_range", 0, 100, 0.02));
  c.eos_id = static_cast<std::int32_t>(json.integer("eos_token_id", -1, 1 << 26, -1));
  c.bos_id = static_cast<std::int32_t>(json.integer("bos_token_id", -1, 1 << 26, -1));
  return c;
}

// The shortest decimal that reads back as the same float: 0.1f is written 0.1, not 0.10000000149.
double short_decimal(float x) { return std::stod(fmt::format("{}", x)); }

void write_gpt2(const ModelConfig& c, Json& json) {
  json["n_layer"] = c.layers;
  json["n_embd"] = c.width;
  json["n_head"] = c.heads;
  json["n_inner"] = c.ffn == 4 * c.width ? Json(nullptr) : Json(c.ffn);
  json["vocab_size"] = c.vocab;
  json["n_positions"] = c.context;
  if (json.contains("n_ctx")) json["n_ctx"] = c.context;
  json["layer_norm_epsilon"] = short_decimal(c.norm_eps);
  if (!json.contains("activation_function"))
    json["activation_function"] = c.activation == Activation::gelu_tanh ? "gelu_new" : "gelu";
  json["scale_attn_weights"] = c.attention_scale != 1.0f || c.head_dim == 1;
  json["scale_attn_by_inverse_layer_idx"] = c.scale_by_inverse_layer;
  json["tie_word_embeddings"] = c.tied_head;
  json["embd_pdrop"] = short_decimal(c.dropout_embedding);
  json["attn_pdrop"] = short_decimal(c.dropout_attention);
  json["resid_pdrop"] = short_decimal(c.dropout_residual);
  json["initializer_range"] = short_decimal(c.init_std);
  json["eos_token_id"] = c.eos_id < 0 ? Json(nullptr) : Json(c.eos_id);
  json["bos_token_id"] = c.bos_id < 0 ? Json(nullptr) : Json(c.bos_id);
}

const std::vector<Family>& table() {
  static const std::vector<Family> rows = {
      {.name = "gpt2",
       .architecture = "GPT2LMHeadModel",
       .prefix = "transformer.",
       .tensors = {{"embed.tokens.weight", "wte.weight"},
                   {"embed.positions.weight", "wpe.weight"},
                   {"layers.{}.attn_norm.weight", "h.{}.ln_1.weight"},
                   {"layers.{}.attn_norm.bias", "h.{}.ln_1.bias"},
                   {"layers.{}.attn.qkv.weight", "h.{}.attn.c_attn.weight", true},
                   {"layers.{}.attn.qkv.bias", "h.{}.attn.c_attn.bias"},
                   {"layers.{}.attn.out.weight", "h.{}.attn.c_proj.weight", true},
                   {"layers.{}.attn.out.bias", "h.{}.attn.c_proj.bias"},
                   {"layers.{}.mlp_norm.weight", "h.{}.ln_2.weight"},
                   {"layers.{}.mlp_norm.bias", "h.{}.ln_2.bias"},
                   {"layers.{}.mlp.up.weight", "h.{}.mlp.c_fc.weight", true},
                   {"layers.{}.mlp.up.bias", "h.{}.mlp.c_fc.bias"},
                   {"layers.{}.mlp.down.weight", "h.{}.mlp.c_proj.weight", true},
                   {"layers.{}.mlp.down.bias", "h.{}.mlp.c_proj.bias"},
                   {"final_norm.weight", "ln_f.weight"},
                   {"final_norm.bias", "ln_f.bias"}},
       .ignored = {".attn.bias", ".attn.masked_bias"},
       .head = "lm_head.weight",
       .read = read_gpt2,
       .write = write_gpt2},
  };
  return rows;
}

}  // namespace

std::span<const Family> families() { return table(); }

const Family& family(const std::string& name) {
  std::string known;
  for (const Family& row : table()) {
    if (row.name == name) return row;
    known += (known.empty() ? "" : ", ") + row.name;
  }
  user_error("model family '{}' is not known; known families: {}", name, known);
}

ModelConfig config_from_json(const Json& json, const std::string& origin) {
  const JsonReader reader(json, origin);
  CHECK_USER(reader.has("model_type"), "{}: model_type is missing", origin);
  const std::string name = reader.string("model_type", "");
  const Family* row = nullptr;
  try {
    row = &family(name);
  } catch (const UserError& error) {
    user_error("{}: {}", origin, error.what());
  }
  ModelConfig config = row->read(reader);
  config.source = json;
  validate(config, origin);
  return config;
}

ModelConfig read_hf_config(const std::filesystem::path& dir) {
  const std::filesystem::path file = dir / "config.json";
  return config_from_json(read_json_object(file), file.string());
}

Json write_hf_config(const ModelConfig& config) {
  const Family& row = family(config.family);
  Json json = config.source.is_object() ? config.source : Json::object();
  json["model_type"] = row.name;
  json["architectures"] = Json::array({row.architecture});
  row.write(config, json);
  return json;
}

StoredName stored_name(const Family& row, const Parameter& p) {
  if (p.name == "head.weight") return {row.head, false};
  for (const TensorName& tensor : row.tensors) {
    const std::string layer = std::to_string(p.layer);
    const auto fill = [&](const std::string& pattern) {
      const std::size_t hole = pattern.find("{}");
      return hole == std::string::npos ? pattern : pattern.substr(0, hole) + layer + pattern.substr(hole + 2);
    };
    if (fill(tensor.ours) == p.name) return {fill(tensor.hf), tensor.transposed};
  }
  CHECK(false, "family {} has no name for {}", row.name, p.name);
}

}  // namespace weft
